"""A farm whose builds are small real processes: `python -m tests.integration.backlogyard farm|child ...`.

A child takes its ticket as a build does, waits while a file `hold` is there, publishes and ends its job.
"""

import argparse
import asyncio
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import wait_until
from appliance.desks.backlog import Unwanted
from appliance.desks.remote import RemoteDesk
from appliance.door import make_app, serve
from appliance.farm_model import Job, Release
from appliance.foreman import Foreman
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.queue import farm_secret
from appliance.rights import DIE_TOGETHER
from appliance.run import running
from appliance.services import Services
from appliance.store import Store

DEADLINE_SECONDS = 60.0
PROFILE = 'parent = ["vm"]\ndescription = "{name}"\n'
FLAGS = 'CFLAGS="-O2 -fprofile-name={name}"\n'


@dataclass(frozen=True)
class Yard:
    """A site with several profiles, each of a flag class of its own, and its state."""

    path: Path

    @property
    def site(self) -> Path:
        return self.path / "site"

    @property
    def tree(self) -> Tree:
        return Tree(self.path / "state")

    @classmethod
    def make(cls, path: Path, profiles: str, *, queue: str = "sqlite", workers: int = 1) -> "Yard":
        yard = cls(path)
        shutil.copytree(example_site(), yard.site)
        for name in profiles.split():
            place = yard.site / "profiles" / name / "portage"
            place.mkdir(parents=True)
            (place.parent / "profile.toml").write_text(PROFILE.format(name=name))
            (place / "make.conf").write_text(FLAGS.format(name=name))
        with (yard.site / "profiles/vm/profile.toml").open("r+") as file:
            text = file.read()
            file.seek(0)
            file.write(f"abstract = true\n{text}")
        with (yard.site / "appliance.toml").open("a") as file:
            file.write(f'\nworkers = {workers}\nqueue = "{queue}"\nmemory = "1024 GiB"\n')
        return yard

    def services(self) -> Services:
        return Services(self.site, self.tree)

    @property
    def hold(self) -> Path:
        return self.path / "hold"

    def change(self, profile: str) -> None:
        with (self.site / "profiles" / profile / "portage/make.conf").open("a") as file:
            file.write("# changed\n")

    @contextmanager
    def farm(self) -> Iterator[int]:
        """The farm's process while the block lasts; its PID."""
        argv: list[str | Path] = [sys.executable, "-m", "tests.integration.backlogyard", "farm", self.path]
        with running([*DIE_TOGETHER, *argv], output=self.path / "farm.log") as child:
            yield child.pid

    def wait_for(self, what: str, wanted: "dict[str, int]") -> list[Job]:
        """Until there are so many jobs in each of these states; the log is shown when that takes too long."""
        services = self.services()

        def there() -> list[Job] | None:
            jobs = services.store.jobs.all()
            found = {state: sum(job.state == state for job in jobs) for state in wanted}
            return jobs if found == wanted else None

        def said() -> str:
            log = self.path / "farm.log"
            jobs = "\n".join(map(repr, services.store.jobs.all()))
            return f"{jobs}\n{log.read_text() if log.exists() else ''}"

        try:
            return wait_until(there, seconds=DEADLINE_SECONDS, what=what, last_seen=said)
        finally:
            services.store.close()

    def published(self) -> dict[str, int]:
        """Profile -> how many releases it has."""
        found: dict[str, int] = {}
        for release in self.services().store.releases.all():
            found[release.profile] = found.get(release.profile, 0) + 1
        return found


@contextmanager
def door(path: Path) -> Iterator[str]:
    """The farm's door over the state below `path`, as a process; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv: list[str | Path] = [sys.executable, "-m", "tests.integration.backlogyard", "door", path]
    with running([*DIE_TOGETHER, *argv, "--port", str(port)], output=path / "door.log"):

        def opened() -> bool | None:
            with socket.socket() as asked:
                return asked.connect_ex(("127.0.0.1", port)) == 0 or None

        def said() -> str:
            return (path / "door.log").read_text()

        wait_until(opened, seconds=DEADLINE_SECONDS, what="the door opens", last_seen=said)
        yield f"http://127.0.0.1:{port}"


def child(yard: Yard, job: int) -> None:
    services = yard.services()
    row = services.store.jobs.get(job)
    assert row
    profile = services.live.now().profiles[row.profile]
    try:
        taken = services.backlog.take(profile, job)
    except Unwanted:
        return
    while yard.hold.exists():
        time.sleep(0.02)
    release = Release(f"{taken.profile}-{taken.inputs[:12]}", taken.profile, time.time(), "s", 1, 1)
    services.store.releases.add(release)
    services.store.jobs.end(taken.id, "done", now=time.time())


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("farm", "child", "door"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--job", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args(argv)
    yard = Yard(asked.path)
    if asked.what == "door":
        app = make_app(RemoteDesk(Store(yard.tree.store), yard.tree, time.time), farm_secret(yard.tree))
        asyncio.run(serve(app, "127.0.0.1", asked.port))
        return
    if asked.what == "child":
        child(yard, asked.job)
        return
    program = [*DIE_TOGETHER, sys.executable, "-m", "tests.integration.backlogyard", "child", str(yard.path)]
    Foreman(
        yard.services(), lambda job, jobs: [*program, "--job", str(job)], look_seconds=0.5, lost_seconds=1.0
    ).run()


if __name__ == "__main__":
    main(sys.argv[1:])

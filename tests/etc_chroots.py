"""Machines in chroots: the host's own root and programs, under what is each machine's own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.overlays import overlay
from appliance.run import Finished, run
from appliance.sandbox import Bind, Overlay, Sandbox
from tests.init_machine import AGENT, RELEASE, lay_update

HEADER = b"CONFIG_PROTECT: /etc\nCONFIG_PROTECT_MASK: /etc/env.d\n\n"
# As the agent does it between two updates.
SETTLE = f"""
import json
from distserver_client import configuration
from distserver_client.bases import Recorded
from distserver_client.paths import Places
from distserver_client.talking import Identity, Talk
places = Places()
talk = Talk(Identity(places.settings)) if places.settings.joinpath("door").exists() else None
said, news = {{}}, False
if talk:
    talk.tend()
    order = talk.order()
    said, news = order.policy, order.merges > 0
recorded = Recorded(places, "{RELEASE}", "{RELEASE}")
done = configuration.settle(places, recorded, talk, said, news=news)
print(json.dumps({{name: {{one.path: one.how for one in found}} for name, found in vars(done).items()}}))
"""


@dataclass
class Chroot:
    """Each call has its own mounts and processes, and the host's network."""

    place: Path
    bases: dict[str, str] = field(default_factory=dict)

    @property
    def sandbox(self) -> Sandbox:
        layers = Overlay((Path("/"),), self.place / "upper", self.place / "work")
        agent = Bind(overlay("client") / str(AGENT).lstrip("/"), AGENT)
        made = Sandbox(self.place / "root", [layers, agent])
        return replace(made, network=True, env={"PYTHONPATH": str(AGENT)})

    def lay(self, path: str, content: bytes, mode: int = 0o644) -> Path:
        place = self.place / "upper" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
        return place

    def read(self, path: str) -> bytes:
        """A file that is the machine's own."""
        return (self.place / "upper" / path.lstrip("/")).read_bytes()

    def update(self, path: str, base: bytes, ours: bytes, theirs: bytes) -> None:
        lay_update(self, path, base, ours, theirs)

    def settle(self) -> dict[str, dict[str, str]]:
        """By the agent's own code, inside: list -> path -> how."""
        done = run(["/usr/bin/python3", "-B", "-c", SETTLE], prefix=self.sandbox.prefix())
        found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
        return {name: paths for name, paths in found.items() if paths}

    def merge(self, *argv: str, status: int = 0) -> Finished:
        """`distserver-client merge`, inside."""
        words = ["/usr/bin/python3", "-B", "-m", "distserver_client", "merge", *argv]
        return run(words, prefix=self.sandbox.prefix(), ok=(status,))


@contextmanager
def chroots(place: Path, count: int) -> Iterator[list[Chroot]]:
    """So many machines at a release, for as long as the block lasts."""
    # An upper layer cannot lie in the file system that is the lower one.
    memory = place / "memory"
    memory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", memory])
    try:
        made = [Chroot(memory / str(number)) for number in range(count)]
        for machine in made:
            for name in ("upper", "work", "root"):
                (machine.place / name).mkdir(parents=True)
            machine.lay("/etc/distserver/release", f"{RELEASE}\n".encode())
            machine.lay(f"/var/cache/distserver/r/{RELEASE}/Packages", HEADER)
        yield made
    finally:
        run(["umount", memory])

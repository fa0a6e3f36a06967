"""A machine whose init is a real one, systemd or OpenRC, over the host's own root in namespaces."""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Protocol

from appliance.deadline import wait_until
from appliance.demo import cache
from appliance.overlays import overlay
from appliance.run import Finished, run, running
from appliance.sandbox import Bind, Mount, Overlay, Sandbox
from buildfarm import debian
from distserver_client.triples import digest

START_SECONDS = 60.0
AGENT = PurePosixPath("/usr/lib/distserver")
RELEASE = "0" * 16
# The machine's own group of processes: otherwise systemd would make its slices in that of the host.
# Settings of the kernel are those of the host.
READ_ONLY = """
mount -t sysfs -o ro sysfs /sys
mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"""
SYSTEMD = """
mount -t cgroup2 cgroup2 /mnt
mkdir -p /mnt/$1; echo 0 > /mnt/$1/cgroup.procs; umount /mnt
rm -rf /etc/systemd/system /usr/lib/systemd/system/*.wants; mkdir -p /etc/systemd/system
printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/default.target
exec unshare --cgroup sh -c '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec env -i container=distserver /lib/systemd/systemd --log-target=null'
"""
OPENRC = """
for deb in /mnt/*.deb; do dpkg-deb --fsys-tarfile $deb | tar -x --keep-directory-symlink -C /; done
rm -rf /etc/runlevels; cd /etc; mkdir -p runlevels/sysinit runlevels/boot runlevels/default
exec env -i PATH=$PATH /sbin/openrc-init
"""
FORGET = 'mount -t cgroup2 cgroup2 /mnt && find "/mnt/$1" -depth -type d -exec rmdir {} +'
SETTLE = """
import json
from pathlib import Path
from distserver_client import answers, configuration, protection, triples
from distserver_client.bases import Recorded
from distserver_client.paths import Places
from distserver_client.services import Services
places = Places()
policy = triples.policy(json.loads(Path("/etc/distserver/said.json").read_text()))
shield = protection.protection({"CONFIG_PROTECT": "/etc"})
recorded = Recorded(places, "0" * 16, "0" * 16)
services = Services(places.root, probe_seconds=1.5)
nobody = configuration.Nobody()
done = answers.settle(places.root, recorded, nobody, policy, places.client, shield, services=services)
print(json.dumps({name: {one.path: one.how for one in found} for name, found in vars(done).items()}))
"""
PACKAGES = ("openrc", "librc1", "libeinfo1", "insserv")


class Kind(Enum):
    SYSTEMD = "systemd"
    OPENRC = "openrc-init"


@dataclass
class InitMachine:
    """A running one; what it changes is gone with it."""

    kind: Kind
    pid: int
    """Of its init, for the host."""
    bases: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")

    def call(self, *argv: str, ok: Sequence[int] = (0,)) -> Finished:
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "--"]
        return run([*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *argv], ok=ok)

    def lay(self, path: str, content: bytes, mode: int = 0o644) -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
        return place

    def read(self, path: str) -> bytes:
        return (self.root / path.lstrip("/")).read_bytes()

    def update(self, path: str, base: bytes, ours: bytes, theirs: bytes) -> None:
        lay_update(self, path, base, ours, theirs)

    def settle(self, **policy: object) -> dict[str, dict[str, str]]:
        """By the agent's own code, run on the machine: list -> path -> how."""
        self.lay("/etc/distserver/said.json", json.dumps(policy).encode())
        done = self.call("env", f"PYTHONPATH={AGENT}", "/usr/bin/python3", "-B", "-c", SETTLE)
        found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
        return {name: some for name, some in found.items() if some}


class Disk(Protocol):
    """Of a machine: files are laid on it."""

    bases: dict[str, str]

    def lay(self, path: str, content: bytes, mode: int = 0o644) -> Path: ...


def lay_update(machine: Disk, path: str, base: bytes, ours: bytes, theirs: bytes) -> None:
    """What an update by Portage leaves: the new version beside ours, and the pristine old one known."""
    directory, _, name = path.rpartition("/")
    machine.lay(path, ours)
    machine.lay(f"{directory}/._cfg0000_{name}", theirs)
    machine.bases[path] = digest(base)
    lines = [f"{sha256} app-misc/thing {name}" for name, sha256 in sorted(machine.bases.items())]
    listed = "\n".join(["distserver-bases 1", *lines, ""])
    machine.lay(f"/var/cache/distserver/r/{RELEASE}/bases", listed.encode())
    machine.lay(f"/var/lib/distserver/client/bases/{digest(base)}", base)


@contextmanager
def started(kind: Kind, place: Path) -> Iterator[InitMachine]:
    """Switched on for as long as the block lasts. `place` is empty."""
    # An upper layer cannot lie in the file system that is the lower one.
    memory = place / "memory"
    memory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", memory])
    name = f"distserver-{os.getpid()}-{place.name}"
    try:
        with running(["sh", "-euc", *_boot(kind), name], prefix=_sandbox(kind, memory).prefix()) as outside:
            pid = wait_until(lambda: _init(outside.pid, kind), seconds=START_SECONDS, what=kind.value)
            machine = InitMachine(kind, pid)
            try:
                wait_until(lambda: _is_up(machine), seconds=START_SECONDS, what=f"{kind.value} is up")
                yield machine
            finally:
                # The first process of a namespace takes no other signal from its own programs.
                os.kill(pid, signal.SIGKILL)
    finally:
        if kind is Kind.SYSTEMD:
            run(["unshare", "--mount", "sh", "-c", FORGET, "sh", name])
        run(["umount", memory])


def _boot(kind: Kind) -> tuple[str, str]:
    return READ_ONLY + (SYSTEMD if kind is Kind.SYSTEMD else OPENRC), "boot"


def _sandbox(kind: Kind, memory: Path) -> Sandbox:
    for name in ("upper", "work", "root"):
        (memory / name).mkdir()
    agent = overlay("client") / str(AGENT).lstrip("/")
    mounts: list[Mount] = [Overlay((Path("/"),), memory / "upper", memory / "work"), Bind(agent, AGENT)]
    if kind is Kind.OPENRC:
        mounts.append(Bind(_packages(), PurePosixPath("/mnt")))
    return Sandbox(memory / "root", mounts)


def _packages() -> Path:
    """OpenRC as Debian has it, downloaded once; the host's dpkg knows nothing of it."""
    place = cache() / "openrc"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        home = next(one for one in debian.repositories() if one.release == debian.RELEASE)
        options = debian.private_apt(place / "apt", [home.line("deb")])
        run(["apt-get", *options, "update"], timeout_seconds=600)
        run(["apt-get", *options, "download", *PACKAGES], cwd=place, timeout_seconds=600)
        shutil.rmtree(place / "apt")
        (place / "done").touch()
    return place


def _init(outside: int, kind: Kind) -> int | None:
    """The child that became the init."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{outside}/task/{outside}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == f"{kind.value}\n":
                return int(child)
    return None


def _is_up(machine: InitMachine) -> bool | None:
    """Does it take orders?"""
    if machine.kind is Kind.SYSTEMD:
        return machine.call("systemctl", "list-jobs", ok=range(256)).status == 0 or None
    return (machine.root / "run/openrc/softlevel").exists() or None

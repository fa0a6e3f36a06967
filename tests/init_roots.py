"""A machine in namespaces that is started by its real init, systemd or OpenRC's, as the first process."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from appliance.deadline import wait_until
from appliance.demo import cache
from appliance.overlays import overlay
from appliance.run import Finished, run, running
from appliance.sandbox import Overlay, Sandbox
from buildfarm import debian, manifest
from buildfarm.manifest import Item, Manifest
from buildfarm.reference import exclusive
from buildfarm.tarball import read_directory

PACKAGES = ("systemd", "openrc", "python3", "mount", "procps")
"""Debian has both inits; with neither's links for /sbin/init they are there side by side."""
START_SECONDS = 120.0
AGENT = "/usr/sbin/distserver-client"
GROUP = 'mount -t cgroup2 none "$0"; '
ENTER = GROUP + 'mkdir "$0/$1"; echo $$ >"$0/$1/cgroup.procs"; umount "$0"; shift; exec unshare --cgroup "$@"'
LEAVE = GROUP + 'find "$0/$1" -depth -type d -exec rmdir {} +'
# Device nodes of its own, since an init sets owners and modes; settings of the kernel are read-only.
FIRST = """
mount -t tmpfs -o mode=755 dev /dev
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "loop-control 10 237"; do
	set -- $node; mknod -m 666 "/dev/$1" c "$2" "$3"
done
for number in $(seq 0 63); do mknod -m 660 "/dev/loop$number" b 7 "$number"; done
mkdir /dev/pts /dev/shm; ln -s /proc/self/fd /dev/fd
mount -t sysfs -o ro sys /sys; mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys
mount -t cgroup2 none /sys/fs/cgroup
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin """
REPOSITORY = "tiny"


class Init(Enum):
    """The value is what the kernel starts."""

    SYSTEMD = "/lib/systemd/systemd --system"
    OPENRC = "/sbin/openrc-init"


@dataclass(frozen=True)
class Started:
    """A machine whose first process runs; `pid` is that of the host."""

    init: Init
    root: Path
    pid: int

    def call(self, *argv: str, ok: Callable[[int], bool] = lambda status: not status) -> str:
        done = self.ask(*argv)
        assert ok(done.status), f"{argv}: {done.status} {done.stdout}"
        return done.stdout

    def ask(self, *argv: str) -> Finished:
        """Run a program on the machine, whatever its status."""
        inside = ["nsenter", "--target", str(self.pid), "--all", f"--root=/proc/{self.pid}/root", "--wd=/"]
        return run(
            ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *argv], prefix=inside, ok=range(-64, 256)
        )

    def agents(self) -> list[int]:
        """PIDs of the agent, as the machine counts."""
        return [int(word) for word in self.ask("pgrep", "-f", f"{AGENT} run").stdout.split()]


def root() -> Path:
    """Debian with both inits, made once (about a minute)."""
    place = cache() / "inits" / "-".join((debian.RELEASE, *PACKAGES))
    place.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(place.parent / "lock"):
        if not place.exists():
            fresh = place.with_name("fresh")
            shutil.rmtree(fresh, ignore_errors=True)
            words = ["mmdebstrap", "--mode=root", "--variant=essential", f"--include={','.join(PACKAGES)}"]
            words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
            words += ['--aptopt=APT::Install-Recommends "false"', debian.RELEASE]
            run([*words, fresh, *(one.line("deb") for one in debian.repositories())], timeout_seconds=1800)
            fresh.rename(place)
    return place


def furnish(place: Path, stage: Path) -> None:
    """The agent's files, and what an installed machine keeps of its release."""
    for name, member in read_directory(overlay("client")).items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(member.content, bytes):
            target.write_bytes(member.content)
            target.chmod(0o755 if member.program else 0o644)
        else:
            target.symlink_to(member.content)
    images = stage / "images"
    images.mkdir(parents=True)
    for name, content in ((f"tree-{REPOSITORY}", "profiles/repo_name"), ("portage", "make.conf")):
        source = stage / name
        (source / content).parent.mkdir(parents=True)
        (source / content).write_text(f"{REPOSITORY}\n")
        run(["mksquashfs", source, images / f"{name}.sqfs", "-quiet", "-no-progress"])
    for name in ("Packages", "bases"):
        (images / name).write_text("")
    files = tuple(Item(one.name, one.stat().st_size, "0" * 64) for one in sorted(images.iterdir()))
    sealed = manifest.identify(Manifest("one", "amd64", "2026-11-23T00:00:00Z", f"{REPOSITORY}:1", files))
    (images / "manifest").write_text(manifest.write(sealed))
    shutil.copytree(images, place / "var/cache/distserver/r" / sealed.id)
    (place / "etc/distserver/release").write_text(f"{sealed.id}\n")
    (place / "etc/distserver/server").write_text("http://10.77.0.2\n")


@contextmanager
def started(init: Init, place: Path) -> Iterator[Started]:
    """Switch it on: `place` is the upper layer, without a network but its own loopback; off at the end."""
    disk = place / "upper"
    for name in ("work", "root", "group"):
        (place / name).mkdir(exist_ok=True)
    inside = Sandbox(place / "root", [Overlay((root(),), disk, place / "work")])
    own, private = f"distserver-{secrets.token_hex(4)}", ["unshare", "--mount", "--propagation=private"]
    grouped = [*private, "sh", "-ec", ENTER, str(place / "group"), own]
    boot = [*grouped, *inside.prefix(), "sh", "-ec", FIRST + init.value]
    mark = init.value.split()[0]
    first = -1
    try:
        with running(boot, output=place / "log") as child:
            first = wait_until(
                lambda: _first_process(child.pid, mark), seconds=START_SECONDS, what=f"{mark} runs"
            )
            yield Started(init, place / "root", first)
    finally:
        gone = Path(f"/proc/{first}")
        wait_until(lambda: None if gone.exists() else True, seconds=START_SECONDS, what="it is off")
        run([*private, "sh", "-ec", LEAVE, place / "group", own])


def _first_process(above: int, program: str) -> int | None:
    """The one below a process that runs this program and is number 1 where it is."""
    with suppress(FileNotFoundError, ProcessLookupError):  # one of them ended just now
        for child in Path(f"/proc/{above}/task/{above}/children").read_text().split():
            place = Path("/proc") / child
            words = (place / "cmdline").read_bytes().decode().split("\0")
            if words[0].endswith(program.rpartition("/")[2]):
                return int(child)
            if (found := _first_process(int(child), program)) is not None:
                return found
    return None

"""Services that read configuration files: which one it is, whether it runs, restarted and looked after."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from distserver_client import places, programs
from distserver_client.programs import MISSING, run

RESTART_SECONDS = 120.0
STATUS_SECONDS = 30.0
HEALTH_SECONDS = 120.0
PROBE_SECONDS = 3.0
"""How long a service has to stay up before its new configuration is believed."""
STEP_SECONDS = 0.25
NONE = "-"
"""The policy's word for: no service."""

TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/etc/ssh/ssh_config*", ()),
    ("/etc/ssh/*", ("sshd", "ssh")),
    ("/etc/conf.d/*", ("*",)),
    ("/etc/default/*", ("*",)),
    ("/etc/init.d/*", ("*",)),
    ("/etc/systemd/system/*.service", ("*",)),
    ("/etc/systemd/system/*.service.d/*", ("*",)),
    ("/etc/nginx/*", ("nginx",)),
    ("/etc/apache2/*", ("apache2",)),
    ("/etc/bind/*", ("named", "bind9")),
    ("/etc/chrony/*", ("chronyd", "chrony")),
    ("/etc/ntp.conf", ("ntpd", "ntp")),
    ("/etc/dnsmasq.*", ("dnsmasq",)),
    ("/etc/unbound/*", ("unbound",)),
    ("/etc/haproxy/*", ("haproxy",)),
    ("/etc/postfix/*", ("postfix",)),
    ("/etc/dovecot/*", ("dovecot",)),
    ("/etc/samba/*", ("samba", "smb", "smbd")),
    ("/etc/rsyslog.*", ("rsyslog",)),
    ("/etc/syslog-ng/*", ("syslog-ng",)),
    ("/etc/cups/*", ("cupsd", "cups")),
    ("/etc/squid/*", ("squid",)),
    ("/etc/mysql/*", ("mysql", "mariadb")),
    ("/etc/redis/*", ("redis", "redis-server")),
    ("/etc/snmp/*", ("snmpd",)),
    ("/etc/exports*", ("nfs", "nfs-server")),
)
"""The first glob that matches counts, of its names the first that the machine has; `*`: the file's own."""
EARLY = ("sysinit", "boot", "shutdown")
"""OpenRC's runlevels of what mounts and checks things: restarted, localmount would unmount everything."""
OWN = "distserver-"
"""The agent does not restart itself: it would be killed, and find its own work half done for ever."""
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


class Init(Enum):
    """Who starts services; tables of argv beside it, NAME stands for the service."""

    OPENRC = "openrc"
    SYSTEMD = "systemd"
    OTHER = "other"
    """Nothing that could be asked: the new configuration counts from the next boot on."""


STATUS: Mapping[Init, tuple[str, ...]] = {
    Init.OPENRC: ("rc-service", "NAME", "status"),
    Init.SYSTEMD: ("systemctl", "is-active", "NAME"),
}
RESTART: Mapping[Init, tuple[tuple[str, ...], ...]] = {
    Init.OPENRC: (("rc-service", "NAME", "restart"),),
    # Units may have come with the update, too. One that failed is not restarted by try-restart, and one that
    # failed often not by restart (systemd.unit(5), StartLimitBurst).
    Init.SYSTEMD: (
        ("systemctl", "daemon-reload"),
        ("systemctl", "reset-failed", "NAME"),
        ("systemctl", "restart", "NAME"),
    ),
}


FORGET = ("rc-service", "NAME", "zap")
"""OpenRC takes a service for stopped."""

BETWEEN_STARTS = "activating"
"""What systemd calls a unit whose start was done with, and that waits for the next one (Restart=)."""
AGAIN = "it ends, and is started again and again"


@dataclass(frozen=True)
class Services:
    """The services of a root; `probe_seconds` is how long one is watched after a restart."""

    root: Path
    probe_seconds: float = PROBE_SECONDS

    @property
    def init(self) -> Init:
        """By what runs, as both say themselves (openrc: softlevel, systemd: sd_booted)."""
        if places.inside(self.root, "/run/openrc/softlevel").exists():
            return Init.OPENRC
        if places.inside(self.root, "/run/systemd/system").is_dir():
            return Init.SYSTEMD
        return Init.OTHER

    def exists(self, name: str) -> bool:
        if self.init is Init.SYSTEMD:
            units = (f"{directory}/{name}.service" for directory in UNITS)
            return any(places.inside(self.root, unit).exists() for unit in units)
        return places.inside(self.root, f"/etc/init.d/{name}").exists()

    def runs(self, name: str) -> bool:
        """False where nothing can be asked: the new configuration counts from the next boot on."""
        return self.init is not Init.OTHER and not self._ask(STATUS[self.init], name, STATUS_SECONDS)

    def owners(self, asked: Mapping[str, str]) -> dict[str, str]:
        """path -> service, of paths with what the policy says of them; empty: none is known."""
        found = {}
        unknown = []
        for path, said in asked.items():
            if said:
                found[path] = "" if said == NONE else said
                continue
            row = next((names for glob, names in TABLE if fnmatchcase(path, glob)), None)
            if row is None:
                unknown.append(path)
                continue
            names = (_own(path) if name == "*" else name for name in row)
            found[path] = next((name for name in names if self._may_restart(name)), "")
        return found | self._by_package(unknown)

    def _may_restart(self, name: str) -> bool:
        """By itself, without a policy that names it."""
        if name.startswith(OWN) or not self.exists(name):
            return False
        early = (places.inside(self.root, f"/etc/runlevels/{level}/{name}") for level in EARLY)
        return self.init is Init.SYSTEMD or not any(os.path.lexists(one) for one in early)

    def _start_of(self, name: str) -> str:
        """Another text after each start, where whoever starts it again by itself counts that."""
        if self.init is Init.SYSTEMD:
            argv = ["systemctl", "show", "--property=InvocationID", "--value", name]
            return run(argv, root=self.root, seconds=STATUS_SECONDS).last_line
        # Of supervise-daemon(8); start-stop-daemon starts nothing again.
        return self._option(name, "start_count")

    def _ended(self, name: str) -> str:
        """OpenRC calls a service started of which only a file says that it had a process."""
        named = self._option(name, "pidfile") if self.init is Init.OPENRC else ""
        file = places.inside(self.root, places.resolve(self.root, named)) if named else None
        number = file.read_text(errors="replace").strip() if file and file.is_file() else ""
        gone = number.isdecimal() and not places.inside(self.root, f"/proc/{number}").exists()
        return f"its process {number} is gone" if gone else ""

    def _option(self, name: str, option: str) -> str:
        """What OpenRC remembers of a service that was started (service_set_value); empty: nothing."""
        place = places.inside(self.root, f"/run/openrc/options/{name}/{option}")
        return place.read_text(errors="replace").strip() if place.is_file() else ""

    def restart(self, name: str, health: str) -> str:
        """Restart a service, whether it runs or not, and watch it, then the health command; what is wrong."""
        # What is not there cannot be stopped, and what was not stopped is not started.
        orders = (FORGET, *RESTART[self.init]) if self._ended(name) else RESTART[self.init]
        for order in orders:
            if complaint := self._ask(order, name, RESTART_SECONDS):
                return f"{name} did not restart: {complaint}"
        deadline, began = time.monotonic() + self.probe_seconds, self._start_of(name)
        while True:
            complaint = self._ask(STATUS[self.init], name, STATUS_SECONDS) or self._ended(name)
            if complaint == BETWEEN_STARTS or (not complaint and self._start_of(name) != began):
                complaint = AGAIN
            if complaint:
                return f"{name} does not run after its restart: {complaint}"
            if time.monotonic() >= deadline:
                break
            time.sleep(STEP_SECONDS)
        return self.healthy(health)

    def healthy(self, health: str) -> str:
        """What the policy's command says, empty when it succeeded or there is none."""
        if not health:
            return ""
        done = run(["sh", "-c", health], root=self.root, seconds=HEALTH_SECONDS)
        return f"`{health}` failed: {done.cut or done.last_line}" if done.status else ""

    def _ask(self, order: Sequence[str], name: str, seconds: float) -> str:
        argv = [name if word == "NAME" else word for word in order]
        done = programs.order(argv, root=self.root, seconds=seconds)
        if done.status == MISSING:
            return f"{argv[0]} is not there"
        return done.cut or done.last_line if done.status else ""

    def _by_package(self, paths: Iterable[str]) -> dict[str, str]:
        """The service of the package that a file is of, when the package has exactly one."""
        found = dict.fromkeys(paths, "")
        if not found:
            return {}
        for contents in sorted(places.inside(self.root, "/var/db/pkg").glob("*/*/CONTENTS")):
            files = {line.split(" ")[1] for line in _lines(contents) if line.startswith("obj ")}
            mine = files & found.keys()
            services = {name for name in map(_service, files) if name and self._may_restart(name)}
            if mine and len(services) == 1:
                found |= dict.fromkeys(mine, services.pop())
        return found


def _lines(contents: Path) -> list[str]:
    return contents.read_text(errors="surrogateescape").splitlines()


def _own(path: str) -> str:
    """The service that a file is named after; of a drop-in, its directory is."""
    directory, _, name = path.rpartition("/")
    name = directory.rpartition("/")[2].removesuffix(".d") if directory.endswith(".service.d") else name
    return name.removesuffix(".service")


def _service(path: str) -> str:
    directory, _, name = path.rpartition("/")
    if directory == "/etc/init.d":
        return name
    return name.removesuffix(".service") if directory in UNITS and name.endswith(".service") else ""

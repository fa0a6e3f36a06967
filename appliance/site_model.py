"""What a site directory says, read and checked; frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from appliance.client_settings import ClientsSettings
from appliance.dhcp_settings import DhcpSettings
from appliance.dns_settings import DnsSettings
from appliance.machine_settings import MachineSettings
from appliance.net_settings import NetSettings
from appliance.profile_model import DiskLayout, MatchRule, Partition, Profile, StageSource
from appliance.secure_boot import SecureBootSettings
from appliance.tftp_settings import TftpSettings
from appliance.web_settings import WebSettings

__all__ = [
    "DiskLayout",
    "FarmSettings",
    "MatchRule",
    "Partition",
    "Profile",
    "Repository",
    "Schedule",
    "Site",
    "SiteHost",
    "StageSource",
    "SyncKind",
]


class SyncKind(Enum):
    LOCAL = "local"
    GIT = "git"
    RSYNC = "rsync"
    SNAPSHOT = "snapshot"
    """A tarball, as emerge-webrsync fetches it."""
    SQUASHFS = "squashfs"


@dataclass(frozen=True)
class Repository:
    name: str
    location: Path | None = None
    """The directory of a local one; the others live in the state."""
    sync: SyncKind = SyncKind.LOCAL
    uri: str = ""
    branch: str = ""
    """A git branch or tag; empty: what the remote side calls HEAD."""
    depth: int = 1
    """Git commits to fetch; 0: all."""
    keyring: Path | None = None
    """Public keys; what none of them signed is refused."""
    priority: int | None = None
    """Portage's: of equal versions the repository with the higher one wins. The main one has -1000."""

    @property
    def source(self) -> str:
        """Where its trees come from, as one text: another text is another line of history."""
        return f"{self.sync.value} {self.location or self.uri} {self.branch}".rstrip()


@dataclass(frozen=True)
class Schedule:
    """When repositories are synchronised: so often, or once a day at a time of day (local)."""

    every_seconds: float = 24 * 3600.0
    at_minute: int | None = None


@dataclass(frozen=True)
class FarmSettings:
    """How much the farm does at a time, and where its queue is."""

    workers: int = 1
    """Builds side by side on this machine."""
    memory_bytes: int = 0
    """What all builds together may need; 0: most of what the machine has."""
    queue: str = "sqlite"
    """`sqlite`, or the URL of a Redis that workers on other hosts share."""
    staleness_seconds: float = 24 * 3600.0
    """Newer inputs wait at most so long for a build of older ones."""
    port: int = 0
    """TCP port where workers on other hosts fetch and push; 0: there are none."""
    strict: bool = False
    """A package is built again when anything that it was built with is another."""
    fetch: bool = True
    """Whether the farm fetches the distfiles that builds need."""
    mirrors: tuple[str, ...] = ()
    """GENTOO_MIRRORS of the farm."""


@dataclass(frozen=True)
class SiteHost:
    """A compile host as the site names it."""

    name: str
    address: str
    slots: int = 0
    arch: str = ""


@dataclass(frozen=True)
class Site:
    """All an admin says, read and checked."""

    path: Path
    name: str
    repositories: tuple[Repository, ...]
    """The main repository first."""
    profiles: Mapping[str, Profile]
    http_port: int = 80
    http_front: int = 0
    """The port machines are told instead, on which a web server in front of ours listens; 0: none."""
    web: WebSettings = field(default_factory=WebSettings)
    clients: ClientsSettings = field(default_factory=ClientsSettings)
    address: str = ""
    """IPv4 address to serve from; empty: the interface's own."""
    jobs: int = 0
    """Packages built at a time; 0: one for each processor."""
    compile_hosts: tuple[SiteHost, ...] = ()
    builders: tuple[str, ...] = ()
    """Addresses of further hosts that build and may use the compile hosts."""
    ccache_bytes: int = 10 * 2**30
    """What the compiler caches of all toolchains may take together; 0: there are none."""
    dhcp: DhcpSettings = field(default_factory=DhcpSettings)
    farm: FarmSettings = field(default_factory=FarmSettings)
    tftp: TftpSettings = field(default_factory=TftpSettings)
    keep_releases: int = 5
    """The newest releases of each profile, and of each channel's history, that gc leaves."""
    keep_seconds: float = 14 * 86400.0
    """gc leaves whatever is younger."""
    schedule: Schedule = Schedule()
    net: NetSettings = field(default_factory=NetSettings)
    machines: Mapping[str, MachineSettings] = field(default_factory=dict)
    """By MAC: what the site says of one machine."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    secure_boot: SecureBootSettings = field(default_factory=SecureBootSettings)

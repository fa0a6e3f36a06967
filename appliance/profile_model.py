"""What a profile is: the kind of machine that a site describes and a medium plans for; frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from appliance.client_settings import Following
from appliance.disk_model import DiskLayout, Partition
from appliance.model import Firmware

__all__ = [
    "AGENT",
    "RULE_TEXTS",
    "DiskLayout",
    "DiskRule",
    "MatchRule",
    "Partition",
    "Profile",
    "StageSource",
]

AGENT = "sys-apps/distserver-client"
"""The package of the agent, in every profile's world unless that takes it away; the farm makes it."""


class Cross(Enum):
    """How packages for another processor than the farm's are made."""

    NATIVE = "native"
    """They are not: the farm's processor runs them."""
    EMULATED = "emulated"
    """In a root of that processor, whose programs QEMU runs; compile hosts have a native cross compiler."""
    ROOT = "root"
    """In a root of the farm's processor with a cross compiler, into a second root (ROOT, SYSROOT)."""


@dataclass(frozen=True)
class StageSource:
    """Where a profile's stage comes from.

    `location` is a path, a URL, or `reference:build` / `reference:install`, with `:i686` behind it for
    another processor than x86_64. For a URL, `digests` and `signature` name the URLs (default: the location
    with .DIGESTS and .asc added) and `keyring` the file of public keys that may have signed it. `sha256`
    pins a local file.
    """

    location: str
    sha256: str = ""
    digests: str = ""
    signature: str = ""
    keyring: Path | None = None


RULE_TEXTS: tuple[str, ...] = ("mac", "vendor", "product", "serial", "uuid", "cpu", "arch", "family", "sku")
RULE_TEXTS += ("board_vendor", "board", "bios_vendor", "bios_version")
"""Facts that a match rule has one glob for."""


@dataclass(frozen=True)
class DiskRule:
    """Which disks a machine must have, and how many of them; those that can be taken out do not count."""

    count: int | None = None
    """Exactly so many; None: at least one."""
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None
    transport: str = ""
    model: str = ""
    """Globs; empty matches any."""


@dataclass(frozen=True)
class MatchRule:
    """All given conditions must hold for a machine's facts. `arm`: a match also allows one installation."""

    mac: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    arm: bool = False
    source: str = ""
    """file and table, for messages."""
    priority: int = 0
    """Of several rules that fit, the highest counts."""
    cpu: str = ""
    arch: str = ""
    family: str = ""
    sku: str = ""
    board_vendor: str = ""
    board: str = ""
    bios_vendor: str = ""
    bios_version: str = ""
    firmware: Firmware | None = None
    secure_boot: bool | None = None
    oui: tuple[str, ...] = ()
    """First octets of the MAC address; one of them has to be."""
    cpu_flags: tuple[str, ...] = ()
    """All of them; `-sse`: not that one."""
    pci: tuple[str, ...] = ()
    """A device for each of them; `-1af4:*`: none such."""
    min_memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    min_cpus: int | None = None
    max_cpus: int | None = None
    disk: DiskRule | None = None


@dataclass(frozen=True)
class Profile:
    """One kind of machine, its parents already folded in."""

    name: str
    description: str
    arch: str
    chost: str
    portage_profile: str
    """`repository:path`, as a make.profile names it, e.g. `distserver:amd64`."""
    stage: StageSource
    install_stage: StageSource
    """What is unpacked on the machine; the same as `stage` unless the profile says otherwise."""
    kernel_package: str
    kernel_arguments: str
    kernel_config: str
    """Kconfig fragment text, parents first."""
    portage: Mapping[str, bytes]
    """Files of /etc/portage by relative path."""
    world: tuple[str, ...]
    disk: DiskLayout
    authorized_keys: str = ""
    """Public keys that may log in as root by ssh, one a line."""
    match: tuple[MatchRule, ...] = ()
    kernel_source: str = ""
    """Atom of a package that installs /usr/src/linux-VERSION; the farm then makes `kernel_package` of it."""
    kernel_base: str = ""
    """Of a kernel from sources: a target such as `defconfig`, or the text of a whole configuration."""
    lineage: tuple[str, ...] = ()
    """The profiles it was folded from, most distant parent first, itself last."""
    channel: str = "stable"
    """Where new releases go first."""
    promote_after_seconds: float | None = None
    """How long a release is on canary before it goes to stable by itself; None: a person promotes it."""
    hold: bool = True
    """A package that does not build stays at its version, so that the others are published."""
    boot: bool = False
    """A virtual machine must install a release and boot it before it is published."""
    processor: bool = False
    """Packages are disassembled: what has an instruction that -march's processor has not is not published."""
    dispatched: tuple[str, ...] = ()
    """Packages (category/name) that choose such code at run time, and only where it can run."""
    cross: Cross = Cross.NATIVE
    cross_stage: StageSource | None = None
    """Of an emulated profile: where the native cross compiler for compile hosts is."""
    client: Following = field(default_factory=Following)
    """How its machines follow their channel once they are installed."""

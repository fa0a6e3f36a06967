"""Secure Boot: the table [secure_boot] of the site, and what a signed release has besides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.schema import Keys, Kind

SIGNED_KERNEL = "kernel.efi"
SIGNED_LOADER = "loader.efi"
"""The names in a release of its kernel and of the machine's boot loader with the site's signature."""
SHIM, MOK_MANAGER = "shim.efi", "mokmanager.efi"
"""And of what stands before the loader on machines that know only Microsoft's keys."""
SECURE_BOOT = Keys({"enabled": Kind.BOOLEAN, "enroll": Kind.BOOLEAN, "shim": Kind.BOOLEAN})


@dataclass(frozen=True)
class SecureBootSettings:
    enabled: bool = True
    """Sign boot programs, kernels and loaders as soon as the site has keys (`distserver secureboot init`)."""
    enroll: bool = False
    """The installer enrolls the site's keys on machines whose firmware is in setup mode."""
    shim: bool = False
    """Everything UEFI x64 begins with Debian's shim, which Microsoft signed."""


def read_secure_boot(table: Mapping[str, Any]) -> SecureBootSettings:
    """The settings; every value of the right kind is right."""
    return SecureBootSettings(**table)

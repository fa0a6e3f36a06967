"""Which paths Portage protects, and which contents never leave the machine."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from distserver_client.triples import Kind, Rule, Version

SECRET = (
    "/etc/shadow*", "/etc/gshadow*", "/etc/ssh/ssh_host_*_key", "/etc/wireguard/*", "/etc/distserver/*",
    "/etc/*secret*", "*/private/*", "*.key", "*.p12", "*.pfx", "*.jks", "*.keytab", "*/.ssh/id_*",
    "*/wpa_supplicant*.conf",
)  # fmt: skip
"""A policy may add to them, and cannot take from them. `*secret*`: pppd's chap-secrets, too."""
FOR_OTHERS = 0o004


@dataclass(frozen=True)
class Protection:
    """CONFIG_PROTECT and CONFIG_PROTECT_MASK: files or directories, absolute."""

    protect: tuple[str, ...]
    mask: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """As Portage's ConfigProtect.isprotected: an entry counts when it is longer than the mask before it.

        Their order is of concern, and stays that of the configuration.
        """
        protected = masked = 0
        for entry in self.protect:
            if len(entry) > masked and _is_below(path, entry):
                protected = len(entry)
                hits = [len(mask) for mask in self.mask if len(mask) >= protected and _is_below(path, mask)]
                masked = hits[-1] if hits else masked
        return protected > masked


def protection(header: Mapping[str, str]) -> Protection:
    """From CONFIG_PROTECT and CONFIG_PROTECT_MASK of the header of Packages, shell words each."""
    names = ("CONFIG_PROTECT", "CONFIG_PROTECT_MASK")
    protect, mask = (tuple(_clean(header.get(name, ""))) for name in names)
    return Protection(protect, mask)


def is_secret(path: str, rule: Rule, *versions: Version) -> bool:
    """By its name; by the policy; without a word of it, when others may not read one of the versions."""
    if any(fnmatchcase(path, glob) for glob in SECRET):
        return True
    if rule.secret is not None:
        return rule.secret
    return any(one.kind is Kind.FILE and not one.mode & FOR_OTHERS for one in versions)


def _clean(text: str) -> list[str]:
    return ["/" + "/".join(part for part in word.split("/") if part) for word in shlex.split(text)]


def _is_below(path: str, entry: str) -> bool:
    return path == entry or path.startswith(entry.rstrip("/") + "/")

"""Writes the small repository whose one package is the agent of installed machines.

So the agent is in every profile's index and comes to machines like any package: built once, recorded by
Portage, updated and taken back with the release it is of.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.client_keys import ClientKeys
from appliance.model import Tree
from appliance.overlays import overlay
from appliance.profile_model import AGENT
from appliance.site_model import Repository, Site
from buildfarm.tarball import Member, read_directory

REPOSITORY = "distserver-client"
VERSION = "1"
"""It stands for nothing: another content of the package's files is another build key, and a new build."""
NOT_PACKAGED = ("etc/distserver/",)
"""What is the site's or the machine's."""


def files() -> dict[str, Member]:
    """What the package installs, by name relative to /."""
    found = read_directory(overlay("client"))
    return {name: one for name, one in found.items() if not name.startswith(NOT_PACKAGED)}


def left_over() -> dict[str, Member]:
    """What is laid over every machine besides the package."""
    found = read_directory(overlay("client"))
    return {name: one for name, one in found.items() if name.startswith(NOT_PACKAGED)}


def without_agent() -> dict[str, Member]:
    """What is laid over a machine whose profile leaves the agent out: it still reports its installation."""
    found = read_directory(overlay("client"))
    parts = ("distserver-report", "first-report")
    return left_over() | {name: one for name, one in found.items() if any(part in name for part in parts)}


def write_repository(place: Path, *, masters: Sequence[str]) -> Repository:
    """`place` is the farm's own, nothing else stays there."""
    shutil.rmtree(place, ignore_errors=True)
    category, name = AGENT.split("/")
    home = place / category / name
    texts = {
        "profiles/repo_name": f"{REPOSITORY}\n",
        "profiles/categories": f"{category}\n",
        "metadata/layout.conf": (
            f"repo-name = {REPOSITORY}\nmasters = {' '.join(masters)}\nthin-manifests = true\n"
            "sign-manifests = false\ncache-formats = md5-dict\n"
        ),
        f"{category}/{name}/{name}-{VERSION}.ebuild": (
            (overlay("client-package") / f"{name}.ebuild").read_text()
        ),
    }
    for relative, text in texts.items():
        (place / relative).parent.mkdir(parents=True, exist_ok=True)
        (place / relative).write_text(text)
    for relative, member in files().items():
        target = home / "files/root" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(member.content, bytes):
            target.write_bytes(member.content)
            target.chmod(0o755 if member.program else 0o644)
        else:
            target.symlink_to(member.content)
    return Repository(REPOSITORY, place)


def door_files(site: Site, tree: Tree) -> dict[str, Member]:
    """By what a machine finds and believes the door of its server; nothing when the site has none.

    Without the authority a machine would be installed as one that nobody knows: it is made before the
    server was ever up.
    """
    if not site.clients.port:
        return {}
    keys = ClientKeys.below(tree)
    keys.make_authority(site.name)
    return {
        "etc/distserver/ca.crt": Member(keys.authority.read_bytes()),
        "etc/distserver/door-port": Member(f"{site.clients.port}\n".encode()),
    }

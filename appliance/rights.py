"""With which rights the processes of `up` run: as whom, with which capabilities, and what is theirs."""

import contextlib
import logging
import os
import pwd
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.media_secret import share
from appliance.model import Tree
from appliance.overlays import HOME
from appliance.run import run

log = logging.getLogger(__name__)

USER = "distserver"
DIE_TOGETHER = ["setpriv", "--pdeathsig", "KILL"]
"""A killed `up` must not leave processes behind that hold its ports."""


def service_user() -> pwd.struct_passwd:
    """The unprivileged user that answers the network; made at the first start."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    log.info("adding the system user %s", USER)
    home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    run(["useradd", "--system", *home, USER])
    return pwd.getpwnam(USER)


def open_to_others(site: Path, state: Path) -> bool:
    """Whether another user can read the program and the site and reach the state; says so when not."""
    python = Path(sys.executable)
    places = (python, Path(sys.prefix), python.resolve(), HOME, site, state.parent)
    closed = [
        up
        for place in places
        for up in (place, *place.parents)
        if up.exists() and up.stat().st_mode & 0o5 != 0o5
    ]
    if closed:
        log.warning(
            "%s is closed to other users: boot and web run as root without its capabilities; "
            "for an unprivileged user keep program, site and state elsewhere",
            closed[0],
        )
    return not closed


def hand_over(tree: Tree, user: pwd.struct_passwd | None) -> None:
    """The store belongs to the user of boot and web, and nothing else does: not releases, pool or keys.

    SQLite makes its side files belong to the same user, whoever writes. Of the keys that user may read one:
    boot checks with it what machines report that were installed from media.
    """
    tree.path.chmod(0o755)
    uid, gid = (user.pw_uid, user.pw_gid) if user else (0, 0)
    for file in (tree.store.parent, *tree.store.parent.iterdir()):
        os.chown(file, uid, gid)
    share(tree, gid)
    if user:
        let_read_logs(tree.room("logs"), uid)


def let_read_logs(logs: Path, uid: int) -> None:
    """Let a user read the logs that come: Portage makes its own for itself, and the web page shows them.

    A default ACL (acl(5), linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry).
    """
    everyone = 0xFFFFFFFF
    entries = [(1, 7, everyone), (2, 5, uid), (4, 5, everyone), (16, 7, everyone), (32, 5, everyone)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(logs, "system.posix_acl_default", acl)
    except OSError as failed:
        log.warning("%s: %s; the web page cannot show logs of packages", logs, failed.strerror)


def unprivileged(user: pwd.struct_passwd | None, capabilities: Sequence[str]) -> list[str]:
    """An argv prefix: the service user (or root) with nothing but these capabilities."""
    sets = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    bounds = ["--no-new-privs", f"--inh-caps={sets}", f"--bounding-set={sets}"]
    if user is None:
        return [*DIE_TOGETHER, *bounds]
    identity = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [*DIE_TOGETHER, *identity, *bounds, f"--ambient-caps={sets}"]

"""The secret behind the credentials of media: who may read it, and that there is only one."""

import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.media_secret import media_secret, read_media_secret
from appliance.model import Tree
from appliance.rights import DIE_TOGETHER, hand_over
from appliance.run import run
from appliance.store import Store


@pytest.fixture
def tree() -> Iterator[Tree]:
    # Where other users may come: pytest's own directories are closed to them.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="distserver-secret-") as name:
        Path(name).chmod(0o755)
        yield Tree(Path(name) / "state")


def test_it_is_made_once_and_only_its_owner_reads_it(tree: Tree) -> None:
    first = media_secret(tree)
    assert media_secret(tree) == first == read_media_secret(tree)
    assert (tree.path / "keys/media.secret").stat().st_mode & 0o777 == 0o600


def test_where_there_is_none_that_is_said(tree: Tree) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        read_media_secret(tree)
    tree.room("keys").joinpath("media.secret").write_text("short")
    with pytest.raises(Problem, match="has 5 characters"):
        read_media_secret(tree)


def test_up_lets_the_boot_process_read_it_and_nobody_change_it(tree: Tree) -> None:
    Store(tree.store).close()
    user = pwd.getpwnam("nobody")
    hand_over(tree, user)
    file = tree.path / "keys/media.secret"
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, user.pw_gid, 0o640)
    as_user = [*DIE_TOGETHER, "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    assert run([*as_user, "cat", file]).stdout.strip() == media_secret(tree).decode()
    changed = run([*as_user, "sh", "-c", f"echo x >> {file}"], ok=range(256))
    assert changed.status != 0
    assert tree.store.stat().st_uid == user.pw_uid

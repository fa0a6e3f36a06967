"""The secret behind the credentials of media: root makes it, the boot process reads it."""

import os
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from appliance.secret import SECRET_BYTES, make_secret


def media_secret(tree: Tree) -> bytes:
    """Made at first use, then only its owner may read it until `up` lets the boot process."""
    tree.room("keys")
    make_secret(_file(tree))
    return read_media_secret(tree)


def read_media_secret(tree: Tree) -> bytes:
    """Raises Problem when there is none, or it is not whole or may not be read."""
    try:
        text = _file(tree).read_text().strip()
    except (OSError, UnicodeDecodeError) as failed:
        raise Problem(f"the secret of the media cannot be read: {failed}") from failed
    if len(text) < SECRET_BYTES:
        raise Problem(f"{_file(tree)} has {len(text)} characters, expected at least {SECRET_BYTES}")
    return text.encode()


def share(tree: Tree, group: int) -> None:
    """Let the group of the boot process read it, and nobody change it but root."""
    media_secret(tree)
    os.chown(_file(tree), 0, group)
    _file(tree).chmod(0o640)


def _file(tree: Tree) -> Path:
    return tree.path / "keys" / "media.secret"

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pxe import tftp_files
from pxe.tftp_files import Files, Refused, made
from pxe.tftp_socket import Control, Segments


def test_a_file_is_mapped_once_for_all_and_anew_when_it_is_another(tmp_path: Path) -> None:
    files, path = Files([tmp_path]), tmp_path / "nbp"
    path.write_bytes(b"first")
    one, two = files.take(path, "octet"), files.take(path, "octet")
    assert one is two and bytes(one.view) == b"first"
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").rename(path)
    assert bytes(files.take(path, "octet").view) == b"other"
    assert bytes(one.view) == b"first"


def test_what_nobody_fetches_is_forgotten_but_for_the_youngest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tftp_files, "IDLE_FILES", 3)
    files = Files([tmp_path])
    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"x")
    used = files.take(tmp_path / "0", "octet")
    for number in range(1, 20):
        files.give_back(files.take(tmp_path / str(number), "octet"))
    assert len(files) == 4
    assert files.take(tmp_path / "0", "octet") is used


def test_an_empty_file_is_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert Files([tmp_path]).take(tmp_path / "empty", "octet").size == 0


@pytest.mark.parametrize("path", ["directory", "pipe"])
def test_only_regular_files_are_taken(tmp_path: Path, path: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused):
        Files([tmp_path]).take(tmp_path / path, "octet")


@pytest.mark.parametrize(
    "path", ["inner/link", "inner/directory/passwd", "secret", "inner/../secret", "inner", "/etc/passwd"]
)
def test_nothing_outside_of_the_root_and_no_link_is_opened(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "inner"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "directory").symlink_to("/etc")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises((Refused, OSError)):
        Files([root]).take(tmp_path / path, "octet")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_made_content_may_be_given_back() -> None:
    Files([]).give_back(made(b"text", "octet"))


class Picky:
    """A way that takes no more than some segments in one call, as many devices and paths do."""

    def __init__(self, error: int) -> None:
        self.sent: list[bytes] = []
        self.refused = 0
        self._error = error

    def sendmsg(self, buffers: Sequence[bytes | memoryview], control: Control | None = None, /) -> int:
        if control:
            self.refused += 1
            raise OSError(self._error, os.strerror(self._error))
        self.sent.append(b"".join(buffers))
        return len(self.sent[-1])


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EIO, errno.EMSGSIZE])
def test_where_the_kernel_cuts_no_segments_packets_are_sent_one_by_one(error: int) -> None:
    way = Picky(error)
    segments = Segments(way, 8)
    for _ in range(2):
        segments.send([b"h001", memoryview(b"12345678"), b"h002", memoryview(b"123")])
    assert way.sent == [b"h00112345678", b"h002123"] * 2
    assert way.refused == 1


def test_other_errors_are_told() -> None:
    with pytest.raises(PermissionError):
        Segments(Picky(errno.EPERM), 8).send([b"h001", memoryview(b"12345678"), b"h002", memoryview(b"123")])

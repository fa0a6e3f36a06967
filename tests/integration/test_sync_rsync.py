"""Repositories by rsync: a mirror that lost files, files with wrong bytes."""

import os
import shutil
from pathlib import Path

from appliance.site_model import SyncKind
from tests.integration.mirrors import Keys, make_mirror, repository
from tests.integration.syncyard import NOW, Yard


def test_a_mirror_that_lost_its_files_does_not_empty_the_working_copy(tmp_path: Path) -> None:
    made = make_mirror(SyncKind.RSYNC, tmp_path)
    for number in range(300):
        (made.tree / f"app-misc/slow/slow-{number + 2}.ebuild").write_text("EAPI=8\n")
    made.release(at=NOW)
    made.start()
    yard = Yard(tmp_path / "state", repository(made))
    yard.path.mkdir()
    yard.sync()
    kept = yard.path / "repositories/tiny/tree/app-misc/slow"
    before = len(list(kept.iterdir()))
    shutil.rmtree(tmp_path / "served/module/app-misc")
    (tmp_path / "served/module/metadata/timestamp.chk").write_text("Thu, 01 Jan 2099 00:00:00 +0000\n")
    assert "lost more than 25%" in yard.refused()
    assert len(list(kept.iterdir())) > before / 2
    made.stop()


def test_a_file_with_wrong_bytes_of_the_right_size_is_fetched_again(
    tmp_path: Path, mirror_keys: tuple[Keys, Keys]
) -> None:
    made = make_mirror(SyncKind.RSYNC, tmp_path)
    made.release(mirror_keys[0], at=NOW)
    made.start()
    yard = Yard(tmp_path / "state", repository(made, mirror_keys[0].keyring))
    yard.path.mkdir()
    file = tmp_path / "served/module/profiles/arch.list"
    good, times = file.read_bytes(), file.stat()
    file.write_bytes(b"#" * len(good))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "does not verify" in yard.refused()
    file.write_bytes(good)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert yard.sync().image.exists()
    made.stop()

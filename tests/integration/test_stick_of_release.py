"""Sticks of releases: images as `distserver iso` makes them are whole, and one damaged byte is found."""

import shutil
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.desks.drafts import Wish
from appliance.desks.usb import UsbDesk
from appliance.errors import Problem
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import run
from iso.stick_writer import write_stick
from tests.fake_notary import FakeNotary
from tests.loop_devices import blank, loop_device
from tests.press import Press
from tests.press_media import SERVER, media_desk

STICK_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Press:
    place = tmp_path_factory.mktemp("press")
    site = Path(shutil.copytree(example_site(), place / "site"))
    shutil.copytree(site / "profiles/vm", site / "profiles/web")
    press = Press(Tree(place / "state"), site, FakeNotary())
    press.published(b"shared" * 300_000, b"of vm")
    press.published(b"shared" * 300_000, b"of web", profile="web")
    return press


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_an_image_that_was_made_here_is_whole_and_a_stick_of_it_is_sound(
    press: Press, tmp_path: Path, offline: bool
) -> None:
    wish = Wish(("vm", "web"), server=SERVER, offline=offline)
    made = media_desk(press).make(wish, tmp_path / "made.iso", who="ann")
    desk = UsbDesk()
    image = desk.examine(made.path)
    assert image.medium and image.medium.id == made.medium_id
    compared = desk.verify(image, lambda done, total: None)
    assert compared > (1_800_000 if offline else 0)
    stick = blank(tmp_path / "stick", STICK_BYTES)
    with loop_device(stick) as device:
        write_stick(device, made.path, name="stick", check=lambda: None, gone=lambda seconds: False)
    said = run(["sgdisk", "-v", stick], ok=range(256)).stdout
    assert "Identified 1 problems!" in said
    assert "doesn't reside\nat the end of the disk" in said


def test_one_flipped_byte_in_a_package_is_named_before_a_stick_is_touched(
    press: Press, tmp_path: Path
) -> None:
    made = media_desk(press).make(
        Wish(("vm",), server=SERVER, offline=True), tmp_path / "made.iso", who="ann"
    )
    data = made.path.read_bytes()
    place = data.index(b"shared" * 1000) + 12345
    made.path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
    desk = UsbDesk()
    with pytest.raises(Problem, match=r"is damaged: pool/\w\w/\w{64}.gpkg.tar has another SHA-256"):
        desk.verify(desk.examine(made.path), lambda done, total: None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "vm", "no-such-stick"], "there is no drive no-such-stick"),
        (["--profile", "vm", "an.iso", "sdb"], "an.iso is not written: --profile makes the image"),
        ([], "nothing says what to write"),
    ],
)
def test_a_profile_is_written_only_where_there_is_a_stick_for_it(
    press: Press, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """It is said before an image is made, which takes minutes."""
    options = ["--site", str(press.site)]
    assert main(["--state", str(press.tree.path), "usb", "write", *options, *words]) == 1
    assert said in capsys.readouterr().err

"""`distserver iso` and `medium` as a person runs them, with the real signer and the real planner."""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from appliance import medium as description
from appliance.cli import main
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.run import CommandFailed, Finished, run
from buildfarm import release as releases
from buildfarm.signing import Signer, verify
from buildfarm.stage import Stage
from tests.press import Press
from tests.press_media import SERVER, content_of, names_on

MAC = "52:54:00:00:00:01"
COMMAND = (sys.executable, "-m", "appliance.cli", "--state")


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    tree = Tree(tmp_path / "state")
    return Press(tree, site, Signer(tree.path / "keys"))


def words(press: Press, *command: str | Path) -> list[str]:
    return [*COMMAND, *map(str, (press.tree.path, *command, "--site", press.site))]


def distserver(press: Press, *command: str | Path) -> Finished:
    return run(words(press, *command))


def said_to(press: Press, *command: str | Path) -> str:
    """What a command that cannot be done says."""
    with pytest.raises(CommandFailed) as caught:
        distserver(press, *command)
    assert "Traceback" not in caught.value.output
    return caught.value.output


def listed(press: Press) -> Sequence[str]:
    return [line for line in distserver(press, "medium", "list").stdout.splitlines() if "UTC" in line]


def test_in_a_pipe_it_says_what_it_does_what_it_made_and_what_to_do_with_it(
    press: Press, tmp_path: Path
) -> None:
    one = press.published(b"package")
    image = tmp_path / "one.iso"
    said = distserver(press, "iso", "vm", "--server", SERVER, "-o", image).stdout
    assert re.search(rf"^\d\d:\d\d:\d\d verifying release {one.id} of vm$", said, re.MULTILINE)
    assert "writing 100 % of" in said
    sha256 = run(["sha256sum", image]).stdout.split()[0]
    assert f"({image.stat().st_size} bytes), sha256 {sha256}" in said
    assert f"distserver usb write {image} /dev/DISK" in said
    (tmp_path / "text").write_bytes(content_of(image, "distserver/medium", tmp_path))
    (tmp_path / "sig").write_bytes(content_of(image, "distserver/medium.sig", tmp_path))
    (tmp_path / "key").write_bytes(content_of(image, "distserver/release-key.gpg", tmp_path))
    verify(tmp_path / "key", tmp_path / "text", tmp_path / "sig")
    (line,) = listed(press)
    assert description.parse((tmp_path / "text").read_text()).id in line


REFUSALS = {
    "it is not known under which address machines reach this server": (),
    "has no profile web": ("web", "--server", SERVER),
    "--valid is 'soon'": ("--server", SERVER, "--valid", "soon"),
    "--valid is '5000w'": ("--server", SERVER, "--valid", "5000w"),
    "--timeout is -1": ("--server", SERVER, "--timeout", "-1"),
    "there is no machine web1": ("--server", SERVER, "--machine", "web1"),
    "there is no directory /dev/null/no": ("--server", SERVER, "-o", "/dev/null/no/x.iso"),
}


def test_what_it_cannot_do_is_one_sentence(press: Press, capsys: pytest.CaptureFixture[str]) -> None:
    press.published(b"package")
    for said, options in REFUSALS.items():
        assert main(words(press, "iso", "vm", *options)[3:]) == 1
        assert said in capsys.readouterr().err


def test_an_image_for_an_installed_machine_is_only_made_after_its_name_was_typed(
    press: Press, tmp_path: Path
) -> None:
    one = press.published(b"package")
    press.store().machines.add(
        Machine(MAC, MachineState.INSTALLED, name="web1", profile="vm", release=one.id)
    )
    image = tmp_path / "one.iso"
    command = ("iso", "vm", "--server", SERVER, "--machine", "web1", "-o", image)
    assert "this image installs it anew and wipes its disk" in said_to(press, *command)
    terminal = words(press, *command)
    for answer in ("web2", ""):
        with pexpect.spawn(terminal[0], terminal[1:], timeout=60, encoding="utf-8") as person:
            person.expect("Type web1 to go on: ")
            person.sendline(answer)
            person.expect("no image was made")
    assert not image.exists() and listed(press) == []
    with pexpect.spawn(terminal[0], terminal[1:], timeout=60, encoding="utf-8") as person:
        person.expect("Type web1 to go on: ")
        person.sendline("web1")
        person.expect("installs web1 once, without asking, until .*UTC")
        person.expect(pexpect.EOF)
    assert image.exists()
    assert "installs web1 once" in distserver(press, *command, "--yes").stdout


def test_an_image_for_a_machine_is_listed_with_what_it_may_do_and_revoked(
    press: Press, tmp_path: Path
) -> None:
    press.published(b"package")
    press.store().machines.add(Machine(MAC, MachineState.ASSIGNED, name="web1", profile="vm"))
    options = ("--server", SERVER, "--machine", "web1", "--valid", "52w", "-o", tmp_path / "one.iso")
    distserver(press, "iso", "vm", *options)
    (line,) = listed(press)
    assert re.search(rf"online +vm \S+ +{MAC} web1 +once, until \d{{4}}-", line)
    medium = line.split()[0]
    assert "may not install web1 any more" in distserver(press, "medium", "revoke", medium).stdout
    assert "no, revoked" in listed(press)[0]
    assert f"image {medium} was revoked already" in said_to(press, "medium", "revoke", medium)
    assert "revoked by" in distserver(press, "machine", "show", "web1").stdout


def test_offline_images_are_the_same_bytes_with_the_real_planner_and_signer_too(
    press: Press, tmp_path: Path, install_stage: Stage
) -> None:
    content = press.content((press.package("app-misc/a-1", b"package"),))
    stage = releases.stage_archive(install_stage.archive)
    sealed = press.seal(replace(content, files={**content.files, "stage": stage}))
    press.desk().publish(sealed)
    for name in ("1.iso", "2.iso"):
        distserver(press, "iso", "vm", "--offline", "--server", SERVER, "-o", tmp_path / name)
    assert (tmp_path / "1.iso").read_bytes() == (tmp_path / "2.iso").read_bytes()
    assert {"distserver/planner.sqfs", f"r/{sealed.id}/stage"} <= names_on(tmp_path / "1.iso")
    planner = tmp_path / "planner.sqfs"
    planner.write_bytes(content_of(tmp_path / "1.iso", "distserver/planner.sqfs", tmp_path))
    assert "appliance/offline.py" in run(["unsquashfs", "-l", planner]).stdout

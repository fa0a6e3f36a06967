"""Images of made-up releases: a desk over a press, and what isoinfo finds on an image."""

from collections.abc import Callable
from pathlib import Path

from appliance.desks.media import MediaDesk, Planner
from appliance.errors import Problem
from appliance.model import Machine
from appliance.run import run
from tests.press import Press

SERVER = "http://192.0.2.2:80"


def made_up_planner(release: Path, output: Path, shelf: Path) -> None:
    """Stands for the planner of a release whose stage has no Python."""
    output.write_bytes(b"planner of " + (release / "stage").read_bytes())


def media_desk(press: Press, planner: Planner = made_up_planner) -> MediaDesk:
    """With a store of its own."""
    desk = press.desk()
    key = press.tree.room("keys") / "public.gpg"
    key.write_bytes(b"public key")
    return MediaDesk(desk, finder(press), public_key=lambda: key, planner=planner)


def finder(press: Press) -> Callable[[str], Machine]:
    def find(name: str) -> Machine:
        known = press.store().machines.all()
        found = next((one for one in known if name in (one.mac, one.name)), None)
        if found is None:
            raise Problem(f"there is no machine {name}")
        return found

    return find


def names_on(image: Path) -> set[str]:
    """Every file of an image by its Rock Ridge name."""
    listed = run(["isoinfo", "-R", "-l", "-i", image]).stdout
    place, found = "", set()
    for line in listed.splitlines():
        if line.startswith("Directory listing of "):
            place = line.removeprefix("Directory listing of ").strip()
        elif line.startswith("-"):
            found.add((place + line.split("] ", 1)[1].strip()).lstrip("/"))
    return found


def content_of(image: Path, name: str, place: Path) -> bytes:
    """The bytes of one file; `place` is a scratch directory."""
    target = place / "extracted"
    target.unlink(missing_ok=True)
    run(["xorriso", "-osirrox", "on", "-indev", image, "-extract", f"/{name}", target])
    return target.read_bytes()


def efi_names(image: Path, place: Path) -> set[str]:
    """Every file of the FAT image for UEFI; `place` is a scratch directory."""
    (place / "efi.img").write_bytes(content_of(image, "efi.img", place))
    listed = run(["mdir", "-/", "-b", "-i", place / "efi.img", "::/"]).stdout.split()
    return {name.removeprefix("::/") for name in listed if not name.endswith("/")}

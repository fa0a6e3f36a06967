"""USB sticks: which there are, which may be written, and writing an image that was looked at before."""

from collections.abc import Callable
from pathlib import Path

from appliance.errors import Problem
from appliance.medium import Medium
from buildfarm import manifest
from buildfarm.index import pool_path
from iso import stick_writer
from iso.image_file import ImageFile, examine, reading, verify
from iso.iso9660 import content
from iso.stick_choice import choose, refusal, title
from iso.stick_writer import Progress, Written
from iso.sticks import Refused, Stick, System, is_removable, judge, too_small
from iso.usb import node, survey, watching


class UsbDesk:
    """Needs neither site nor state: an image says itself what is on it."""

    def drives(self, *, every: bool = False) -> tuple[System, list[Stick | Refused]]:
        """What is plugged in; `every`: also the disks that are no sticks, with the reason."""
        system = survey()
        shown = [one for one in system.drives if is_removable(one) or (every and one.size_bytes)]
        return system, [judge(one, system) for one in shown]

    def choose(self, device: str, serial: str, image_bytes: int, *, unattended: bool) -> tuple[System, Stick]:
        """The stick that is meant; Problem when an image of that size may not be written on it."""
        system = survey()
        stick = choose(system, _name(device), serial, unattended=unattended)
        if text := too_small(stick.drive, image_bytes):
            raise Problem(text, hint="take a larger stick, or make an image with fewer profiles")
        return system, stick

    def examine(self, path: Path) -> ImageFile:
        return examine(path)

    def verify(self, image: ImageFile, progress: Callable[[int, int], None]) -> int:
        """Compare what the manifests of a medium name; how many bytes were compared. 0: nothing names any."""
        return verify(image, expected(image), progress)

    def write(self, stick: Stick, image: ImageFile, progress: Progress) -> Written:
        """Write it if that is still the stick that was chosen; raises Problem."""
        drive = stick.drive

        def check() -> None:
            system = survey()
            now = next((one for one in system.drives if one.name == drive.name), None)
            same = now and (now.number, now.size_bytes, now.serial, now.sequence) == (
                drive.number, drive.size_bytes, drive.serial, drive.sequence,
            )  # fmt: skip
            if now is None or not same:
                text = f"{drive.name} is another one now than {title(drive)}: nothing was written"
                raise Problem(text, hint="start again")
            judged = judge(now, system)
            if isinstance(judged, Refused):
                raise refusal(judged)

        with node(drive.name, drive.number) as path, watching(drive) as gone:
            return stick_writer.write_stick(
                path, image.path, name=drive.name, check=check, gone=gone, progress=progress
            )


def expected(image: ImageFile) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file of a medium that its description and its manifests name.

    An online medium has only kernel and installer of a release: what else its manifest names is not missing.
    """
    medium = image.medium
    if medium is None:
        return {}
    found = {file.path: (file.size_bytes, file.sha256) for file in medium.files}
    for release, _ in medium.releases:
        place = f"r/{release}"
        said = _manifest(image, medium, f"{place}/manifest")
        needed = {f"{place}/{item.name}": item for item in said.files}
        pool = {pool_path(item.sha256): item for item in said.packages}
        for path, item in {**needed, **pool}.items():
            if medium.offline or path in image.files:
                found[path] = (item.size_bytes, item.sha256)
    return found


def _manifest(image: ImageFile, medium: Medium, path: str) -> manifest.Manifest:
    there = image.files.get(path)
    if there is None:
        raise Problem(f"{image.path} is damaged: {path} is missing", hint="make or copy it again")
    with reading(image.path) as (read, _):
        return manifest.parse(content(read, there).decode(errors="replace"))


def _name(device: str) -> str:
    """As the kernel calls it, of a name, a path or a link below /dev/disk."""
    path = Path(device)
    return str(path.resolve()).removeprefix("/dev/") if path.is_absolute() else device

"""Images of media, judged by the tools that others read media with."""

import hashlib
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.run import run
from iso.layout import BIOS_PATH, BLOCK_BYTES, CATALOG_PATH, EFI_PATH, Image, lay_out
from iso.writer import Written, write_image
from tests.boot_images import BootImages, make_boot_images

MADE_AT = 1795000000
DEEP = "/".join(f"level{number}" for number in range(11)) + "/deep.txt"
PACKAGE = f"pool/ab/{'ab' * 32}.gpkg.tar"
TWIN = f"pool/ab/{'ab' * 31}cd.gpkg.tar"
COMPLAINT = re.compile(r"warning|caution|failure|sorry|problem|error|mishap|invalid|unsupported", re.I)


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> BootImages:
    return make_boot_images(tmp_path_factory.mktemp("boot"))


@pytest.fixture(scope="module")
def image(boot: BootImages, tmp_path_factory: pytest.TempPathFactory) -> Image:
    payload = tmp_path_factory.mktemp("payload")
    for number, name in enumerate(("package", "twin", "kernel", "same-kernel")):
        (payload / name).write_bytes(bytes([65 + min(number, 2)]) * (300_001 + min(number, 2)))
    return Image(
        label="DISTSERVER_WITH_A_LONG_LABEL",
        files={
            "boot/grub/grub.cfg": b"echo it boots\n",
            "distserver/id-0123456789abcdef": b"",
            PACKAGE: payload / "package",
            TWIN: payload / "twin",
            "r/1/kernel": payload / "kernel",
            "r/2/kernel": payload / "same-kernel",
            "Read Me.txt": b"one",
            "read me.txt": b"other",
        },
        bios=boot.bios,
        efi=boot.efi,
        mbr=boot.mbr,
        made_at=MADE_AT,
    )


@pytest.fixture(scope="module")
def written(image: Image, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    path = tmp_path_factory.mktemp("image") / "medium.iso"
    return path, write_image(image, path)


@pytest.fixture(scope="module")
def iso(written: tuple[Path, Written]) -> Path:
    return written[0]


def bytes_of(image: Image) -> dict[str, bytes]:
    return {
        path: content if isinstance(content, bytes) else content.read_bytes()
        for path, content in image.files.items()
    }


def lbas(iso: Path) -> dict[str, tuple[int, int]]:
    """Block and size of every file, as xorriso finds them."""
    said = run(["xorriso", "-indev", iso, "-find", "/", "-type", "f", "-exec", "report_lba", "--"]).stdout
    found = re.findall(r"^File data lba: *\d+ *, *(\d+) *, *\d+ *, *(\d+) *, *'/(.*)'$", said, re.M)
    return {path: (int(block), int(size)) for block, size, path in found}


def test_the_digest_is_that_of_the_file(written: tuple[Path, Written]) -> None:
    path, said = written
    data = path.read_bytes()
    assert said == Written(len(data), hashlib.sha256(data).hexdigest())
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_xorriso_reads_it_without_complaint(iso: Path, image: Image, boot: BootImages) -> None:
    said = run(
        ["xorriso", "-indev", iso, "-report_el_torito", "plain", "-report_system_area", "plain"]
    ).stdout
    assert not COMPLAINT.search(said), said
    where = lbas(iso)
    for line in (
        rf"El Torito boot img : +1 +BIOS +y +none +0x0000 +0x00 +4 +{where[BIOS_PATH][0]}",
        rf"El Torito boot img : +2 +UEFI +y +none +0x0000 +0x00 +4096 +{where[EFI_PATH][0]}",
        rf"El Torito cat path : /{CATALOG_PATH}",
        r"El Torito img opts : +1 +boot-info-table grub2-boot-info",
        r"System area summary: MBR protective-msdos-label grub2-mbr cyl-align-off GPT",
        rf"GPT start and size : +1 +{where[EFI_PATH][0] * 4} +4096",
        rf"GPT partition path : +1 +/{EFI_PATH}",
        rf"Volume id +: '{image.label}'",
    ):
        assert re.search(line, said), f"{line}\n{said}"
    checked = run(["xorriso", "-indev", iso, "-check_media", "--"]).stdout
    regions = re.findall(r"^Media region : .* , (.*)$", checked, re.M)
    assert regions == ["+ good"], checked


def test_every_file_is_what_it_was(iso: Path, image: Image, boot: BootImages, tmp_path: Path) -> None:
    run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tmp_path / "out"])
    out = tmp_path / "out"
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    catalog = found.pop(CATALOG_PATH)
    assert len(catalog) == BLOCK_BYTES
    core = found.pop(BIOS_PATH)
    assert core[64:2548] == boot.bios[64:2548]
    assert found == bytes_of(image) | {EFI_PATH: boot.efi.read_bytes()}


def test_equal_files_are_one_extent(iso: Path) -> None:
    where = lbas(iso)
    assert where["r/1/kernel"] == where["r/2/kernel"]
    assert where[PACKAGE][0] != where[TWIN][0]


def test_a_file_that_equals_the_bios_image_stays_as_it_is(
    image: Image, boot: BootImages, tmp_path: Path
) -> None:
    """The BIOS image is told where it lies; what has the same content is not."""
    write_image(replace(image, files={"core": boot.bios}), tmp_path / "medium.iso")
    run(
        [
            "xorriso",
            "-osirrox",
            "on",
            "-indev",
            tmp_path / "medium.iso",
            "-extract",
            "/core",
            tmp_path / "core",
        ]
    )
    assert (tmp_path / "core").read_bytes() == boot.bios


def listed(iso: Path, *options: str) -> set[str]:
    said = run(["isoinfo", "-f", *options, "-i", iso]).stdout
    assert not COMPLAINT.search(said), said
    return set(said.splitlines())


def test_isoinfo_reads_all_three_trees(iso: Path, image: Image) -> None:
    tree = lay_out([*image.files, BIOS_PATH, EFI_PATH, CATALOG_PATH])
    places = (*tree.directories, *tree.files)
    assert listed(iso, "-R") == {f"/{one.path}" for one in places}
    assert listed(iso, "-J") == {one.joliet for one in places}
    assert listed(iso) == {one.iso for one in places}
    assert not COMPLAINT.search(run(["isoinfo", "-l", "-R", "-J", "-i", iso]).stdout)


def test_isoinfo_describes_it(iso: Path, image: Image) -> None:
    described = run(["isoinfo", "-d", "-i", iso]).stdout
    assert not COMPLAINT.search(described)
    for line in (
        f"Volume id: {image.label}",
        f"Volume size is: {iso.stat().st_size // BLOCK_BYTES}",
        "Joliet with UCS level 3 found",
        "Rock Ridge signatures version 1 found",
    ):
        assert f"{line}\n" in described


def test_partition_tools_find_no_fault(iso: Path) -> None:
    verified = run(["sgdisk", "--verify", iso]).stdout
    assert "No problems found." in verified
    assert not COMPLAINT.search(verified.replace("No problems found.", "")), verified
    assert "No errors detected." in run(["sfdisk", "--verify", iso]).stdout
    assert f"start={lbas(iso)[EFI_PATH][0] * 4:12}" in run(["sfdisk", "--dump", iso]).stdout


def test_the_backup_table_alone_is_enough(iso: Path, tmp_path: Path) -> None:
    """As after a tool that overwrote the first sectors: the other end has the same partitions."""
    damaged = tmp_path / "damaged.iso"
    data = bytearray(iso.read_bytes())
    data[512 : 34 * 512] = bytes(33 * 512)
    damaged.write_bytes(data)
    assert re.search(r"^ +1 +\d+ +\d+ .* EF00 ", run(["sgdisk", "--print", damaged]).stdout, re.M)


def test_grub_reads_what_it_boots(iso: Path) -> None:
    assert run(["grub-fstest", iso, "cat", "(loop0)/boot/grub/grub.cfg"]).stdout == "echo it boots\n"
    checksum = run(["grub-fstest", iso, "crc", f"(loop0)/{PACKAGE}"]).stdout
    assert int(checksum, 16) == zlib.crc32(b"A" * 300_001)


def test_deep_directories_are_found(image: Image, tmp_path: Path) -> None:
    write_image(replace(image, files={DEEP: b"deep", f"{DEEP}.gz": b"deeper"}), tmp_path / "deep.iso")
    run(["xorriso", "-osirrox", "on", "-indev", tmp_path / "deep.iso", "-extract", "/", tmp_path / "out"])
    assert (tmp_path / "out" / DEEP).read_bytes() == b"deep"
    assert (tmp_path / "out" / f"{DEEP}.gz").read_bytes() == b"deeper"
    assert f"/{DEEP}" in listed(tmp_path / "deep.iso", "-J")


def test_an_image_without_boot_loaders(image: Image, tmp_path: Path) -> None:
    files = {"distserver/medium": b"data"}
    write_image(replace(image, files=files, bios=None, efi=None, mbr=None), tmp_path / "data.iso")
    said = run(["xorriso", "-indev", tmp_path / "data.iso", "-report_el_torito", "plain"]).stdout
    assert "El Torito boot img" not in said
    assert listed(tmp_path / "data.iso", "-R") == {"/distserver", "/distserver/medium"}
    assert "No problems found." in run(["sgdisk", "--verify", tmp_path / "data.iso"]).stdout


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_an_image_for_one_kind_of_firmware(image: Image, firmware: str, tmp_path: Path) -> None:
    one = replace(image, efi=None) if firmware == "bios" else replace(image, bios=None, mbr=None)
    write_image(one, tmp_path / "one.iso")
    said = run(["xorriso", "-indev", tmp_path / "one.iso", "-report_el_torito", "plain"]).stdout
    assert re.findall(r"^El Torito boot img : +(\d) +(\w+)", said, re.M) == [
        ("1", "BIOS" if firmware == "bios" else "UEFI")
    ]
    assert "No problems found." in run(["sgdisk", "--verify", tmp_path / "one.iso"]).stdout

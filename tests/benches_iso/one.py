"""Writes one image of a directory, as the child process that `build` measures."""

import sys
from pathlib import Path

from iso.layout import Image
from iso.writer import write_image
from tests.boot_images import GRUB


def main() -> None:
    payload, boot, output = (Path(word) for word in sys.argv[1:])
    files: dict[str, Path | bytes] = {
        str(path.relative_to(payload)): path for path in payload.rglob("*") if path.is_file()
    }
    core, mbr = (boot / "core.img").read_bytes(), (GRUB / "i386-pc/boot_hybrid.img").read_bytes()
    image = Image("BENCH", files, core, boot / "efi.img", mbr, made_at=1795000000)
    print(write_image(image, output).sha256)


if __name__ == "__main__":
    main()

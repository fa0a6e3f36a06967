"""Finds the kernel in a built kernel package."""

import re
from collections.abc import Iterable
from pathlib import Path

from appliance.errors import Problem
from buildfarm import gpkg

IMAGE = re.compile(r"/boot/(vmlinuz|kernel|bzImage)[^/]*|(/usr)?/lib/modules/[^/]+/vmlinuz")


def find_image(files: Iterable[str]) -> str | None:
    """The kernel image among installed files: in /boot if there is one there, else beside its modules."""
    found = sorted(name for name in files if IMAGE.fullmatch(name) and not name.endswith(".old"))
    in_boot = [name for name in found if name.startswith("/boot/")]
    return next(iter(in_boot or found), None)


def extract_kernel(package: Path, target: Path) -> str:
    """Copy the kernel image out of a gpkg; returns the name it is installed under."""
    image = find_image(gpkg.list_image(package))
    if image is None:
        raise Problem(
            f"{package} installs no kernel image",
            hint="a kernel package installs /boot/vmlinuz-VERSION or /lib/modules/VERSION/vmlinuz",
        )
    gpkg.extract(package, image, target)
    return image

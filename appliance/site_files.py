"""The files of a site that its reader reads: taken from a directory, and laid down as a copy of one."""

from collections.abc import Mapping
from pathlib import Path

APPLIANCE = "appliance.toml"
PROFILES = "profiles"
SiteFiles = Mapping[str, bytes]
"""By the path below the site; a name that ends with a slash is a profile's directory."""


def read_files(path: Path) -> SiteFiles:
    """appliance.toml and all below profiles. Raises OSError for what cannot be read."""
    places = [one for one in sorted((path / PROFILES).glob("*/")) if one.is_dir()]
    files: dict[str, bytes] = {f"{PROFILES}/{one.name}/": b"" for one in places}
    for file in (path / APPLIANCE, *sorted((path / PROFILES).rglob("*"))):
        if file.is_file():
            files[str(file.relative_to(path))] = file.read_bytes()
    return files


def write_files(files: SiteFiles, place: Path) -> None:
    """Into a new directory."""
    place.mkdir(mode=0o750)
    for name, content in sorted(files.items()):
        file = place / name
        if name.endswith("/"):
            file.mkdir(parents=True, exist_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def of_profile(files: SiteFiles, profile: str) -> dict[str, bytes]:
    """The files of one profile, by their path below its directory."""
    start = f"{PROFILES}/{profile}/"
    return {
        name[len(start) :]: text for name, text in files.items() if name.startswith(start) and name != start
    }


def profiles_of(files: SiteFiles) -> list[str]:
    """The names of all profiles, sorted."""
    return sorted(
        name.split("/")[1] for name in files if name.startswith(f"{PROFILES}/") and name.endswith("/")
    )

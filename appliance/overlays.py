"""Where the file trees are that come with the distribution."""

from pathlib import Path

HOME = Path(__file__).resolve().parent.parent


def overlay(name: str) -> Path:
    """overlays/NAME: `portage`, `installer` or `client`."""
    return HOME / "overlays" / name


def example_site() -> Path:
    return HOME / "examples" / "site"

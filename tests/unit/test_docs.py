"""The documentation names files that are there, and every picture is small and shown."""

import re
from pathlib import Path

import pytest

from appliance.overlays import HOME
from tests.screens.shots import NAMES

PAGES = ("README.md", "HACKING.md", *(str(page.relative_to(HOME)) for page in sorted(HOME.glob("docs/*.md"))))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
MOST_BYTES = 120 * 1024
PNG_PALETTE = 3
"""The colour type in the header of a PNG, RFC 2083 4.1.1."""
SCREENS = sorted((HOME / "docs" / "screens").glob("*.png"))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_is_there(page: str) -> None:
    links = [one for one in LINK.findall((HOME / page).read_text()) if "://" not in one]
    missing = [one for one in links if not ((HOME / page).parent / one).exists()]
    assert missing == []


def test_every_picture_that_is_made_is_there_and_shown() -> None:
    shown = set(re.findall(r"\(screens/([a-z]+)\.png\)", (HOME / "docs" / "web.md").read_text()))
    assert shown == set(NAMES) == {one.stem for one in SCREENS}


@pytest.mark.parametrize("picture", SCREENS, ids=lambda one: one.name)
def test_pictures_are_small_and_have_a_palette(picture: Path) -> None:
    content = picture.read_bytes()
    assert len(content) < MOST_BYTES
    assert (content[12:16], content[25]) == (b"IHDR", PNG_PALETTE)

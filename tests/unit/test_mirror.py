"""Which addresses below /distfiles are distfiles."""

import hashlib
from collections.abc import Sequence

import pytest

from pxe.mirror import directory, distfile

NAME = "hello-2.10.tar.gz"


def test_a_distfile_is_found_flat_and_below_the_hash_of_its_name() -> None:
    assert directory(NAME) == hashlib.blake2b(NAME.encode()).hexdigest()[:2]
    assert distfile([NAME]) == NAME
    assert distfile([directory(NAME), NAME]) == NAME


@pytest.mark.parametrize(
    "name", ["foo@1,2.tgz", "libfoo_1.2~rc1+dfsg.tar.xz", "a b.zip", "%C3%A9=.tar", "é.tar"]
)
def test_names_are_as_strange_as_upstreams_are(name: str) -> None:
    assert distfile([directory(name), name]) == name


@pytest.mark.parametrize(
    "parts",
    [
        [],
        ["00", NAME],
        [directory(NAME), directory(NAME), NAME],
        ["..", NAME],
        [".."],
        [".checked"],
        [".staging.lock"],
        [f"{NAME}.__download__"],
        ["a\nb"],
        ["a" * 256],
    ],
)
def test_anything_else_is_none(parts: Sequence[str]) -> None:
    assert distfile(parts) is None

"""Every firmware against every kind of foreign DHCP server; what is seen is what the documentation says."""

from collections.abc import Mapping

import pytest

from tests.e2e.matrix import EXPECTED, TO_MARKER, committed, table
from tests.e2e.netboot import Row, Seen, run_rows


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Row, Seen]:
    return run_rows(list(EXPECTED), tmp_path_factory.mktemp("matrix"), to_marker=TO_MARKER)


@pytest.mark.parametrize("row", EXPECTED, ids=str)
def test_a_machine_finds_its_way_or_is_lost_where_we_say_so(seen: Mapping[Row, Seen], row: Row) -> None:
    assert seen[row].outcome == EXPECTED[row], str(seen[row])


@pytest.mark.parametrize("row", sorted(TO_MARKER, key=str), ids=str)
def test_each_firmware_comes_to_the_installer(seen: Mapping[Row, Seen], row: Row) -> None:
    assert seen[row].marker, str(seen[row])


def test_the_documented_table_is_what_was_seen(seen: Mapping[Row, Seen]) -> None:
    assert table({row: str(one.outcome) for row, one in seen.items()}) == committed()

"""Which tests run in one process: those of a file, and all that install machines from one built release."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        room = Path(item.path).parent.name
        item.add_marker(pytest.mark.xdist_group("e2e" if room == "e2e" else Path(item.path).stem))

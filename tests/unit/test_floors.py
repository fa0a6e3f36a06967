"""The least memory is found by halving."""

import pytest

from tests.floors.__main__ import MOST_MIB, STEP_MIB, floor


@pytest.mark.parametrize("least", [16, 24, 56, 64, 128, 504, 512])
def test_the_least_that_starts_is_found_to_a_step(least: int) -> None:
    tried: list[int] = []

    def starts(memory_mib: int) -> bool:
        tried.append(memory_mib)
        return memory_mib >= least

    assert floor(starts) == least
    assert len(tried) == len(set(tried)) <= 8


def test_what_does_not_start_with_the_most_has_none() -> None:
    assert floor(lambda memory_mib: memory_mib > MOST_MIB) is None
    assert MOST_MIB % STEP_MIB == 0

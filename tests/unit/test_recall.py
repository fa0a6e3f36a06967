"""What the boot server keeps in memory is what the store says, whoever changes it and however."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.model import Machine, MachineState
from appliance.store import Store
from appliance.strategies import Strategy

MACS = [f"52:54:00:77:00:{number:02x}" for number in range(4)]
RELEASES = ["20260101-0123456789ab", "20260102-0123456789ab"]


class Rolled(Exception):
    """A change that does not happen."""


def change(store: Store, what: int, which: int) -> None:
    mac, release = MACS[which], RELEASES[which % 2]
    match what:
        case 0 if store.machines.get(mac) is None:
            store.machines.add(Machine(mac, MachineState.DISCOVERED))
        case 1:
            store.machines.set_name(mac, f"name-{which}")
        case 2:
            store.machines.set_lends(mac, which > 1)
        case 3:
            store.releases.add(Release(release, "vm", float(which), "none", 0, 0))
        case 4:
            store.releases.set_fault(release, f"reason {which}" if which > 1 else "", now=1.0)
        case 5:
            store.releases.forget(release)
        case 6:
            store.strategies.put(mac, list(Strategy)[which % 3], now=float(which))
        case 7:
            store.database.execute("DELETE FROM strategy WHERE subject = ?", (mac,))
        case 8:
            store.database.execute("DELETE FROM machine WHERE mac = ?", (mac,))
        case 9:
            store.machines.set_rescue(mac, which)


def check(store: Store) -> None:
    recall = store.recall
    assert [recall.machine(mac) for mac in MACS] == [store.machines.get(mac) for mac in MACS]
    assert [recall.strategy(mac) for mac in MACS] == [store.strategies.get(mac) for mac in MACS]
    assert [recall.fault(one) for one in RELEASES] == [store.releases.fault(one) for one in RELEASES]
    assert recall.newest_sound() == store.releases.newest_sound()


steps = st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from(["own", "other", "rolled", "inside"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=25))
def test_after_any_history_it_says_what_the_store_says(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, int, str]]
) -> None:
    path = tmp_path_factory.mktemp("recall") / "store.sqlite"
    store, other = Store(path), Store(path)
    for what, which, how in history:
        if how == "other":
            change(other, what, which)
        elif how == "own":
            change(store, what, which)
        else:
            with pytest.raises(Rolled), store.database.change():
                change(store, what, which)
                if how == "inside":
                    check(store)
                raise Rolled
            # The next change has the number that the one before would have had.
            change(other, what, (which + 1) % len(MACS))
        check(store)
    store.close()
    other.close()


def test_what_is_not_there_costs_no_question_each(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    store.machines.add(Machine(MACS[0], MachineState.DISCOVERED))
    assert store.recall.machine(MACS[0]) is not None
    statements: list[str] = []
    store.database.connection.set_trace_callback(statements.append)
    with store.recall.moment():
        assert [store.recall.machine(f"02:00:00:00:00:{number:02x}") for number in range(99)] == [None] * 99
    assert statements == ["PRAGMA data_version"]


def test_events_that_others_write_do_not_make_it_read_machines_again(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store.sqlite"), Store(tmp_path / "store.sqlite")
    store.machines.add(Machine(MACS[0], MachineState.DISCOVERED))
    assert store.recall.machine(MACS[0]) is not None
    statements: list[str] = []
    store.database.connection.set_trace_callback(statements.append)
    other.addresses.saw(MACS[0], "10.77.0.101", now=1.0)
    assert store.recall.machine(MACS[0]) is not None
    assert statements == ["PRAGMA data_version", "SELECT topic, number FROM revision"]


def test_in_a_moment_ones_own_changes_count_and_after_it_those_of_others(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store.sqlite"), Store(tmp_path / "store.sqlite")
    with store.recall.moment():
        with store.recall.moment():
            assert store.recall.machine(MACS[0]) is None
        other.machines.add(Machine(MACS[1], MachineState.DISCOVERED))
        assert store.recall.machine(MACS[1]) is None
        store.machines.add(Machine(MACS[0], MachineState.DISCOVERED))
        assert store.recall.machine(MACS[0]) is not None
    assert store.recall.machine(MACS[1]) is not None
    with pytest.raises(Problem), store.recall.moment():
        store.machines.add(Machine(MACS[0], MachineState.DISCOVERED))
    with store.recall.moment():
        other.machines.set_name(MACS[0], "later")
    named = store.recall.machine(MACS[0])
    assert named is not None and named.name == "later"

"""A machine moves only along the table, and what it boots follows from where it is."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.decision import decide, may_install
from appliance.errors import Problem
from appliance.model import TRANSITIONS, LocalBoot, Machine, MachineState, NetBoot, Silence, check_transition

MAC = "52:54:00:00:00:01"
OWN, ANY = "20260101-00000000000a", "20260101-00000000000b"


def target(state: MachineState, own: str | None = OWN) -> LocalBoot | NetBoot | Silence:
    machine = Machine(MAC, state, profile="vm", release=None)
    return decide(machine, own_release=own, any_release=ANY)


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(MachineState)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(MachineState, MachineState)))
def test_a_move_outside_the_table_names_what_is_allowed(before: MachineState, after: MachineState) -> None:
    if after in TRANSITIONS[before]:
        check_transition(MAC, before, after)
    else:
        with pytest.raises(Problem, match=f"is {before.value} and cannot become {after.value}"):
            check_transition(MAC, before, after)


def test_an_unknown_machine_gets_the_installer_of_any_release_to_say_what_it_is() -> None:
    assert isinstance(decide(None, own_release=None, any_release=ANY), NetBoot)


def test_an_unknown_machine_gets_silence_when_there_is_no_release() -> None:
    assert isinstance(decide(None, own_release=None, any_release=None), Silence)


def test_an_armed_machine_boots_its_own_release() -> None:
    assert target(MachineState.ARMED) == NetBoot(OWN, "", f"armed: install release {OWN}")


def test_an_armed_machine_without_a_release_gets_silence_and_not_another_profiles_release() -> None:
    assert isinstance(target(MachineState.ARMED, own=None), Silence)


@pytest.mark.parametrize("state", [MachineState.INSTALLED, MachineState.ASSIGNED])
def test_a_machine_that_is_not_armed_boots_from_its_disk(state: MachineState) -> None:
    assert isinstance(target(state), LocalBoot)


def test_an_installation_that_did_not_end_starts_again_with_its_own_release() -> None:
    machine = Machine(MAC, MachineState.INSTALLING, profile="vm", release=ANY)
    assert decide(machine, own_release=OWN, any_release=None) == NetBoot(
        ANY, "", f"its installation of {ANY} did not end: start it again"
    )


@given(st.lists(st.sampled_from(["arm", "disarm", "plan", "finish", "fail", "reboot"]), max_size=40))
def test_no_history_of_reboots_lets_an_installed_machine_be_installed_again(history: list[str]) -> None:
    """Only `arm` gives permission; each finished installation takes it away."""
    moves = {
        "arm": MachineState.ARMED,
        "disarm": MachineState.ASSIGNED,
        "plan": MachineState.INSTALLING,
        "finish": MachineState.INSTALLED,
        "fail": MachineState.FAILED,
    }
    machine = Machine(MAC, MachineState.ASSIGNED, profile="vm")
    permitted = False
    for step in history:
        if step == "reboot":
            assert may_install(machine) <= permitted
            continue
        if step == "plan" and not may_install(machine):
            continue
        after = moves[step]
        if after in TRANSITIONS[machine.state]:
            machine = Machine(MAC, after, profile="vm")
            permitted = (permitted and step == "plan") or step == "arm"

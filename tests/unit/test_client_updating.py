"""Whatever fails or is cut off, the steps of an update lead to a release that the machine has whole."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from distserver_client import updating
from distserver_client.journal import Journal, State
from distserver_client.updating import CHANGES, MOST_FAILURES, Go, Nothing, Order, Step

A, B, C = ("20260101-00000000000a", "20260102-00000000000b", "20260103-00000000000c")


def done(journal: Journal) -> Journal:
    while step := updating.next_step(journal):
        journal = updating.ended(updating.begun(journal, step), step, seconds=1.0, received_bytes=10)
    return journal


def test_a_machine_that_has_what_is_ordered_does_nothing() -> None:
    assert updating.decide(State(A), None, Order(A)) == Nothing("")


def test_an_update_that_changed_nothing_yet_waits_when_it_may_not_go_on() -> None:
    begun = updating.begun(Journal(B, A), Step.PACKAGES)
    assert updating.decide(State(A), begun, Order(B, go=False, why="outside its window")) == Nothing(
        "outside its window"
    )
    assert updating.decide(State(A), begun, None) == Nothing("the server cannot be reached")
    assert updating.decide(State(A), begun, Order(B)) == Go(begun)
    assert updating.decide(State(A), begun, Order(A)) == Nothing("")


def test_a_half_done_update_goes_on_whoever_is_away() -> None:
    half = updating.begun(Journal(B, A), Step.EMERGE)
    assert half.dirty
    assert updating.decide(State(A), half, None) == Go(half)
    assert updating.decide(State(A), half, Order("", go=False)) == Go(half)
    assert updating.decide(State(A), half, Order(C)) == Go(Journal(C, A, dirty=True, torn=True))
    assert updating.decide(State(A), half, Order(A)) == Go(Journal(A, A, dirty=True, torn=True))


def test_after_three_failures_the_machine_goes_back_and_stays_there_until_something_else_is_ordered() -> None:
    at = Journal(B, A)
    for _ in range(MOST_FAILURES):
        at = updating.failed(updating.begun(at, Step.EMERGE), Step.EMERGE, "emerge failed")
        assert updating.next_step(at) is Step.MANIFEST
    back = updating.back(at)
    assert updating.decide(State(A), at, Order(B)) == Go(back)
    assert (back.target, back.dirty, back.failures) == (A, True, 0)
    refused = State(A, refused=B, why="emerge failed")
    assert updating.decide(refused, back, Order(B)) == Go(back)
    assert isinstance(updating.decide(refused, None, Order(B)), Nothing)
    assert updating.decide(refused, None, Order(B), again=True) == Go(Journal(B, A))
    assert updating.decide(refused, None, Order(C)) == Go(Journal(C, A))


def test_what_only_the_network_did_is_never_a_reason_to_go_back() -> None:
    at = Journal(B, A)
    for _ in range(10 * MOST_FAILURES):
        at = updating.failed(updating.begun(at, Step.PACKAGES), Step.PACKAGES, "the disk is full")
    assert at.failures == 0
    assert updating.decide(State(A), at, Order(B)) == Go(at)


def test_the_way_back_is_tried_for_ever() -> None:
    back = replace(Journal(A, A, dirty=True), failures=5 * MOST_FAILURES)
    assert updating.decide(State(A, refused=B), back, Order(B)) == Go(back)


UNSETTLING = CHANGES[: CHANGES.index(Step.SWITCH)]
"""After them the machine is neither what it was nor what it is to be."""
orders = st.one_of(st.none(), st.builds(Order, st.sampled_from((A, B, C)), go=st.booleans()))
accidents = st.lists(
    st.tuples(orders, st.integers(0, len(Step)), st.sampled_from(("cut", "fails", "ends"))), max_size=30
)


@given(accidents)
def test_whatever_happens_a_changed_machine_is_never_left_alone_and_one_more_order_leads_it_home(
    history: list[tuple[Order | None, int, str]],
) -> None:
    state, journal = State(A), None
    whole = A
    for order, steps, end in history:
        decided = updating.decide(state, journal, order)
        if isinstance(decided, Nothing):
            assert journal is None or not journal.dirty
            continue
        journal = decided.journal
        for _ in range(steps):
            step = updating.next_step(journal)
            if step is None:
                break
            journal = updating.begun(journal, step)
            whole = "" if step in UNSETTLING else whole
            journal = updating.ended(journal, step, seconds=0.0, received_bytes=0)
            if step is Step.SWITCH:
                state, whole = updating.reached(state, journal, order), journal.target
        left = updating.next_step(journal)
        if left is None:
            journal = None
        elif end == "cut":
            journal = updating.begun(journal, left)
        elif end == "fails":
            journal = updating.failed(updating.begun(journal, left), left, "it failed")
    decided = updating.decide(replace(state, refused=""), journal, Order(C))
    if isinstance(decided, Go) and decided.journal.target != C:
        # It was to be given up before it was told of another one.
        decided = updating.decide(state, replace(decided.journal, failures=0), Order(C))
    if isinstance(decided, Nothing):
        assert (state.release, whole) == (C, C)
    else:
        last = done(decided.journal)
        assert (last.target, updating.next_step(last)) == (C, None)


def test_a_merge_that_was_cut_off_is_looked_at_until_one_came_to_its_end() -> None:
    cut = updating.begun(Journal(B, A), Step.EMERGE)
    torn = updating.resumed(cut)
    assert torn.torn and not updating.resumed(updating.begun(Journal(B, A), Step.PACKAGES)).torn
    failed = updating.failed(updating.begun(torn, Step.EMERGE), Step.EMERGE, "why")
    assert updating.resumed(failed).torn and updating.back(failed).torn
    assert updating.decide(State(A), failed, Order(C)) == Go(Journal(C, A, dirty=True, torn=True))
    assert not updating.ended(torn, Step.EMERGE, seconds=1.0, received_bytes=0).torn
    assert updating.ended(torn, Step.WORLD, seconds=1.0, received_bytes=0).torn

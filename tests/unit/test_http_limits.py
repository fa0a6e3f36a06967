"""Which connections are ended: those that ask nothing for long, and those of a crowd."""

from asyncio import Transport

import pytest

from pxe.http_limits import HEADER_SECONDS, PER_PEER, Limits

HERE = "10.0.0.1"


class Connection(Transport):
    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 1000), "sockname": (HERE, 80)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_a_connection_that_asks_nothing_is_ended_and_one_that_is_answered_is_not() -> None:
    limits, silent, busy, asked = Limits(), Connection("a"), Connection("b"), Connection("c")
    limits.look([silent, busy, asked], 0.0)
    limits.began(busy)
    limits.began(asked)
    limits.ended(asked, HEADER_SECONDS)
    limits.look([silent, busy, asked], HEADER_SECONDS + 1)
    assert (silent.aborted, busy.aborted, asked.aborted) == (True, False, False)
    limits.look([busy, asked], 2 * HEADER_SECONDS + 2)
    assert (busy.aborted, asked.aborted) == (False, True)


def test_a_file_that_is_sent_after_its_question_was_answered_counts_as_asked() -> None:
    limits, one = Limits(), Connection("a")
    limits.began(one)
    limits.ended(one, 0.0)
    limits.began(one)
    limits.look([one], 1000.0)
    assert not one.aborted


def test_a_connection_with_two_questions_waits_for_both_answers() -> None:
    limits, one = Limits(), Connection("a")
    limits.began(one)
    limits.began(one)
    limits.ended(one, 0.0)
    limits.look([one], 1000.0)
    assert not one.aborted
    limits.ended(one, 1000.0)
    limits.look([one], 1001.0 + HEADER_SECONDS)
    assert one.aborted


@pytest.mark.parametrize(
    ("peer", "front", "ended"), [("a", False, True), (HERE, False, True), (HERE, True, False)]
)
def test_a_crowd_of_one_peer_is_ended_unless_it_is_the_front(peer: str, front: bool, ended: bool) -> None:
    limits = Limits(front=front)
    crowd = [Connection(peer) for _ in range(PER_PEER + 1)]
    other, busy = Connection("b"), crowd[0]
    limits.began(busy)
    limits.look([*crowd, other], 0.0)
    assert {one.aborted for one in crowd[1:]} == {ended}
    assert not other.aborted and not busy.aborted

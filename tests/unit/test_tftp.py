"""What a transfer answers to each ACK, and when it waits, asks again or gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe import tftp_packets as packets
from pxe.malformed import Malformed
from pxe.tftp import FIRST_RTO_SECONDS, SHORTEST_RTO_SECONDS, Agreed, Limits, State, Transfer, negotiate
from pxe.tftp_packets import Request
from tests.tftp_sender import Sender, blocks


def read_request(*options: tuple[str, str]) -> Request:
    return Request(b"file", "octet", options)


# Negotiation.


@pytest.mark.parametrize(
    ("asked", "confirmed"),
    [
        ((), ()),
        ((("blksize", "1408"), ("tsize", "0")), (("blksize", "1408"), ("tsize", "1000"))),
        ((("BlkSize", "1024"),), (("BlkSize", "1024"),)),
        ((("blksize", "65464"),), (("blksize", "1468"),)),
        ((("windowsize", "65535"),), (("windowsize", "64"),)),
        ((("timeout", "3"),), (("timeout", "3"),)),
        ((("timeout", "255"),), ()),
        ((("timeout", "0"), ("blksize", "7"), ("windowsize", "0")), ()),
        ((("blksize", "abc"), ("tsize", "-1"), ("windowsize", "")), ()),
        ((("blksize", "65465"), ("windowsize", "65536"), ("blksize", "٣٣٣")), ()),
        ((("multicast", ""), ("blksize", "512")), (("blksize", "512"),)),
        ((("blksize", "900"), ("blksize", "800")), (("blksize", "900"),)),
        ((("rollover", "1"),), (("rollover", "1"),)),
        ((("rollover", "2"),), ()),
    ],
)
def test_only_what_was_asked_for_is_confirmed_and_never_more(
    asked: tuple[tuple[str, str], ...], confirmed: tuple[tuple[str, str], ...]
) -> None:
    assert negotiate(read_request(*asked), 1000, Limits()).oack == confirmed


def test_the_largest_block_fits_into_a_frame_of_the_link() -> None:
    assert [Limits.on(mtu).blksize for mtu in (1500, 1400, 9000, 576, 68)] == [1468, 1368, 8968, 544, 512]


def test_the_size_is_not_told_when_it_is_not_known() -> None:
    assert negotiate(read_request(("tsize", "0")), None, Limits()).oack == ()


def test_without_known_options_data_comes_at_once() -> None:
    transfer = Sender(b"abc", negotiate(read_request(("blksize", "abc")), 3, Limits()))
    assert transfer.begin(0) == [packets.data(1, b"abc")]


def test_nothing_but_the_oack_is_sent_before_the_client_proved_to_be_there() -> None:
    transfer = Sender(bytes(100_000), Agreed(windowsize=16, oack=(("windowsize", "16"),)))
    sent = [*transfer.begin(0)]
    while not transfer.over:
        sent += transfer.timeout(transfer.deadline)
    assert transfer.state is State.LOST
    assert sent == [packets.option_ack((("windowsize", "16"),))] * 4
    assert transfer.deadline == pytest.approx(10)


# The rules of acknowledgement.


def windowed(size: int, windowsize: int, *, rollover: int = 0) -> Sender:
    """A transfer of blocks of 8 bytes whose options are already acknowledged."""
    agreed = Agreed(blksize=8, windowsize=windowsize, rollover=rollover, oack=(("blksize", "8"),))
    transfer = Sender(bytes(size), agreed)
    transfer.begin(0)
    return transfer


def test_a_repeated_ack_in_lock_step_is_ignored_and_does_not_move_the_deadline() -> None:
    transfer = windowed(80, 1)
    assert blocks(transfer.receive(packets.ack(0), 0.01)) == [1]
    assert blocks(transfer.receive(packets.ack(1), 0.02)) == [2]
    deadline = transfer.deadline
    for step in range(20):
        assert transfer.receive(packets.ack(1), 0.02 + step / 1000) == []
    assert transfer.deadline == deadline
    assert blocks(transfer.timeout(deadline)) == [2]


def test_an_ack_in_mid_window_goes_on_behind_it_and_its_repeats_are_one_gap() -> None:
    transfer = windowed(800, 4)
    assert blocks(transfer.receive(packets.ack(0), 0.01)) == [1, 2, 3, 4]
    # Block 2 was lost; edk2 acknowledges 1 for block 3 and again for block 4.
    assert blocks(transfer.receive(packets.ack(1), 0.02)) == [2, 3, 4, 5]
    assert transfer.receive(packets.ack(1), 0.03) == []


def test_a_gap_at_the_start_of_a_window_is_answered_once_until_there_is_progress() -> None:
    transfer = windowed(800, 4)
    transfer.receive(packets.ack(0), 0.01)
    assert blocks(transfer.receive(packets.ack(4), 0.02)) == [5, 6, 7, 8]
    assert blocks(transfer.receive(packets.ack(4), 0.03)) == [5, 6, 7, 8]
    assert [transfer.receive(packets.ack(4), 0.04) for _ in range(3)] == [[], [], []]
    assert blocks(transfer.receive(packets.ack(8), 0.05)) == [9, 10, 11, 12]
    assert blocks(transfer.receive(packets.ack(8), 0.06)) == [9, 10, 11, 12]


@pytest.mark.parametrize("number", [0, 3, 9, 5000, 65535])
def test_older_and_future_acks_are_ignored(number: int) -> None:
    transfer = windowed(800, 4)
    transfer.receive(packets.ack(0), 0.01)
    transfer.receive(packets.ack(4), 0.02)
    assert transfer.receive(packets.ack(number), 0.03) == []


def test_a_file_of_whole_blocks_ends_with_an_empty_one() -> None:
    transfer = windowed(16, 1)
    transfer.receive(packets.ack(0), 0)
    transfer.receive(packets.ack(1), 0)
    assert transfer.receive(packets.ack(2), 0) == [packets.data(3, b"")]
    assert transfer.receive(packets.ack(3), 0) == []
    assert transfer.state is State.DONE


def test_an_empty_file_is_one_empty_block() -> None:
    transfer = Sender(b"", Agreed())
    assert transfer.begin(0) == [packets.data(1, b"")]


def test_a_lost_last_ack_is_success() -> None:
    transfer = windowed(10, 1)
    transfer.receive(packets.ack(0), 0)
    transfer.receive(packets.ack(1), 0)
    while not transfer.over:
        transfer.timeout(transfer.deadline)
    assert transfer.state is State.DONE


def test_a_client_that_falls_silent_in_the_middle_is_lost_within_two_minutes() -> None:
    transfer = windowed(800, 1)
    transfer.receive(packets.ack(0), 0)
    while not transfer.over:
        transfer.timeout(transfer.deadline)
    assert transfer.state is State.LOST
    assert 60 <= transfer.deadline <= 120


def test_the_wait_starts_short_adapts_doubles_and_ends_at_eight_seconds() -> None:
    transfer = windowed(800, 1)
    assert transfer.deadline == FIRST_RTO_SECONDS
    transfer.receive(packets.ack(0), 0.001)
    assert transfer.deadline == pytest.approx(0.001 + SHORTEST_RTO_SECONDS)
    waits = []
    for _ in range(10):
        now = transfer.deadline
        transfer.timeout(now)
        waits.append(round(transfer.deadline - now, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0, 8.0]


def test_a_slow_client_is_waited_for() -> None:
    transfer = windowed(8000, 1)
    now = 0.0
    for number in range(20):
        now += 0.5
        transfer.receive(packets.ack(number), now)
    assert transfer.deadline - now > 0.5


def test_an_answer_that_nobody_acknowledged_is_listened_for_ten_seconds_and_then_given_up() -> None:
    transfer = Sender(b"x" * 600, Agreed())
    sent = [*transfer.begin(0)]
    while not transfer.over:
        sent += transfer.timeout(transfer.deadline)
    assert blocks(sent) == [1, 1, 1, 1]
    assert (transfer.state, transfer.deadline) == (State.LOST, 10.0)


def test_a_request_that_comes_twice_gets_its_first_answer_again_until_it_is_acknowledged() -> None:
    transfer = Transfer(8000, Agreed(blksize=8, windowsize=4, oack=(("blksize", "8"),)))
    transfer.begin(0)
    assert transfer.asked_again() == range(1)
    transfer.acknowledged(0, 0.01)
    assert transfer.asked_again() == range(0)


def test_a_closed_port_after_the_last_block_is_success_and_before_it_is_not() -> None:
    for acknowledged, state in ((0, State.ABORTED), (2, State.DONE)):
        transfer = Transfer(20, Agreed(blksize=8, oack=(("blksize", "8"),)))
        transfer.begin(0)
        for number in range(acknowledged + 1):
            transfer.acknowledged(number, 0)
        transfer.gone()
        assert transfer.state is state


def test_a_client_that_takes_the_options_and_no_block_for_three_seconds_is_stuck() -> None:
    transfer = windowed(8000, 4).transfer
    transfer.acknowledged(0, 0.01)
    while transfer.deadline < 3.01:
        assert not transfer.stuck(transfer.deadline)
        transfer.timeout(transfer.deadline)
    assert transfer.stuck(transfer.deadline)
    transfer.acknowledged(1, transfer.deadline)
    assert not transfer.stuck(transfer.deadline + 10)


def test_an_agreed_timeout_is_the_longest_wait() -> None:
    transfer = Sender(b"x" * 600, Agreed(timeout_seconds=3.0, oack=(("timeout", "3"),)))
    transfer.begin(0)
    transfer.receive(packets.ack(0), 0.001)
    waits = []
    for _ in range(8):
        now = transfer.deadline
        transfer.timeout(now)
        waits.append(round(transfer.deadline - now, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]


def test_an_error_of_the_client_ends_the_transfer() -> None:
    transfer = windowed(800, 1)
    assert transfer.receive(packets.error(8, "User aborted the transfer"), 0) == []
    assert transfer.state is State.ABORTED
    assert transfer.transfer.error == "error 8 User aborted the transfer"


@given(st.lists(st.binary(max_size=12) | st.integers(0, 65535).map(packets.ack), max_size=30))
def test_nothing_a_client_sends_raises_but_malformed(datagrams: list[bytes]) -> None:
    transfer = windowed(300, 4)
    for step, datagram in enumerate(datagrams):
        try:
            transfer.receive(datagram, step / 100)
        except Malformed as wrong:
            assert wrong.field and wrong.expected and wrong.came

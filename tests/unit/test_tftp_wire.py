"""Whole transfers in memory, over a wire that loses, doubles and reorders."""

import heapq
import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxe import tftp_packets as packets
from pxe.tftp import Agreed, State, Transfer
from pxe.tftp_packets import Data, OptionAck
from tests.tftp_sender import Sender


@dataclass
class Wire:
    """What happens to datagrams: chances of each, of a delay beyond the next datagrams, in one direction."""

    loss: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def delays(self) -> list[float]:
        """When the copies of one datagram arrive, in seconds from now."""
        if self.chance.random() < self.loss:
            return []
        copies = 2 if self.chance.random() < self.doubled else 1
        return [
            0.001 + (self.chance.random() * 0.02 if self.chance.random() < self.late else 0)
            for _ in range(copies)
        ]


class Client:
    """Receives a file as RFC 7440 says, and as edk2 does: an ACK for every packet behind a gap."""

    def __init__(self, windowsize: int, blksize: int, *, rollover: int = 0) -> None:
        self.received = bytearray()
        self.done = False
        self.last_ack = packets.ack(0)
        self._expected = 1
        self._in_window = 0
        self._windowsize = windowsize
        self._blksize = blksize
        self._rollover = rollover

    def receive(self, datagram: bytes) -> list[bytes]:
        match packets.parse(datagram):
            case OptionAck() if self._expected == 1:
                return [packets.ack(0)]
            case Data(number, payload):
                return self._data(number, payload)
        return []

    def _wire(self, block: int) -> int:
        while block > 65535:
            block -= 65536 - self._rollover
        return block

    def _data(self, number: int, payload: bytes) -> list[bytes]:
        if number != self._wire(self._expected) or self.done:
            self._in_window = 0
            return [self.last_ack]
        self.received += payload
        self.done = len(payload) < self._blksize
        self.last_ack = packets.ack(self._wire(self._expected))
        self._expected += 1
        self._in_window += 1
        if self.done or self._in_window == self._windowsize:
            self._in_window = 0
            return [self.last_ack]
        return []


def run_transfer(transfer: Sender, client: Client, wire: Wire) -> int:
    """Let both talk until the transfer is over; returns how many datagrams the server sent."""
    count = itertools.count()
    queue: list[tuple[float, int, bool, bytes]] = []
    sent = 0

    def put(datagrams: list[bytes], now: float, *, to_client: bool) -> None:
        for datagram in datagrams:
            for delay in wire.delays():
                heapq.heappush(queue, (now + delay, next(count), to_client, datagram))

    first = transfer.begin(0)
    sent += len(first)
    put(first, 0, to_client=True)
    while not transfer.over:
        if queue and queue[0][0] < transfer.deadline:
            now, _, to_client, datagram = heapq.heappop(queue)
            if to_client:
                put(client.receive(datagram), now, to_client=False)
                continue
            answers = transfer.receive(datagram, now)
        else:
            now = transfer.deadline
            answers = transfer.timeout(now)
        sent += len(answers)
        put(answers, now, to_client=True)
    return sent


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(0, 4000),
    blksize=st.sampled_from([8, 64, 512]),
    windowsize=st.sampled_from([1, 2, 4, 16, 64]),
    loss=st.sampled_from([0, 0.02, 0.2]),
    doubled=st.sampled_from([0, 0.1, 1.0]),
    late=st.sampled_from([0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_a_file_arrives_whole_over_any_wire(
    size: int, blksize: int, windowsize: int, loss: float, doubled: float, late: float, seed: int
) -> None:
    content = random.Random(seed).randbytes(size)
    options = (("blksize", str(blksize)), ("windowsize", str(windowsize)))
    transfer = Sender(content, Agreed(blksize, windowsize, oack=options))
    client = Client(windowsize, blksize)
    run_transfer(transfer, client, Wire(loss, doubled, late, seed))
    if transfer.state is State.DONE:
        # A lost last ACK may leave a client that gave up; on a wire without loss it has everything.
        assert content.startswith(bytes(client.received))
    if not loss:
        assert transfer.state is State.DONE and client.done and bytes(client.received) == content


@pytest.mark.parametrize("rollover", [0, 1])
@pytest.mark.parametrize("windowsize", [1, 16])
def test_block_numbers_roll_over(rollover: int, windowsize: int) -> None:
    content = random.Random(1).randbytes(8 * 65_600 + 3)
    agreed = Agreed(8, windowsize, rollover=rollover, oack=(("blksize", "8"),))
    transfer = Sender(content, agreed)
    client = Client(windowsize, 8, rollover=rollover)
    run_transfer(transfer, client, Wire(loss=0.001, seed=3))
    assert transfer.state is State.DONE and bytes(client.received) == content


# In a window, 0 and 1 look like a lost 0 to a client that counts on with 1: the site has to name such a one.
@pytest.mark.parametrize(("rollover", "windowsize"), [(0, 1), (1, 1), (0, 16)])
def test_a_client_that_counts_on_with_the_other_number_gets_the_file_all_the_same(
    rollover: int, windowsize: int
) -> None:
    content = random.Random(2).randbytes(8 * 65_700)
    agreed = Agreed(8, windowsize, rollover=1 - rollover, oack=(("blksize", "8"),))
    transfer, client = Sender(content, agreed), Client(windowsize, 8, rollover=rollover)
    run_transfer(transfer, client, Wire())
    assert transfer.state is State.DONE and bytes(client.received) == content


def test_offsets_beyond_four_gibibytes_are_blocks_like_others() -> None:
    transfer = Transfer(2**40 + 5, Agreed(blksize=65464, windowsize=64))
    assert transfer.last == (2**40 + 5) // 65464 + 1
    assert transfer.wire(transfer.last) == transfer.last % 65536


# With a window each doubled block looks like a gap to edk2, so there it costs up to a window per block.
@pytest.mark.parametrize(("windowsize", "at_most"), [(1, 1.1), (4, 5.0)])
def test_a_wire_that_doubles_everything_does_not_double_the_traffic_again_and_again(
    windowsize: int, at_most: float
) -> None:
    content = bytes(8 * 200)
    transfer = Sender(content, Agreed(8, windowsize, oack=(("blksize", "8"),)))
    client = Client(windowsize, 8)
    sent = run_transfer(transfer, client, Wire(doubled=1.0))
    assert bytes(client.received) == content
    assert sent <= at_most * 201


@given(
    windowsize=st.sampled_from([1, 4, 64]),
    events=st.lists(st.integers(0, 65535) | st.none() | st.floats(0, 20), max_size=60),
)
def test_whatever_is_acknowledged_no_answer_is_longer_than_a_window_and_all_of_it_ends(
    windowsize: int, events: list[int | float | None]
) -> None:
    transfer, now = Transfer(3000, Agreed(8, windowsize, oack=(("blksize", "8"),))), 0.0
    answers = [transfer.begin(now)]
    for event in events:
        match event:
            case int(number):
                answers.append(transfer.acknowledged(number, now))
            case float(seconds):
                now += seconds
            case None:
                now = max(now, transfer.deadline)
                answers.append(transfer.timeout(now))
    silent_since = now
    while not transfer.over:
        now = max(now, transfer.deadline)
        answers.append(transfer.timeout(now))
        assert now <= silent_since + 130
    assert all(len(blocks) <= windowsize and blocks.stop - 1 <= transfer.last for blocks in answers)

import heapq
import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxe import tftp_packets as packets
from pxe.malformed import Malformed
from pxe.tftp import (
    FIRST_RTO_SECONDS,
    SHORTEST_RTO_SECONDS,
    Agreed,
    Limits,
    State,
    Transfer,
    clean_name,
    negotiate,
    netascii,
)
from pxe.tftp_packets import Ack, Data, Error, OptionAck, Request


class Sender:
    """A transfer with its bytes: datagrams in, datagrams out."""

    def __init__(self, content: bytes, agreed: Agreed) -> None:
        self.transfer = Transfer(len(content), agreed)
        self._content = content

    @property
    def state(self) -> State:
        return self.transfer.state

    @property
    def over(self) -> bool:
        return self.transfer.over

    @property
    def deadline(self) -> float:
        return self.transfer.deadline

    def begin(self, now: float) -> list[bytes]:
        return self._datagrams(self.transfer.begin(now))

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        match packets.parse(datagram):
            case Ack(number):
                return self._datagrams(self.transfer.acknowledged(number, now))
            case Error(code, message):
                self.transfer.refused(code, message)
        return []

    def timeout(self, now: float) -> list[bytes]:
        return self._datagrams(self.transfer.timeout(now))

    def _datagrams(self, blocks: range) -> list[bytes]:
        agreed, size = self.transfer.agreed, self.transfer.agreed.blksize
        return [
            packets.data(self.transfer.wire(block), self._content[(block - 1) * size : block * size])
            if block
            else packets.option_ack(agreed.oack)
            for block in blocks
        ]


def read_request(*options: tuple[str, str]) -> Request:
    return Request(b"file", "octet", options)


def blocks(datagrams: list[bytes]) -> list[int]:
    """The numbers of the DATA packets in a list, which has nothing else."""
    parsed = [packets.parse(datagram) for datagram in datagrams]
    return [packet.block for packet in parsed if isinstance(packet, Data)] if parsed else []


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


# Whole transfers in memory, over a wire that loses, doubles and reorders.


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


# Packets and names.


@given(st.binary(max_size=100))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packets.parse(data)
    except Malformed as wrong:
        assert wrong.field and wrong.expected and wrong.came


def test_a_request_is_read_as_it_was_sent() -> None:
    sent = packets.request("a/b", mode="OCTET", options=(("tsize", "0"), ("blksize", "1468")))
    assert packets.parse(sent) == Request(b"a/b", "octet", (("tsize", "0"), ("blksize", "1468")))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"snponly.efi", "snponly.efi"),
        (b"/snponly.efi", "snponly.efi"),
        (b"\\Boot\\x64\\a.efi", "Boot/x64/a.efi"),
        (b"boot//./a.efi", "boot/a.efi"),
        ("größe".encode(), "größe"),
        (b"../etc/passwd", None),
        (b"..", None),
        (b"/..", None),
        (b"..\\etc/passwd", None),
        (b"boot/../../etc/passwd", None),
        (b"boot/..", None),
        (b"./../etc/passwd", None),
        (b"..//etc/passwd", None),
        (b"boot/..\\..", None),
        (b"//../etc/passwd", None),
        (b"%2e%2e/etc/passwd", "%2e%2e/etc/passwd"),
        (b"..%2fetc/passwd", "..%2fetc/passwd"),
        (b"\xc0\xae\xc0\xae/etc/passwd", None),
        ("\uff0e\uff0e/etc/passwd".encode(), "\uff0e\uff0e/etc/passwd"),
        ("\u2024\u2024/etc/passwd".encode(), "\u2024\u2024/etc/passwd"),
        (b"C:\\boot\\a.efi", "C:/boot/a.efi"),
        (b"...", "..."),
        (b"boot\\..\\..\\etc/passwd", None),
        (b"\xff\xfe", None),
        (b"a\nb", None),
        (b"", None),
        (b"/", None),
        (b"x" * 256, None),
    ],
)
def test_a_name_means_a_file_below_the_root_or_nothing(raw: bytes, name: str | None) -> None:
    assert clean_name(raw) == name


def test_netascii_ends_lines_with_cr_lf() -> None:
    assert netascii(b"a\nb\r\n") == b"a\r\nb\r\0\r\n"

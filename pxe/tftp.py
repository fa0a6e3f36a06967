"""One TFTP transfer without its socket: datagrams and the time in, datagrams out.

RFC 1350, 2347 (options), 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pxe import tftp_packets as packets
from pxe.tftp_packets import Ack, Error, ErrorCode, Request

# Before the first round trip is measured a firmware may still be busy with what came before.
FIRST_RTO_SECONDS = 0.2
# 1 % of loss costs a lock-step transfer 15 s with the customary second, and under one with this.
SHORTEST_RTO_SECONDS = 0.05
LONGEST_RTO_SECONDS = 8.0
# A request has a sender that nobody checked: few repeats before it proves to be there.
UNPROVED_TRIES = 6
# The last ACK may be lost, and its sender gone: that is success.
LAST_TRIES = 5
IDLE_SECONDS = 60.0
# What a file system takes as one name.
LONGEST_NAME = 255


class Source(Protocol):
    """The bytes of one file."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the file ends."""


@dataclass(frozen=True)
class Bytes:
    """A file made on the spot."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


class State(Enum):
    NEW = "new"
    OPTIONS = "options"
    """An OACK is out and waits for ACK 0."""
    SENDING = "sending"
    DONE = "done"
    ABORTED = "aborted"
    """The client said so, or the file changed under our hands."""
    LOST = "lost"
    """Nothing came back."""


MOVES: Mapping[State, frozenset[State]] = {
    State.NEW: frozenset({State.OPTIONS, State.SENDING}),
    State.OPTIONS: frozenset({State.SENDING, State.ABORTED, State.LOST}),
    State.SENDING: frozenset({State.DONE, State.ABORTED, State.LOST}),
    State.DONE: frozenset(),
    State.ABORTED: frozenset(),
    State.LOST: frozenset(),
}


@dataclass(frozen=True)
class Limits:
    """What this server agrees to at most."""

    # MTU 1500 less IP, UDP and TFTP: many ROMs cannot put fragments together.
    blksize: int = 1468
    windowsize: int = 64
    # A longer one is not confirmed: it would keep a vanished client's transfer for minutes.
    timeout_seconds: int = 20


@dataclass(frozen=True)
class Agreed:
    """What holds for one transfer."""

    blksize: int = 512
    windowsize: int = 1
    timeout_seconds: float | None = None
    oack: tuple[tuple[str, str], ...] = ()
    """What is confirmed to the client; empty: it asked for nothing we know, so there is no OACK."""


def negotiate(request: Request, size: int | None, limits: Limits) -> Agreed:
    """Settle the options of a request; an option with a value outside its RFC's range is as if not sent.

    `size` is None where it cannot be told (netascii). Never more than was asked for: edk2 aborts on an
    option it did not request and on a larger value.
    """
    values: dict[str, int] = {}
    confirmed: dict[str, tuple[str, str]] = {}
    for spelling, text in request.options:
        name = spelling.lower()
        asked = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
        if name in values:
            continue
        match name:
            case "blksize" if 8 <= asked <= 65464:
                values[name] = min(asked, limits.blksize)
            case "windowsize" if 1 <= asked <= 65535:
                values[name] = min(asked, limits.windowsize)
            case "timeout" if 1 <= asked <= limits.timeout_seconds:
                values[name] = asked
            case "tsize" if asked >= 0 and size is not None:
                values[name] = size
            case _:
                continue
        confirmed[name] = (spelling, str(values[name]))
    return Agreed(
        blksize=values.get("blksize", 512),
        windowsize=values.get("windowsize", 1),
        timeout_seconds=values.get("timeout"),
        oack=tuple(confirmed.values()),
    )


class Transfer:
    """Sends one file to one client.

    Blocks are counted without end here (0 is the OACK) and wrap to `rollover` (0 or 1) on the wire.
    """

    def __init__(self, source: Source, agreed: Agreed, *, rollover: int = 0) -> None:
        self.source = source
        self.agreed = agreed
        self.state = State.NEW
        self.deadline = 0.0
        """When `timeout` wants to be called next."""
        self.error = ""
        """Why it was aborted."""
        self.last = source.size // agreed.blksize + 1
        self._rollover = rollover
        self._base = -1 if agreed.oack else 0
        self._sent = self._base
        self._sent_at = 0.0
        self._progress_at = 0.0
        self._tries = 0
        self._repeated = False
        self._smoothed: float | None = None
        self._variation = 0.0

    @property
    def over(self) -> bool:
        return not MOVES[self.state]

    def begin(self, now: float) -> list[bytes]:
        self._move(State.OPTIONS if self.agreed.oack else State.SENDING)
        self._progress_at = now
        return self._window(now)

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        """Take what the client sent. Raises Malformed when it makes no sense; the transfer goes on."""
        if self.over:
            return []
        match packets.parse(datagram):
            case Ack(number):
                return self._acknowledged(number, now)
            case Error(code, message):
                self.error = f"error {code} {message}".rstrip()
                self._move(State.ABORTED)
        return []

    def timeout(self, now: float) -> list[bytes]:
        """Send again what was not acknowledged by `deadline`, or give up."""
        if self.over or now < self.deadline:
            return []
        self._tries += 1
        proved = self._base > 0 or (self._base == 0 and bool(self.agreed.oack))
        if proved and self._sent == self.last and self._tries > LAST_TRIES:
            self._move(State.DONE)
        elif now - self._progress_at >= IDLE_SECONDS or (not proved and self._tries > UNPROVED_TRIES):
            self._move(State.LOST)
        else:
            self._repeated = False
            return self._window(now)
        return []

    def _acknowledged(self, number: int, now: float) -> list[bytes]:
        block = self._block(number)
        if block is None:
            return []
        if block == self._base:
            # Answering every repeated ACK doubles all traffic for ever (Sorcerer's Apprentice, RFC 1123
            # 4.2.3.1). In a window it reports a gap, and edk2 sends one for every packet behind the gap:
            # one answer is enough. An ignored one must not push the deadline away.
            if self.agreed.windowsize == 1 or self._repeated:
                return []
            self._repeated = True
            self._tries = max(self._tries, 1)
            return self._window(now)
        if self._tries == 0:
            self._measure(now - self._sent_at)
        if self.state is State.OPTIONS:
            self._move(State.SENDING)
        # An ACK in mid-window reports a gap itself and is answered by the window that follows here.
        self._repeated = block < self._sent
        self._base = block
        self._tries = 0
        self._progress_at = now
        if block == self.last:
            self._move(State.DONE)
            return []
        return self._window(now)

    def _block(self, number: int) -> int | None:
        """The block an ACK's 16 bits mean: the last acknowledged one, or one that is out."""
        candidates = range(max(self._base, 0), self._sent + 1)
        if self.state is State.OPTIONS:
            return 0 if number == 0 else None
        return next((block for block in candidates if self._wire(block) == number), None)

    def _wire(self, block: int) -> int:
        if block <= 0xFFFF:
            return block
        return (block - self._rollover) % (0x10000 - self._rollover) + self._rollover

    def _window(self, now: float) -> list[bytes]:
        """Everything the client may get now, from the first block it did not acknowledge."""
        self._sent_at = now
        self.deadline = now + self._rto()
        if self.state is State.OPTIONS:
            return [packets.option_ack(self.agreed.oack)]
        size = self.agreed.blksize
        first = self._base + 1
        self._sent = min(self._base + self.agreed.windowsize, self.last)
        offset = (first - 1) * size
        wanted = min((self._sent - self._base) * size, self.source.size - offset)
        content = memoryview(self.source.read(offset, wanted))
        if len(content) != wanted:
            self.error = f"the file ends at {offset + len(content)}, expected {self.source.size} bytes"
            self._move(State.ABORTED)
            return [packets.error(ErrorCode.UNDEFINED, "the file changed")]
        return [
            packets.data(self._wire(block), content[(block - first) * size : (block - first + 1) * size])
            for block in range(first, self._sent + 1)
        ]

    def _measure(self, seconds: float) -> None:
        """Round trip estimate (RFC 6298), only of what was sent once (Karn)."""
        if self._smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
        else:
            self._variation += (abs(self._smoothed - seconds) - self._variation) / 4
            self._smoothed += (seconds - self._smoothed) / 8

    def _rto(self) -> float:
        if self.agreed.timeout_seconds is not None:
            return self.agreed.timeout_seconds
        if self._smoothed is None:
            rto = FIRST_RTO_SECONDS
        else:
            rto = max(self._smoothed + 4 * self._variation, SHORTEST_RTO_SECONDS)
        return float(min(rto * 2 ** min(self._tries, 10), LONGEST_RTO_SECONDS))

    def _move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            raise ValueError(f"a transfer that is {self.state.value} cannot become {state.value}")
        self.state = state


def clean_name(raw: bytes) -> str | None:
    """The name a client means: no leading slash, one slash between parts; None for a name nobody may ask.

    Windows-minded firmware sends backslashes; shim doubles slashes.
    """
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or len(raw) > LONGEST_NAME or not name.isprintable():
        return None
    return "/".join(parts)


def netascii(content: bytes) -> bytes:
    """Text the way RFC 764 sends it: line feeds as CR LF, carriage returns as CR NUL."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")

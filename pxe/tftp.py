"""One TFTP transfer without its socket and its file: acknowledgements and the time in, block numbers out.

RFC 1350, 2347 (options), 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pxe.tftp_packets import Request

# Before the first round trip is measured a firmware may still be busy with what came before.
FIRST_RTO_SECONDS = 0.2
# 1 % of loss costs a lock-step transfer 15 s with the customary second, and under one with this.
SHORTEST_RTO_SECONDS = 0.05
LONGEST_RTO_SECONDS = 8.0
# A request has a sender that nobody checked: few repeats before it proves to be there, then only listening.
UNPROVED_TRIES = 3
UNPROVED_SECONDS = 10.0
# The last ACK may be lost, and its sender gone: that is success.
LAST_TRIES = 5
IDLE_SECONDS = 60.0
# Longer than any answer takes while a thousand machines ask.
STUCK_SECONDS = 3.0
# What a file system takes as one name.
LONGEST_NAME = 255
LAST_NUMBER = 0xFFFF
# Of so many round trips in a row one is measured.
MEASURED = 16
NOTHING = range(0)
OACK = range(1)
"""Block 0 is what ACK 0 answers."""


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

    # MTU 1500 less IP, UDP and TFTP, as dnsmasq counts: many ROMs cannot put fragments together.
    blksize: int = 1468
    windowsize: int = 64
    # A longer one is not confirmed: it would keep a vanished client's transfer for minutes.
    timeout_seconds: int = 20

    @staticmethod
    def on(mtu: int) -> "Limits":
        """What fits into one frame of a link with this MTU in bytes; 512 has to fit anywhere."""
        return Limits(blksize=min(max(mtu - 32, 512), 65464))


@dataclass(frozen=True)
class Agreed:
    """What holds for one transfer."""

    blksize: int = 512
    windowsize: int = 1
    timeout_seconds: float | None = None
    """The longest wait before something is sent again; the first ones are as short as without it."""
    rollover: int = 0
    """What follows block number 65535: 0 as nearly all clients expect, or 1."""
    oack: tuple[tuple[str, str], ...] = ()
    """What is confirmed to the client; empty: it asked for nothing we know, so there is no OACK."""


def negotiate(request: Request, size: int | None, limits: Limits, *, rollover: int = 0) -> Agreed:
    """Settle the options of a request; an option with a value outside its RFC's range is as if not sent.

    `size` is None where it cannot be told (netascii). Never more than was asked for: edk2 aborts on an
    option it did not request and on a larger value. `rollover` holds where the client does not ask for one
    (an option that tftp-hpa made up).
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
            case "rollover" if asked in (0, 1):
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
        rollover=values.get("rollover", rollover),
        oack=tuple(confirmed.values()),
    )


class Transfer:
    """Sends `size` bytes to one client: says which blocks are to be sent now, as a range of their numbers.

    Blocks are counted without end; `wire` is the number a packet carries. Block 0 is the OACK. Until the
    client proved to be there, each of at most UNPROVED_TRIES + 1 tries is one datagram.
    """

    __slots__ = (
        *("agreed", "deadline", "error", "last", "over", "size", "state"),
        *("_base", "_doubts", "_first", "_longest_rto", "_progress_at", "_repeated", "_rollover", "_rto"),
        *("_sent", "_sent_at", "_smoothed", "_tries", "_variation", "_windowsize"),
    )

    def __init__(self, size: int, agreed: Agreed) -> None:
        self.size = size
        self.agreed = agreed
        self.state = State.NEW
        self.over = False
        self.deadline = 0.0
        """When `timeout` wants to be called next."""
        self.error = ""
        """Why it was aborted."""
        self.last = size // agreed.blksize + 1
        self._windowsize = agreed.windowsize
        # curl asks for six seconds: with that for every lost packet a bad wire would take for ever.
        self._longest_rto = agreed.timeout_seconds or LONGEST_RTO_SECONDS
        self._rollover = agreed.rollover
        self._first = 0 if agreed.oack else 1
        self._base = self._first - 1
        self._sent = self._base
        self._sent_at = 0.0
        self._progress_at = 0.0
        self._tries = 0
        self._doubts = 0
        self._repeated = False
        self._smoothed: float | None = None
        self._variation = 0.0
        self._rto = FIRST_RTO_SECONDS

    @property
    def proved(self) -> bool:
        """The client answered, so somebody is at its address and wants this."""
        return self._base >= self._first

    def stuck(self, now: float) -> bool:
        """It took the options and then, for long, not one block: packets of this size may not reach it."""
        waits = self.proved and self._base == 0 and self._tries > 2
        return waits and now - self._progress_at >= STUCK_SECONDS

    def unanswered(self, now: float) -> float:
        """For how many seconds it has been waiting."""
        return now - self._progress_at

    def begin(self, now: float) -> range:
        self._move(State.OPTIONS if self.agreed.oack else State.SENDING)
        self._progress_at = now
        return self._window(now)

    def asked_again(self) -> range:
        """What to answer when the same request comes twice: the first datagram, until it was acknowledged."""
        return NOTHING if self.proved or self.over else range(self._first, self._first + 1)

    def acknowledged(self, number: int, now: float) -> range:
        """Take an ACK."""
        base, sent = self._base, self._sent
        if (
            number == sent & LAST_NUMBER
            and 0 <= base < sent < self.last
            and not self._tries
            and (sent <= LAST_NUMBER or not self._rollover)
        ):
            # What nearly every ACK is: of all that is out, and in time. The other way leads to the same, but
            # through five calls.
            if not sent % MEASURED or self._smoothed is None:
                self._measure(now - self._sent_at)
            self._base = sent
            self._repeated = False
            self._doubts = 0
            self._progress_at = self._sent_at = now
            self.deadline = now + self._rto
            following = sent + self._windowsize
            self._sent = following = following if following < self.last else self.last
            return range(sent + 1, following + 1)
        block = None if self.over else self._block(number)
        if block is None:
            return NOTHING
        if block == base:
            return self._acknowledged_again(now)
        if not self._tries:
            self._measure(now - self._sent_at)
        if base < 0:
            self._move(State.SENDING)
        # An ACK in mid-window reports a gap itself and is answered by the window that follows here.
        self._repeated = block < sent
        self._base = block
        self._tries = self._doubts = 0
        self._progress_at = now
        if block == self.last:
            self._move(State.DONE)
            return NOTHING
        return self._window(now)

    def refused(self, code: int, message: str) -> None:
        """Take an ERROR."""
        if not self.over:
            self.error = f"error {code} {message}".rstrip()
            self._move(State.ABORTED)

    def gone(self) -> None:
        """Nobody listens at the client's port any more: it has what it wanted, or never asked."""
        if not self.over:
            self.error = "its port is closed"
            self._move(State.DONE if self.proved and self._sent == self.last else State.ABORTED)

    def changed(self) -> None:
        """The bytes cannot be had any more."""
        if not self.over:
            self.error = f"the file has not its {self.size} bytes any more"
            self._move(State.ABORTED)

    def timeout(self, now: float) -> range:
        """Send again what was not acknowledged by `deadline`, or give up."""
        if self.over or now < self.deadline:
            return NOTHING
        self._tries += 1
        if not self.proved and self._tries > UNPROVED_TRIES:
            self.deadline = self._progress_at + UNPROVED_SECONDS
            if now >= self.deadline:
                self._move(State.LOST)
            return NOTHING
        if self.proved and self._sent == self.last and self._tries > LAST_TRIES:
            self._move(State.DONE)
            return NOTHING
        if now - self._progress_at >= IDLE_SECONDS:
            self._move(State.LOST)
            return NOTHING
        if self._base == LAST_NUMBER and self._doubts > 1:
            # It hears us and does not want this block: it counts on with the other number.
            self._rollover = 1 - self._rollover
        self._repeated = False
        return self._window(now)

    def wire(self, block: int) -> int:
        """The 16 bits that stand for a block."""
        if block <= LAST_NUMBER:
            return block
        return (block - self._rollover) % (LAST_NUMBER + 1 - self._rollover) + self._rollover

    def _acknowledged_again(self, now: float) -> range:
        # Answering every repeated ACK doubles all traffic for ever (Sorcerer's Apprentice, RFC 1123
        # 4.2.3.1). In a window it reports a gap, and edk2 sends one for every packet behind the gap: one
        # answer is enough. An ignored one must not push the deadline away.
        self._doubts += 1
        if self._windowsize == 1 or self._repeated:
            return NOTHING
        self._repeated = True
        self._tries = max(self._tries, 1)
        return self._window(now)

    def _block(self, number: int) -> int | None:
        """The block an ACK's 16 bits mean: the last acknowledged one, or one that is out."""
        base = self._base
        if base <= 0:
            # Also before anything was acknowledged, when there is no last one.
            return number if number <= self._sent else None
        if self._rollover and not number:
            return None
        block = base + (number - self.wire(base)) % (LAST_NUMBER + 1 - self._rollover)
        return block if block <= self._sent else None

    def _window(self, now: float) -> range:
        """Everything the client may get now, from the first block it did not acknowledge."""
        self._sent_at = now
        self.deadline = now + min(self._rto * 2 ** min(self._tries, 10), self._longest_rto)
        base = self._base
        if base < 0:
            self._sent = 0
            return OACK
        sent = base + self._windowsize
        self._sent = sent = sent if sent < self.last else self.last
        return range(base + 1, sent + 1)

    def _measure(self, seconds: float) -> None:
        """Round trip estimate (RFC 6298), only of what was sent once (Karn)."""
        smoothed = self._smoothed
        if smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
        else:
            error = seconds - smoothed
            self._smoothed = smoothed + error / 8
            self._variation += ((error if error > 0 else -error) - self._variation) / 4
        rto = self._smoothed + 4 * self._variation
        if rto < SHORTEST_RTO_SECONDS:
            self._rto = SHORTEST_RTO_SECONDS
        else:
            self._rto = min(rto, self._longest_rto)

    def _move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            raise ValueError(f"a transfer that is {self.state.value} cannot become {state.value}")
        self.state = state
        self.over = not MOVES[state]


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

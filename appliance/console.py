"""Drives a machine's console: waits for texts, types lines, runs commands, keeps a complete transcript."""

import codecs
import os
import queue
import re
import secrets
import select
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pexpect
from pexpect.spawnbase import SpawnBase

from appliance.run import Argument, CommandFailed, Finished

if TYPE_CHECKING:
    TextSpawn = SpawnBase[str]
    Awaited = re.Pattern[str] | type[pexpect.EOF] | type[pexpect.TIMEOUT]
else:
    TextSpawn = SpawnBase

TAIL_CHARACTERS = 4000
TAIL_LINES = 30
DRAIN_SECONDS = 1.0
READ_BYTES = 65536
# A terminal in canonical mode drops what goes past 4095 bytes of one line (N_TTY_BUF_SIZE in Linux).
LINE_BYTES = 4000
SHELL_TRY_SECONDS = 5.0
# ECMA-48: control sequences, operating system commands, other escapes.
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\^-~])")
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}\x1b?|[ -/]*)\Z")
CLEAR_SCREEN = "\x1b[2J"
SILENT = dict.fromkeys(map(ord, "\r\0\a\x0e\x0f"))


class ConsoleFailure(Exception):
    """The console did not show what was awaited; carries the last lines it did show."""

    def __init__(self, awaited: str, why: str, tail: str) -> None:
        self.awaited = awaited
        self.tail = tail
        super().__init__(f"awaited {awaited} on the console: {why}; last lines:\n{tail}")


class ConsoleTimeout(ConsoleFailure):
    """It was not seen in time."""


class ConsoleClosed(ConsoleFailure):
    """The other end is gone: switched off, or its program ended."""


class LoginRefused(ConsoleFailure):
    """The machine did not take the user and password."""


@dataclass(frozen=True)
class Seen:
    """A text that was awaited (`text`), its groups, and what came before it since the last wait."""

    before: str
    text: str
    groups: tuple[str | None, ...] = ()


class PlainText:
    """Turns the bytes of a terminal into text without escape sequences, in pieces as they come."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._held = ""

    def feed(self, data: bytes) -> str:
        text = self._held + self._decode(data)
        cut = UNFINISHED.search(text)
        self._held = text[cut.start() :] if cut else ""
        whole = text[: cut.start()] if cut else text
        # Firmware and boot loaders clear the screen where a program would begin a line.
        return ESCAPE.sub("", whole.replace(CLEAR_SCREEN, "\n")).translate(SILENT)


def plain(transcript: bytes) -> str:
    """A transcript as text to read: no escape sequences, no carriage returns."""
    return PlainText().feed(transcript)


class _Pumped(TextSpawn):
    """pexpect's expect() over text that another thread reads.

    pexpect alone reads only while somebody waits; a guest would then block on a full pipe, and the
    transcript would end where the last wait ended.
    """

    def __init__(self) -> None:
        super().__init__(timeout=None, encoding="utf-8")
        self.delayafterread = None
        self.arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> str:
        """All that has come, however long (`size` would only make expect() go round more often)."""
        if self.flag_eof:
            raise pexpect.EOF("end of the console")
        try:
            text = self.arrived.get(timeout=None if timeout is None else max(timeout, 0))
        except queue.Empty as late:
            raise pexpect.TIMEOUT("nothing more on the console") from late
        pieces = []
        while text is not None:
            pieces.append(text)
            if self.arrived.empty():
                break
            text = self.arrived.get()
        self.flag_eof = text is None
        if not pieces:
            raise pexpect.EOF("end of the console")
        return "".join(pieces)


class Console:
    """A machine's console behind a file descriptor (socket, pty, serial line) that the caller owns.

    Between enter and exit a thread reads all that comes and appends it, raw, to `transcript`, whether
    anybody waits or not. What is awaited is matched on the text without escape sequences and carriage
    returns.
    """

    def __init__(self, fd: int, transcript: Path) -> None:
        self.transcript = transcript
        self._fd = fd
        self._seen = _Pumped()
        self._tail = ""
        self._stop: tuple[int, int] = (-1, -1)
        self._thread = threading.Thread(target=self._pump, name=f"console {transcript.name}", daemon=True)

    def __enter__(self) -> Self:
        self._stop = os.pipe()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop[1], b"x")
        self._thread.join()
        for end in self._stop:
            os.close(end)

    def _pump(self) -> None:
        text = PlainText()
        try:
            with self.transcript.open("ab", buffering=0) as sink:
                for data in self._arriving():
                    sink.write(data)
                    fresh = text.feed(data)
                    self._tail = (self._tail + fresh)[-TAIL_CHARACTERS:]
                    self._seen.arrived.put(fresh)
        finally:
            self._seen.arrived.put(None)

    def _arriving(self) -> Iterator[bytes]:
        """Bytes until the other end closes, or until told to stop and nothing is left to read."""
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        waiting.register(self._stop[0], select.POLLIN)
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            ready = {fd for fd, _ in waiting.poll(None if deadline is None else 0)}
            if self._stop[0] in ready:
                waiting.unregister(self._stop[0])
                deadline = time.monotonic() + DRAIN_SECONDS
            if self._fd in ready:
                data = _read(self._fd)
                if not data:
                    return
                yield data
            elif not ready:
                return

    def tail(self) -> str:
        """The last lines seen."""
        return "\n".join(self._tail.rstrip("\n").split("\n")[-TAIL_LINES:])

    def wait_for(self, awaited: str | re.Pattern[str], *, seconds: float) -> Seen:
        """Wait until a text (literally) or a pattern appears; what came up to its end is used up.

        Raises ConsoleTimeout or ConsoleClosed; after a timeout the same text can be awaited again.
        """
        return self._wait_for_one([awaited], seconds)[1]

    def _wait_for_one(self, awaited: Sequence[str | re.Pattern[str]], seconds: float) -> tuple[int, Seen]:
        name = " or ".join(repr(one if isinstance(one, str) else one.pattern) for one in awaited)
        try:
            if isinstance(awaited[0], str) and len(awaited) == 1:
                self._seen.expect_exact(awaited[0], timeout=seconds)
                return 0, Seen(before=str(self._seen.before), text=awaited[0])
            patterns: list[Awaited] = [
                re.compile(re.escape(one)) if isinstance(one, str) else one for one in awaited
            ]
            index = self._seen.expect_list(patterns, timeout=seconds)
        except pexpect.TIMEOUT:
            raise ConsoleTimeout(name, f"not seen within {seconds:g} s", self.tail()) from None
        except pexpect.EOF:
            raise ConsoleClosed(name, "the console was closed", self.tail()) from None
        match = self._seen.match
        assert isinstance(match, re.Match)
        return index, Seen(before=str(self._seen.before), text=match.group(0), groups=match.groups())

    def hear(self, seconds: float) -> str:
        """All that has come and nobody waited for, after at most so long; raises ConsoleClosed."""
        try:
            return self.wait_for(re.compile(r"(?s).+"), seconds=seconds).text
        except ConsoleTimeout:
            return ""

    def send(self, text: str) -> None:
        """Type a text as it is."""
        data = text.encode()
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError as error:
                raise ConsoleClosed(f"to send {text!r}", str(error), self.tail()) from error

    def send_line(self, line: str = "") -> None:
        self.send(line + "\n")

    def command(self, command: str, *, seconds: float = 60.0) -> Finished:
        """Run a command in the shell that waits on the console: its exit status and what it printed.

        The shell is the one that reads the console, so `cd` and variables last. Kernel messages on the
        same console land in the output (`dmesg -n 1` stops them).
        """
        begin, end = secrets.token_hex(6), secrets.token_hex(6)
        # The marks are typed in two words and printed in one, so the echo of this line never shows them.
        line = (
            f"printf '\\n%s%s\\n' {begin[:6]} {begin[6:]}; eval {_one_line(command)}; "
            f"printf '\\n%s%s:%s:\\n' {end[:6]} {end[6:]} $?"
        )
        if len(line.encode()) > LINE_BYTES:
            raise ValueError(f"a console line is at most {LINE_BYTES} bytes, this command makes {len(line)}")
        deadline = time.monotonic() + seconds
        self.send_line(line)
        try:
            self.wait_for(f"{begin}\n", seconds=seconds)
            found = self.wait_for(re.compile(rf"\n{end}:(\d+):"), seconds=max(deadline - time.monotonic(), 0))
        except ConsoleTimeout as late:
            raise ConsoleTimeout(f"the end of {command!r}", f"not within {seconds:g} s", late.tail) from None
        return Finished(status=int(found.groups[0] or 0), stdout=found.before)

    def succeed(self, command: str, *, seconds: float = 60.0) -> str:
        """Run a command that must end with status 0; what it printed."""
        done = self.command(command, seconds=seconds)
        if done.status != 0:
            raise CommandFailed(["console:", command], done.status, done.stdout)
        return done.stdout

    def wait_for_shell(self, *, seconds: float) -> None:
        """Wait until a shell answers on the console, whatever its prompt looks like."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                self.command("true", seconds=max(min(SHELL_TRY_SECONDS, left), 0))
                return
            except ConsoleTimeout as late:
                # What is typed before the shell is up may be lost: ask again.
                if time.monotonic() >= deadline:
                    why = f"none answered within {seconds:g} s"
                    raise ConsoleTimeout("a shell", why, late.tail) from None

    def login(self, user: str, password: str = "", *, seconds: float = 120.0) -> None:
        """Log in at the getty's prompt and wait for the shell."""
        deadline = time.monotonic() + seconds
        asked, refused = re.compile(r"assword: ?"), re.compile(r"(?i)login incorrect")
        prompt = re.compile(r"[#$] $")
        self.wait_for(re.compile(r"login: ?"), seconds=seconds)
        self.send_line(user)
        index, _ = self._wait_for_one([asked, refused, prompt], max(deadline - time.monotonic(), 0))
        if index == 0:
            self.send_line(password)
            index, _ = self._wait_for_one([prompt, refused], max(deadline - time.monotonic(), 0))
        if index == 1:
            raise LoginRefused(f"a login as {user}", "the machine said no", self.tail())
        self.wait_for_shell(seconds=max(deadline - time.monotonic(), 1))


@contextmanager
def child_console(argv: Sequence[Argument], transcript: Path) -> Iterator[Console]:
    """The console of a program on a terminal of its own (a shell, ssh, ipmitool sol); ended at exit."""
    words = [str(word) for word in argv]
    child = pexpect.spawn(words[0], words[1:], timeout=None, dimensions=(24, 200))
    try:
        with Console(child.child_fd, transcript) as console:
            yield console
    finally:
        child.close(force=True)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        # A pty whose child has ended gives EIO, a socket whose peer was killed ECONNRESET.
        return b""


def _one_line(command: str) -> str:
    """A command quoted for `eval` on one line: a tab or newline would wake the shell's line editor."""
    if command.isprintable():
        return shlex.quote(command)
    escaped = command.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return f'"$(printf %b {shlex.quote(escaped)})"'

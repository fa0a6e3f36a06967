"""A console driven against real local programs on a terminal."""

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console import (
    Console,
    ConsoleClosed,
    ConsoleTimeout,
    LoginRefused,
    PlainText,
    child_console,
    plain,
)
from appliance.run import CommandFailed

LOGIN = """
stty -echo
printf 'Debian 12 box ttyS0\\r\\n\\r\\nbox login: '; read -r user
stty -echo; printf 'Password: '; read -r password; stty echo
if [ "$user:$password" = root:secret ]; then printf 'Welcome\\r\\n'; PS1='root@box:~# ' exec sh -i
else printf '\\r\\nLogin incorrect\\r\\nbox login: '; read -r user; fi
"""


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


@pytest.fixture
def shell(transcript: Path) -> Iterator[Console]:
    with child_console(["sh"], transcript) as console:
        console.wait_for_shell(seconds=20)
        yield console


def test_a_text_is_found_and_what_came_before_is_given(transcript: Path) -> None:
    with child_console(["printf", "one\ntwo\nthree\n"], transcript) as console:
        assert console.wait_for("two", seconds=10).before == "one\n"
        assert console.wait_for(re.compile(r"(thr)e+"), seconds=10).groups == ("thr",)


def test_a_text_is_matched_literally_and_a_pattern_is_not(transcript: Path) -> None:
    with child_console(["printf", "abc\na.c\n"], transcript) as console:
        assert console.wait_for("a.c", seconds=10).before == "abc\n"


def test_a_text_that_does_not_come_raises_with_the_last_lines(transcript: Path) -> None:
    with child_console(["sh", "-c", "echo kernel panic; exec cat"], transcript) as console:
        console.wait_for("kernel", seconds=10)
        before = time.monotonic()
        with pytest.raises(ConsoleTimeout, match=r"'installed'.*within 0.3 s.*\n.*kernel panic") as failure:
            console.wait_for("installed", seconds=0.3)
        assert time.monotonic() - before < 3
        assert "kernel panic" in failure.value.tail


def test_after_a_timeout_the_late_text_is_still_found(transcript: Path) -> None:
    with child_console(["sh", "-c", "printf inst; read x; echo alled"], transcript) as console:
        with pytest.raises(ConsoleTimeout):
            console.wait_for("installed", seconds=0.3)
        console.send_line()
        console.wait_for(re.compile("inst\\s*alled"), seconds=10)


def test_the_end_of_the_other_side_raises_at_once_with_the_last_lines(transcript: Path) -> None:
    with child_console(["echo", "powering off"], transcript) as console:
        with pytest.raises(ConsoleClosed, match="powering off"):
            console.wait_for("login:", seconds=30)
        with pytest.raises(ConsoleClosed, match="powering off"):
            console.wait_for("login:", seconds=30)


def test_a_text_before_the_end_is_found_after_the_end(transcript: Path) -> None:
    with child_console(["echo", "powering off"], transcript) as console:
        with pytest.raises(ConsoleTimeout):
            console.wait_for("never", seconds=0)
        console.wait_for("powering off", seconds=30)


def test_a_command_gives_its_output_and_status(shell: Console) -> None:
    done = shell.command("echo out; echo err >&2; (exit 7)", seconds=20)
    assert (done.status, done.stdout) == (7, "out\nerr\n")
    assert shell.command("printf none", seconds=20).stdout == "none"
    assert shell.command("true", seconds=20).stdout == ""


def test_the_directory_and_the_variables_last_between_commands(shell: Console) -> None:
    shell.succeed("cd /proc/self && mark=here")
    assert shell.succeed("pwd -P; echo $mark").endswith("here\n")


@pytest.mark.parametrize("interpreter", [["sh"], ["bash", "--norc"], ["busybox", "sh"]])
def test_quotes_tabs_and_lines_reach_every_shell_unchanged(interpreter: list[str], transcript: Path) -> None:
    with child_console(interpreter, transcript) as console:
        console.wait_for_shell(seconds=20)
        command = "for word in 'a b' \"it's\"\ndo\n\tprintf '%s\\t%s!\\n' \"$word\" \\\\ ;\ndone"
        assert console.succeed(command, seconds=20).expandtabs(1) == "a b \\!\nit's \\!\n"
        # Longer than the terminal is wide: a line editor breaks its echo there.
        assert console.succeed("echo " + "x" * 900, seconds=20) == "x" * 900 + "\n"


def test_a_command_that_must_succeed_raises_with_its_output(shell: Console) -> None:
    with pytest.raises(CommandFailed, match=r"status 3\n.*no such disk"):
        shell.succeed("echo no such disk; (exit 3)")


def test_a_command_that_does_not_end_names_itself(shell: Console) -> None:
    with pytest.raises(ConsoleTimeout, match=r"the end of 'echo started; sleep 60'.*\n(.*\n)*.*started"):
        shell.command("echo started; sleep 60", seconds=1)


def test_a_command_too_long_for_a_terminal_line_is_refused(shell: Console) -> None:
    with pytest.raises(ValueError, match="at most 4000 bytes"):
        shell.command("echo " + "x" * 5000)


def test_login_ends_at_a_root_shell(transcript: Path) -> None:
    with child_console(["sh", "-c", LOGIN], transcript) as console:
        console.login("root", "secret", seconds=30)
        assert console.succeed("echo $((6 * 7))") == "42\n"
    assert b"secret" not in transcript.read_bytes()


def test_a_refused_login_says_so_without_waiting(transcript: Path) -> None:
    before = time.monotonic()
    with child_console(["sh", "-c", LOGIN], transcript) as console, pytest.raises(LoginRefused, match="root"):
        console.login("root", "wrong", seconds=60)
    assert time.monotonic() - before < 20


def test_the_transcript_is_complete_and_nobody_blocks_when_nobody_waits(transcript: Path) -> None:
    ours, guests = socket.socketpair()
    data = b"".join(b"line %d of the boot\r\n" % number for number in range(60_000))
    with ours, guests, Console(ours.fileno(), transcript) as console:
        writer = threading.Thread(target=guests.sendall, args=(data,))
        writer.start()
        writer.join(30)
        assert not writer.is_alive(), "the guest blocks on its console"
        guests.close()
        console.wait_for("line 59999 of the boot\n", seconds=30)
    assert transcript.read_bytes() == data


def test_what_is_on_the_way_when_the_console_is_left_reaches_the_transcript(transcript: Path) -> None:
    ours, guests = socket.socketpair()
    with ours, guests:
        with Console(ours.fileno(), transcript):
            guests.sendall(b"x" * 150_000)
        assert transcript.stat().st_size == 150_000


def test_a_second_console_appends_to_the_transcript(transcript: Path) -> None:
    for word in ("first", "second"):
        with child_console(["echo", word], transcript) as console:
            console.wait_for(word, seconds=10)
    assert transcript.read_bytes() == b"first\r\nsecond\r\n"


def test_leaving_a_console_ends_its_program(transcript: Path) -> None:
    with child_console(["sh", "-c", "echo $$; exec sleep 600"], transcript) as console:
        pid = int(console.wait_for(re.compile(r"(\d+)\n"), seconds=10).groups[0] or 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_escape_sequences_are_taken_out_wherever_the_pieces_are_cut() -> None:
    data = "Probing o\x1bc\x1b[2J\x1b[1;33mSeaBIOS\x1b[0m\r\n\x1b]0;title\x07grün\x1b(B \x1b=ok\r\n".encode()
    expected = "Probing o\nSeaBIOS\ngrün ok\n"
    assert plain(data) == expected
    for cut in range(len(data)):
        text = PlainText()
        assert text.feed(data[:cut]) + text.feed(data[cut:]) == expected

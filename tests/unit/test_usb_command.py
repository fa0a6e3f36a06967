"""`distserver usb write` before the first write: signals, questions, and who is there to answer them."""

import os
import signal
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.cli.usb import _confirm, _signals
from appliance.errors import Problem


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_writing_as_ctrl_c_does_and_nothing_else(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), _signals():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is piped into it is no answer."""
    (tmp_path / "input").write_text("sdb\n")
    with (tmp_path / "input").open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        with pytest.raises(Problem, match="nobody is there to say that sdb may be erased"):
            _confirm("sdb")


def test_what_is_no_image_is_said_before_sticks_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("no image")
    assert main(["usb", "write", str(tmp_path / "text"), "no-such-stick"]) == 1
    assert "text is no ISO image" in capsys.readouterr().err

"""What a machine's packets amount to."""

import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.strategies import Strategy
from tests.e2e.matrix import EXPECTED, table
from tests.e2e.netboot import Row
from tests.e2e.wire import Heard, Kind, Outcome, Way, Wire, judge

MAC, US, THEM = "52:54:00:77:00:01", "10.77.0.2", "10.77.0.1"


def heard(*steps: tuple[Kind, str, str]) -> Outcome:
    return judge([Heard(MAC, kind, peer, detail) for kind, peer, detail in steps])


DISCOVER = (Kind.DISCOVER, "", "4 s")
PROGRAM = (Kind.TFTP, US, "snponly.efi")
SCRIPT = (Kind.HTTP, US, f"/boot/{MAC}.ipxe")


def test_nothing_is_decided_before_a_file_is_asked_for() -> None:
    assert heard(DISCOVER, (Kind.OFFER, US, "")) == Outcome()
    assert heard(DISCOVER, (Kind.ASK, US, "")) == Outcome()
    assert not Outcome().final


def test_a_program_that_asks_for_its_script_is_two_steps() -> None:
    steps = (DISCOVER, (Kind.ASK, US, ""), PROGRAM)
    assert heard(*steps) == Outcome(Way.BINL)
    assert not heard(*steps, PROGRAM, DISCOVER).final
    assert heard(*steps, PROGRAM, DISCOVER, SCRIPT) == Outcome(Way.BINL, Way.URL)


def test_ipxe_in_the_rom_needs_no_program() -> None:
    assert heard(DISCOVER, SCRIPT) == Outcome(Way.URL, Way.URL)


def test_a_program_without_a_dhcp_of_its_own_asks_at_once() -> None:
    config = (Kind.TFTP, US, "grub/x86_64-efi/grub.cfg")
    assert heard(DISCOVER, PROGRAM, config) == Outcome(Way.DIRECT, Way.DIRECT)


def test_the_item_of_a_menu_is_told_from_a_plain_question() -> None:
    assert heard(DISCOVER, (Kind.ASK, US, "470480000000"), PROGRAM) == Outcome(Way.MENU)


def test_a_program_can_be_lost_to_the_other_server() -> None:
    lost = heard(DISCOVER, PROGRAM, DISCOVER, (Kind.TFTP, THEM, "foreign.0"))
    assert lost == Outcome(Way.DIRECT, Way.THEIR_FILE)
    assert lost.final
    assert str(lost) == "TFTP; **their file**"


def test_port_4011_of_the_other_server_is_the_end_after_four_questions() -> None:
    ask = (Kind.ASK, THEM, "")
    assert heard(DISCOVER, ask, ask, ask) == Outcome()
    assert heard(DISCOVER, ask, ask, ask, ask) == Outcome(Way.THEIR_4011)


def test_the_table_has_a_line_for_each_firmware_and_strategy_and_all_foreign_servers() -> None:
    cells = {
        Row("x64", "plain", Strategy.BINL): "a",
        Row("x64", "class", Strategy.BINL): "b",
        Row("ipxe", "file"): "c",
    }
    assert table(cells).splitlines()[2:] == [
        "| SeaBIOS, iPXE ROM | usual |  |  | c |  |",
        "| OVMF x64 | binl | a |  |  | b |",
    ]
    assert EXPECTED


def question(number: int) -> bytes:
    """A machine's TFTP question in a capture, with its record's header."""
    datagram = struct.pack("!HHHH", 1024, 69, 0, 0) + b"\0\1file-%d\0octet\0" % number
    packet = struct.pack("!BxHxxxxxBxx4s4s", 0x45, 20 + len(datagram), 17, bytes(4), bytes(4)) + datagram
    frame = bytes(6) + bytes.fromhex(MAC.replace(":", "")) + b"\x08\0" + packet
    return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


def test_machines_that_are_watched_at_once_share_a_capture(tmp_path: Path) -> None:
    file = tmp_path / "lan.pcap"
    file.write_bytes(bytes(24) + b"".join(question(number) for number in range(2000)))
    wire, usual = Wire(file), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as watchers:
            assert {len(one) for one in watchers.map(wire.of, [MAC] * 4)} == {2000}
    finally:
        sys.setswitchinterval(usual)
    assert [one.detail for one in wire.of(MAC)] == [f"file-{number}" for number in range(2000)]

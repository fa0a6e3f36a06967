"""Who compiles for whom, what a host is told, and what distcc's log says of a build."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.overlays import overlay
from appliance.run import run
from appliance.site_cluster import native_flags, read_cluster
from buildfarm.cluster import FIRST_PORT, Ordered, Seat, Want, assign, distcc_hosts, jobs, render, serving
from buildfarm.distcc import outcome, read_log
from buildfarm.native import difference, parse_target

LOG = Path(__file__).resolve().parents[1] / "data" / "distcc" / "log.txt"
GCC12, GCC11, ARM = "12" * 32, "11" * 32, "aa" * 32
WANTS = [Want(GCC12, "x86_64", 100), Want(GCC11, "x86_64", 90), Want(ARM, "aarch64", 80)]


def host(
    name: str,
    arch: str = "x86_64",
    *,
    state: HostState = HostState.READY,
    runs: Mapping[str, int] = MappingProxyType({}),
) -> CompileHost:
    report = HostReport(name, arch, 4, runs=runs)
    return CompileHost(name, "10.0.0.1", state, report=report)


def test_a_host_gets_every_wanted_toolchain_it_can_run_each_on_a_port_of_its_own() -> None:
    orders = assign([host("one"), host("arm", "aarch64")], WANTS, {})
    assert orders["one"] == (Ordered(GCC12, FIRST_PORT, 4, 100), Ordered(GCC11, FIRST_PORT + 1, 4, 90))
    assert orders["arm"] == (Ordered(ARM, FIRST_PORT, 4, 80),)


def test_a_64_bit_host_runs_32_bit_compilers() -> None:
    assert len(assign([host("one")], [Want(GCC12, "i686", 1)], {})["one"]) == 1
    assert assign([host("one", "i686")], WANTS, {})["one"] == ()


def test_a_toolchain_keeps_its_port_when_others_come_and_go() -> None:
    before = {"one": {GCC11: FIRST_PORT, GCC12: FIRST_PORT + 1}}
    orders = assign([host("one")], WANTS, before)["one"]
    assert {one.toolchain: one.port for one in orders} == before["one"]
    alone = assign([host("one")], [WANTS[1], Want("cc" * 32, "x86_64", 1)], before)["one"]
    assert [one.port for one in alone] == [FIRST_PORT, FIRST_PORT + 1]


def test_a_host_nobody_knows_gets_no_orders() -> None:
    assert assign([host("one", state=HostState.UNKNOWN)], WANTS, {}) == {}


def test_orders_are_lines_a_shell_reads() -> None:
    text = render(
        "one", [Ordered(GCC12, 3640, 4, 100)], serial=7, now=1000.4, builders=["10.0.0.2", "10.0.0.3"]
    )
    assert text.splitlines() == [
        "orders 1",
        "host one",
        "serial 7",
        "time 1000",
        "lifetime 3600",
        "allow 10.0.0.2 10.0.0.3",
        "nice 10",
        f"toolchain {GCC12} 3640 4 100",
        "end",
    ]


def test_only_a_ready_host_that_says_it_runs_the_toolchain_serves_it() -> None:
    runs = {GCC12: 3640}
    assert serving(host("one", runs=runs), GCC12, 3640)
    assert not serving(host("one", runs=runs), GCC12, 3641)
    assert not serving(host("one", runs=runs), GCC11, 3640)
    assert not serving(host("one", state=HostState.QUARANTINED, runs=runs), GCC12, 3640)


def test_the_largest_host_comes_first_and_this_one_last() -> None:
    seats = [Seat("small", 4001, 2), Seat("large", 4002, 16)]
    assert distcc_hosts(seats, 4) == (
        "--localslots=4 --localslots_cpp=16 127.0.0.1:4002/16,lzo 127.0.0.1:4001/2,lzo localhost/4"
    )


def test_an_emulated_root_waits_for_hosts_and_compiles_nothing_itself() -> None:
    assert distcc_hosts([Seat("a", 4001, 2)], 4, here=False) == (
        "--localslots=4 --localslots_cpp=16 127.0.0.1:4001/2,lzo"
    )


def test_a_large_cluster_does_not_drown_the_host_that_builds() -> None:
    assert jobs([], 4) == 4
    assert jobs([Seat("one", 4001, 8)], 4) == 12
    assert jobs([Seat("one", 4001, 256)], 4) == 32


def test_the_log_tells_what_ran_where() -> None:
    ran = read_log(LOG.read_text())
    assert ran.remote == {"127.0.0.1:4001": 2}
    assert ran.local == 1
    assert ran.failed == {"127.0.0.1:4002": 1}


def test_an_answer_is_its_status_and_its_object() -> None:
    answer = b"DONE00000001STAT00000000SERR00000003abcSOUT00000000DOTO00000002xy"
    assert outcome(answer) == (0, b"xy")
    assert outcome(answer) == outcome(answer.replace(b"SERR00000003abc", b"SERR00000000"))
    assert outcome(answer) != outcome(answer.replace(b"xy", b"xz"))
    with pytest.raises(ValueError, match="1 octets of 2"):
        outcome(answer[:-1])


TARGET = """The following options are target specific:
  -m128bit-long-double        		[enabled]
  -mabm                       		{abm}
  -march=                     		{march}
  -mtune=                     		{march}
  -mpku                       		{pku}
  -mcmodel=                   		[default]
  Known valid arguments for -march= option:
    i386 i486
"""


def test_native_is_a_processor_and_what_it_has_more_or_less() -> None:
    native = parse_target(TARGET.format(abm="[enabled]", march="rocketlake", pku="[disabled]"))
    plain = parse_target(TARGET.format(abm="[disabled]", march="rocketlake", pku="[enabled]"))
    assert native["-march="] == "rocketlake"
    assert difference(native, plain) == ["-mabm", "-mno-pku"]


def test_native_flags_are_refused_with_their_line() -> None:
    text = '# -march=native\nCFLAGS="-O2 -march=native"\nX="-mtune=generic"\n  Y=-mcpu=native # no\n'
    said = native_flags("make.conf", text)
    assert [one.partition(" ")[0] for one in said] == ["make.conf:2:", "make.conf:4:"]
    assert "distserver cluster native" in said[0]


def test_hosts_of_a_site_are_checked() -> None:
    complaints: list[str] = []
    rows = [{"name": "One", "address": "one.example"}, {"name": "two", "address": "10.0.0.2", "slots": -1}]
    read_cluster("f", {"host": [*rows, rows[1]], "builders": ["x"]}, complaints)
    assert [one.split(": ")[1].partition(":")[0] for one in complaints] == [
        "cluster.host[1].name",
        "cluster.host[1].address",
        "cluster.host[2].slots",
        "cluster.host[3].slots",
        "cluster.host",
        "cluster.builders",
    ]


def test_the_agent_is_clean_for_shellcheck() -> None:
    run(["shellcheck", "-s", "sh", overlay("compile-host") / "usr/lib/distserver/compile-host"])

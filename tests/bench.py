"""Benchmarks: one JSON object a line on standard output, progress on standard error, always status 0."""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from appliance.demo import (
    INSTALL_SECONDS,
    PROFILE,
    Scene,
    blank_machine,
    build_example,
    cache,
    probed_accelerator,
    serving,
    set_scene,
)
from appliance.lab import APPLIANCE_ADDRESS, Lan, foreign_dhcp, lan
from appliance.model import Event, Firmware, MachineState, Tree
from appliance.run import Argument, run
from appliance.vm_power import power_on
from tests.e2e.scenes import Built, own_scene, wait_for_state

ROUNDS = 7
FETCHES = 20
"""One kernel and installer are so small that starting curl would be measured instead."""
MAC = "52:54:00:77:02:01"
PHASES = ("partition", "filesystems", "stage", "portage", "packages", "client", "kernel", "loader", "finish")


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def emit(bench: str, case: str, peer: str, *, ours: float, theirs: float, unit: str, goal: str) -> None:
    """One line of the contract: ratio = ours / theirs."""
    figures = {"ours": round(ours, 3), "theirs": round(theirs, 3), "unit": unit}
    line = {
        "bench": bench,
        "case": case,
        "peer": peer,
        **figures,
        "ratio": round(ours / theirs, 3),
        "goal": goal,
    }
    print(json.dumps(line), flush=True)


def seconds_of(argv: Sequence[Argument], net: Lan) -> float:
    started = time.monotonic()
    run(argv, prefix=net.exec_prefix("client"))
    return time.monotonic() - started


def http(scene: Scene, net: Lan, release: Path) -> None:
    """Kernel and installer over HTTP against `cat` through a pipe, in turn, in the same namespace."""
    files = [release / "kernel", release / "installer"]
    base = f"http://{APPLIANCE_ADDRESS}:{scene.services().live.now().http_port}/r/{release.name}"
    urls = [f"{base}/{file.name}" for file in files] * FETCHES
    fetch = ["curl", "--silent", "--fail", *(word for url in urls for word in ("-o", "/dev/null", url))]
    pipe = ["sh", "-c", 'cat "$@" | cat >/dev/null', "sh", *map(str, files * FETCHES)]
    mebibytes = FETCHES * sum(file.stat().st_size for file in files) / 2**20
    ours, theirs = [], []
    for number in range(ROUNDS):
        say(f"http, round {number + 1} of {ROUNDS}")
        ours.append(mebibytes / seconds_of(fetch, net))
        theirs.append(mebibytes / seconds_of(pipe, net))
    emit(
        "install",
        "http/kernel+installer",
        "cat through a pipe",
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        unit="MiB/s",
        goal=">= 0.25",
    )


def phases(events: Sequence[Event]) -> None:
    """Seconds of each phase of one installation, as parts of the whole."""
    done = {event.stage: event.seconds or 0.0 for event in events if event.status == "done"}
    whole = sum(done[phase] for phase in PHASES)
    for phase in PHASES:
        emit(
            "install",
            f"phase/{phase}",
            "all phases of the same installation",
            ours=done[phase],
            theirs=whole,
            unit="s",
            goal="",
        )


def main() -> None:
    shown = set_scene(cache() / "bench" / "built", Tree(cache() / "state"))
    say("building the example profile, or taking it from the cache")
    standard_output, sys.stdout = sys.stdout, sys.stderr
    try:
        release = build_example(shown)
    finally:
        sys.stdout = standard_output
    accel = probed_accelerator(shown.tree, release)
    scene = own_scene(Built(shown.tree, release, shown.site, Path()), "bench")
    services = scene.services()
    services.add_machine(MAC, profile=PROFILE)
    services.arm(MAC)
    with (
        lan("bench", clients={"client": "10.77.0.9"}) as net,
        foreign_dhcp(net, scene.place / "dnsmasq.log"),
        serving(scene, net),
    ):
        http(scene, net, shown.tree.path / "releases" / release)
        vm = blank_machine(scene.place / "machine", Firmware.UEFI, mac=MAC, tap=net.taps[0])
        say(f"installing a UEFI machine ({accel.value}), at most {INSTALL_SECONDS:.0f} s")
        with power_on(vm, accel=accel, prefix=net.exec_prefix("lan")) as machine:
            wait_for_state(scene, MAC, MachineState.INSTALLED, machine)
    phases([event for _, event in services.store.events.after(MAC)])


if __name__ == "__main__":
    main()

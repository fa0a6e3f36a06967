"""distcc: the same build with two compile hosts and on this host alone."""

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.demo import cache
from appliance.model import Tree
from appliance.sandbox import Sandbox
from appliance.site_model import StageSource
from buildfarm import lease, stage
from tests.benches.yard import Emit, cpu_seconds, say
from tests.integration.compile_yard import ADDRESSES, Yard, flags, yard

FILES = 60
WEIGHT = 10
"""Such as a C++ file or a large one in C: what small ones win is lost in preprocessing."""
VERSION = 12
LOCAL = 2
SLOTS = 4


def run(emit: Emit) -> None:
    """The case distcc: processor time of the building host, wall time, and the remote share."""
    build_stage = stage.acquire(StageSource("reference:build"), Tree(cache() / "state"), say)
    with TemporaryDirectory(prefix="bench-cluster-") as name, ExitStack() as agents:
        made = agents.enter_context(yard(Path(name), build_stage.root))
        desk = made.services.cluster
        for host, address in ADDRESSES.items():
            desk.add(host, address=address, slots=SLOTS)
            agents.enter_context(made.agent(host))
            made.wait_for_host(host)
        say("making the toolchain, probing two hosts")
        with desk.lease(made.root(), LOCAL, flags=flags(VERSION)) as first:
            assert first.hosts == tuple(sorted(ADDRESSES)), first.rejected
        shares = []

        def remote(root: Sandbox) -> None:
            with desk.lease(root, LOCAL, flags=flags(VERSION)) as held:
                made.make(held, root, VERSION)
            shares.append(held.report().share)

        def local(root: Sandbox) -> None:
            with nullcontext(lease.empty(LOCAL)) as held:
                made.make(held, root, VERSION)

        say(f"{FILES} files with two hosts, then here alone")
        ours, theirs = _measure(made, remote), _measure(made, local)
    peer = "the same build on this host alone"
    emit("farm", "distcc/client", peer, ours=ours[0], theirs=theirs[0], unit="CPU s", goal="<= 0.7")
    # Both hosts are namespaces on the same processors: they can win nothing here but lose.
    emit(
        "farm",
        "distcc/wall, hosts on the same processors",
        peer,
        ours=ours[1],
        theirs=theirs[1],
        unit="s",
        goal="",
    )
    emit(
        "farm",
        "distcc/remote share",
        "all compilations",
        ours=shares[0],
        theirs=1.0,
        unit="share",
        goal=">= 0.7",
    )


def _measure(made: Yard, build: Callable[[Sandbox], None]) -> tuple[float, float]:
    """Processor seconds of what this host ran, and wall seconds."""
    root = made.root()
    made.project(root, FILES, weight=WEIGHT)
    started = time.monotonic()
    spent = cpu_seconds(lambda: build(root))
    return spent, time.monotonic() - started

"""Many profiles and one backlog, against plain emerge and against the bound that no farm can beat."""

import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.backlog import critical_path
from appliance.channels import STABLE
from appliance.deadline import wait_until
from appliance.model import Tree
from appliance.run import run, running
from appliance.services import Services
from appliance.store import Store
from buildfarm import portage, preparing, root
from buildfarm.order import Tools, processors, take_order
from buildfarm.preparing import build_sandbox, laid_files
from tests.benches.yard import CLASSES, Emit, Yard, cpu_seconds, make_yard, say

BACKLOG_SECONDS = 3 * 3600.0
MANY = 100
ROUNDS = 5
CHUNK = b"x" * 2**20
LOGGED = re.compile(r"^(\d+):\s+(>>> emerge|::: completed emerge) \(\d+ of \d+\) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Plain:
    """One profile built by plain emerge in a fresh root."""

    cpu_seconds: float
    critical_seconds: float
    """Of its longest chain of packages that need one another."""
    package_bytes: int


def plain_emerge(yard: Yard, name: str) -> Plain:
    """`emerge --update --deep --newuse @system @world` as an admin would run it for one profile."""
    services = Services(yard.site, yard.tree)
    site = services.live.now()
    report = lambda progress: say(f"plain emerge: {progress}")  # noqa: E731
    order = take_order(
        site,
        site.profiles[name],
        yard.tree,
        ledger=Store(yard.tree.store).packages,
        report=report,
        tools=Tools(),
    )
    own = root.Root(yard.tree.room("plain") / name)
    attempt = own.begin(order.build_stage.sha256)
    prepared = preparing.prepare(order, attempt)
    root.lay(attempt.upper, order.build_stage.root, laid_files(order))
    sandbox = build_sandbox(order, attempt)
    argv = ["emerge", *portage.QUIET, *portage.RESOLVE, f"--jobs={processors()}", *portage.SETS]
    spent = cpu_seconds(lambda: run(argv, prefix=sandbox.prefix(), output=order.logs / "emerge.out"))
    seconds = package_seconds((order.logs / "emerge.log").read_text())
    needs = {choice.cpv: choice.needs for choice in prepared.resolution.choices}
    size = sum(file.stat().st_size for file in attempt.pkgdir.rglob("*.gpkg.tar"))
    own.discard()
    return Plain(spent, critical_path(seconds, needs), size)


def package_seconds(emerge_log: str) -> dict[str, float]:
    """cpv -> seconds from its first to its last line."""
    begun: dict[str, float] = {}
    found: dict[str, float] = {}
    for stamp, verb, cpv in LOGGED.findall(emerge_log):
        if verb == ">>> emerge":
            begun[cpv] = float(stamp)
        else:
            found[cpv] = float(stamp) - begun[cpv]
    return found


def drain(yard: Yard) -> float:
    """Let the farm process build whatever is due; the seconds until all profiles had a release."""
    services = Services(yard.site, yard.tree)
    argv = [sys.executable, "-m", "appliance.cli", "--state", str(yard.tree.path), "process", "farm"]
    started = time.monotonic()
    log = yard.tree.path / "farm.log"
    with running([*argv, "--site", str(yard.site), "--interface", "lo"], output=log) as farm:

        def drained() -> bool | None:
            if farm.poll() is not None:
                raise RuntimeError(f"the farm process ended, see {log}")
            failed = services.backlog.board().failed
            if failed:
                raise RuntimeError(f"{failed[0].profile}: {failed[0].message}")
            done = all(services.desk.channels.get(name, STABLE) for name in yard.names)
            return (done and not services.store.jobs.running()) or None

        wait_until(drained, seconds=BACKLOG_SECONDS, what=f"{len(yard.names)} profiles are built")
        seconds = time.monotonic() - started
        # What a child used is counted when its parent has waited for it.
        wait_until(lambda: not children(farm.pid) or None, seconds=60, what="the last build's process ended")
        return seconds


def children(pid: int) -> list[str]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for each in lists for child in each.read_text().split()]


def disk_seconds(place: Path, size: int) -> float:
    """How long this disk takes to write so many bytes."""
    started = time.monotonic()
    with (place / "written").open("wb") as file:
        for _ in range(max(1, size // len(CHUNK))):
            file.write(CHUNK)
        file.flush()
        os.fsync(file.fileno())
    (place / "written").unlink()
    return time.monotonic() - started


def bound(emit: Emit, place: Path, warm: Tree) -> None:
    """The cases bound and ten-profiles."""
    classes = plain_classes(place, warm)
    for profiles, count in ((2, 1), (5, 2), (10, 3), (10, 1)):
        yard = make_yard(
            place / f"n{profiles}-c{count}", warm, profiles=profiles, classes=count, workers=count
        )
        say(f"{profiles} profiles of {count} classes of flags through the backlog")
        wall = 0.0

        def work(yard: Yard = yard) -> None:
            nonlocal wall
            wall = drain(yard)

        spent = cpu_seconds(work)
        case = f"{profiles} profiles, {count} flag classes"
        one_by_one = sum(classes[number % count].cpu_seconds for number in range(profiles))
        unique = classes[:count]
        least = max(
            max(one.critical_seconds for one in unique),
            sum(one.cpu_seconds for one in unique) / processors(),
            disk_seconds(place, sum(one.package_bytes for one in unique)),
        )
        emit(
            "farm",
            f"bound/{case}",
            "plain emerge, profile by profile",
            ours=spent,
            theirs=one_by_one,
            unit="CPU s",
            goal="< 1",
        )
        emit(
            "farm",
            f"bound/{case}",
            "max(critical path, unique work / cores, bytes / disk)",
            ours=wall,
            theirs=least,
            unit="s",
            goal="<= 1.15",
        )
        if (profiles, count) == (10, 1):
            emit(
                "farm",
                "ten-profiles",
                "one profile by plain emerge",
                ours=spent,
                theirs=classes[0].cpu_seconds,
                unit="CPU s",
                goal="<= 1.3",
            )


def plain_classes(place: Path, warm: Tree) -> list[Plain]:
    yard = make_yard(place / "plain", warm, profiles=len(CLASSES), classes=len(CLASSES))
    found = []
    for name in yard.names:
        say(f"plain emerge for one profile of each class: {name}")
        found.append(plain_emerge(yard, name))
    return found


def unchanged(emit: Emit, place: Path, warm: Tree) -> None:
    """Deciding that nothing changed for many profiles; one start of Portage decides it for one."""
    yard = make_yard(place / "unchanged", warm, profiles=MANY, classes=1)
    services = Services(yard.site, yard.tree)
    for profile in services.profiles():
        job = services.store.jobs.start("build", profile.name, now=1.0, inputs=services.inputs(profile))
        services.store.jobs.end(job, "done", now=2.0)
    site = services.live.now()
    order = take_order(
        site,
        site.profiles[yard.names[0]],
        yard.tree,
        ledger=services.store.packages,
        report=lambda progress: None,
        tools=Tools(),
    )
    attempt = root.Root(yard.tree.room("plain") / yard.names[0]).begin(order.build_stage.sha256)
    root.lay(attempt.upper, order.build_stage.root, laid_files(order))
    prefix = build_sandbox(order, attempt).prefix()
    pretend = ["emerge", *portage.QUIET, "--pretend", *portage.RESOLVE, *portage.SETS]

    def ours() -> None:
        if found := services.due():
            raise RuntimeError(f"{len(found)} profiles are due though nothing changed")

    emit(
        "farm",
        "unchanged",
        f"emerge --pretend for one profile; ours decides {MANY}",
        ours=statistics.median(seconds_of(ours) for _ in range(ROUNDS)),
        theirs=statistics.median(seconds_of(lambda: run(pretend, prefix=prefix)) for _ in range(ROUNDS)),
        unit="s",
        goal="ours < 1 s",
    )


def seconds_of(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started

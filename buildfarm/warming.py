"""Builds a profile's missing packages on another host: what it is sent, and what it does with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from appliance.farm_model import Snapshot
from appliance.model import Tree
from appliance.site_model import Profile, Site, StageSource
from buildfarm import harvest, root
from buildfarm.compiling import Compiled, compile_profile
from buildfarm.order import Order, PackageLedger, Report, Tools
from buildfarm.pool import sums
from buildfarm.stage import Stage, acquire


@dataclass(frozen=True)
class Blob:
    """A file by its content."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class SnapshotBlob:
    repository: str
    revision: str
    image: Blob


@dataclass(frozen=True)
class Bundle:
    """All that decides about the packages of one profile, small things whole and large ones by hash."""

    profile: Profile
    stage: Blob
    snapshots: tuple[SnapshotBlob, ...]
    configuration: Mapping[str, root.Content]


@dataclass(frozen=True)
class Offer:
    """A bundle and where its large files are on the host that offers it."""

    bundle: Bundle
    files: Mapping[str, Path]
    """sha256 -> file."""


def offer(order: Order) -> Offer:
    """What another host needs to build the packages of this order."""
    archive = order.build_stage.archive
    files = {order.build_stage.sha256: archive}
    snapshots = []
    for one in order.snapshots:
        image = sums(one.image)
        files[image.sha256] = one.image
        blob = Blob(image.sha256, image.size_bytes)
        snapshots.append(SnapshotBlob(one.repository, one.revision, blob))
    bundle = Bundle(
        profile=order.profile,
        stage=Blob(order.build_stage.sha256, archive.stat().st_size),
        snapshots=tuple(snapshots),
        configuration=order.configuration,
    )
    return Offer(bundle, files)


@dataclass(frozen=True)
class Hands:
    """How a worker reaches the farm."""

    ledger: PackageLedger
    """Knows what the farm knows, and gives it what is finished."""
    get: Callable[[Blob, Path], None]
    """Write a blob to a file that is not there; it has this hash then."""
    get_distfiles: Callable[[Sequence[str]], None]


def warm(bundle: Bundle, tree: Tree, hands: Hands, report: Report, *, jobs: int = 0) -> Compiled:
    """Build what the farm lacks; each finished package is in the ledger then, also after a failure.

    What a killed call had finished is handed in by the next one.
    """
    order = _order(bundle, tree, hands, report, jobs)
    own = root.Root(tree.room("roots").resolve() / bundle.profile.name)
    with own.lock():
        if left := own.leftover():
            harvest.gather(left, order.pool, order.ledger)
        _, compiled = compile_profile(order, own.begin(order.build_stage.sha256))
        if compiled.status == 0:
            own.commit()
        else:
            own.discard()
    return compiled


def _order(bundle: Bundle, tree: Tree, hands: Hands, report: Report, jobs: int) -> Order:
    stage = _stage(bundle.stage, tree, hands)
    room = tree.room("snapshots").resolve()
    snapshots = []
    for one in bundle.snapshots:
        image = room / f"{one.image.sha256}.sqfs"
        if not image.exists():
            hands.get(one.image, image)
        snapshots.append(Snapshot(one.repository, one.revision, image))
    tools = replace(Tools(), get_distfiles=hands.get_distfiles)
    started = tools.now()
    stamp = datetime.fromtimestamp(started, UTC).strftime("%Y%m%dT%H%M%SZ")
    logs = tree.room("logs").resolve() / f"warm-{bundle.profile.name}-{stamp}"
    logs.mkdir(parents=True, exist_ok=True)
    return Order(
        site=Site(tree.path, "worker", (), {}, jobs=jobs),
        profile=bundle.profile,
        tree=tree,
        ledger=hands.ledger,
        report=report,
        tools=tools,
        build_stage=stage,
        install_stage=stage,
        snapshots=tuple(snapshots),
        configuration=bundle.configuration,
        logs=logs,
        started=started,
    )


def _stage(blob: Blob, tree: Tree, hands: Hands) -> Stage:
    home = tree.room("stages").resolve() / blob.sha256
    if not (home / "archive").is_file():
        archive = tree.room("blobs").resolve() / blob.sha256
        if not archive.exists():
            hands.get(blob, archive)
        acquire(StageSource(str(archive), sha256=blob.sha256), tree, lambda text: None)
        archive.unlink()
    return Stage(blob.sha256, home / "archive", home / "root")

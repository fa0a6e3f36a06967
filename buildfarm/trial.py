"""Tries a candidate on scratch machines: a fresh one, and those that run a release which is still used."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePosixPath

from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.sandbox import Bind, Sandbox
from buildfarm import crossing, elf, index, manifest, portage, release, root, sonames
from buildfarm.gate import Client
from buildfarm.portage import Installed
from buildfarm.root import Content
from buildfarm.sonames import Absent

FORMER_TREE = "tree.sqfs"
REPOSITORIES = "etc/portage/repos.conf/"
CANDIDATE = PurePosixPath("/var/cache/candidate")
FORMAT = "distserver trial 1"
"""Part of every key: another way to try makes all verdicts old."""
LIBRARIES = ("lib", "lib32", "lib64", "libx32", "opt", "usr")
# What a client leaves behind that no later machine needs.
RUBBISH = ("var/cache/binpkgs", "var/cache/binhost", "var/cache/distfiles", "var/tmp", "tmp", "var/log")
ANY_STATUS = range(-255, 256)


@dataclass(frozen=True)
class Offer:
    """What a release, sealed or not, offers a machine."""

    stage: Path
    """The root of the install stage."""
    stage_sha256: str
    """Of its archive in the release."""
    snapshots: tuple[Snapshot, ...]
    configuration: Mapping[str, Content]
    """Files of the machine, relative to /, as root.configuration() makes them."""
    index: str
    pool: Path
    """Where its packages lie."""
    target: PurePosixPath | None = None
    """A second root of `stage` that is the machine: its own programs cannot run here."""

    @property
    def world(self) -> tuple[str, ...]:
        """The atoms of the world file, then its sets."""
        texts = [self.configuration.get(f"var/lib/portage/{name}", b"") for name in ("world", "world_sets")]
        return tuple(atom for text in texts if isinstance(text, bytes) for atom in text.decode().split())

    @property
    def key(self) -> str:
        """A hash of all that decides how an installation ends; equal offers need one trial."""
        digest = hashlib.sha256(f"{FORMAT}\n{self.stage_sha256}\n".encode())
        for one in self.snapshots:
            digest.update(f"{one.repository} {one.revision}\n".encode())
        for name, content in sorted(self.configuration.items()):
            kind = "file" if isinstance(content, bytes) else "link"
            data = content if isinstance(content, bytes) else str(content).encode()
            digest.update(f"{kind} {name} {hashlib.sha256(data).hexdigest()}\n".encode())
        digest.update(self.index.encode())
        if self.target:
            digest.update(f"\nin {self.target}".encode())
        return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Trials:
    """trials/<key>: the verdict of a trial that ended well, and the machine as a layer over its stage."""

    room: Path

    def fresh(self, offer: Offer, log: Path) -> Client:
        """`emerge --usepkgonly @system @world` on the bare install stage, as an installing machine does."""
        if known := self._verdict(offer.key):
            return known
        with self._scratch(offer.key) as scratch:
            client = self._install(offer, scratch, layers=(), log=log)
            if client.status == 0:
                self._keep(scratch, client, offer.key, machine=True)
        return client

    def over(self, live: Path, offer: Offer, log: Path) -> Client:
        """A machine at a sealed release (its directory) that is updated to the offer, all from binaries."""
        before = read_offer(live, offer, self._stages)
        if before.key == offer.key:
            return self.fresh(offer, log)
        key = f"{offer.key}-over-{before.key}"
        if known := self._verdict(key):
            return known
        layer = self.room / before.key / "upper"
        if not layer.is_dir():
            made = self.fresh(before, log)
            if made.status != 0:
                return replace(made, subject=f"a machine at release {live.name} cannot even be installed")
        with self._scratch(key) as scratch:
            # The machine keeps the stage it was installed from; everything else is the new release's.
            client = self._install(replace(offer, stage=before.stage), scratch, layers=(layer,), log=log)
            client = replace(client, subject=f"a machine at release {live.name}")
            if client.status == 0:
                self._keep(scratch, client, key, machine=False)
        return client

    def prune(self, live: Collection[Path]) -> None:
        """Forget all machines but those at these releases; verdicts over them stay as long as they do."""
        wanted = {read_key(place) for place in live}
        for place in sorted(self.room.glob("[0-9a-f]*")):
            if place.name.rpartition("-over-")[2] not in wanted:
                shutil.rmtree(place)
        for place in sorted(self._stages.glob("*")):
            if place.name not in {_sums(one)["stage"] for one in live}:
                shutil.rmtree(place)

    @property
    def _stages(self) -> Path:
        return self.room / ".stages"

    def _install(self, offer: Offer, scratch: Path, *, layers: tuple[Path, ...], log: Path) -> Client:
        sandbox = self._machine(offer, scratch, layers)
        lines: list[str] = []
        steps = [portage.client_install(), *([portage.depclean()] if layers else [])]
        status = 0
        for argv in steps:
            done = run(argv, prefix=sandbox.prefix(), output=log, on_line=lines.append, ok=ANY_STATUS)
            status = status or done.status
        state = portage.read_state(sandbox, offer.world)
        return Client(
            status=status,
            output="\n".join(lines),
            installed=state.installed,
            atoms={**state.system, **state.world},
            preserved=state.preserved,
            absent=_absent(sandbox, offer, state.installed) if status == 0 else (),
        )

    def _machine(self, offer: Offer, scratch: Path, layers: tuple[Path, ...]) -> Sandbox:
        shelf = scratch / "candidate"
        (shelf / "pool").mkdir(parents=True)
        (shelf / "Packages").write_text(offer.index)
        files = {**crossing.laid(offer.configuration, offer.target), **_only_binrepo(offer.stage)}
        root.lay(scratch / "upper", offer.stage, files, over=layers)
        quiet = {"FEATURES": "-news -merge-sync", "EMERGE_DEFAULT_OPTS": ""}
        quiet |= crossing.environment(offer.target)
        return root.client_sandbox(
            scratch,
            offer.stage,
            offer.snapshots,
            shelves=[Bind(shelf, CANDIDATE), Bind(offer.pool, CANDIDATE / "pool")],
            env={"PORTAGE_TRUST_HELPER": "/bin/true", **quiet},
            layers=layers,
        )

    @contextmanager
    def _scratch(self, key: str) -> Iterator[Path]:
        """A place of this trial alone; one that a killed trial left is used again from nothing."""
        self.room.mkdir(parents=True, exist_ok=True)
        place = self.room / f".part-{key}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _verdict(self, key: str) -> Client | None:
        place = self.room / key / "client.json"
        return _read_client(place.read_text()) if place.exists() else None

    def _keep(self, scratch: Path, client: Client, key: str, *, machine: bool) -> None:
        made = scratch / "done"
        made.mkdir()
        if machine:
            for name in (*root.LAID, *RUBBISH):
                shutil.rmtree(scratch / "upper" / name, ignore_errors=True)
            (scratch / "upper").rename(made / "upper")
        (made / "client.json").write_text(json.dumps(asdict(replace(client, output=""))))
        if not (self.room / key).exists():
            made.rename(self.room / key)


def _read_client(text: str) -> Client:
    found = json.loads(text)
    return Client(
        status=found["status"],
        output=found["output"],
        installed=tuple(Installed(**one) for one in found["installed"]),
        atoms=found["atoms"],
        preserved=tuple(found["preserved"]),
        absent=tuple(Absent(one["soname"], one["category"], tuple(one["users"])) for one in found["absent"]),
        subject=found["subject"],
    )


def read_offer(place: Path, like: Offer, stages: Path) -> Offer:
    """What a sealed release offers; its stage is the one of `like` when that is the same, else unpacked."""
    sealed = manifest.parse((place / "manifest").read_text())
    stage_sha256 = _sums(place)["stage"]
    stage = like.stage
    if stage_sha256 != like.stage_sha256 and not like.target:
        stage = _unpack(place / "stage", stages / stage_sha256)
    configuration = _configuration(place / "portage.tar")
    return Offer(
        stage=stage,
        stage_sha256=stage_sha256,
        snapshots=_trees(place, sealed.snapshot, configuration),
        configuration=configuration,
        index=(place / "Packages").read_text(),
        pool=like.pool,
        target=like.target,
    )


def _trees(place: Path, snapshot: str, configuration: Mapping[str, Content]) -> tuple[Snapshot, ...]:
    """The repositories of a sealed release, by its manifest's word for them.

    Releases of the time of one repository name only its revision: its image is `tree.sqfs`, and what it is
    called stands in the machine's repos.conf.
    """
    if ":" in snapshot:
        words = [word.partition(":") for word in snapshot.split()]
        return tuple(Snapshot(name, revision, place / release.tree_file(name)) for name, _, revision in words)
    repositories = ConfigParser()
    for name, content in sorted(configuration.items()):
        if name.startswith(REPOSITORIES) and isinstance(content, bytes):
            repositories.read_string(content.decode())
    return (Snapshot(repositories.defaults()["main-repo"], snapshot, place / FORMER_TREE),)


def read_key(place: Path) -> str:
    """The key of a sealed release's offer, without unpacking its stage."""
    return read_offer(place, Offer(place, _sums(place)["stage"], (), {}, "", place), place).key


def _sums(place: Path) -> dict[str, str]:
    """File of a sealed release -> its hash."""
    return {item.name: item.sha256 for item in manifest.parse((place / "manifest").read_text()).files}


def _configuration(archive: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    with tarfile.open(archive) as members:
        for member in members:
            if member.issym():
                found[member.name] = PurePosixPath(member.linkname)
            elif content := members.extractfile(member):
                found[member.name] = content.read()
    return found


def _unpack(archive: Path, place: Path) -> Path:
    if not place.exists():
        part = place.with_name(f".part-{place.name}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        unpack = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--zstd"]
        run([*unpack, "--file", archive, "--directory", part])
        part.rename(place)
    return place


def _only_binrepo(stage: Path) -> dict[str, Content]:
    """Our index as the only one: a stage3 brings a binrepos.conf for Gentoo's own."""
    here = Path("etc/portage/binrepos.conf")
    shadows: dict[str, Content] = {
        str(here / path.name): b"" for path in sorted((stage / here).glob("*")) if path.is_file()
    }
    text = f"[distserver]\npriority = 9999\nsync-uri = file://{CANDIDATE}\nverify-signature = false\n"
    return {**shadows, str(here / "distserver.conf"): text.encode()}


def _absent(sandbox: Sandbox, offer: Offer, installed: Sequence[Installed]) -> tuple[Absent, ...]:
    """Libraries that what is installed needs and the machine has not, whoever should have brought them.

    The machine is only searched when packages do not bring all: a stage brings what no package does.
    """
    present = {one.cpv for one in installed}
    packages = [fields for fields in index.parse(offer.index).paragraphs if fields["CPV"] in present]
    if not sonames.absent(packages, {}):
        return ()
    with root.view(sandbox) as merged:
        top = merged / offer.target.relative_to("/") if offer.target else merged
        return sonames.absent(packages, libraries(top))


def libraries(top: Path) -> dict[str, frozenset[str]]:
    """The names of all shared libraries below a root, by category."""
    found: dict[str, set[str]] = {}
    for name in LIBRARIES:
        for path in sorted((top / name).rglob("*.so*")) if not (top / name).is_symlink() else ():
            if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
                continue
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                try:
                    about = elf.linkage(data)
                except ValueError:  # cut off: nothing can be linked with it
                    continue
            if about:
                found.setdefault(sonames.category(about), set()).add(about.soname or path.name)
    return {category: frozenset(names) for category, names in found.items()}

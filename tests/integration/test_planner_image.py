"""The planner of offline media: made of a real stage, run in its own root, and the plan is the server's."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance import medium, statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.install import default_name, fingerprint
from appliance.live import LiveSite
from appliance.match import Choice, NoChoice, choose
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.offering import Offer, write_offers
from appliance.overlays import example_site
from appliance.run import Finished, run
from appliance.sandbox import Bind, Image, Sandbox
from appliance.site import find_profile, read_site
from appliance.statement import Statement
from appliance.store import Store
from buildfarm.elf import linkage
from buildfarm.planner_image import Planner, make_planner, planner_of
from buildfarm.stage import Stage
from tests.clock import Clock
from tests.fake_notary import FakeNotary

HERE = "http://10.77.0.2:80"
RELEASE = Release("20260101-00000000000a", "vm", 1.0, "distserver:0123 guru:4567", 3, 100)
DISK = Disk("/dev/vda", 8 * 2**30, "virtio", serial="A1", model="QEMU HARDDISK")
UEFI = Facts("52:54:00:00:00:01", Firmware.UEFI, 2**30, vendor="QEMU", product="Standard PC", disks=(DISK,))
BIOS = replace(UEFI, mac="52:54:00:00:00:02", firmware=Firmware.BIOS)
TWO = replace(UEFI, mac="52:54:00:00:00:03", disks=(DISK, replace(DISK, path="/dev/vdb")))
BARE = replace(UEFI, mac="52:54:00:00:00:04", disks=(), vendor="Sun")
AARCH64 = 183
NOT_COMPILED = """
import appliance.offline, json, os, sys
specs = [getattr(module, "__spec__", None) for module in sys.modules.values()]
files = [one for one in specs if one and one.has_location and one.origin.endswith(".py")]
theirs = [one for one in files if "/appliance/" not in one.origin]
print(json.dumps([one.name for one in theirs if not os.path.exists(one.cached)]))
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def release(install_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a sealed release has of it."""
    place = tmp_path_factory.mktemp("releases") / RELEASE.id
    place.mkdir()
    (place / "stage").symlink_to(install_stage.archive)
    return place


@pytest.fixture(scope="module")
def planner(release: Path, shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Planner:
    return planner_of(release, tmp_path_factory.mktemp("planner") / "planner.sqfs", shelf)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> BootDesk:
    """A server with the example site, a release of vm and four armed machines."""
    tree = Tree(tmp_path_factory.mktemp("state"))
    store = Store(tree.store)
    store.releases.add(RELEASE)
    for facts in (UEFI, BIOS, TWO, BARE):
        store.machines.add(Machine(facts.mac, MachineState.ARMED, profile="vm"))
    channels = Channels(tree.path / "channels", FakeNotary().signed_text)
    said = Statement("vm", "stable", RELEASE.id, 1, "2026-01-01T00:00:00Z")
    channels.put(said, FakeNotary().clearsign(statement.write(said)))
    return BootDesk(LiveSite(example_site()), tree, store, channels, Clock())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("medium")
    (place / "distserver").mkdir()
    text = write_offers([Offer(find_profile(read_site(example_site()), "vm"), RELEASE)])
    (place / medium.PROFILES).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    about = medium.Medium(
        created="2026-01-01T00:00:00Z",
        server="http://10.77.0.2",
        offline=True,
        releases=((RELEASE.id, "vm"),),
        files=(
            medium.MediumFile(medium.PLANNER, 1, digest),
            medium.MediumFile(medium.PROFILES, len(text), digest),
        ),
    )
    (place / medium.DESCRIPTION).write_text(medium.write(about))
    return place


def inside(planner: Planner, media: Path, root: Path) -> Sandbox:
    """The planner as an installer has it, on an empty directory `root`."""
    mounts = (Image(planner.path, PurePosixPath("/")), Bind(media, PurePosixPath("/medium")))
    return Sandbox(root, mounts)


def ask(planner: Planner, media: Path, root: Path, *words: str, given: str = "") -> Finished:
    program = ["/usr/bin/python3", "-B", "-m", "appliance.offline", *words]
    prefix = inside(planner, media, root).prefix()
    return run(program, prefix=prefix, stdin=given.encode(), ok=range(256))


@pytest.mark.parametrize("facts", [UEFI, BIOS, TWO, BARE], ids=["uefi", "bios", "two-disks", "no-disk"])
def test_the_offline_plan_is_the_servers_but_for_three_lines(
    planner: Planner, media: Path, desk: BootDesk, tmp_path: Path, facts: Facts
) -> None:
    token = desk.hello(render_facts(facts), HERE).split()[1]
    online = desk.plan(f"token {token}\n{render_facts(facts)}", HERE)
    said = ask(planner, media, tmp_path, "plan", "vm", default_name(facts.mac), given=render_facts(facts))
    assert said.status == 0
    offline = said.stdout
    if facts.disks != (DISK,):
        assert online.startswith("refused ")
        assert offline == f"{online}\n"
        return
    ways = [f"{key} " for key in ("report", "base", "pool")]
    assert [line for line in offline.splitlines() if not line.startswith(tuple(ways))] == [
        line for line in online.splitlines() if not line.startswith(tuple(ways))
    ]
    assert [line for line in offline.splitlines() if line.startswith(tuple(ways))] == [
        "report offline",
        f"base file:///run/medium/r/{RELEASE.id}",
        "pool file:///run/medium",
    ]
    mark = ask(planner, media, tmp_path, "fingerprint", given=offline).stdout
    assert mark == f"{fingerprint(online)}\n"
    events = [event.message for _, event in desk.store.events.after(facts.mac) if event.stage == "plan"]
    assert events[-1].endswith(f"plan {mark.strip()}")


def test_the_offline_choice_is_the_servers(planner: Planner, media: Path, tmp_path: Path) -> None:
    profiles = {"vm": find_profile(read_site(example_site()), "vm")}
    yes, no = choose(UEFI, profiles), choose(BARE, profiles)
    assert isinstance(yes, Choice)
    assert isinstance(no, NoChoice)
    why = yes.reason.partition("match[1]: ")[2]
    said = ask(planner, media, tmp_path, "choose", given=render_facts(UEFI)).stdout
    assert said == f"profile vm vm: match[1]: {why}\n"
    assert ask(planner, media, tmp_path, "choose", given=render_facts(BARE)).stdout == f"none {no.reason}\n"


def test_profiles_and_plans_are_told_to_people_and_mistakes_are_sentences(
    planner: Planner, media: Path, tmp_path: Path
) -> None:
    description = find_profile(read_site(example_site()), "vm").description
    assert ask(planner, media, tmp_path, "list") == Finished(0, f"vm\t{description}\n")
    told = ask(planner, media, tmp_path, "describe", "vm", "web-1", given=render_facts(UEFI)).stdout
    assert "before: /dev/vda 8.0 GiB virtio QEMU HARDDISK A1: everything on it is lost" in told
    wrong = ask(planner, media, tmp_path, "plan", "db", given=render_facts(UEFI))
    assert wrong == Finished(1, "profile db is not on this medium (it has vm)\n")
    assert ask(planner, media, tmp_path, "plan").status == 2


def test_a_planner_is_small_and_has_no_more_than_it_runs(planner: Planner, tmp_path: Path) -> None:
    run(["unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "tree", planner.path])
    assert planner.size_bytes < 8 * 2**20
    assert planner.size_bytes == planner.path.stat().st_size
    names = {path.relative_to(tmp_path / "tree").as_posix() for path in (tmp_path / "tree").rglob("*")}
    assert {"dev", "medium", "proc", "run", "usr/bin/python3"} <= names
    # What only a server needs: another's code may run on a medium's machine, its settings never do.
    ours = {Path(name).name for name in names if f"/python{planner.python}/appliance/" in name}
    assert ours >= {"offline.py", "install.py", "match.py"}
    assert not ours & {"boot.py", "site.py", "site_model.py", "run.py", "dns_settings.py"}
    loose = "python3.11/subprocess.py", "libcrypto.so.3", "python3.11/socket.py"
    assert not [name for name in names if name.endswith(loose)]
    assert {path.stat().st_mtime for path in (tmp_path / "tree").rglob("*")} == {0.0}
    assert {path.stat().st_uid for path in (tmp_path / "tree").rglob("*")} == {0}


def test_the_stages_own_compiled_modules_are_taken(planner: Planner, media: Path, tmp_path: Path) -> None:
    """Else each command of the installer compiled the standard library."""
    program = ["/usr/bin/python3", "-B", "-c", NOT_COMPILED]
    said = run(program, prefix=inside(planner, media, tmp_path).prefix()).stdout
    assert json.loads(said) == []


def test_the_same_release_gives_the_same_bytes_and_nothing_is_unpacked_twice(
    planner: Planner, release: Path, shelf: Path, tmp_path: Path
) -> None:
    again = planner_of(release, tmp_path / "again", shelf)
    assert again == replace(planner, path=tmp_path / "again")
    assert (tmp_path / "again").samefile(planner.path)
    (tmp_path / "shelf").mkdir()
    other = planner_of(release, tmp_path / "other", tmp_path / "shelf")
    assert not other.path.samefile(planner.path)
    assert other.path.read_bytes() == planner.path.read_bytes()


def test_an_unpacked_root_gives_the_planner_of_its_archive(
    planner: Planner, install_stage: Stage, shelf: Path, tmp_path: Path
) -> None:
    made = make_planner(install_stage.root, tmp_path / "planner", shelf)
    assert made.path.samefile(planner.path)


@pytest.fixture
def root(planner: Planner, tmp_path: Path) -> Path:
    """A root with nothing but what a planner needs, for tests to damage."""
    run(["unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "root", planner.path])
    (tmp_path / "root/usr/bin/python3").rename(tmp_path / f"root/usr/bin/python{planner.python}")
    shutil.rmtree(tmp_path / f"root/usr/lib/python{planner.python}/appliance")
    return tmp_path / "root"


@pytest.fixture
def foreign(root: Path) -> Path:
    """The same of another architecture, as far as headers say."""
    for path in root.rglob("*"):
        if path.is_file() and linkage(path.read_bytes()):
            data = bytearray(path.read_bytes())
            data[18:20] = AARCH64.to_bytes(2, "little")
            path.write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("built_in", "has", "wanted"),
    [
        (True, ["_hashlib"], set()),
        (False, ["_hashlib"], {"_hashlib"}),
        (False, ["_hashlib", "_sha256", "_md5"], {"_sha256", "_md5"}),
        (False, ["_sha2", "_decimal"], {"_sha2"}),
    ],
)
def test_the_modules_of_hashlib_are_taken_wherever_a_python_has_them(
    foreign: Path,
    planner: Planner,
    shelf: Path,
    tmp_path: Path,
    built_in: bool,
    has: list[str],
    wanted: set[str],
) -> None:
    """Debian builds them in, Gentoo does not; without one of them OpenSSL comes along."""
    program, folder = (
        foreign / f"usr/bin/python{planner.python}",
        f"usr/lib/python{planner.python}/lib-dynload",
    )
    if not built_in:
        program.write_bytes(program.read_bytes().replace(b"_sha256\0", b"_no_256\0"))
    for name in has:
        (foreign / folder / f"{name}.cpython-aarch64.so").write_bytes(name.encode())
    made = make_planner(foreign, tmp_path / "made", shelf)
    listed = run(["unsquashfs", "-lls", made.path, folder]).stdout
    assert {name for name in (*has, *wanted) if f"/{name}.cpython-aarch64.so" in listed} == wanted


def test_a_root_of_another_architecture_is_read_and_never_run(
    foreign: Path, planner: Planner, shelf: Path, tmp_path: Path
) -> None:
    made = make_planner(foreign, tmp_path / "foreign", shelf)
    assert made.python == planner.python
    for one in (made, planner):
        listed = run(["unsquashfs", "-lls", one.path]).stdout
        names = [line.split()[-1] for line in listed.splitlines() if "squashfs-root" in line]
        (tmp_path / f"{one.path.name}.names").write_text("\n".join(names))
    assert (tmp_path / "foreign.names").read_text() == (tmp_path / "planner.sqfs.names").read_text()
    run(["unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "f", made.path, "usr/bin/python3"])
    about = linkage((tmp_path / "f/usr/bin/python3").read_bytes())
    assert about and about.machine[2] == AARCH64


def test_a_python_that_lacks_a_module_is_found_before_it_is_on_a_medium(
    root: Path, planner: Planner, tmp_path: Path
) -> None:
    (root / f"usr/lib/python{planner.python}/json/decoder.py").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match=r"the planner does not run: .*json\.decoder"):
        make_planner(root, tmp_path / "p", tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_root_without_a_python_that_is_new_enough_is_named(
    root: Path, planner: Planner, shelf: Path, tmp_path: Path
) -> None:
    (root / f"usr/bin/python{planner.python}").rename(root / "usr/bin/python3.9")
    with pytest.raises(Problem, match=r"no Python .* expected at least 3\.11, found 3\.9"):
        make_planner(root, tmp_path / "p", shelf)


def test_a_compiled_module_of_another_source_is_left_out(
    root: Path, planner: Planner, shelf: Path, tmp_path: Path
) -> None:
    """A source that was changed after it was compiled: Python itself would not use it either."""
    source = root / f"usr/lib/python{planner.python}/keyword.py"
    compiled = source.parent / f"__pycache__/keyword.cpython-{planner.python.replace('.', '')}.pyc"
    head = compiled.read_bytes()
    about = source.stat()
    stamp = b"".join(n.to_bytes(4, "little") for n in (0, int(about.st_mtime), about.st_size))
    compiled.write_bytes(head[:4] + stamp + head[16:])
    names = run(["unsquashfs", "-lls", make_planner(root, tmp_path / "one", shelf).path]).stdout
    assert compiled.name in names
    os.utime(source, (9, 9))
    names = run(["unsquashfs", "-lls", make_planner(root, tmp_path / "two", shelf).path]).stdout
    assert compiled.name not in names


def test_a_release_without_its_stage_and_a_damaged_stage_are_sentences(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="has no stage"):
        planner_of(tmp_path, tmp_path / "p", shelf)
    (tmp_path / "stage").write_bytes(b"no archive")
    with pytest.raises(Problem, match="cannot be unpacked"):
        planner_of(tmp_path, tmp_path / "p", shelf)

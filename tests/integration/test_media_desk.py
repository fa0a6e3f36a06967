"""Images of sealed releases, made by the real writer and boot loaders, over a real store and real files."""

import fcntl
import gzip
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import medium as description
from appliance.desks.drafts import Wish, check_room, server_url
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.first_report import credential
from appliance.media_secret import media_secret
from appliance.medium import Medium
from appliance.model import Machine, MachineState, Tree
from appliance.offering import parse_offers
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from appliance.site import read_site
from appliance.store.media import TOKEN
from buildfarm.cpio import cpio, file
from tests.fake_notary import FakeNotary
from tests.press import Press
from tests.press_media import SERVER, content_of, efi_names, media_desk, names_on

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
ONLINE = Wish(("vm",), server=SERVER)
OFFLINE = replace(ONLINE, offline=True)


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    shutil.copytree(site / "profiles/vm", site / "profiles/web")
    return Press(Tree(tmp_path / "state"), site, FakeNotary())


def described(image: Path) -> Medium:
    return description.parse(content_of(image, "distserver/medium", image.parent).decode())


def test_an_online_image_has_what_starts_the_installer_and_no_package(press: Press, tmp_path: Path) -> None:
    one = press.published(b"package")
    made = media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")
    names = names_on(made.path)
    wanted = {f"r/{one.id}/{name}" for name in ("installer", "kernel", "manifest", "manifest.sig")}
    assert {name for name in names if name.startswith(("r/", "pool/"))} == wanted
    assert {"distserver/medium", "distserver/medium.sig", "distserver/release-key.gpg"} <= names
    assert {"distserver/credential", "distserver/planner.sqfs"}.isdisjoint(names)
    medium = described(made.path)
    assert (medium.releases, medium.server, medium.offline) == (((one.id, "vm"),), SERVER, False)
    assert (medium.id, made.releases) == (made.medium_id, medium.releases)
    text = content_of(made.path, "distserver/medium", tmp_path)
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "sig").write_bytes(content_of(made.path, "distserver/medium.sig", tmp_path))
    press.notary.check(tmp_path / "text", tmp_path / "sig")
    menu = content_of(made.path, "boot/grub/grub.cfg", tmp_path).decode()
    assert f"/r/{one.id}/kernel" in menu
    assert made.missing == ()
    assert made.path.stat().st_mode & 0o777 == 0o644


def test_a_release_whose_installer_knows_no_media_gets_no_image(press: Press, tmp_path: Path) -> None:
    content = press.content((press.package("app-misc/a-1", b"package"),))
    content.files["installer"].write_bytes(gzip.compress(cpio([file("init", b"#!/bin/busybox sh")])))
    sealed = press.seal(content)
    press.desk().publish(sealed)
    with pytest.raises(Problem, match=f"the installer of release {sealed.id} knows no media"):
        media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")
    assert list(tmp_path.glob("*.iso")) == []


def signed_release(press: Press, *more: str) -> Release:
    """Published; with a kernel and a loader that count as signed."""
    content = press.content((press.package("app-misc/a-1", b"package"),))
    place = content.files["kernel"].parent
    files = {**content.files, **{name: place / name for name in ("kernel.efi", "loader.efi", *more)}}
    for name, path in files.items():
        if not path.exists():
            path.write_text(f"signed {name}")
    sealed = press.seal(replace(content, files=files))
    press.desk().publish(sealed)
    return sealed


@pytest.mark.parametrize("wish", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_an_image_of_a_signed_release_begins_with_the_signed_loader(
    press: Press, tmp_path: Path, wish: Wish
) -> None:
    one = signed_release(press)
    made = media_desk(press).make(wish, tmp_path / "one.iso", who="ann")
    assert f"r/{one.id}/kernel.efi" in names_on(made.path)
    found = efi_names(made.path, tmp_path)
    assert {"EFI/distserver/grubx64.efi", "loader/entries/recognise.conf"} <= found
    run(["mcopy", "-i", tmp_path / "efi.img", "::/EFI/BOOT/BOOTX64.EFI", tmp_path / "first"])
    assert (tmp_path / "first").read_text() == "signed loader.efi"
    assert made.missing == ()


def test_an_image_of_a_release_with_a_shim_begins_with_that(press: Press, tmp_path: Path) -> None:
    signed_release(press, "shim.efi", "mokmanager.efi")
    made = media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")
    assert {"EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi"} <= efi_names(made.path, tmp_path)


def test_an_image_of_a_release_that_is_not_signed_begins_with_grub(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    made = media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")
    assert efi_names(made.path, tmp_path) == {"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTIA32.EFI"}


def test_an_offline_image_has_every_file_and_package_of_the_release(press: Press, tmp_path: Path) -> None:
    one = press.published(b"package", b"another")
    made = media_desk(press).make(OFFLINE, tmp_path / "one.iso", who="ann")
    names = names_on(made.path)
    sealed = {path.name: path for path in (press.tree.path / "releases" / one.id).iterdir()}
    assert {name.rpartition("/")[2] for name in names if name.startswith("r/")} == set(sealed)
    pool = {path.name: path for path in (press.tree.path / "pool").glob("*/*.gpkg.tar")}
    assert {name.rpartition("/")[2] for name in names if name.startswith("pool/")} == set(pool)
    for name in sorted(name for name in names if name.startswith(("r/", "pool/"))):
        source = {**sealed, **pool}[name.rpartition("/")[2]]
        assert content_of(made.path, name, tmp_path) == source.read_bytes()
    offers = parse_offers(content_of(made.path, "distserver/profiles.json", tmp_path).decode())
    assert [offer.release.id for offer in offers.values()] == [one.id]
    assert content_of(made.path, "distserver/planner.sqfs", tmp_path) == b"planner of stage"
    key = content_of(made.path, "distserver/credential", tmp_path).decode()
    assert key == credential(media_secret(press.tree), made.medium_id) + "\n"


def test_what_several_profiles_share_is_on_an_image_once(press: Press, tmp_path: Path) -> None:
    shared, size = b"s" * 3_000_000, 1_000_000
    press.published(shared, b"v" * size)
    press.published(shared, b"a" * size, profile="web")
    desk = media_desk(press)
    vm = desk.make(OFFLINE, tmp_path / "vm.iso", who="ann")
    web = desk.make(replace(OFFLINE, profiles=("web",)), tmp_path / "web.iso", who="ann")
    both = desk.make(replace(OFFLINE, profiles=("all",)), tmp_path / "both.iso", who="ann")
    assert [profile for _, profile in both.releases] == ["vm", "web"]
    assert len([name for name in names_on(both.path) if name.startswith("pool/")]) == 3
    # Images are whole MiB.
    assert both.size_bytes <= vm.size_bytes + size + 2 * 2**20
    assert both.size_bytes < vm.size_bytes + web.size_bytes - len(shared)


@pytest.mark.parametrize("wish", [ONLINE, OFFLINE, replace(OFFLINE, profiles=("all",))])
def test_the_same_release_and_options_make_the_same_bytes(press: Press, tmp_path: Path, wish: Wish) -> None:
    press.published(b"package")
    press.published(b"package", b"of web", profile="web")
    first = media_desk(press).make(wish, tmp_path / "first.iso", who="ann")
    press.clock.now += 12345
    second = media_desk(press).make(wish, tmp_path / "elsewhere.iso", who="bob")
    assert (first.sha256, first.medium_id) == (second.sha256, second.medium_id)
    assert first.path.read_bytes() == second.path.read_bytes()
    other = media_desk(press).make(replace(wish, timeout_seconds=3), tmp_path / "other.iso", who="bob")
    assert other.sha256 != first.sha256


def test_source_date_epoch_is_the_time_of_an_image(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press.published(b"package")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    made = media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")
    assert described(made.path).created == "2001-09-09T01:46:40Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(Problem, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        media_desk(press).make(ONLINE, tmp_path / "one.iso", who="ann")


def test_an_image_has_the_release_that_the_channel_names_or_that_was_asked_for(
    press: Press, tmp_path: Path
) -> None:
    old, new = press.published(b"old"), press.published(b"new")
    desk = media_desk(press)
    assert desk.make(ONLINE, tmp_path / "1.iso", who="ann").releases == ((new.id, "vm"),)
    wish = replace(ONLINE, release=old.id)
    assert desk.make(wish, tmp_path / "2.iso", who="ann").releases == ((old.id, "vm"),)


def test_the_name_of_an_image_says_what_it_is(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = press.published(b"package")
    press.store().machines.add(Machine(MAC, MachineState.ASSIGNED, name="web1", profile="vm"))
    desk, site = media_desk(press), read_site(press.site).name

    def name(wish: Wish) -> str:
        return desk.make(wish, who="ann").path.name

    assert name(ONLINE) == f"distserver-{site}-vm-{one.id}.iso"
    assert name(replace(OFFLINE, machine=MAC)) == f"distserver-{site}-vm-{one.id}-offline-web1.iso"
    assert name(replace(ONLINE, profiles=("all",))) == f"distserver-{site}-all-{one.id[:8]}.iso"


def test_a_profile_without_a_release_is_left_out_of_all_and_said(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    made = media_desk(press).make(replace(ONLINE, profiles=("all",)), tmp_path / "all.iso", who="ann")
    assert [profile for _, profile in made.releases] == ["vm"]
    assert made.left_out == ("web",)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (replace(ONLINE, profiles=("web",)), "profile web has no release yet"),
        (replace(ONLINE, profiles=("vmm",)), "has no profile vmm"),
        (replace(ONLINE, profiles=("all", "vm")), "all is every profile"),
        (replace(ONLINE, profiles=("vm", "web"), release="x"), "release x is of one profile, and vm web"),
        (replace(ONLINE, release="20260101-00000000000a"), "there is no release 20260101-00000000000a"),
        (replace(ONLINE, server="ftp://x"), "'ftp://x' is no URL of a server"),
        (replace(ONLINE, server=""), "it is not known under which address machines reach this server"),
        (replace(ONLINE, machine="web9"), "there is no machine web9"),
        (replace(ONLINE, machine=MAC), f"machine {MAC} web1 has the profile web, not vm"),
        (replace(ONLINE, machine=OTHER), f"machine {OTHER} has no profile"),
    ],
)
def test_what_cannot_be_made_is_one_sentence_and_nothing_is_written(
    press: Press, tmp_path: Path, wish: Wish, said: str
) -> None:
    press.published(b"package")
    press.store().machines.add(Machine(MAC, MachineState.ASSIGNED, name="web1", profile="web"))
    press.store().machines.add(Machine(OTHER, MachineState.DISCOVERED))
    place = tmp_path / "out"
    place.mkdir()
    with pytest.raises(Problem, match=re.escape(said)) as caught:
        media_desk(press).make(wish, place / "one.iso", who="ann")
    assert "\n" not in caught.value.message
    assert list(place.iterdir()) == []
    assert press.store().media.all() == []


def test_a_site_without_any_release_says_so(press: Press, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no profile has a release yet"):
        media_desk(press).make(replace(ONLINE, profiles=("all",)), tmp_path / "x.iso", who="ann")


def test_releases_of_two_architectures_are_not_put_on_one_image(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    content = press.content((press.package("app-misc/a-1", b"arm"),), profile="web")
    press.desk().publish(press.seal(replace(content, arch="arm64")))
    with pytest.raises(Problem, match="releases of amd64 and arm64 cannot be on one image") as caught:
        media_desk(press).make(replace(ONLINE, profiles=("all",)), tmp_path / "x.iso", who="ann")
    assert "vm is amd64, web is arm64" in caught.value.hint


def test_a_package_with_one_other_byte_is_named_and_no_image_is_made(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    (package,) = (press.tree.path / "pool").glob("*/*.gpkg.tar")
    package.write_bytes(b"pAckage")
    with pytest.raises(Problem, match="package app-misc/a-1-1 has other bytes than its manifest says"):
        media_desk(press).make(ONLINE, tmp_path / "x.iso", who="ann")
    assert not (tmp_path / "x.iso").exists()


def test_a_release_that_was_removed_meanwhile_is_a_sentence(press: Press, tmp_path: Path) -> None:
    one = press.published(b"package")
    shutil.rmtree(press.tree.path / "releases" / one.id)
    with pytest.raises(Problem, match=f"the manifest of release {one.id} cannot be read"):
        media_desk(press).make(ONLINE, tmp_path / "x.iso", who="ann")


def test_an_image_that_would_not_fit_on_the_disk_is_refused_beforehand(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    stage = press.tree.path / "releases" / press.store().releases.all()[0].id / "tree-gentoo.sqfs"
    desk = media_desk(press)
    draft = desk.drafting.draft(OFFLINE, lambda what, done, all_of: None)
    huge = tmp_path / "huge"
    with huge.open("wb") as sparse:
        sparse.truncate(shutil.disk_usage(tmp_path).free + 2**30)
    draft.files["more"] = huge
    with pytest.raises(Problem, match=r"the image of about .* does not fit into .*, where .* are free"):
        check_room(draft, tmp_path / "x.iso")
    with pytest.raises(Problem, match="there is no directory"):
        check_room(draft, stage.parent / "none" / "x.iso")


def test_nothing_is_collected_while_an_image_is_made(press: Press, tmp_path: Path) -> None:
    press.published(b"package")
    seen = []

    def look(what: str, done: int, all_of: int) -> None:
        with (press.tree.path / "pool/.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seen.append(f"free: {what}")
            except BlockingIOError:
                seen.append("held")

    media_desk(press).make(OFFLINE, tmp_path / "x.iso", who="ann", progress=look)
    assert set(seen) == {"held"}


# an image for one machine


def for_one(press: Press, state: MachineState = MachineState.ASSIGNED) -> Wish:
    press.published(b"package")
    press.store().machines.add(Machine(MAC, state, name="web1", profile="vm"))
    return replace(ONLINE, machine="web1")


def timeline(press: Press) -> list[str]:
    return [event.message for _, event in press.store().events.after(MAC) if event.stage == "medium"]


def test_an_image_for_one_machine_carries_a_token_of_which_only_the_hash_is_kept(
    press: Press, tmp_path: Path
) -> None:
    wish = replace(for_one(press), valid_seconds=3600.0)
    made = media_desk(press).make(wish, tmp_path / "one.iso", who="ann")
    machine = described(made.path).machine
    assert machine is not None
    assert (machine.mac, machine.name) == (MAC, "web1")
    assert description.seconds_of(machine.expires) == int(press.clock.now + 3600) == made.expires_at
    assert made.path.stat().st_mode & 0o777 == 0o600
    store = press.store()
    assert store.tokens.owner(machine.token, TOKEN, now=press.clock.now + 3599) == MAC
    assert store.tokens.owner(machine.token, TOKEN, now=press.clock.now + 3600) is None
    assert machine.token not in " ".join(map(str, timeline(press)))
    kept = b"".join(path.read_bytes() for path in press.tree.store.parent.iterdir())
    assert machine.mac.encode() in kept and machine.token.encode() not in kept
    assert f"distserver.token={machine.token}" in (
        content_of(made.path, "boot/grub/grub.cfg", tmp_path).decode()
    )
    (said,) = timeline(press)
    assert f"image {made.medium_id} (online, release" in said and said.endswith("made by ann")


def test_another_image_for_a_machine_ends_the_one_before(press: Press, tmp_path: Path) -> None:
    wish, desk = for_one(press), media_desk(press)
    first = desk.make(wish, tmp_path / "1.iso", who="ann")
    second = desk.make(wish, tmp_path / "2.iso", who="ann")
    assert first.medium_id != second.medium_id
    store = press.store()
    tokens = [described(one.path).machine for one in (first, second)]
    owners = [one and store.tokens.owner(one.token, TOKEN, now=press.clock.now) for one in tokens]
    assert owners == [None, MAC]
    assert timeline(press)[1].startswith(f"image {first.medium_id} may not install it any more")


def test_a_revoked_image_allows_nothing(press: Press, tmp_path: Path) -> None:
    desk = media_desk(
        press,
    )
    wish = for_one(press)
    made = desk.make(wish, tmp_path / "1.iso", who="ann")
    machine = described(made.path).machine
    assert machine is not None
    desk.revoke(made.medium_id, who="bob")
    assert press.store().tokens.owner(machine.token, TOKEN, now=press.clock.now) is None
    assert timeline(press)[-1].endswith("revoked by bob")
    with pytest.raises(Problem, match="was revoked already"):
        desk.revoke(made.medium_id, who="bob")
    with pytest.raises(Problem, match="no image 0123456789abcdef was made here"):
        desk.revoke("0123456789abcdef", who="bob")
    general = desk.make(ONLINE, tmp_path / "2.iso", who="ann")
    with pytest.raises(Problem, match="is for no machine in particular"):
        desk.revoke(general.medium_id, who="bob")


@pytest.mark.parametrize("change", ["disarmed", "assigned"])
def test_a_machine_that_is_disarmed_or_assigned_is_not_installed_by_an_image_of_before(
    press: Press, tmp_path: Path, change: str
) -> None:
    made = media_desk(press).make(for_one(press), tmp_path / "1.iso", who="ann")
    services = Services(press.site, press.tree, press.clock)
    if change == "disarmed":
        services.disarm("web1")
    else:
        services.assign("web1", "vm")
    known = press.store().media.get(made.medium_id)
    assert known is not None and known.revoked_at is not None
    assert timeline(press)[-1].startswith(f"image {made.medium_id} may not install it any more: it was")


def fail(what: str, done: int, all_of: int) -> None:
    if what == "writing":
        raise OSError("the disk is gone")


def test_an_image_that_could_not_be_written_is_not_listed_unless_it_was_there(
    press: Press, tmp_path: Path
) -> None:
    press.published(b"package")
    desk = media_desk(press)
    with pytest.raises(OSError, match="the disk is gone"):
        desk.make(ONLINE, tmp_path / "1.iso", who="ann", progress=fail)
    assert desk.made() == []
    made = desk.make(ONLINE, tmp_path / "1.iso", who="ann")
    with pytest.raises(OSError, match="the disk is gone"):
        desk.make(ONLINE, tmp_path / "1.iso", who="ann", progress=fail)
    assert [one.id for one in desk.made()] == [made.medium_id]
    assert made.path.exists()


def test_an_image_that_could_not_be_written_allows_nothing(press: Press, tmp_path: Path) -> None:
    wish = for_one(press)
    with pytest.raises(OSError, match="the disk is gone"):
        media_desk(press).make(wish, tmp_path / "1.iso", who="ann", progress=fail)
    (made,) = press.store().media.all()
    assert not made.allows(press.clock.now)
    assert timeline(press)[-1].endswith("could not be written")
    assert [path.suffix for path in tmp_path.glob("*.iso*")] == []


def test_an_image_for_a_machine_has_the_release_of_its_channel(press: Press, tmp_path: Path) -> None:
    stable, canary = press.published(b"stable"), press.published(b"canary")
    press.desk().rollback("vm", who="ann")
    press.desk().pin("vm", canary.id, channel="canary", who="ann")
    press.store().machines.add(Machine(MAC, MachineState.ASSIGNED, profile="vm", channel="canary"))
    made = media_desk(press).make(replace(ONLINE, machine=MAC), tmp_path / "1.iso", who="ann")
    assert made.releases == ((canary.id, "vm"),)
    assert media_desk(press).make(ONLINE, tmp_path / "2.iso", who="ann").releases == ((stable.id, "vm"),)


# where machines reach the server


def test_the_address_on_an_image_is_the_sites_or_that_of_a_served_interface(press: Press) -> None:
    site = read_site(press.site)
    assert server_url(replace(site, address="192.0.2.7", http_port=8080)) == "http://192.0.2.7:8080"
    assert server_url(replace(site, address="192.0.2.7", http_front=80)) == "http://192.0.2.7:80"
    assert server_url(site, ("lo",)) == f"http://127.0.0.1:{site.http_port}"
    with pytest.raises(Problem, match="it is not known under which address"):
        server_url(site, ("none0",))

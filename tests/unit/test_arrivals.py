"""Machines that were installed from media, or come with an image for them alone, against a real store."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import first_report
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.install import fingerprint_in
from appliance.live import LiveSite
from appliance.media_secret import media_secret
from appliance.model import Disk, Event, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.store import Store
from appliance.store.media import TOKEN, KnownMedium
from appliance.store.tokens import hash_of
from tests.client_yard import make_key
from tests.clock import Clock
from tests.fake_notary import FakeNotary
from tests.unit.boot_talk import point

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
HERE = "http://10.77.0.2:80"
RELEASE = "20260101-00000000000a"
MEDIUM = "0123456789abcdef"
DISK = Disk("/dev/vda", 8 * 2**30, "virtio")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=(DISK,))
STEPS = ("996000 verify done 3.0 -", "996060 packages done 60.0 2000000 12 packages")
MADE = KnownMedium(MEDIUM, 990_000.0, "ann", HERE, True, ((RELEASE, "vm"),))


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> BootDesk:
    tree = Tree(tmp_path / "state")
    media_secret(tree)
    store = Store(tree.store)
    store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    channels = Channels(tree.path / "channels", FakeNotary().signed_text)
    point(channels, "stable", RELEASE, 1)
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return BootDesk(LiveSite(site), tree, store, channels, clock)


def report(
    desk: BootDesk,
    *,
    nonce: str = "ab" * 16,
    medium: str = MEDIUM,
    profile: str = "vm",
    hostname: str = "web1",
    facts: Facts = FACTS,
    token: str = "",
) -> str:
    """What the program on an installed machine posts."""
    lines = [
        first_report.FIRST_LINE,
        f"medium {medium}",
        f"nonce {nonce}",
        f"release {RELEASE}",
        f"profile {profile}",
        f"hostname {hostname}",
        f"fingerprint {'cd' * 32}",
        *([f"token {token}"] if token else []),
        *(f"event {step}" for step in STEPS),
        "sent 1000000",
    ]
    text = "\n".join([*lines, "", render_facts(facts)])
    key = first_report.credential(media_secret(desk.tree), medium)
    return f"hmac {first_report.proof(key, text)}\n{text}"


def machine(desk: BootDesk, mac: str = MAC) -> Machine:
    found = desk.store.machines.get(mac)
    assert found is not None
    return found


def timeline(desk: BootDesk, mac: str = MAC) -> list[Event]:
    return [event for _, event in desk.store.events.after(mac)]


def test_a_machine_nobody_knew_is_installed_with_all_that_it_reports(desk: BootDesk) -> None:
    desk.store.media.add(MADE)
    assert desk.installed(report(desk)) == "taken"
    found = machine(desk)
    assert (found.state, found.profile, found.release, found.name, found.facts) == (
        MachineState.INSTALLED, "vm", RELEASE, "web1", FACTS,
    )  # fmt: skip
    plan, verify, packages, last = timeline(desk)
    assert (plan.stage, plan.at) == ("plan", 995_997.0)
    assert fingerprint_in(plan.message) == "cd" * 32
    assert (verify.stage, verify.at, verify.seconds) == ("verify", 996_000.0, 3.0)
    assert (packages.size_bytes, packages.seconds, packages.message) == (2_000_000, 60.0, "12 packages")
    assert (last.stage, last.at) == ("report", 1_000_000.0)
    assert last.message == f"installed from medium {MEDIUM}, made by ann"
    assert desk.explain(MAC).startswith("boots from its own disk")


@pytest.mark.parametrize("state", list(MachineState))
def test_a_machine_of_any_state_is_installed_by_its_report_and_disarmed(
    desk: BootDesk, state: MachineState
) -> None:
    desk.store.media.add(MADE)
    desk.store.machines.add(Machine(MAC, state, name="own", profile="amd64", problem="it smells"))
    token = desk.store.tokens.issue(MAC, "install", now=1e6, lifetime_seconds=60)
    assert desk.installed(report(desk)) == "taken"
    found = machine(desk)
    assert (found.state, found.profile, found.name, found.problem) == (
        MachineState.INSTALLED, "vm", "own", "",
    )  # fmt: skip
    assert desk.store.tokens.owner(token, "install", now=1e6) is None


def test_the_same_report_again_changes_nothing_and_may_be_forgotten_by_the_machine(
    desk: BootDesk, clock: Clock
) -> None:
    desk.store.media.add(MADE)
    assert desk.installed(report(desk)) == "taken"
    desk.store.machines.move(MAC, MachineState.ASSIGNED)
    before = timeline(desk)
    clock.now += 5
    assert desk.installed(report(desk)).startswith("known")
    assert timeline(desk) == before
    assert machine(desk).state is MachineState.ASSIGNED
    assert desk.installed(report(desk, nonce="cd" * 16)) == "taken"


def test_a_name_that_another_machine_has_is_not_given_twice(desk: BootDesk) -> None:
    desk.store.media.add(MADE)
    desk.store.machines.add(Machine(OTHER, MachineState.INSTALLED, name="web1"))
    desk.installed(report(desk))
    assert machine(desk).name == ""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, f"does not remember medium {MEDIUM}"),
        (replace(MADE, offline=False), "does not install release"),
        (replace(MADE, releases=((RELEASE, "amd64"),)), "does not install release"),
        (replace(MADE, mac=OTHER), f"is for {OTHER}, not for {MAC}"),
    ],
)
def test_a_report_that_its_medium_cannot_have_sent_is_refused(
    desk: BootDesk, made: KnownMedium | None, said: str
) -> None:
    if made:
        desk.store.media.add(made)
    assert re.match(f"refused .*{re.escape(said)}", desk.installed(report(desk)))
    assert desk.store.machines.get(MAC) is None
    assert timeline(desk) == []


def test_a_report_that_nobody_proves_is_refused_and_its_nonce_is_free(desk: BootDesk) -> None:
    desk.store.media.add(MADE)
    good = report(desk)
    _, _, text = good.partition("\n")
    for told in ("0" * 64, "", "ä", first_report.proof("another", text)):
        assert desk.installed(f"hmac {told}\n{text}").startswith("refused it is not proven")
    # What was proven may not be changed by one letter.
    assert desk.installed(good.replace("web1", "web2")).startswith("refused it is not proven")
    assert desk.installed(good) == "taken"


def test_a_server_that_made_no_media_believes_nobody(desk: BootDesk) -> None:
    desk.store.media.add(MADE)
    good = report(desk)
    (desk.tree.path / "keys/media.secret").unlink()
    assert desk.installed(good) == "refused this server has made no media"


# an image for one machine

PLAN = "token {token}\n" + render_facts(FACTS)


def given_an_image(desk: BootDesk, *, lifetime_seconds: float = 100.0, offline: bool = False) -> str:
    desk.store.machines.add(Machine(MAC, MachineState.ASSIGNED, name="web1", profile="vm"))
    token = desk.store.tokens.issue(MAC, TOKEN, now=desk.clock(), lifetime_seconds=lifetime_seconds)
    made = replace(MADE, mac=MAC, name="web1", offline=offline, expires_at=desk.clock() + lifetime_seconds)
    desk.store.media.add(made, hash_of(token))
    return token


def test_the_token_of_an_image_arms_its_machine_and_no_other_and_only_once(desk: BootDesk) -> None:
    token = given_an_image(desk)
    other = f"token {token}\n" + render_facts(replace(FACTS, mac=OTHER))
    assert desk.plan(other, HERE) == f"again this medium is for machine {MAC}, this one is {OTHER}"
    assert machine(desk).state is MachineState.ASSIGNED
    assert desk.plan(PLAN.format(token=token), HERE).startswith("plan 1\n")
    assert machine(desk).state is MachineState.INSTALLING
    armed = [event for event in timeline(desk) if event.stage == "armed"]
    assert [(event.status, event.message) for event in armed] == [
        ("note", f"medium {MEDIUM} was brought by {OTHER}, it does nothing there"),
        ("done", f"by medium {MEDIUM}, made by ann"),
    ]
    again = "again this medium has installed its machine once already"
    assert desk.plan(PLAN.format(token=token), HERE) == again
    used = desk.store.media.get(MEDIUM)
    assert used is not None and used.used_at == desk.clock()


def test_the_token_of_an_image_ends_with_its_time(desk: BootDesk, clock: Clock) -> None:
    token = given_an_image(desk)
    clock.now += 100
    said = desk.plan(PLAN.format(token=token), HERE)
    assert said == "again what this medium was allowed to do ended at 1970-01-12T13:48:20Z"
    assert machine(desk).state is MachineState.ASSIGNED


def test_an_image_for_a_profile_that_the_machine_has_no_more_arms_nothing(desk: BootDesk) -> None:
    token = given_an_image(desk)
    desk.store.machines.set_profile(MAC, "amd64")
    said = desk.plan(PLAN.format(token=token), HERE)
    assert said == "again this medium is for profile vm, which the machine has no more"
    assert "which it has no more" in timeline(desk)[-1].message


def test_an_image_arms_nothing_after_its_machine_was_installed_from_the_network(desk: BootDesk) -> None:
    for offline, said in (
        (False, "what this medium was allowed to do was revoked"),
        (True, "the machine was installed after this medium was made"),
    ):
        desk.store.database.execute("DELETE FROM machine")
        desk.store.database.execute("DELETE FROM medium")
        token = given_an_image(desk, offline=offline)
        desk.store.machines.move(MAC, MachineState.ARMED)
        install = desk.hello(render_facts(FACTS), HERE).split()[1]
        plan = desk.plan(PLAN.format(token=install), HERE)
        secret = next(line.split()[1] for line in plan.splitlines() if line.startswith("report "))
        assert desk.event(f"report {secret}\nstage finish\nstatus done\n") == "ok"
        assert desk.plan(PLAN.format(token=token), HERE) == f"again {said}"
        assert machine(desk).state is MachineState.INSTALLED
    # The machine had no network when it was installed from this one.
    assert desk.installed(report(desk, token=token)) == "taken"


def test_the_report_of_an_image_for_one_machine_burns_its_token_also_after_its_time(
    desk: BootDesk, clock: Clock
) -> None:
    token = given_an_image(desk, offline=True)
    clock.now += 1000
    assert desk.installed(report(desk, token=token)) == "taken"
    made = desk.store.media.get(MEDIUM)
    assert made is not None and made.used_at == clock.now
    assert desk.installed(report(desk, token=token, nonce="cd" * 16)) == "taken"
    assert timeline(desk)[-1].message == f"the token of medium {MEDIUM} was used already"


def test_the_report_of_a_revoked_image_is_refused(desk: BootDesk) -> None:
    token = given_an_image(desk, offline=True)
    assert desk.store.media.revoke(MAC, now=1.0) == [MEDIUM]
    assert desk.installed(report(desk, token=token)) == f"refused medium {MEDIUM} was revoked"


def enrolment(desk: BootDesk, request: str, *, nonce: str = "ab" * 16, medium: str = MEDIUM) -> str:
    key = first_report.credential(media_secret(desk.tree), medium)
    return f"medium {nonce} {first_report.proof(key, request)}\n{request}"


def test_a_machine_that_was_installed_from_a_medium_enrols_with_the_proof_of_its_medium(
    desk: BootDesk, tmp_path: Path
) -> None:
    desk.store.media.add(MADE)
    desk.store.machines.add(Machine(MAC, MachineState.INSTALLED, profile="vm"))
    desk.store.clients.enrol(MAC, "0" * 64, "of the installation before", now=1.0)
    _, request = make_key(tmp_path)
    assert desk.enroll(enrolment(desk, request)).startswith("stop ")
    assert desk.installed(report(desk)) == "taken"
    assert desk.store.clients.key_of(MAC) is None
    for wrong in (
        enrolment(desk, request, nonce="cd" * 16),
        enrolment(desk, request, medium="f" * 16),
        enrolment(desk, request).replace("medium ab", "medium aa"),
    ):
        assert desk.enroll(wrong).startswith("stop ")
    said = desk.enroll(enrolment(desk, request))
    assert said.startswith("key ") and desk.enroll(enrolment(desk, request)) == said
    _, other = make_key(tmp_path, "other")
    assert desk.enroll(enrolment(desk, other)).startswith("stop ")
    with pytest.raises(Problem, match="line 1"):
        desk.enroll(f"medium {'ab' * 16}\n{request}")

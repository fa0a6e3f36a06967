"""The use cases behind the command line and the web page."""

import shutil
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services, check_name, init_site, read_mac
from appliance.site import read_site
from tests.clock import Clock

MAC = "52:54:00:00:00:01"
DAY = 24 * 3600.0


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"), clock)


def end_job(services: Services, state: str, *, inputs: str) -> None:
    job = services.store.jobs.start("build", "vm", now=services.clock(), inputs=inputs)
    services.store.jobs.end(job, state, now=services.clock())


def own_inputs(services: Services) -> str:
    return services.inputs(services.live.now().profiles["vm"])


def test_a_profile_that_was_never_built_is_due(services: Services) -> None:
    assert services.due() == ["vm"]


@pytest.mark.parametrize(("state", "due"), [("done", []), ("failed", []), ("interrupted", ["vm"])])
def test_a_build_of_the_same_things_is_due_again_only_when_it_was_interrupted(
    services: Services, state: str, due: list[str]
) -> None:
    end_job(services, state, inputs=own_inputs(services))
    assert services.due() == due


def test_a_failed_build_is_tried_again_a_day_later(services: Services, clock: Clock) -> None:
    end_job(services, "failed", inputs=own_inputs(services))
    clock.now += DAY
    assert services.due() == ["vm"]


def test_a_changed_profile_is_due(services: Services) -> None:
    end_job(services, "done", inputs=own_inputs(services))
    with (services.live.path / "profiles/vm/world").open("a") as world:
        world.write("app-editors/nano\n")
    assert services.due() == ["vm"]


def test_a_machine_without_a_profile_cannot_be_armed(services: Services) -> None:
    services.add_machine(MAC)
    with pytest.raises(Problem, match="has no profile"):
        services.arm(MAC)
    assert services.machine(MAC).state is MachineState.DISCOVERED


def test_assigning_takes_the_permission_to_install_away(services: Services) -> None:
    services.add_machine(MAC, profile="vm")
    services.arm(MAC)
    token = services.store.tokens.issue(MAC, "install", now=services.clock(), lifetime_seconds=60)
    services.assign(MAC, "vm", name="web1")
    assert services.machine(MAC).state is MachineState.ASSIGNED
    assert services.machine(MAC).name == "web1"
    assert services.store.tokens.owner(token, "install", now=services.clock()) is None


def test_an_unknown_profile_leaves_the_machine_as_it_was(services: Services) -> None:
    services.add_machine(MAC, profile="vm")
    with pytest.raises(Problem, match="did you mean vm"):
        services.assign(MAC, "vmm")
    assert services.machine(MAC).profile == "vm"


@pytest.mark.parametrize(
    "text", ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01", "525400ABCD01", " 52:54:00:ab:cd:01 "]
)
def test_a_mac_may_be_written_in_every_usual_way(text: str) -> None:
    assert read_mac(text) == "52:54:00:ab:cd:01"


@pytest.mark.parametrize("text", ["", "52:54:00", "52:54:00:ab:cd:0g", "52:54:00:ab:cd:01:02"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="is no MAC address"):
        read_mac(text)


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a" * 64, "a.b"])
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="is no host name"):
        check_name(name)


def test_init_writes_a_site_that_reads_and_never_over_another(tmp_path: Path) -> None:
    init_site(tmp_path / "new")
    assert "vm" in read_site(tmp_path / "new").profiles
    with pytest.raises(Problem, match="is not empty"):
        init_site(tmp_path / "new")


def test_a_machine_is_found_by_its_name_unless_two_have_it(services: Services) -> None:
    services.add_machine(MAC, name="web1")
    assert services.machine("web1").mac == MAC
    services.add_machine("52:54:00:00:00:02", name="web1")
    with pytest.raises(Problem, match="several machines have the name web1"):
        services.machine("web1")

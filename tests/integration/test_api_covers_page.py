"""What the page does, the API does, too: every form's view names its operations, or says why it has none."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask

from appliance.account_model import Role
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from webui.access import MARK, PROGRAMS, SAFE_METHODS
from webui.api.operations import OPERATIONS
from webui.app import make_app

DONE_BY: Mapping[str, tuple[str, ...]] = {
    "accounts.invite": ("inviteAccount",),
    "accounts.change": ("setRole", "disableAccount", "enableAccount", "endSessions"),
    "arming.arm": ("armMachine",),
    "builds.want": ("wantBuild",),
    "cluster.add": ("addHost",),
    "cluster.change": ("quarantineHost", "releaseHost", "probeHost"),
    "cluster.lend": ("lendMachine", "keepMachine"),
    "cluster.order": ("orderToolchain",),
    "cluster.remove": ("removeHost",),
    "consoles.watch": ("watchConsole",),
    "doctor.examine": ("examineNetwork",),
    "holds.change": ("holdPackage", "skipVersion", "releaseHold"),
    "images.image_again": ("wantImage",),
    "machine_actions.act": (
        "assignMachine", "disarmMachine", "setMachineChannel", "rescueMachine", "renameMachine",
        "wakeMachine", "switchMachine",
    ),
    "machines.match_facts": ("matchFacts",),
    "machine_actions.wipe": ("wipeMachine",),
    "merges.decide": ("decideMerge",),
    "merges.undo": ("undoMerge",),
    "profile_edits.write": ("writeProfileFile", "deleteProfileFile"),
    "machine_actions.retire": ("retireMachine",),
    "machine_actions.revoke": ("revokeImage",),
    "plans.ask": ("wantPlan",),
    "releases.go_on": ("goOnWithRollout",),
    "releases.ask": ("promoteRelease", "rollbackRelease", "pinRelease", "unpinRelease", "verifyRelease"),
    "webhooks.add": ("addWebhook",),
    "webhooks.change": ("testWebhook", "pauseWebhook", "resumeWebhook", "removeWebhook"),
}  # fmt: skip
A_PERSON = "a token that was stolen must not be able to keep itself alive, nor change whose it is"
A_BROWSER = "it is about a browser's session, and programs have none"
PREVIEW = "it changes nothing: it shows what writing would change, and writing judges in the same way"
NOT_DONE: Mapping[str, str] = {
    "profile_edits.check": PREVIEW,
    "machine_actions.preview": "it changes nothing, and says in words what a program asks for one by one",
    "accounts.change_password": A_PERSON,
    "accounts.add_token": A_PERSON,
    "accounts.end_token": A_PERSON,
    "accounts.end_session": A_BROWSER,
    "signing.log_in": A_BROWSER,
    "signing.follow": A_BROWSER,
    "signing.leave": A_BROWSER,
}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return make_app(lambda: Services(site, Tree(tmp_path / "state")))


def forms(app: Flask) -> set[str]:
    """Endpoints of the page that change something."""
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if (rule.methods or set()) - SAFE_METHODS and not rule.rule.startswith(PROGRAMS)
    }


def test_every_form_of_the_page_has_its_operations_or_a_reason(app: Flask) -> None:
    assert not DONE_BY.keys() & NOT_DONE.keys()
    assert forms(app) == DONE_BY.keys() | NOT_DONE.keys()


def test_the_operations_are_there_and_for_the_same_roles(app: Flask) -> None:
    known = {one.name: one for one in OPERATIONS}
    for endpoint, names in DONE_BY.items():
        role: Role = getattr(app.view_functions[endpoint], MARK)
        for name in names:
            assert (endpoint, name, known[name].role) == (endpoint, name, role)
            assert known[name].method not in SAFE_METHODS


def test_names_of_operations_are_their_own(app: Flask) -> None:
    names = [one.name for one in OPERATIONS]
    assert sorted(names) == sorted(set(names))
    ways = [(one.method, one.path) for one in OPERATIONS]
    assert len(ways) == len(set(ways))

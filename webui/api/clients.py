"""Installed machines and rollouts in the API: what it takes, answers and does."""

from dataclasses import dataclass
from typing import Annotated

from appliance import client_order
from appliance.account_model import Role
from appliance.client_order import RolloutState
from appliance.client_view import ClientView
from appliance.services import Services
from webui.api.operation import Operation, Page, looking
from webui.api.schema import Rule
from webui.api.shapes import Channel


@dataclass(frozen=True)
class GoOn:
    """The rollout that is to go on."""

    channel: Channel = Channel.STABLE
    why: Annotated[str, Rule("for the audit log")] = ""


@dataclass(frozen=True)
class Rollout:
    """How far a channel's release is on its way to the machines; times are seconds since the epoch."""

    profile: str
    channel: str
    release: str
    state: RolloutState
    why: str
    who: str
    began_at: float
    spread_at: float
    canaries: tuple[str, ...]


def show_client(desk: Services, machine: str) -> ClientView:
    with looking():
        found = desk.machine(machine)
    return desk.clients.view(found)


def list_rollouts(desk: Services) -> Page:
    return Page(tuple(shape(one) for one in desk.clients.rollouts()), None)


def go_on(desk: Services, profile: str, body: GoOn) -> Rollout:
    return shape(desk.clients.go_on(profile, body.channel.value, why=body.why))


def shape(one: client_order.Rollout) -> Rollout:
    when = one.began_at, one.spread_at
    return Rollout(
        one.profile, one.channel, one.release, one.state, one.why, one.who, *when, canaries=one.canaries
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "showClient", "GET", "/machines/{machine}/client", Role.VIEWER,
        "What an installed machine has, beside what it should have.", show_client, ClientView,
    ),
    Operation(
        "listRollouts", "GET", "/rollouts", Role.VIEWER, "How far releases are on their way to machines.",
        list_rollouts, Rollout, listed=True,
    ),
    Operation(
        "goOnWithRollout", "POST", "/profiles/{profile}/go-on", Role.OPERATOR,
        "Let every machine have a release that waits for the first ones, or was stopped.", go_on, Rollout,
        body=GoOn,
    ),
)  # fmt: skip

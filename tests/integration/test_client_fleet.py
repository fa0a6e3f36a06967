"""Simulated agents (they install nothing) against one served door: all converge, forth and back."""

from pathlib import Path

from appliance.client_order import RolloutState
from tests.client_fleet import fleet

AGENTS = 20
SECONDS = 120.0
GROWTH_BYTES = 32 << 20
"""What the server may grow by while twenty agents come, ask and report."""


def test_twenty_agents_enrol_follow_a_release_and_go_back_and_the_server_stays_small(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        old = made.publish(b"old")
        before = made.memory().now
        made.install(AGENTS, old, tmp_path)
        made.converge(old, seconds=SECONDS)
        new = made.publish(b"new")
        made.converge(new, seconds=SECONDS)
        rollout = made.rollout()
        assert rollout and rollout.state is RolloutState.SPREADING and len(rollout.canaries) == 1
        assert "are well" in rollout.why
        made.press.desk().rollback("vm", old, who="test")
        made.converge(old, seconds=SECONDS)
        assert {one.state.release for one in made.agents} == {old}
        assert [machine.release for machine in made.services.machines()] == [old] * AGENTS
        assert made.memory().most - before < GROWTH_BYTES

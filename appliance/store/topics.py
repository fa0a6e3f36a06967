"""What changed lately, told apart by topic and without reading what changed."""

from appliance.store.database import Database

Stamp = tuple[object, ...]

# The store counts changes of machines, releases and their faults by triggers (migrations/revisions.py); jobs
# and questions that are open are few, and so are compile hosts.
ERRANDS = "SELECT max(id), sum(state = 'wanted'), sum(state = 'doing') FROM errand"
QUERIES = {
    "machines": (
        "SELECT number FROM revision WHERE topic = 'boot'",
        "SELECT max(id) FROM event",
        "SELECT max(id) FROM client_report",
        "SELECT profile, channel, release, state FROM rollout",
        ERRANDS,
    ),
    "releases": (
        "SELECT number FROM revision WHERE topic = 'boot'",
        "SELECT count(*), max(at) FROM channel_move WHERE state = 'done'",
        "SELECT profile, channel, release FROM pin",
        "SELECT profile, channel, release, state, why FROM rollout",
        ERRANDS,
    ),
    "builds": (
        "SELECT max(id) FROM job",
        "SELECT count(*), max(at) FROM mask",
        "SELECT id, said FROM errand WHERE state = 'doing' AND kind = 'plan'",
        "SELECT count(*), max(id) FROM build_request",
        "SELECT id, state, message, superseded_at FROM job WHERE state IN ('waiting', 'running')",
        ERRANDS,
    ),
    "questions": (
        "SELECT id, last_at FROM question WHERE closed_at IS NULL",
        "SELECT count(*), max(last_at) FROM failure",
    ),
    "merges": ("SELECT number FROM revision WHERE topic = 'merge'",),
    "profiles": (
        "SELECT max(id), max(ended_at), sum(state = 'wanted'), sum(state = 'doing') FROM site_edit",
    ),
    "doctor": (
        "SELECT max(id), max(ended_at) FROM examination",
        "SELECT id, state, said, passed_seconds FROM examination WHERE state IN ('wanted', 'running')",
    ),
    "webhooks": (
        "SELECT count(*), max(id) FROM webhook",
        "SELECT max(id), sum(tries), max(ended_at) FROM delivery",
    ),
    "consoles": ("SELECT mac, until, state, said, size_bytes FROM console_watch",),
    "cluster": (
        "SELECT name, state, slots, report, until FROM compile_host",
        "SELECT host, toolchain, port, probed_at FROM compile_order",
        "SELECT hash, until FROM wanted_toolchain",
    ),
}


class Topics:
    def __init__(self, database: Database) -> None:
        self.database = database

    def stamps(self) -> dict[str, Stamp]:
        """Topic -> another value after anything of it changed."""
        return {
            topic: tuple(tuple(row) for query in queries for row in self.database.rows(query))
            for topic, queries in QUERIES.items()
        }

"""The schema as numbered steps; a step that was ever released is never changed."""

from appliance.store.migrations import (
    addresses,
    backlog,
    base,
    channels,
    cluster,
    failures,
    keys,
    leases,
    plans,
    questions,
    revisions,
    stages,
    strategies,
    sync,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    base.STEP,
    sync.STEP,
    keys.STEP,
    cluster.STEP,
    channels.STEP,
    backlog.STEP,
    failures.STEP,
    questions.STEP,
    plans.STEP,
    addresses.STEP,
    stages.STEP,
    leases.STEP,
    strategies.STEP,
    revisions.STEP,
)

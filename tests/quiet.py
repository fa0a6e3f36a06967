"""A farm that has nothing to do, so that `up` does not begin to make stages."""

from pathlib import Path

from appliance.demo import Scene, set_scene
from appliance.model import Tree
from appliance.services import Services


def quiet_scene(place: Path) -> Scene:
    """The example site and a state directory, below one place."""
    made = set_scene(place / "scene", Tree(place / "state"))
    nothing_is_due(made.services())
    return made


def nothing_is_due(services: Services) -> None:
    """Every profile counts as built from what its site says now."""
    for profile in services.profiles():
        job = services.store.jobs.start("build", profile.name, now=0.0, inputs=services.inputs(profile))
        services.store.jobs.end(job, "done", now=0.0)

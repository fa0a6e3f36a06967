"""How the health command of the profile ended last, remembered from one start of the agent to the next."""

from distserver_client import durable, programs
from distserver_client.paths import Places
from distserver_client.report import Health

NAME = "health"
SECONDS = 600.0


def run(places: Places, command: str) -> tuple[Health, str]:
    """Run it, and remember what it says; with the sentence why it failed. No command: nothing is known."""
    if not command:
        (places.client / NAME).unlink(missing_ok=True)
        return Health.NONE, ""
    done = programs.run(["/bin/sh", "-c", command], seconds=SECONDS)
    found = Health.FAILED if done.status else Health.OK
    durable.replace(places.client / NAME, found.value.encode())
    why = f"the health command ended with status {done.status}: {done.last_line}" if done.status else ""
    return found, why


def last(places: Places) -> Health:
    """As it was remembered."""
    place = places.client / NAME
    said = place.read_text() if place.is_file() else ""
    return Health(said) if said in {one.value for one in Health} else Health.NONE

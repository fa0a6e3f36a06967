"""What an update costs on the wire, beside a plain `emerge --getbinpkg` of the same releases."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from appliance.client_tending import lead
from appliance.model import Tree
from appliance.run import run
from appliance.site_model import StageSource
from buildfarm import manifest, stage
from tests.integration.clientyard import WORLDS, Yard, add_large, make_yard
from tests.integration.enrolled import Enrolled, enrolled
from tests.portage_client import PortageClient
from tests.relay import HOST, Relay, relay

Say = Callable[[str], None]


def measure(cache: Tree, scratch: Path, say: Say) -> None:
    """A line for the update of one package, and one for a look at what is there already."""
    stages = [stage.acquire(StageSource(f"reference:{name}"), cache, say) for name in ("build", "install")]
    say("two releases are built, and a machine gets the first")
    with make_yard(scratch / "yard", stages[0], stages[1]) as yard, enrolled(yard, scratch) as known:
        peer = PortageClient(scratch / "peer", stages[1].root, yard.farm.tree.room("releases"))
        with relay(urlsplit(yard.machine.server).port or 0) as wire:
            url, notary = f"http://{HOST}:{wire.port}", yard.press.notary

            def follow() -> None:
                peer.follow(url, yard.farm.name, notary)

            yard.machine.agent("update")
            follow()
            say("a third release is built, in which one package is another one")
            third = next_release(yard)
            lead(known.services)
            for case in ("one package", "current"):
                compare(case, yard, third, known=known, wire=wire, follow=follow)


def next_release(yard: Yard) -> str:
    """The second one with another version of the large package; published."""
    add_large(yard.farm, "3")
    yard.farm.world = tuple(WORLDS[1])
    result = yard.farm.build()
    assert result.release, result.reasons
    yard.press.desk().publish(result.release, origins=result.origins)
    return result.release.id


def compare(
    case: str, yard: Yard, release: str, *, known: Enrolled, wire: Relay, follow: Callable[[], None]
) -> None:
    """The agent, then the peer, each through its relays."""
    known.clear()
    wire.clear()
    began = time.monotonic()
    yard.machine.agent("update")
    ended = time.monotonic()
    follow()
    peer_seconds = time.monotonic() - ended
    sealed = manifest.parse((yard.place(release) / "manifest").read_text())
    (package,) = (one for one in sealed.packages if "app-misc/large" in one.name)
    figures: dict[str, str | int | float] = {
        "case": case,
        "agent_received_bytes": known.received,
        "agent_both_ways_bytes": known.total,
        "agent_starts_of_emerge": len(known.emerges()),
        "agent_seconds": round(ended - began, 1),
        "peer": f"{emerge_version(yard)}, --getbinpkgonly",
        "peer_received_bytes": wire.received,
        "peer_both_ways_bytes": wire.total,
        "peer_seconds": round(peer_seconds, 1),
        "agent_to_peer": round(known.received / wire.received, 4),
    }
    if case == "one package":
        trees = sum(one.size_bytes for one in sealed.files if one.name.startswith("tree-"))
        figures |= {
            "package_bytes": package.size_bytes,
            "tree_bytes_only_the_agent_fetches": trees,
            "agent_to_package": round(known.received / package.size_bytes, 4),
            "peer_to_package": round(wire.received / package.size_bytes, 4),
        }
    print(json.dumps(figures), flush=True)


def emerge_version(yard: Yard) -> str:
    """It warns of what a root without /etc/portage lacks, too."""
    said = run(["emerge", "--version"], prefix=yard.machine.sandbox().prefix()).stdout
    found = re.search(r"^Portage [0-9.]+", said, re.MULTILINE)
    assert found, said
    return found[0]

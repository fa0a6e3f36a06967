"""Which paths are protected: the agent says what the stage's own Portage says."""

import json
import random
from pathlib import Path

from appliance.run import run
from appliance.sandbox import Overlay, Sandbox
from buildfarm.stage import Stage
from distserver_client.protection import protection

PLACES = ("/etc", "/etc/env.d", "/etc/env.d/mine", "/etc/terminfo", "/etc/a", "/opt/a b", "/usr/share/config")
PATHS = (*PLACES, *(f"{place}/file" for place in PLACES), "/etc/ab", "/etc/env.dx", "/usr/bin/x")
SEED, CASES = 20261123, 300
ASK = """
import json, shlex, sys
from portage.util import ConfigProtect
for protect, mask, paths in json.load(sys.stdin):
    shield = ConfigProtect("/", shlex.split(protect), shlex.split(mask))
    print(json.dumps([shield.isprotected(path) for path in paths]))
"""


def test_the_agent_protects_what_portage_protects(tmp_path: Path, install_stage: Stage) -> None:
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    for place in PLACES:
        (tmp_path / "upper" / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    chance = random.Random(SEED)
    cases = [[_words(chance), _words(chance), PATHS] for _ in range(CASES)]
    inside = Sandbox(
        tmp_path / "root", [Overlay((install_stage.root,), tmp_path / "upper", tmp_path / "work")]
    )
    argv = ["/usr/bin/python3", "-c", ASK]
    said = run(argv, prefix=inside.prefix(), stdin=json.dumps(cases).encode()).stdout.splitlines()
    seen = set()
    for (protect, mask, paths), line in zip(cases, said, strict=True):
        shield = protection({"CONFIG_PROTECT": str(protect), "CONFIG_PROTECT_MASK": str(mask)})
        here = [shield.covers(path) for path in paths]
        assert here == json.loads(line), (protect, mask)
        seen |= set(here)
    assert seen == {True, False}


def _words(chance: random.Random) -> str:
    chosen = chance.sample(PLACES, chance.randint(0, 4))
    return " ".join(f"'{place}'" for place in chosen)

"""Brings metadata/md5-cache of a tree up to date with the egencache of a stage's Portage."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.sandbox import Bind
from appliance.site_model import Repository
from buildfarm import root
from buildfarm.snapshot import Regenerate
from buildfarm.survey import CACHE

log = logging.getLogger(__name__)

# The whole of egencache runs in a sandbox without network: one more for each ebuild trebles its time.
FEATURES = "-news -sandbox -usersandbox -network-sandbox -ipc-sandbox -pid-sandbox -mount-sandbox"
PROFILE = "etc/portage/make.profile"
TAIL_LINES = 5


def regenerator(stage_root: Path, main: str, say: Callable[[str], None]) -> Regenerate:
    """What snapshot.publish() calls for a tree whose cache is missing or stale."""

    def regenerate(name: str, tree: Path, masters: Sequence[Snapshot]) -> None:
        say(f"making the metadata cache of repository {name}")
        update_cache(stage_root, main, name, tree, masters, say=say)

    return regenerate


def update_cache(
    stage_root: Path,
    main: str,
    name: str,
    tree: Path,
    masters: Sequence[Snapshot],
    *,
    say: Callable[[str], None] = log.info,
) -> None:
    """egencache --update in the stage, with the masters mounted; raises Problem when it fails outright.

    A single ebuild that cannot be sourced is no failure: Portage says so when it is asked for that package.
    """
    scratch = tree.with_name("egencache")
    shutil.rmtree(scratch, ignore_errors=True)
    names = [*(master.repository for master in masters), name]
    # Any main repository will do when the real one is no master: its eclasses are of no use here.
    first = main if main in names else names[0]
    repositories = [Repository(one) for one in sorted(names, key=lambda one: one != first)]
    files: dict[str, root.Content] = {
        "etc/portage/repos.conf/distserver.conf": root.repos_conf(repositories).encode(),
        # The stage's own profile may be of a repository that is not mounted.
        f"{PROFILE}/eapi": b"8\n",
        f"{PROFILE}/make.defaults": b'ARCH="amd64"\nACCEPT_KEYWORDS="amd64"\n',
    }
    root.lay(scratch / "upper", stage_root, files)
    shelf = Bind(tree, root.REPOS / name, read_only=False)
    sandbox = root.client_sandbox(scratch, stage_root, masters, shelves=[shelf], env={"FEATURES": FEATURES})
    jobs = f"--jobs={len(os.sched_getaffinity(0))}"
    argv = ["egencache", "--update", f"--repo={name}", "--tolerant", jobs]
    done = run(argv, prefix=sandbox.prefix(), ok=range(-255, 256))
    shutil.rmtree(scratch)
    if done.status != 0:
        raise Problem(
            f"egencache of repository {name} ended with status {done.status}:\n"
            + "\n".join(done.stdout.strip().splitlines()[-TAIL_LINES:])
        )
    left = unreadable(tree)
    if left:
        say(f"{len(left)} ebuilds of {name} cannot be read by this Portage, such as {left[0]}")


def unreadable(tree: Path) -> list[str]:
    """The ebuilds without a cache entry."""
    ebuilds = sorted(tree.glob("*/*/*.ebuild"))
    cached = tree / CACHE
    names = (f"{path.parent.parent.name}/{path.stem}" for path in ebuilds)
    return [name for name in names if not (cached / name).is_file()]

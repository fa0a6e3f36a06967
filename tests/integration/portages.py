"""Other releases of Portage, to be laid over a root; made once from their sdists and kept."""

import os
import shutil
import sys
from pathlib import Path, PurePosixPath

from appliance.demo import cache as kept_between_runs
from appliance.run import run
from appliance.sandbox import Bind, Sandbox, Tmpfs
from buildfarm.reference import exclusive, workplace
from buildfarm.reference_recipes import MESON
from buildfarm.stage import Stage

WORK = PurePosixPath("/tmp/work")


def layer(version: str, stage: Stage) -> Path:
    """A directory with the /usr of a Portage release, as the reference stage has its own."""
    made = kept_between_runs() / "portages" / f"portage-{version}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(made.parent / f".{version}.lock"):
        if not made.exists():
            with workplace(made.parent, f".{version}-") as place:
                _build(version, stage, place).rename(made)
    return made


def _build(version: str, stage: Stage, place: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=portage"]
    run([*pip, f"--dest={place}", f"portage=={version}"], timeout_seconds=900)
    source = place / f"portage-{version}"
    run(["tar", "--extract", f"--file={source}.tar.gz", f"--directory={place}", "--no-same-owner"])
    mounts = (Tmpfs(PurePosixPath("/tmp")), Bind(place, WORK, read_only=False))
    inside = Sandbox(stage.root, mounts, cwd=str(WORK / source.name)).prefix()
    options = [word for word in MESON if not word.startswith("-Dnative")]
    run(["meson", "setup", "build", *options, "-Dnative-extensions=false"], prefix=inside)
    run(["meson", "install", "-C", "build", f"--destdir={WORK}/out"], prefix=inside)
    # Its sets and repositories only; the repository `gentoo` of its default is not there.
    (place / "out/usr/share/portage/config/repos.conf").write_text("")
    shutil.rmtree(place / "out/etc", ignore_errors=True)
    # A directory of this layer hides the stage's: no module of the other release may shine through.
    for package in ("portage", "_emerge"):
        folder = place / "out/usr/lib/python3/dist-packages" / package
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
    python = Sandbox(stage.root, (Tmpfs(PurePosixPath("/tmp")), Bind(place, WORK, read_only=False))).prefix()
    run(["python3", "-m", "compileall", "-q", "-d", "/", f"{WORK}/out/usr/lib"], prefix=python)
    return place / "out"

"""Where a package came from, as it is laid into a build root and read again."""

from pathlib import Path, PurePosixPath

from appliance.farm_model import Snapshot
from appliance.run import run
from buildfarm import provenance
from buildfarm.key import Recipe, build_key
from buildfarm.root import Attempt, Content

RECIPE = Recipe(
    "app-misc/a-1",
    {
        "ebuild": "aa",
        "USE": "nls",
        "variable CFLAGS": "-O2 -pipe",
        "variable CC": "gcc-11",
        "variable LC_TIME": "C",
        "toolchain": "bbcc gcc 11.3.0, glibc 2.36",
    },
)
OWN = f"etc/portage/{provenance.OWN}"


def test_the_profiles_bashrc_moves_aside_for_ours(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "etc/portage/bashrc": b"own",
        "etc/portage/make.conf": b"x",
        "etc/a": PurePosixPath("b"),
    }
    laid = provenance.with_hook(files, tmp_path)
    assert laid == {
        OWN: b"own",
        "etc/portage/make.conf": b"x",
        "etc/a": PurePosixPath("b"),
        "etc/portage/bashrc": provenance.HOOK.encode(),
    }


def test_the_stages_bashrc_is_kept_when_the_profile_has_none(tmp_path: Path) -> None:
    (tmp_path / "etc/portage").mkdir(parents=True)
    (tmp_path / "etc/portage/bashrc").write_bytes(b"stage")
    assert provenance.with_hook({}, tmp_path)[OWN] == b"stage"
    assert provenance.with_hook({"etc/portage/bashrc": b"own"}, tmp_path)[OWN] == b"own"
    assert OWN not in provenance.with_hook({}, tmp_path / "nowhere")


def test_what_is_known_before_a_build_is_laid_for_each_package(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    snapshots = [Snapshot("gentoo", "abc", tmp_path), Snapshot("guru", "def", tmp_path)]
    provenance.lay(attempt, {RECIPE.cpv: RECIPE}, profile="server", snapshots=snapshots)
    said = provenance.parse((tmp_path / "tmp/provenance/app-misc/a-1").read_text()).facts
    assert said["build key"] == build_key(RECIPE)
    assert (said["snapshot gentoo"], said["snapshot guru"]) == ("abc", "def")
    assert (said["CFLAGS"], said["CC"], said["USE"]) == ("-O2 -pipe", "gcc-11", "nls")
    assert (said["toolchain"], said["compiler"]) == ("bbcc", "gcc 11.3.0, glibc 2.36")
    assert "LC_TIME" not in said


def test_a_package_without_it_says_nothing() -> None:
    witness = Path(__file__).resolve().parent.parent / "data" / "portage" / "witness-1-1.gpkg.tar"
    assert provenance.read(witness) is None


def test_the_hook_leaves_nothing_behind_and_is_clean_for_shellcheck(tmp_path: Path) -> None:
    script = tmp_path / "bashrc"
    script.write_text("#!/bin/bash\n" + provenance.HOOK)
    # SC2154: Portage's variables; SC1090: the profile's file is not known here.
    run(["shellcheck", "--exclude=SC2154,SC1090,SC1091", script])
    names = "compgen -v | grep -v -e BASH -e '^_$' -e PIPESTATUS -e LINENO; declare -F"
    first, second = (run(["bash", "-c", f"{start}; {names}"]).stdout for start in (":", f"source {script}"))
    assert first == second

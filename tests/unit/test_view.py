"""A root's files as a chroot sees them: links, layers, what the loader looks for."""

from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.sandbox import Overlay, Sandbox
from buildfarm.view import View, view


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/real").write_text("x")
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "usr/bin/name").symlink_to("/bin/real")
    (tmp_path / "usr/bin/loop").symlink_to("loop")
    (tmp_path / "usr/bin/out").symlink_to("../../../../../../etc/passwd")
    root = View((tmp_path,))
    assert root.find("/bin/name") == tmp_path / "usr/bin/real"
    assert root.find("bin/loop") is None
    assert root.find("bin/out") is None
    assert root.find("bin/real/below") is None


def test_a_trail_names_every_link_and_directory_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/gcc/12").mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/as").write_text("x")
    (tmp_path / "lib").symlink_to("usr/lib")
    found = View((tmp_path,)).trail("/lib/gcc/12/../../../bin/as")
    assert found is not None
    assert found.name == "usr/bin/as"
    assert found.links == (("lib", "usr/lib"),)
    assert found.directories == ("usr", "usr/lib", "usr/lib/gcc", "usr/lib/gcc/12", "usr/bin")


def test_an_upper_layer_hides_replaces_and_merges(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for layer in (upper, lower):
        (layer / "usr/bin").mkdir(parents=True)
        (layer / "usr/bin/both").write_text(layer.name)
    (lower / "usr/bin/below").write_text("lower")
    (lower / "usr/bin/gone").write_text("lower")
    (lower / "bin").mkdir()
    (lower / "bin/hidden").write_text("lower")
    (upper / "bin").symlink_to("usr/bin")
    root = View((upper, lower))
    assert root.find("bin/both") == upper / "usr/bin/both"
    assert root.find("bin/below") == lower / "usr/bin/below"
    assert root.find("bin/hidden") is None
    assert root.names("bin") == ["below", "both", "gone"]
    assert view(Sandbox(tmp_path, [Overlay((lower,), upper, tmp_path / "work")])) == root


def test_the_loader_looks_where_its_configuration_says_first(tmp_path: Path) -> None:
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf").write_text("# x\ninclude ld.so.conf.d/*.conf\n/usr/lib/gcc/12\n")
    (tmp_path / "etc/ld.so.conf.d/local.conf").write_text("/usr/local/lib\n")
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    places = View((tmp_path,)).library_places()
    assert places[:2] == ["usr/local/lib", "usr/lib/gcc/12"]
    assert "usr/lib/x86_64-linux-gnu" in places


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").write_bytes(Path("/bin/sh").read_bytes())
    root = View((tmp_path,))
    program = root.program("sh")
    assert program is not None
    with pytest.raises(Problem, match="ld-linux"):
        root.needs(program)


def test_a_program_of_this_host_has_a_loader_and_libc() -> None:
    root = View((Path("/"),))
    program = root.program("env")
    assert program is not None
    names = [Path(needed.name).name for needed in root.needs(program)]
    assert names[0].startswith("ld-")
    assert "libc.so.6" in names

"""What differs between two releases: USE flags, files in /etc, options of kernels; what a kernel is."""

from pathlib import Path

from buildfarm import kernel_configs
from buildfarm.bases import Base
from buildfarm.difference import Shipped, etc_changes, unified, use_change
from buildfarm.kernel_banner import kernel_version


def shipped(*use: str) -> Shipped:
    return Shipped("1", "1", "ab", 1, frozenset(use))


def test_flags_that_came_stand_before_those_that_went() -> None:
    assert use_change(shipped("doc", "ssl"), shipped("ssl", "ipv6", "acl")) == "USE +acl +ipv6 -doc"
    assert use_change(shipped("ssl"), shipped("ssl")) == ""


def test_options_of_kernels_are_compared_and_one_that_is_not_there_is_off(tmp_path: Path) -> None:
    kernel_configs.keep(tmp_path, "a" * 64, "CONFIG_OLD=m\n# CONFIG_X is not set\nCONFIG_SAME=y\n")
    kernel_configs.keep(tmp_path, "b" * 64, "CONFIG_NEW=y\nCONFIG_X=y\nCONFIG_SAME=y\n")
    kernel_configs.keep(tmp_path, "c" * 64, "")
    old, new = (kernel_configs.read(tmp_path, [digit * 64]) for digit in "ab")
    assert kernel_configs.compare(old, new) == ("+CONFIG_NEW=y", "-CONFIG_OLD=m", "+CONFIG_X=y")
    assert kernel_configs.compare(old, old) == ()
    assert kernel_configs.compare(old, kernel_configs.read(tmp_path, ["c" * 64])) is None
    assert kernel_configs.compare({"A": "m"}, {"A": "y"}) == ("~CONFIG_A: m -> y",)


def test_configuration_files_differ_by_their_bytes_and_not_by_whose_they_are() -> None:
    old = {"/etc/a": Base("/etc/a", "x/a-1-1", "1"), "/etc/b": Base("/etc/b", "x/b-1-1", "2")}
    new = {"/etc/a": Base("/etc/a", "x/a-2-1", "1"), "/etc/b": Base("/etc/b", "x/b-2-1", "3")}
    assert [str(one) for one in etc_changes(old, new)] == ["~/etc/b (x/b-1-1 -> x/b-2-1)"]
    assert [str(one) for one in etc_changes({}, new)] == ["+/etc/a (x/a-2-1)", "+/etc/b (x/b-2-1)"]
    assert [str(one)[0] for one in etc_changes(old, {})] == ["-", "-"]
    assert unified(b"a\nb\n", b"a\nc\n") == ("--- before", "+++ after", "@@ -1,2 +1,2 @@", " a", "-b", "+c")
    assert unified(b"\0", b"a") is None


def test_a_bzimage_names_its_version_and_other_bytes_name_none(tmp_path: Path) -> None:
    image = tmp_path / "kernel"
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    head[0x300:0x310] = b"6.1.176-x (a@b)\0"
    image.write_bytes(head)
    assert kernel_version(image) == "6.1.176-x"
    image.write_bytes(b"kernel")
    assert kernel_version(image) == ""
    assert kernel_version(tmp_path / "none") == ""

"""What a program loads: found in its sources, also in those of a newer Python."""

from collections.abc import Mapping

from buildfarm.imports import closure, imported

FILES = {
    "os": "import sys\nfrom posixpath import join\nimport nt\ndef f():\n    import subprocess\n",
    "posixpath": "import genericpath as other, stat\n",
    "genericpath": "",
    "stat": "try:\n    from _stat import *\nexcept ImportError:\n    pass\n",
    "subprocess": "",
    "pack": "from . import one\nfrom .two.deep import name\nclass C:\n    import inner\n",
    "pack.one": "from .. import nothing\nfrom .three import x\n",
    "pack.two": "from .sibling import y\nfrom .. import three as other\n",
    "pack.two.deep": "import lonely.mod",
    "pack.two.sibling": "",
    "pack.three": "lambda: __import__('never')",
    "inner": "",
    "new": "def f[T](x: T) -> T:\n    from lazy import thing, no\n    import os, pack.one as p\n",
    "lazy": "import after",
    "lazy.thing": "",
    "after": "",
}
PACKAGES = {"pack", "pack.two", "lazy"}


def found(*names: str, files: Mapping[str, str] = FILES) -> set[str]:
    return set(closure(names, lambda name: (files[name], name in PACKAGES) if name in files else None))


def test_what_is_imported_at_load_is_found_to_the_end() -> None:
    assert found("os") == {"os", "posixpath", "genericpath", "stat"}


def test_relative_imports_are_those_of_the_package() -> None:
    assert found("pack") == {
        "pack", "pack.one", "pack.two", "pack.two.deep", "pack.two.sibling", "pack.three", "inner"
    }  # fmt: skip


def test_the_packages_above_a_module_are_loaded_with_it() -> None:
    assert found("pack.two.deep") >= {"pack", "pack.two", "pack.two.deep"}


def test_newer_syntax_is_read_line_by_line_and_rather_finds_too_much() -> None:
    assert found("new") >= {"new", "lazy", "lazy.thing", "after", "os", "pack.one"}


def test_a_name_without_a_file_is_built_in_or_not_there() -> None:
    assert found("nothing", "os.nothing") == found("os")
    assert list(imported("import a.b\nfrom c import d", "m", package=False)) == ["a.b", "c", "c.d"]

"""A small Linux that can run `distserver usb`: busybox, Python, libudev, blkid and our modules."""

import json
import py_compile
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.overlays import HOME
from appliance.run import run
from buildfarm.cpio import Entry, cpio, directory, file, link, node
from buildfarm.view import Trail, View

MARKER = "the machine is ready"
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
export PATH=/bin:/usr/bin:/sbin TERM=vt102 PYTHONPATH=/ours PYTHONDONTWRITEBYTECODE=1
dmesg -n 1
stty cols 200
echo "{MARKER}"
exec setsid cttyhack sh
"""
# The commands alone, without what the other groups of commands import, and once through all that is lazy.
MODULES = """
import json, runpy, sys, types
from pathlib import Path
group = types.ModuleType("appliance.cli")
group.__path__ = [str(Path("appliance/cli").resolve())]
sys.modules["appliance.cli"] = group
import tests.stick_guest
sys.argv = ["distserver", "usb", "list", "--all"]
tests.stick_guest.main()
from rich.progress import Progress
with Progress() as bars:
    bars.add_task("x", total=2)
print()
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps({name: path for name, path in files.items() if path}))
"""
PROGRAMS = ("blkid", "ldconfig")
WHOLE = ("encodings", "rich._unicode_data")
"""Packages of which any module may be asked for later."""


def stick_machine(output: Path, files: dict[str, bytes], programs: Sequence[str] = ()) -> Path:
    """Write the initramfs, with `files` in its root directory and further `programs` of this host."""
    entries = {entry.name: entry for entry in (*_skeleton(), *_python(), *_programs(programs))}
    entries |= {name: file(name, data) for name, data in files.items()}
    output.write_bytes(cpio(entries.values()))
    return output


def _skeleton() -> Iterator[Entry]:
    yield from (directory(name) for name in ("dev", "etc", "mnt", "proc", "run", "sys", "tmp"))
    yield node("dev/console", 5, 1)
    yield file("init", INIT.encode(), 0o755)
    yield file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    # Where pyudev looks for libudev: the output of `ldconfig -p`.
    yield file("etc/ld.so.cache", Path("/etc/ld.so.cache").read_bytes())


def _programs(more: Sequence[str]) -> Iterator[Entry]:
    view = View((Path("/"),))
    for name in (*PROGRAMS, *more):
        program = view.program(name)
        assert program, name
        yield file(f"bin/{name}", program.path.read_bytes(), 0o755)
        yield from _libraries(program)
    yield link("sbin/ldconfig", "/bin/ldconfig")


def _libraries(program: Trail) -> Iterator[Entry]:
    """By the name they are asked for, where the loader looks without being told."""
    for needed in View((Path("/"),)).needs(program):
        name = needed.name.lstrip("/") if needed.name.startswith("/") else f"lib/{needed.name}"
        yield file(name, needed.trail.path.read_bytes(), 0o755)


def _python() -> Iterator[Entry]:
    printed = run([sys.executable, "-c", MODULES], cwd=HOME, env={"PYTHONPATH": str(HOME)}).stdout
    sources: dict[str, str] = json.loads(printed.splitlines()[-1])
    for package in WHOLE:
        for path in Path(sources[package]).parent.glob("*.py"):
            sources[f"{package}.{path.stem}".removesuffix(".__init__")] = str(path)
    program = Path(sys.executable).resolve()
    place = f"usr/lib/python3.{sys.version_info.minor}"
    natives = [Path(path) for path in sources.values() if ".so" in Path(path).suffixes]
    view = View((Path("/"),))
    libudev = next(found for place in view.library_places() if (found := view.file(f"{place}/libudev.so.1")))
    yield file("usr/bin/python3", program.read_bytes(), 0o755)
    yield file("lib/libudev.so.1", libudev.path.read_bytes(), 0o755)
    for one in (program, *natives):
        trail = view.file(str(one))
        assert trail, one
        yield from _libraries(trail)
    yield from _libraries(libudev)
    yield file(f"{place}/lib-dynload/.keep", b"")
    for name, source in sorted(sources.items()):
        path = Path(source)
        if path in natives:
            yield file(f"{place}/lib-dynload/{path.name}", path.read_bytes())
        elif path.suffix == ".py" and name != "__main__":
            # The standard library's modules are looked for there, all others by PYTHONPATH.
            ours = "site-packages" in path.parts or path.is_relative_to(HOME)
            words = name.replace(".", "/") + ("/__init__" if path.stem == "__init__" else "")
            yield file(f"{'ours' if ours else place}/{words}.pyc", _compiled(path))


def _compiled(source: Path) -> bytes:
    """What Python runs without a source beside it."""
    with TemporaryDirectory() as place:
        made = Path(place) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(made), doraise=True, invalidation_mode=mode)
        return made.read_bytes()

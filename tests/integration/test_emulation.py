"""Programs of another processor run inside of roots that know nothing of an emulator."""

from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from appliance.sandbox import Sandbox
from buildfarm import debian, emulation
from buildfarm.processors import Processor


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one program for arm64, from Debian."""
    place = tmp_path_factory.mktemp("arm64")
    (place / "apt").mkdir()
    brought = debian.fetch_package(place / "apt", "busybox-static", "arm64", place)
    for name in ("dev", "proc", "run", "tmp"):
        (brought / name).mkdir(exist_ok=True)
    return brought


def test_the_kernel_runs_a_program_for_arm64_in_a_root_without_an_emulator(arm64: Path) -> None:
    emulation.provide("aarch64-unknown-linux-gnu")
    emulation.provide("aarch64-unknown-linux-gnu")  # a second time is no mistake
    said = run(["/bin/busybox", "uname", "-m"], prefix=Sandbox(arm64).prefix()).stdout
    assert said == "aarch64\n"
    assert not list(arm64.rglob("qemu*"))


def test_a_farm_needs_nothing_for_its_own_processor_and_says_what_it_lacks_for_others() -> None:
    emulation.provide("x86_64-pc-linux-gnu")
    emulation.provide("i686-pc-linux-gnu")
    without = Processor("vax", (1, 1, 75), "qemu-vax-static")
    with pytest.raises(Problem, match="cannot be run here: there is no emulator for them"):
        emulation.provide_for(without)

"""A package that the profile's processor cannot run does not become a release."""

from pathlib import Path

from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

NEWER = """
__attribute__((target("avx"), noinline)) float newer(float a, float b) { return a * b + 1; }
"""


def test_one_function_for_a_newer_processor_keeps_a_release_from_being_published(
    tmp_path: Path, build_stage: Stage, install_stage: Stage
) -> None:
    farm = Farmyard.make(tmp_path, build_stage, install_stage)
    source = farm.repository / "app-misc/witness/files/witness.c"
    source.write_text(NEWER + source.read_text())
    farm.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    farm.cflags, farm.processor = "-O2", True
    assert farm.build().reasons == (
        "profile one wants its packages checked for its processor, but make.conf names none with -march",
    )
    farm.cflags = "-O2 -march=x86-64"
    (said,) = {reason.partition("`")[0] for reason in farm.build().reasons}
    assert said.startswith("app-misc/witness-1 would not run on x86-64: /usr/bin/witness: ")
    assert farm.releases() == []
    # Its maker says that it asks the processor first.
    farm.dispatched = ("app-misc/witness",)
    result = farm.build()
    assert result.reasons == ()
    assert result.release
    notes = [one.message for one in farm.seen if "chooses at run time" in one.message]
    assert notes == ["app-misc/witness-1 chooses at run time: 1 files have code for avx: /usr/bin/witness"]

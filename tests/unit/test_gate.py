"""What may be published and why not."""

from dataclasses import replace

import pytest

from appliance.farm_model import Package
from buildfarm import gate
from buildfarm.gate import Client, Findings
from buildfarm.portage import Installed
from buildfarm.resolution import Choice
from buildfarm.sonames import Absent

HELLO = Installed("app-misc/hello-2.10", 1, 100, "0")
PACKAGE = Package("ab" * 32, "app-misc/hello-2.10", 1, 10, "key", 100.0, "CHOST: x86_64-pc-linux-gnu\n")
ATOMS = {"app-misc/hello": "installed", "sys-libs/glibc": "provided"}
GOOD = Findings(
    status=0,
    ended_well=True,
    remaining=(),
    installed=(HELLO,),
    packages=(PACKAGE,),
    atoms=ATOMS,
    chost="x86_64-pc-linux-gnu",
    damaged=(),
    kernel=True,
)
FRESH = Client(0, "", (HELLO,), ATOMS)


def test_a_build_without_fault_may_be_published() -> None:
    assert gate.root_reasons(GOOD) == []
    assert gate.client_reasons(FRESH, GOOD.packages) == []


@pytest.mark.parametrize(
    ("findings", "reason"),
    [
        (replace(GOOD, status=1), "emerge ended with status 1"),
        (replace(GOOD, ended_well=False), "exiting successfully"),
        (
            replace(GOOD, remaining=(Choice("a/b-1", "0/0", "tiny", "ebuild"),)),
            "plan is not empty after the build: a/b-1",
        ),
        (replace(GOOD, packages=()), "installed in the root but not in the index: app-misc/hello-2.10-1"),
        (replace(GOOD, installed=()), "in the index but not installed in the root: app-misc/hello-2.10-1"),
        (replace(GOOD, packages=(replace(PACKAGE, build_id=2),)), "not in the index: app-misc/hello-2.10-1"),
        (replace(GOOD, packages=(replace(PACKAGE, built_at=101.0),)), "not in the index"),
        (replace(GOOD, atoms={"a/b": "available"}), "a/b of the profile is available"),
        (replace(GOOD, chost="aarch64-unknown-linux-gnu"), "expected aarch64"),
        (replace(GOOD, damaged=("a/b-1",)), "damaged in the pool: a/b-1"),
        (replace(GOOD, kernel=False), "no kernel"),
        (replace(GOOD, preserved=("/usr/lib64/libold.so.1",)), "still use them: /usr/lib64/libold.so.1"),
    ],
)
def test_one_fault_is_one_reason(findings: Findings, reason: str) -> None:
    found = gate.root_reasons(findings)
    assert any(reason in text for text in found), found


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (replace(FRESH, status=1, output="!!! no"), "cannot install it:\n!!! no"),
        # Portage ends with 0 when a world atom has no usable binary package.
        (replace(FRESH, atoms={"a/b": "absent"}), "a/b is absent on a fresh machine"),
        (
            replace(FRESH, installed=(replace(HELLO, build_time=7),)),
            "packages not of this release: app-misc/hello-2.10-1",
        ),
        (replace(FRESH, preserved=("/lib/libold.so.1",)), "keeps old libraries: /lib/libold.so.1"),
        (
            replace(FRESH, absent=(Absent("libw.so.1", "x86_64", ("a/user-1",)),)),
            "a fresh machine lacks libraries that packages need: libw.so.1 (x86_64) of a/user-1",
        ),
        (
            replace(FRESH, status=1, output="!!! no", subject="a machine at release 20261122-0123456789ab"),
            "a machine at release 20261122-0123456789ab cannot install it",
        ),
    ],
)
def test_one_fault_of_a_fresh_machine_is_one_reason(client: Client, reason: str) -> None:
    found = gate.client_reasons(client, GOOD.packages)
    assert any(reason in text for text in found), found


def test_a_file_of_the_release_that_is_missing_or_empty_is_named() -> None:
    assert gate.file_reasons({"kernel": 10, "installer": None, "stage": 0}) == [
        "installer of the release is missing",
        "stage of the release is empty",
    ]


def test_a_long_list_of_packages_is_cut() -> None:
    many = tuple(Choice(f"a/b{n:02}-1", "0/0", "tiny", "ebuild") for n in range(30))
    (reason,) = gate.root_reasons(replace(GOOD, remaining=many))
    assert reason.endswith("a/b09-1 and 20 more")

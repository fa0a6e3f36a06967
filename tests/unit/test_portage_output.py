"""What emerge printed, read again; the files in data/portage were recorded from Portage 3.0.83."""

from pathlib import Path

from buildfarm import portage
from buildfarm.portage import Step

DATA = Path(__file__).resolve().parent.parent / "data" / "portage"
KEEP_GOING = (DATA / "emerge-keep-going.txt").read_text()


def test_progress_lines_name_the_package_and_its_number() -> None:
    steps = [step for line in KEEP_GOING.splitlines() if (step := portage.parse_step(line))]
    assert steps[0] == Step("Emerging", 1, 4, "app-misc/witness-1")
    assert steps[-1] == Step("Completed", 2, 2, "app-misc/slow-1")
    binary = portage.parse_step(">>> Emerging binary (2 of 4) app-misc/witness-1::tiny")
    assert binary == Step("Emerging binary", 2, 4, "app-misc/witness-1")


def test_a_failed_package_is_found_with_its_log() -> None:
    log = "/var/log/portage/build/sys-kernel/tiny-kernel-1:20261122-085649.log"
    assert portage.parse_failures(KEEP_GOING) == {"sys-kernel/tiny-kernel-1": log}


def test_a_failure_without_a_summary_is_still_a_failure() -> None:
    early = KEEP_GOING[: KEEP_GOING.index("*** Resuming")]
    assert portage.parse_failures(early) == {"sys-kernel/tiny-kernel-1": ""}


def test_emerge_ended_well_only_when_its_last_verdict_says_so() -> None:
    good, bad = "1: *** exiting successfully.\n", "2: *** exiting unsuccessfully with status '1'.\n"
    assert portage.ended_well(bad + good + "3: *** terminating.\n")
    assert not portage.ended_well(good + bad)
    assert not portage.ended_well("")


def test_the_resolver_is_quoted_from_its_complaint_on() -> None:
    text = '\nCalculating dependencies ... done!\n\nemerge: there are no ebuilds to satisfy "a/b".\n(x)\n'
    assert portage.explain(text).startswith("emerge: there are no ebuilds")


def test_binary_packages_never_hide_build_time_dependencies() -> None:
    # --usepkg alone turns them off (Gentoo bug 741494).
    assert "--with-bdeps=y" in portage.update(2)
    assert "--with-bdeps=y" in portage.remaining_plan()


def test_a_binary_that_could_not_be_merged_is_named_without_its_build_id() -> None:
    text = """ * The following package has failed to build, install, or execute postinst:
 *
 *  (app-misc/collide-1-3:0/0::tiny, binary scheduled for merge), Log file:
 *   '/var/log/portage/build/app-misc/collide-1:20261122-132700.log'
"""
    log = "/var/log/portage/build/app-misc/collide-1:20261122-132700.log"
    assert portage.parse_failures(text) == {"app-misc/collide-1": log}

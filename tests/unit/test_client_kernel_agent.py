"""The agent on a machine with a kernel on trial: when it is the machine's own, and when it is given up."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distserver_client import journal, kernel_files, kernels
from distserver_client.agent import Agent
from distserver_client.errors import Away, Problem
from distserver_client.journal import Journal, State
from distserver_client.paths import Places
from distserver_client.report import Health, Phase, Report
from distserver_client.trials import Standing, Start
from distserver_client.updating import Order
from tests.kernel_machine import FIRST, KernelMachine


@dataclass
class Listener:
    """A server that is told, or is not there."""

    is_there: bool = True
    told: list[Report] = field(default_factory=list)
    listens: bool = True

    def order(self) -> Order:
        return Order("")

    def policy(self) -> None:
        return None

    def again_seconds(self) -> None:
        return None

    def has_news(self) -> bool:
        return False

    def report(self, said: Report) -> None:
        if not self.is_there:
            raise Away("nobody answers")
        self.told.append(said)


def agent_of(machine: KernelMachine, policy: str) -> Agent:
    """At a release whose kernel was just prepared, in the very start of this host, which is what it sees."""
    machine.start = Start("", kernels.this_start().boot)
    places = Places(machine.root)
    machine.kernels.hold()
    release = machine.emerge(2)
    machine.kernels.install(release)
    journal.write_state(places, State(release.id))
    (places.release(release.id)).mkdir(parents=True, exist_ok=True)
    names = ("Packages", "bases", "portage.sqfs", "tree-gentoo.sqfs")
    lines = ["distserver-release 1", f"id {release.id}", "profile lab", "snapshot gentoo:1"]
    lines += [f"FILE {name} 0 SHA256 {'0' * 64}" for name in names]
    (places.release(release.id) / "manifest").write_text("\n".join(lines))
    (places.release(release.id) / "Packages").write_text("VERSION: 0\n\n")
    (places.release(release.id) / "bases").write_text("")
    places.policy.parent.mkdir(parents=True)
    places.policy.write_text(policy)
    return Agent(places, say=lambda said: None)


def test_a_kernel_is_the_machines_own_when_the_server_took_a_report(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    agent, server = agent_of(machine, 'reboot = "now"\nhealth = "true"\n'), Listener(is_there=False)
    waits = agent.report(Phase.CURRENT, None)
    assert (waits.phase, waits.reboot, waits.target) == (Phase.UPDATING, waits.said, waits.release)
    assert waits.said == "kernel 2 is tried at the next start" == dict(waits.facts)["kernel trial"]
    machine.power_on()
    assert agent._is_well(machine.kernels, server)
    assert machine.kernels.standing is Standing.RUNNING
    server.is_there = True
    assert agent._is_well(machine.kernels, server)
    assert machine.kernels.is_approved() and server.told[-1].health is Health.OK


def test_a_kernel_with_which_the_health_command_fails_is_given_up(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    agent, server = agent_of(machine, 'health = "echo it is broken; exit 3"\n'), Listener()
    machine.kernels.note_health(healthy=True)
    machine.power_on()
    assert not agent._is_well(machine.kernels, server)
    assert (server.told[-1].phase, server.told[-1].health) == (Phase.FAILED, Health.FAILED)
    assert machine.kernels.standing is Standing.LEAVING
    assert machine.power_on() == FIRST
    said = agent.report(Phase.CURRENT, None)
    assert (said.phase, said.target) == (Phase.FAILED, said.release)
    assert "the health command ended with status 3: it is broken" in said.said


def test_a_kernel_is_not_blamed_for_what_was_wrong_before(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    agent = agent_of(machine, 'health = "false"\n')
    machine.kernels.note_health(healthy=False)
    machine.power_on()
    assert agent._is_well(machine.kernels, Listener()) and machine.kernels.is_approved()


def test_the_service_starts_the_machine_anew_between_updates_only(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    agent = agent_of(machine, 'reboot = "now"\n')
    assert agent.reboot_is_due(0.0) and not agent.is_on_trial
    journal.write_journal(Places(tmp_path), Journal("b", "a"))
    assert not agent.reboot_is_due(0.0)


def test_a_machine_whose_disks_are_put_together_gets_an_initramfs_for_each_new_kernel(tmp_path: Path) -> None:
    kernel, programs = tmp_path / "boot/vmlinuz-6.7", tmp_path / "storage"
    kernel.parent.mkdir()
    kernel.write_bytes(b"kernel")
    assert not kernel_files.has_own_initramfs(tmp_path)
    part = tmp_path / "etc/distserver/initramfs.cpio"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"part of the machine, ")
    with pytest.raises(Problem, match="no programs that put this machine's disks together"):
        kernel_files.with_own_initramfs(tmp_path, kernel, programs)
    programs.write_bytes(b"programs of the release")
    image = kernel_files.with_own_initramfs(tmp_path, kernel, programs)
    assert image == kernel_files.Image(kernel, tmp_path / "boot/initramfs-6.7.img")
    assert image.initramfs and image.initramfs.read_bytes() == b"part of the machine, programs of the release"
    assert image.initramfs.stat().st_mode & 0o777 == 0o600
    kept = kernel_files.keep(image, tmp_path / "boot/kept")
    assert kept.initramfs and kept.initramfs.stat().st_mode & 0o777 == 0o600

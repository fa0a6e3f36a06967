"""What a machine is told when it boots. Pure; the one place where netboot or local disk is decided."""

from appliance.model import BootTarget, LocalBoot, Machine, MachineState, NetBoot, Silence


def decide(machine: Machine | None, *, own_release: str | None, any_release: str | None) -> BootTarget:
    """The boot target of a machine.

    `own_release` is what its profile's channel points at, `any_release` one whose installer may be used to
    find out what an unknown machine is. A token for the installer is added by who serves the script.
    """
    if machine is not None and machine.rescue:
        return _waiting(own_release or any_release, "once into the rescue shell, as somebody asked")
    if machine is not None and lends_now(machine):
        return _waiting(own_release or any_release, "it lends its processors: write nothing")
    if machine is None or machine.state is MachineState.DISCOVERED:
        return _waiting(any_release, "unknown machine: find out what it is, write nothing")
    if machine.wipes and may_install(machine):
        return _waiting(own_release or any_release, "its disk is to be wiped, then it is retired")
    match machine.state:
        case MachineState.ASSIGNED:
            return LocalBoot(f"it has the profile {machine.profile} and is not armed")
        case MachineState.INSTALLED:
            return LocalBoot(f"release {machine.release} is installed")
        case MachineState.FAILED:
            return _waiting(own_release or any_release, f"it failed ({machine.problem}): wait for a person")
        case MachineState.ARMED:
            if own_release is None:
                return Silence(f"profile {machine.profile} has no release yet")
            return NetBoot(own_release, "", f"armed: install release {own_release}")
        case MachineState.INSTALLING:
            release = machine.release or own_release
            if release is None:
                return Silence(f"profile {machine.profile} has no release yet")
            return NetBoot(release, "", f"its installation of {release} did not end: start it again")
    raise AssertionError(machine.state)


def may_install(machine: Machine) -> bool:
    """A token that lets an installer wipe a disk is only made in these states."""
    return machine.state in (MachineState.ARMED, MachineState.INSTALLING)


def lends_now(machine: Machine) -> bool:
    """Does it boot as a compile host? What is to be installed is installed first."""
    return machine.lends and not may_install(machine)


def _waiting(release: str | None, reason: str) -> BootTarget:
    if release is None:
        return Silence(f"{reason}; there is no release whose installer could be booted")
    return NetBoot(release, "", reason)


def in_words(target: BootTarget) -> str:
    """One sentence for a person."""
    match target:
        case NetBoot():
            return f"boots the installer of release {target.release} from the network: {target.reason}"
        case LocalBoot():
            return f"boots from its own disk: {target.reason}"
        case _:
            return f"gets no answer: {target.reason}"

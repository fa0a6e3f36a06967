"""Switches machines on and off by Redfish; sushy speaks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sushy
from sushy import exceptions

from appliance.errors import Problem
from appliance.machine_settings import Bmc
from appliance.power import Action, State
from appliance.secret import read_secret

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
STATES = {sushy.PowerState.ON: State.ON, sushy.PowerState.OFF: State.OFF}
STATES |= {sushy.PowerState.POWERING_ON: State.ON, sushy.PowerState.POWERING_OFF: State.OFF}
RESETS = {
    Action.ON: (sushy.ResetType.ON, sushy.ResetType.FORCE_ON),
    Action.OFF: (sushy.ResetType.FORCE_OFF,),
    Action.CYCLE: (sushy.ResetType.POWER_CYCLE, sushy.ResetType.FORCE_RESTART),
}
"""What to ask for, the best first: controllers know some of them each."""


def act(bmc: Bmc, action: Action, *, uefi: bool) -> State | None:
    """Tell a controller to do something; a STATUS is answered. Raises Problem when it cannot be done."""
    with _explained(bmc):
        system = _system(bmc)
        match action:
            case Action.STATUS:
                return _state(bmc, system)
            case Action.NETBOOT_ONCE:
                mode = sushy.BootSourceOverrideMode.UEFI if uefi else sushy.BootSourceOverrideMode.LEGACY
                once = sushy.BootSourceOverrideEnabled.ONCE
                system.set_system_boot_options(sushy.BootSource.PXE, enabled=once, mode=mode)
            case Action.CYCLE if _state(bmc, system) is State.OFF:
                _reset(bmc, system, Action.ON)
            case _:
                _reset(bmc, system, action)
    return None


def _reset(bmc: Bmc, system: Any, action: Action) -> None:
    allowed = system.get_allowed_reset_system_values()
    kind = next((one for one in RESETS[action] if one in allowed), None)
    if kind is None:
        known = ", ".join(sorted(one.value for one in allowed))
        raise Problem(
            f"the controller {bmc.address} knows no way to `{action.value}`", hint=f"it knows: {known}"
        )
    system.reset_system(kind)


def _state(bmc: Bmc, system: Any) -> State:
    state = STATES.get(system.power_state)
    if state is None:
        raise Problem(
            f"the controller {bmc.address} says its power is {system.power_state}, expected On or Off"
        )
    return state


def _system(bmc: Bmc) -> Any:
    """The one machine the controller manages, or the one the site names."""
    root = sushy.Sushy(
        f"https://{bmc.address}:{bmc.port}",
        username=bmc.user,
        password=read_secret(bmc.password_file),
        verify=str(bmc.ca) if bmc.ca else True,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        server_side_retries=0,
    )
    systems = root.get_system_collection().get_members()
    named = [one for one in systems if bmc.system in ("", one.identity, one.name, one.uuid)]
    if len(named) == 1:
        return named[0]
    there = ", ".join(sorted(f"{one.identity} ({one.name})" for one in systems)) or "none"
    what = f"no system {bmc.system}" if bmc.system else f"{len(systems)} systems"
    hint = f"set bmc.system in the site to one of: {there}"
    raise Problem(f"the controller {bmc.address} has {what}, expected one", hint=hint)


@contextmanager
def _explained(bmc: Bmc) -> Iterator[None]:
    """Turns what sushy raises into Problems."""
    where = f"the controller {bmc.address}"
    if bmc.ca and not bmc.ca.is_file():
        raise Problem(f"{bmc.ca} is no file", hint="bmc.ca names the certificate of an authority")
    try:
        yield
    except exceptions.AccessError as refused:
        hint = f"correct bmc.user in the site or {bmc.password_file}"
        raise Problem(f"{where} refuses {bmc.user} or the password", hint=hint) from refused
    except exceptions.ConnectionError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "bmc.ca names the certificate of the authority that signed its own"
            raise Problem(f"{where} has a certificate that is not believed", hint=hint) from error
        hint = f"is {bmc.address} right, Redfish enabled there, and TCP port {bmc.port} not filtered?"
        raise Problem(f"{where} does not answer", hint=hint) from error
    except exceptions.SushyError as error:
        raise Problem(f"{where} did not do it: {error}") from error

"""What the disks of an installed machine hold: the plan that was carried out, if it can be made again."""

from collections.abc import Sequence
from dataclasses import replace

from appliance.disk_model import Group, Luks, Raid, Table, Volume
from appliance.disk_plan import Made, PlannedDisk
from appliance.install import Plan, Refused, default_name, fingerprint, fingerprint_in, plan_install, render
from appliance.model import Disk, DiskPartition, Facts, Machine
from appliance.profile_model import Profile
from appliance.store import Store

MEMBERS = {Raid: "linux_raid_member", Group: "LVM2_member", Luks: "crypto_LUKS", Volume: ""}
"""In blkid's words."""
NOTES = 10
"""How far back the plan is looked for among what was noted of plans."""


def contents_after(facts: Facts, plan: Plan) -> Facts:
    """The facts that the machine would send after the plan was carried out. Pure."""
    now = {one.disk.path: _disk_after(one, plan.made) for one in plan.disks}
    return replace(facts, disks=tuple(now.get(one.path, one) for one in facts.disks))


def _disk_after(one: PlannedDisk, made: Sequence[Made]) -> Disk:
    # Members of arrays and containers are labelled by the programs that make them: nothing is claimed.
    kinds = {device: MEMBERS[type(each.what)] for each in made for device in each.of}
    found = tuple(
        DiskPartition(
            piece.device,
            piece.start_bytes,
            piece.size_bytes,
            piece.partition.filesystem or kinds.get(piece.device, ""),
            piece.label if piece.partition.filesystem else "",
        )
        for piece in one.slices
    )
    return replace(one.disk, table="gpt" if one.table is Table.GPT else "dos", partitions=found)


def note_contents(store: Store, machine: Machine, profile: Profile | None) -> None:
    """Of a machine, as it was while it was installed, whose installation ended well. Inside a change.

    A profile or a name that was changed meanwhile makes another plan, and then nothing is said.
    """
    release = store.releases.get(machine.release) if machine.release else None
    if machine.facts is None or profile is None or release is None:
        return
    try:
        hostname = machine.name or default_name(machine.mac)
        plan = plan_install(machine.facts, profile, release, hostname=hostname)
    except Refused:
        return
    noted = store.events.messages(machine.mac, "plan", limit=NOTES)
    mark = next((found for one in noted if (found := fingerprint_in(one))), "")
    if fingerprint(render(plan, report="", base="", pool="")) == mark:
        store.machines.set_facts(machine.mac, contents_after(machine.facts, plan))

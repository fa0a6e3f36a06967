"""What arming a machine would lead to: the plan made of what is known now, and what it costs. Pure."""

import hashlib
from dataclasses import dataclass

from appliance.disk_plan import Keep
from appliance.errors import Problem
from appliance.install import Plan, render
from appliance.model import Disk, DiskPartition, Machine, MachineState


@dataclass(frozen=True)
class Prospect:
    """A plan, or why there is none: it was refused, or the machine never said what it is."""

    machine: Machine
    release: str = ""
    plan: Plan | None = None
    refusal: Problem | None = None
    """Why the machine cannot be armed."""

    @property
    def name(self) -> str:
        """What a person types to let the machine be wiped."""
        return self.machine.name or self.machine.mac

    @property
    def kept(self) -> tuple[Disk, ...]:
        """Disks that are not touched."""
        facts, plan = self.machine.facts, self.plan
        if not facts or not plan:
            return ()
        written = {one.disk.path for one in plan.disks}
        return tuple(one for one in facts.disks if one.path not in written)

    @property
    def kept_partitions(self) -> tuple[str, ...]:
        """Devices on the plan's disks whose file system stays."""
        pieces = self.plan.slices if self.plan else ()
        return tuple(piece.device for piece in pieces if piece.keep is Keep.FOUND)

    @property
    def lost(self) -> tuple[DiskPartition, ...]:
        """What the plan's disks have now, without what stays."""
        disks = [one.disk for one in self.plan.disks] if self.plan else []
        there = (part for disk in disks for part in disk.partitions)
        return tuple(part for part in there if part.path not in self.kept_partitions)

    @property
    def loses(self) -> str:
        """What a machine says of its disk is no promise that it is blank: each plan loses what is on it."""
        disks = [one.disk for one in self.plan.disks] if self.plan else []
        where = " and ".join(one.path for one in disks) or "the disk that its profile chooses when it starts"
        but = f" but {', '.join(self.kept_partitions)}" if self.kept_partitions else ""
        if self.machine.state is MachineState.INSTALLED:
            return f"release {self.machine.release}, which is installed, and everything else on {where}{but}"
        if not disks or not all(one.table for one in disks):
            return f"everything on {where}; nobody has looked whether it is blank"
        there = sum(len(one.partitions) for one in disks)
        if not there:
            return f"everything on {where}, where no partition and no file system was found"
        count = f"{there} partition{'' if there == 1 else 's'}"
        return f"everything on {where}{but}, with {count} that it has now"

    @property
    def mark(self) -> str:
        """Another one when the plan, the disk or the machine's state is another than was shown."""
        text = render(self.plan, report="", base="", pool="") if self.plan else ""
        disks = tuple(one.disk for one in self.plan.disks) if self.plan else None
        seen = (text, disks, self.machine.mac, self.machine.state, self.release)
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def check(self, *, typed: str, shown: str) -> None:
        """Raises Problem unless a person who saw this very prospect typed the machine's name."""
        _check(self, typed=typed, shown=shown)


@dataclass(frozen=True)
class WipeProspect:
    """What retiring a machine would lose when its disk is wiped, or why it cannot be."""

    machine: Machine
    disks: tuple[Disk, ...] = ()
    refusal: Problem | None = None

    @property
    def name(self) -> str:
        """What a person types to let the disks be wiped."""
        return self.machine.name or self.machine.mac

    @property
    def kept(self) -> tuple[Disk, ...]:
        """Disks that are not touched."""
        facts = self.machine.facts
        return tuple(one for one in facts.disks if one not in self.disks) if facts and self.disks else ()

    @property
    def mark(self) -> str:
        """Another one when the disk or the machine's state is another than was shown."""
        seen = (self.disks, self.machine.mac, self.machine.state, self.machine.profile)
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def check(self, *, typed: str, shown: str) -> None:
        """Raises Problem unless a person who saw this very prospect typed the machine's name."""
        _check(self, typed=typed, shown=shown)


def _check(seen: Prospect | WipeProspect, *, typed: str, shown: str) -> None:
    if seen.refusal:
        raise seen.refusal
    if shown != seen.mark:
        raise Problem(
            f"the plan of {seen.name} is another one now", hint="look at it again before you arm it"
        )
    if typed.strip() != seen.name:
        raise Problem(
            f"the name of {seen.name} was not typed", hint=f"type {seen.name} to lose what is on its disk"
        )

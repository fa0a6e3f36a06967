"""Brings the release's kernel beside the machine's own, tries it, and keeps it or goes back."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from distserver_client import bootspec, durable, kernel_files, trials
from distserver_client.bootspec import SystemdBoot
from distserver_client.errors import Problem
from distserver_client.kernel_files import Image
from distserver_client.loader import Grub, Loader
from distserver_client.manifest import SIGNED_KERNEL, STORAGE, Manifest
from distserver_client.paths import Places
from distserver_client.trials import Record, Refusal, Standing, Start, Trial

COMMAND_LINE = Path("/proc/cmdline")
BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_start() -> Start:
    return trials.started(COMMAND_LINE.read_text(errors="replace"), BOOT.read_text())


def uptime() -> float:
    """Seconds since the machine was started, those in which it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def find_loader(root: Path) -> Loader | None:
    """None: something else starts this machine."""
    if any((root / bootspec.ESP / bootspec.ENTRIES).glob("distserver*.conf")):
        return SystemdBoot(root)
    grub = Grub(root)
    return grub if grub.is_ours else None


@dataclass(frozen=True)
class Kernels:
    """Under the agent's lock; each call may be cut off anywhere and then be repeated."""

    places: Places
    loader: Loader | None
    start: Start = field(default_factory=this_start)
    trial_seconds: float = trials.TRIAL_SECONDS

    @classmethod
    def of(cls, places: Places) -> "Kernels":
        return cls(places, find_loader(places.root))

    @property
    def record(self) -> Record:
        if not self.places.kernels.is_file():
            return Record()
        try:
            said = json.loads(self.places.kernels.read_text())
            trial, refusal = said.get("trial"), said.get("refusal")
            return Record(Trial(**trial) if trial else None, Refusal(**refusal) if refusal else None)
        except (ValueError, TypeError, AttributeError):
            # As if there was no trial: what the loader counts leads back to the kernel before.
            return Record()

    @property
    def standing(self) -> Standing:
        return trials.standing(self.record, self.start)

    @property
    def further_files(self) -> tuple[str, ...]:
        """Of a release, that this machine needs to start."""
        signed = (SIGNED_KERNEL,) if isinstance(self.loader, SystemdBoot) else ()
        return (*signed, STORAGE) if kernel_files.has_own_initramfs(self.places.root) else signed

    def hold(self) -> None:
        """Before packages are removed: what the machine starts with stays, whose ever it was."""
        if self.loader:
            image = self.loader.hold()
            kept = self.places.modules / self.loader.ids[0]
            kernel_files.keep_modules(self.places.root, kept, image.version)

    def install(self, release: Manifest, *, again: bool = False) -> None:
        """The release's kernel is to be the machine's; `again`: also one that was given up."""
        kernel_files.restore_modules(self.places.root, self.places.modules, self.places.packages)
        image = self._image(release) if self.loader else None
        if image is None or self.loader is None:
            return
        record, kernel = self.record, image.id
        if kernel == self.loader.ids[0]:
            self._settle(Record())
        elif record.refusal and record.refusal.kernel == kernel and not again:
            self._write(Record(refusal=replace(record.refusal, release=release.id)))
        elif self.standing is Standing.RUNNING and record.trial and record.trial.kernel == kernel:
            self._write(Record(trial=replace(record.trial, release=release.id)))
        else:
            repeated = record.refusal.again if record.refusal and record.refusal.kernel == kernel else 0
            why = self.loader.arm(image, self.trial_seconds)
            made = Trial(kernel, image.version, release.id, self.start.boot, why, again=repeated)
            # After the loader: what is remembered without being prepared would pass for one that failed.
            self._write(Record(trial=made))

    def look(self) -> Standing:
        """How the trial stands; one that the machine came back from has failed."""
        record, now = self.record, self.standing
        if now is Standing.RETURNED and record.trial and self.loader:
            self._write(trials.returned(record.trial, self.loader.left()))
            if self.record.refusal:
                self._settle(self.record)
        elif record.refusal and self.loader and record.refusal.kernel in self.loader.ids[1:]:
            self._settle(record)
        kernel_files.restore_modules(self.places.root, self.places.modules, self.places.packages)
        return now

    def approve(self) -> None:
        """The server took a report: this kernel is the machine's own from now on."""
        trial = self.record.trial
        if self.loader and trial and trial.kernel == self.start.kernel:
            self.loader.approve(trial.kernel)
            self._write(Record())
            self._forget_modules()

    def give_up(self, why: str, *, silent: bool = False) -> None:
        """The running kernel on trial is not good: the next start is one with the kernel before."""
        trial = self.record.trial
        if trial:
            self._settle(trials.given_up(trial, why, silent=silent))

    def heard(self, release: Manifest) -> None:
        """The server took a report of a machine whose kernel is not on trial."""
        record = self.record
        if record.refusal and self.standing is Standing.SETTLED:
            refusal, again = trials.heard(record.refusal, uptime(), self.trial_seconds)
            if again:
                self._write(Record(refusal=replace(refusal, again=refusal.again + 1)))
                self.install(release, again=True)
            elif refusal != record.refusal:
                self._write(Record(refusal=refusal))

    def note_health(self, *, healthy: bool) -> None:
        """What the health command says before the trial: a kernel is not blamed for what was so before."""
        if trial := self.record.trial:
            self._write(Record(trial=replace(trial, healthy=healthy)))

    @property
    def is_pending(self) -> bool:
        """Does the next start bring another kernel than the one that runs?"""
        if self.standing is Standing.RUNNING:
            return False
        strange = self.loader is not None and self.start.kernel not in ("", self.loader.ids[0])
        return strange or self.standing in (Standing.PENDING, Standing.LEAVING)

    def is_due(self, policy: str, *, in_window: bool) -> bool:
        """May the machine be started anew by itself? `policy`: never, window or now.

        From a kernel that was given up it goes back whatever the policy: a trial is there and back.
        """
        trial = self.record.trial
        if self.standing is Standing.LEAVING:
            return True
        if not self.is_pending or (trial and trial.obstacle):
            return False
        return policy == "now" or (policy == "window" and in_window)

    def is_approved(self) -> bool:
        """Is the running kernel the one that is started from now on?"""
        return self.loader is None or self.loader.ids[0] == self.start.kernel

    def _image(self, release: Manifest) -> Image | None:
        found = kernel_files.of_release(self.places.root, release.files.get("kernel"))
        if found and kernel_files.has_own_initramfs(self.places.root):
            programs = self.places.release(release.id) / STORAGE
            found = kernel_files.with_own_initramfs(self.places.root, found.kernel, programs)
        if not isinstance(self.loader, SystemdBoot):
            return found
        signed = self.places.release(release.id) / SIGNED_KERNEL
        if SIGNED_KERNEL not in release.files or not signed.is_file():
            raise Problem(
                f"release {release.id} has no signed kernel, and this machine starts no other",
                hint="`distserver secureboot status` on the server says why",
            )
        return Image(signed, found.initramfs if found else None)

    def _settle(self, record: Record) -> None:
        """Nothing is on trial any more: that is remembered first, and then the loader is told."""
        before = self.record
        self._write(record)
        gone = [one.kernel for one in (before.trial, before.refusal, record.refusal) if one]
        if self.loader:
            for kernel in gone:
                self.loader.disarm(kernel)
        self._forget_modules()

    def _forget_modules(self) -> None:
        if self.loader:
            stay = (*self.loader.ids, self.start.kernel)
            kernel_files.forget_modules(self.places.root, self.places.modules, self.places.packages, stay)

    def _write(self, record: Record) -> None:
        if record != self.record:
            durable.replace(self.places.kernels, json.dumps(asdict(record), sort_keys=True).encode())


def keep_watch(kernels: Kernels, *, every_seconds: float = 5.0) -> bool:
    """Wait until the kernel on trial is approved; False when its time was over, and it is given up."""
    while not kernels.is_approved():
        left = kernels.start.trial_seconds - uptime()
        if left <= 0:
            # Where nothing can be written GRUB's own count leads back.
            with suppress(OSError, Problem):
                kernels.give_up(
                    f"the server took no report within {kernels.start.trial_seconds:.0f} s", silent=True
                )
            return False
        time.sleep(min(left, every_seconds))
    return True

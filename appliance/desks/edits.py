"""Changes of profiles' files: judged where they are asked for, written and committed by the farm."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from appliance.account_model import Role
from appliance.candidate import judge
from appliance.desks.audit import AuditDesk
from appliance.desks.mishaps import sentence_of
from appliance.edit_model import Change, Changed, Judgement, check_path, check_role, digest, who_may
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.site_files import PROFILES
from appliance.site_git import Author, commit, obstacle
from appliance.site_writer import read_file, write_file
from appliance.store.edits import Edit, EditState

MOST_TRIES = 3
SHOWN = 10
LONGEST_WHY = 2000
ODD = re.compile(r"[^\n\x20-\x7e\xa0-\U0010ffff]")


@dataclass(frozen=True)
class File:
    """A file of a profile on the disk."""

    name: str
    size_bytes: int
    role: Role
    """Who may change it."""
    is_link: bool


class EditDesk:
    def __init__(self, live: LiveSite, audit: AuditDesk, clock: Callable[[], float]) -> None:
        self.live = live
        self.audit = audit
        self.store = audit.store
        self.clock = clock

    # the web page's side: it reads the site and writes the store

    def names(self) -> list[str]:
        """The profiles on the disk, also those with mistakes."""
        return sorted(one.name for one in (self.live.path / PROFILES).glob("*/"))

    def files(self, profile: str) -> list[File]:
        """What the site on the disk has of a profile; nothing of one that is not there."""
        check_path(profile, "world")
        top = self.live.path / PROFILES / profile
        found = [one for one in sorted(top.rglob("*")) if one.is_symlink() or one.is_file()]
        names = [str(one.relative_to(top)) for one in found]
        return [
            File(name, one.lstat().st_size, who_may(name), one.is_symlink())
            for name, one in zip(names, found, strict=True)
        ]

    def read(self, profile: str, name: str) -> bytes | None:
        """A file as it is on the disk; None when there is none. Raises Problem."""
        return read_file(self.live.path, profile, name)

    def judge(self, change: Change) -> Judgement:
        return judge(self.live.path, change)

    def obstacle(self, change: Change) -> str:
        """Why it will not be committed although the site is a git checkout; empty when it will be."""
        return obstacle(self.live.path, change)

    def want(self, change: Change, *, who: str, role: Role, why: str = "") -> Edit:
        """Let the farm make it. Raises Problem for what may not be, Changed when the file is another one."""
        check_path(change.profile, change.name)
        check_role(role, change.name)
        if digest(self.read(change.profile, change.name)) != digest(change.base):
            raise Changed(f"{change.name} of profile {change.profile} was changed by somebody else meanwhile")
        if digest(change.content) == digest(change.base):
            raise Problem("nothing is changed by that")
        self._must_be_right(change)
        said = message_of(change, why, who)
        with self.store.database.change():
            number = self.store.edits.want(change, who=who, why=said, now=self.clock())
            subject = f"{change.profile}/{change.name}"
            self.audit.note(who, f"profile want {change.verb}", subject, said.splitlines()[0])
        return self.edit(number)

    def edit(self, number: int) -> Edit:
        found = self.store.edits.get(number)
        if found is None:
            raise Problem(f"there is no change {number} any more", hint="the site has what came of it")
        return found

    def last(self, profile: str) -> list[Edit]:
        """The newest first."""
        return self.store.edits.last(profile, limit=SHOWN)

    def _must_be_right(self, change: Change) -> None:
        refused = self.judge(change).refused
        if refused:
            said = [
                f"{one.profile}/{one.name}:{one.line}: {one.said}" if one.name else one.said
                for one in refused
            ]
            raise Problem(f"the site would have mistakes: {'; '.join(said)}")

    # the farm's side

    def recover(self) -> None:
        self.store.edits.interrupt(now=self.clock(), most_tries=MOST_TRIES)

    def do_next(self) -> Edit | None:
        """Make the change that was asked for first; None when none waits. What goes wrong its row says."""
        edit = self.store.edits.begin()
        if edit is None:
            return None
        change = edit.change
        try:
            said, state = self._do(edit), EditState.DONE
        except Exception as failed:
            said = sentence_of(failed, f"change {edit.id}, {change.name} of {change.profile}")
            state = EditState.FAILED
        with self.store.database.change():
            self.store.edits.end(edit.id, state, said, now=self.clock())
            if state is EditState.DONE:
                self.audit.note(edit.who, f"profile {change.verb}", f"{change.profile}/{change.name}", said)
        return self.store.edits.get(edit.id)

    def _do(self, edit: Edit) -> str:
        change, site = edit.change, self.live.path
        # A process that was killed may have written it already.
        if digest(self.read(change.profile, change.name)) != digest(change.content):
            self._must_be_right(change)
            write_file(site, change)
        name = edit.who.rpartition(" ")[2]
        host = re.sub(r"[^A-Za-z0-9.-]+", "-", self.live.now().name)
        said = commit(site, change, author=Author(name, f"{name}@{host}"), message=edit.why)
        return f"{'deleted' if change.content is None else 'written'}; {said}"


def message_of(change: Change, why: str, who: str) -> str:
    """What the commit says: the person's words, or which file it was."""
    plain = ODD.sub("", why.replace("\r\n", "\n").replace("\t", " ")).strip()[:LONGEST_WHY]
    return plain or f"{PROFILES}/{change.profile}/{change.name}: {change.verb} by {who.rpartition(' ')[2]}"

"""What the API takes and answers of profiles' files and of where their values come from. Pure."""

from dataclasses import dataclass
from typing import Annotated

from appliance import edit_model, whence
from appliance.account_model import Role
from appliance.store import edits
from appliance.store.edits import EditState
from webui.api.schema import Rule

Name = Annotated[str, Rule("below the profile's directory, such as world or portage/package.use/lua")]


@dataclass(frozen=True)
class FileQuery:
    name: Name = ""


@dataclass(frozen=True)
class DeleteQuery:
    name: Name = ""
    why: Annotated[str, Rule("for the history")] = ""


@dataclass(frozen=True)
class FileText:
    """The new text of a profile's file."""

    name: Name
    text: str
    why: Annotated[str, Rule("for the history; the message of the commit")] = ""


@dataclass(frozen=True)
class ProfileFile:
    """A file of a profile on the disk; `changed_by` is the role that may change it."""

    name: str
    size_bytes: int
    changed_by: Role
    is_link: bool


@dataclass(frozen=True)
class ProfileText:
    """A file of a profile as it is on the disk; its `sha256` is its ETag."""

    profile: str
    name: str
    text: str
    sha256: str


@dataclass(frozen=True)
class ProfileChange:
    """A change that the farm was asked for, and what came of it; times are seconds since the epoch."""

    id: int
    profile: str
    name: str
    verb: str
    who: str
    why: str
    state: EditState
    wanted_at: float
    ended_at: float | None
    said: str


@dataclass(frozen=True)
class ProfileValue:
    """A value of a profile; what replaced it is empty while it is in force. Lines are counted from 1."""

    of: str
    """settings, variables, world, options, keys, or a file of /etc/portage."""
    key: str
    text: str
    profile: str
    file: str
    line: int
    replaced_by: str


@dataclass(frozen=True)
class SiteState:
    """Whether the files on the disk are in force: with complaints the last good ones are."""

    name: str
    complaints: tuple[str, ...]


def change(one: edits.Edit) -> ProfileChange:
    what: edit_model.Change = one.change
    asked = one.id, what.profile, what.name, what.verb, one.who, one.why
    return ProfileChange(*asked, one.state, one.wanted_at, one.ended_at, one.said)


def values(one: whence.Whence) -> tuple[ProfileValue, ...]:
    """All of them, each with its place."""
    return tuple(
        ProfileValue(
            of,
            held.key,
            held.text,
            held.place.profile,
            held.place.file,
            held.place.line,
            str(by) if by else "",
        )
        for of, held, by in one.rows
    )

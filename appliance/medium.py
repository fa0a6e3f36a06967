"""The text that says what an ISO image or USB stick holds; signed, and parsed by awk on the medium. Pure."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from appliance.errors import Problem
from appliance.facts import normal_mac

FIRST_LINE = "distserver-medium 1"
DESCRIPTION = "distserver/medium"
PLANNER = "distserver/planner.sqfs"
PROFILES = "distserver/profiles.json"
MACHINE_KEYS = ("machine", "token", "expires")
SINGLE = ("created", "server", "offline", *MACHINE_KEYS)
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")
FORMS = {
    "created": TIME,
    "expires": TIME,
    # It stands unquoted in a boot loader's menu and on a kernel's command line.
    "server": re.compile(r"https?://[A-Za-z0-9.:_~\[\]-]{1,255}(?:/[A-Za-z0-9._~-]{1,100}){0,8}"),
    "offline": re.compile(r"yes|no"),
    "token": re.compile(r"[0-9a-f]{16,64}"),
}
HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
RELEASE = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
PROFILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
PATH = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*(?:/[A-Za-z0-9_+][A-Za-z0-9_+.-]*)*")
SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class MediumMachine:
    """The one machine that a per-machine image is for."""

    mac: str
    name: str
    token: str
    """Good once, and only until `expires`."""
    expires: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, order=True)
class MediumFile:
    """A file of the medium that no release's manifest names."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Medium:
    created: str
    """ISO 8601, UTC: of the newest release on it, or SOURCE_DATE_EPOCH."""
    server: str
    """URL of the appliance that made it."""
    offline: bool
    releases: tuple[tuple[str, str], ...]
    """(release, profile), in the order of the menu; the first one's kernel boots by default."""
    files: tuple[MediumFile, ...] = ()
    machine: MediumMachine | None = None
    id: str = ""
    """16 hexadecimal digits of the SHA-256 of all lines after it; see identify()."""


def identify(medium: Medium) -> Medium:
    """The medium with its id, and its files in the order they are written."""
    sound = replace(medium, files=tuple(sorted(medium.files)))
    return replace(sound, id=_digest("".join(f"{line}\n" for line in _body(sound))))


def write(medium: Medium) -> str:
    """The description, with the id it has; parse() reads it back. Raises Problem for what it cannot say."""
    named = identify(medium)
    text = "".join(f"{line}\n" for line in (FIRST_LINE, f"id {named.id}", *_body(named)))
    if parse(text) != named:
        raise Problem("the description of the medium would be read as another one")
    return text


def parse(text: str) -> Medium:
    """Read what write() wrote, byte for byte; raises Problem that names the line that is wrong."""
    if not text.endswith("\n"):
        raise Problem("the medium's description is cut off: its last line has no end")
    lines = text[:-1].split("\n")
    if lines[0] != FIRST_LINE:
        raise Problem(f"the medium's description starts with {lines[0][:80]!r}, expected {FIRST_LINE!r}")
    said = lines[1][3:] if len(lines) > 1 and lines[1].startswith("id ") else ""
    if not ID.fullmatch(said):
        raise Problem(f"line 2 of the medium's description is no id: {''.join(lines[1:2])[:80]!r}")
    single: dict[str, str] = {}
    releases: list[tuple[str, str]] = []
    files: list[MediumFile] = []
    for number, line in enumerate(lines[2:], 3):
        key, _, rest = line.partition(" ")
        if key == "RELEASE":
            releases.append(_release(rest, number))
        elif key == "FILE":
            files.append(_file(rest, number))
        elif key in SINGLE and key not in single:
            single[key] = _checked(key, rest, number)
        else:
            raise _wrong(number, "is not understood", line)
    medium = Medium(
        created=_required(single, "created"),
        server=_required(single, "server"),
        offline=_required(single, "offline") == "yes",
        releases=tuple(releases),
        files=tuple(files),
        machine=_machine(single),
        id=said,
    )
    _check_whole(medium)
    if _digest("".join(f"{line}\n" for line in lines[2:])) != said:
        raise Problem(f"the medium's description was changed: its id is {said}, which its lines have not")
    if [*_body(medium)] != lines[2:]:
        raise Problem("the lines of the medium's description are in another order than it is written in")
    return medium


def seconds_of(iso: str) -> float:
    """Seconds since the epoch of a time as `created` and `expires` say it."""
    # strptime loads modules that no planner has (buildfarm/planner_image.py).
    return datetime.fromisoformat(iso).timestamp()


def iso_time(seconds: float) -> str:
    """What `created` and `expires` say, of seconds since the epoch."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _body(medium: Medium) -> Iterator[str]:
    yield f"created {medium.created}"
    yield f"server {medium.server}"
    yield f"offline {'yes' if medium.offline else 'no'}"
    if one := medium.machine:
        yield from (f"machine {one.mac} {one.name}", f"token {one.token}", f"expires {one.expires}")
    for release, profile in medium.releases:
        yield f"RELEASE {release} {profile}"
    for file in sorted(medium.files):
        yield f"FILE {file.path} {file.size_bytes} SHA256 {file.sha256}"


def _wrong(number: int, what: str, line: str) -> Problem:
    return Problem(f"line {number} of the medium's description {what}: {line[:200]!r}")


def _checked(key: str, value: str, number: int) -> str:
    if key == "machine":
        mac, _, name = value.partition(" ")
        if normal_mac(mac) != mac or not HOSTNAME.fullmatch(name) or len(name) > 253:
            raise _wrong(number, "is not machine MAC NAME", f"machine {value}")
    elif not FORMS[key].fullmatch(value):
        raise _wrong(number, f"is no {key} that is allowed", f"{key} {value}")
    elif key in ("created", "expires"):
        try:
            seconds_of(value)
        except ValueError as bad:
            raise _wrong(number, "is no time", f"{key} {value}") from bad
    return value


def _release(rest: str, number: int) -> tuple[str, str]:
    release, _, profile = rest.partition(" ")
    if not RELEASE.fullmatch(release) or not PROFILE.fullmatch(profile):
        raise _wrong(number, "is not RELEASE ID PROFILE", f"RELEASE {rest}")
    return release, profile


def _file(rest: str, number: int) -> MediumFile:
    words = rest.split(" ")
    good = len(words) == 4 and words[2] == "SHA256"
    if not good or not all(
        form.fullmatch(word) for form, word in zip((PATH, SIZE, SHA256), (*words[:2], words[3]), strict=True)
    ):
        raise _wrong(number, "is not FILE PATH SIZE SHA256 HEX", f"FILE {rest}")
    return MediumFile(words[0], int(words[1]), words[3])


def _required(single: dict[str, str], key: str) -> str:
    if key not in single:
        raise Problem(f"the medium's description has no line `{key}`")
    return single[key]


def _machine(single: dict[str, str]) -> MediumMachine | None:
    said = [key for key in MACHINE_KEYS if key in single]
    if not said:
        return None
    if len(said) < len(MACHINE_KEYS):
        raise Problem(f"the medium's description has {' and '.join(said)}, expected machine, token, expires")
    mac, _, name = single["machine"].partition(" ")
    return MediumMachine(mac, name, single["token"], single["expires"])


def _check_whole(medium: Medium) -> None:
    if not medium.releases:
        raise Problem("the medium's description names no release")
    profiles = [profile for _, profile in medium.releases]
    paths = [file.path for file in medium.files]
    for what, names in (("profile", profiles), ("file", paths)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Problem(f"the medium's description names the {what} {twice[0]} twice")
    missing = [path for path in (PLANNER, PROFILES) if path not in paths]
    if medium.offline and missing:
        raise Problem(f"the description of an offline medium does not name {' and '.join(missing)}")
    if medium.machine and len(profiles) > 1:
        raise Problem(
            f"the medium is for machine {medium.machine.mac} and has {len(profiles)} profiles, expected one"
        )

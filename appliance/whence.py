"""Each value of a profile with the file and the line that it comes from. Pure."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance import kconfig
from appliance.site_files import SiteFiles, of_profile

TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]',
    re.DOTALL,
)
"""What in a TOML text says where a statement ends: texts, comments, brackets, ends of lines."""
VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=", re.MULTILINE)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
OWN = ("parent", "abstract", "match")
"""Keys of profile.toml that children do not inherit."""
Path = tuple[str | int, ...]
"""Keys of nested tables, and places in arrays from 0."""


@dataclass(frozen=True)
class Place:
    profile: str
    file: str
    """Below the profile's directory."""
    line: int

    def __str__(self) -> str:
        return f"{self.profile}/{self.file}:{self.line}"


@dataclass(frozen=True)
class Value:
    key: str
    text: str
    place: Place


@dataclass(frozen=True)
class Replaced:
    """A value that is not in force any more."""

    value: Value
    by: Place


@dataclass(frozen=True)
class Listing:
    held: tuple[Value, ...] = ()
    """What is in force."""
    replaced: tuple[Replaced, ...] = ()


@dataclass(frozen=True)
class PortageFile:
    """A file of /etc/portage: that of the nearest profile that has it."""

    name: str
    profile: str
    lines: tuple[Value, ...]
    """Those that say something; their key is empty."""
    hidden: tuple[str, ...]
    """Profiles whose file of this name is not used."""
    text: bool = True


@dataclass(frozen=True)
class Whence:
    lineage: tuple[str, ...]
    """The most distant parent first, the profile itself last."""
    settings: Listing
    variables: Listing
    world: Listing
    options: Listing
    keys: Listing
    portage: tuple[PortageFile, ...]

    @property
    def rows(self) -> Iterator[tuple[str, Value, Place | None]]:
        """(of what, value, what replaced it) of all values; those in force first, of each."""
        listings = {
            "settings": self.settings,
            "variables": self.variables,
            "world": self.world,
            "options": self.options,
            "keys": self.keys,
        }
        for of, listing in listings.items():
            yield from ((of, one, None) for one in listing.held)
            yield from ((of, one.value, one.by) for one in listing.replaced)
        for file in self.portage:
            yield from ((f"portage/{file.name}", one, None) for one in file.lines)

    def setting(self, key: str) -> str:
        """As profile.toml has it, a text without its quotes; empty when nothing sets it."""
        found = next((one.text for one in self.settings.held if one.key == key), "")
        return str(json.loads(found)) if found.startswith('"') else found


def trace(files: SiteFiles, name: str) -> Whence:
    """All values of a profile of a site that reads."""
    lineage = lineage_of(name, documents_of(files))
    own = {one: of_profile(files, one) for one in lineage}
    settings = settings_of(_texts(own, "profile.toml"))
    kernel = next((one for one in settings.held if one.key in ("kernel.package", "kernel.source")), None)
    return Whence(
        lineage,
        settings=settings,
        variables=variables_of(_texts(own, "portage/make.conf")),
        world=world_of(_texts(own, "world"), kernel),
        options=options_of(_texts(own, "kernel.config")),
        keys=_lines_of(_texts(own, "authorized_keys"), "authorized_keys"),
        portage=portage_of(own),
    )


def documents_of(files: SiteFiles) -> dict[str, dict[str, Any]]:
    """Each profile.toml that is TOML."""
    found = {}
    for path, content in files.items():
        words = path.split("/")
        if len(words) == 3 and words[0] == "profiles" and words[2] == "profile.toml":
            try:
                found[words[1]] = tomllib.loads(content.decode())
            except ValueError:  # UnicodeDecodeError and TOMLDecodeError
                found[words[1]] = {}
    return dict(sorted(found.items()))


def parents_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What a profile names as its parents, whatever else is there."""
    found = document.get("parent", ())
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def lineage_of(name: str, documents: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The profile and all its parents, each once, the most distant first."""
    order: list[str] = []

    def visit(one: str, below: tuple[str, ...]) -> None:
        if one in below or one not in documents:
            return
        for parent in parents_of(documents[one]):
            visit(parent, (*below, one))
        if one not in order:
            order.append(one)

    visit(name, ())
    return tuple(order)


def inherited(documents: Mapping[str, Mapping[str, Any]], name: str, key: str) -> str:
    """A text at the top of profile.toml: that of the nearest profile which has it; empty when none does."""
    texts = (documents[one].get(key) for one in reversed(lineage_of(name, documents)))
    return next((one for one in texts if isinstance(one, str)), "")


def heirs_of(name: str, documents: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The profiles that inherit from one, near or far, sorted."""
    return tuple(one for one in sorted(documents) if one != name and name in lineage_of(one, documents))


def toml_lines(text: str) -> Iterator[tuple[Path, Any, int]]:
    """Each value of a TOML text with its keys and the line where it is set, counted from 1."""
    table: Path = ()
    counts: dict[Path, int] = {}
    for statement, line in _statements(text):
        try:
            document = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if not document:
            continue
        if statement.lstrip().startswith("["):
            table = _table(document, counts, many=statement.lstrip().startswith("[["))
            continue
        for path, value in _leaves(document):
            yield (*table, *path), value, line


def _statements(text: str) -> Iterator[tuple[str, int]]:
    """Lines, each with those that it goes on in, and the number of its first one."""
    start = depth = 0
    line = first = 1
    for found in TOKEN.finditer(text):
        token = found[0]
        line += token.count("\n")
        if token in ("[", "{"):
            depth += 1
        elif token in ("]", "}"):
            depth = max(depth - 1, 0)
        elif token == "\n" and not depth:
            yield text[start : found.end()], first
            start, first = found.end(), line
    yield text[start:], first


def _table(header: Mapping[str, Any], counts: dict[Path, int], *, many: bool) -> Path:
    """The path of a table from its header alone; arrays of tables are counted."""
    path: Path = ()
    inside: Any = header
    while inside:
        key = next(iter(inside))
        inside = inside[key]
        path = (*path, key)
        is_last = inside in ({}, [{}])
        if many and is_last:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
        if is_last:
            break
    return path


def _leaves(value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        pairs: Iterable[tuple[str | int, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        pairs = enumerate(value)
    else:
        yield (), value
        return
    for key, inner in pairs:
        for path, leaf in _leaves(inner):
            yield (key, *path), leaf


def key_text(path: Path) -> str:
    """`disk.partition[1].size`; arrays count from 1, as complaints do."""
    text = ""
    for one in path:
        text += f"[{one + 1}]" if isinstance(one, int) else f".{one}"
    return text.removeprefix(".")


def value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value_text(one) for one in value)}]"
    if isinstance(value, (str, bool, int)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def settings_of(texts: Mapping[str, str]) -> Listing:
    """profile.toml of a lineage: a child's key replaces its parent's, in tables key by key.

    A list of tables such as disk.partition is one value, and where the kernel comes from is one choice.
    """
    groups: dict[Path, list[Value]] = {}
    replaced: list[Replaced] = []
    nearest = list(texts)[-1:]
    for profile, text in texts.items():
        own: dict[Path, list[Value]] = {}
        for path, value, line in toml_lines(text):
            if path[0] in OWN and profile not in nearest:
                continue
            # What is replaced at a time: `arch`, `stage.location`, `disk.partition`, `match`.
            group = path[:1] if path[0] in OWN else path[:2]
            place = Place(profile, "profile.toml", line)
            own.setdefault(group, []).append(Value(key_text(path), value_text(value), place))
        gone = {group: own[group][0].place for group in own if group in groups}
        chooses = next(
            (own[one] for one in own if one in (("kernel", "package"), ("kernel", "source"))), None
        )
        if chooses:
            former = [one for one in groups if one[0] == "kernel" and one != ("kernel", "arguments")]
            gone |= dict.fromkeys(former, chooses[0].place)
        for group, by in gone.items():
            replaced += [Replaced(one, by) for one in groups.pop(group)]
        groups |= own
    return Listing(tuple(one for values in groups.values() for one in values), tuple(replaced))


def variables_of(texts: Mapping[str, str]) -> Listing:
    """Assignments of make.conf, the parents' first; one that names its own variable adds to those before."""
    held: dict[str, list[Value]] = {}
    replaced: list[Replaced] = []
    for profile, text in texts.items():
        for name, said, line in assignments(text):
            place = Place(profile, "portage/make.conf", line)
            if not re.search(rf"\$\{{?{name}\b", said):
                replaced += [Replaced(one, place) for one in held.pop(name, [])]
            held.setdefault(name, []).append(Value(name, said, place))
    return Listing(tuple(one for values in held.values() for one in values), tuple(replaced))


def assignments(text: str) -> Iterator[tuple[str, str, int]]:
    """(name, value without its quotes, line) of a file as make.conf, where a value may have many lines."""
    end = counted = 0
    line = 1
    for found in VARIABLE.finditer(text):
        start = found.end()
        if found.start() < end:  # inside the quotes of the one before
            continue
        line, counted = line + text.count("\n", counted, found.start(1)), found.start(1)
        if quoted := QUOTED.match(text, start):
            value, end = quoted[0][1:-1], quoted.end()
        else:
            end = text.find("\n", start) % (len(text) + 1)
            value = text[start:end].partition("#")[0].strip()
        yield found[1], value, line


def world_of(texts: Mapping[str, str], kernel: Value | None) -> Listing:
    """Atoms by their name; a line `-atom` takes an inherited one away."""
    held: dict[str, Value] = {}
    replaced = []
    for value in _lines_of(texts, "world").held:
        atom = value.text.partition("#")[0].strip()
        if atom.startswith("-"):
            if gone := held.pop(atom[1:], None):
                replaced.append(Replaced(gone, value.place))
        elif atom:
            held.setdefault(atom, Value("", atom, value.place))
    if kernel:
        held.setdefault("the kernel", Value("", f"the kernel, {kernel.text}", kernel.place))
    return Listing(tuple(held[name] for name in sorted(held)), tuple(replaced))


def options_of(texts: Mapping[str, str]) -> Listing:
    """Kernel options by name; the last line about one counts."""
    held: dict[str, Value] = {}
    replaced = []
    for line in _lines_of(texts, "kernel.config", comments=True).held:
        for symbol, value in kconfig.parse(line.text).items():
            if former := held.pop(symbol, None):
                replaced.append(Replaced(former, line.place))
            held[symbol] = Value(f"CONFIG_{symbol}", value, line.place)
    return Listing(tuple(held[name] for name in sorted(held)), tuple(replaced))


def portage_of(own: Mapping[str, Mapping[str, bytes]]) -> tuple[PortageFile, ...]:
    """Files of /etc/portage but make.conf, whose lines are variables."""
    found: dict[str, list[str]] = {}
    for profile, files in own.items():
        for path in files:
            if path.startswith("portage/") and path != "portage/make.conf" and not path.endswith("/"):
                found.setdefault(path, []).append(profile)
    made = []
    for path, profiles in sorted(found.items()):
        text = as_text(own[profiles[-1]][path])
        lines = _said(text or "", profiles[-1], path)
        made.append(
            PortageFile(
                path.removeprefix("portage/"), profiles[-1], lines, tuple(profiles[:-1]), text is not None
            )
        )
    return tuple(made)


def as_text(content: bytes) -> str | None:
    """None for what is no text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _texts(own: Mapping[str, Mapping[str, bytes]], name: str) -> dict[str, str]:
    """One file of each profile of a lineage; empty where there is none."""
    return {profile: as_text(files.get(name, b"")) or "" for profile, files in own.items()}


def _lines_of(texts: Mapping[str, str], file: str, *, comments: bool = False) -> Listing:
    """The lines of one file of a lineage, one profile's after another's."""
    said = (_said(text, profile, file, comments=comments) for profile, text in texts.items())
    return Listing(tuple(value for values in said for value in values))


def _said(text: str, profile: str, file: str, *, comments: bool = False) -> tuple[Value, ...]:
    """Lines that say something."""
    return tuple(
        Value("", line.strip(), Place(profile, file, number))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and (comments or not line.lstrip().startswith("#"))
    )

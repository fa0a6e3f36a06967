"""Reads Portage's own words about what it cannot resolve; every complaint becomes a question for a person."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from buildfarm import required_use
from buildfarm.index import split_cpv


class QuestionKind(Enum):
    MISSING = "missing"
    """A world or system atom that nothing provides; emerge skips it and reports success."""
    UNSATISFIED = "unsatisfied"
    """A dependency that no package of any repository fits."""
    USE = "use"
    """A dependency wants flags this profile does not set."""
    REQUIRED_USE = "required-use"
    """The flags of a package contradict what its ebuild demands of them."""
    KEYWORD = "keyword"
    MASK = "mask"
    LICENSE = "license"
    BLOCKER = "blocker"
    SLOT_CONFLICT = "slot-conflict"
    CYCLE = "cycle"
    SKIPPED = "skipped"
    """A newer version is not taken because something else does not go with it."""
    INSTALLED_MASKED = "installed-masked"
    SET = "set"
    """A package set that does not exist."""
    OTHER = "other"
    """Something no rule here knows; the text says all there is."""


@dataclass(frozen=True)
class Question:
    """What only a person can decide."""

    kind: QuestionKind
    subject: str
    """What it is about, stable over versions where that makes sense: `category/name`, an atom, a slot."""
    text: str
    """Portage's own words."""
    suggestion: str = ""
    """A line that would solve it, `FILE: LINE` with FILE below /etc/portage; several joined by ` or `."""


TEXT_CHARACTERS = 8000
MASKS = (
    (re.compile(r"license"), QuestionKind.LICENSE),
    (re.compile(r"keyword"), QuestionKind.KEYWORD),
    (re.compile(r"package\.mask|profile"), QuestionKind.MASK),
)
FILES = {
    "USE": ("package.use", QuestionKind.USE),
    "keyword": ("package.accept_keywords", QuestionKind.KEYWORD),
    "mask": ("package.unmask", QuestionKind.MASK),
    "license": ("package.license", QuestionKind.LICENSE),
}
CANDIDATE = re.compile(r"^- (\S+?)(?:::\S+)? \(masked by: (.*)\)$", re.MULTILINE)
CHANGE = re.compile(r"^\s*- (\S+?)(?:::\S+)? \((.*)\)$", re.MULTILINE)
FLAGS = re.compile(r"Change USE: ([^,)]+)")
PACKAGE = re.compile(r"\(([^\s:()]+):([^\s:/]+)[^\s]*::[^\s,]+, \w+")
BLOCKERS = re.compile(
    r'^\[blocks\s+B[^\]]*\]\s+(\S+) \((?:"[^"]+" )?is (soft|hard) blocking ([^)]*)\)$', re.MULTILINE
)
ATOM = re.compile(r"^[<>=~!]*([^\s:\[]+)")
COMPLETE = re.compile(r"complete expression:\n +([^\n]*)")


def read_complaints(words: str) -> list[Question]:
    """Everything Portage complains of, in its order."""
    text = words.replace("\r", "")
    found: list[tuple[int, Question]] = []
    for pattern, make in RULES:
        rest = text
        for match in pattern.finditer(text):
            found += [(match.start(), question) for question in make(match)]
            # What was understood is blanked, so that the last rule sees only what no other one knew.
            blank = re.sub(r"[^\n]", " ", match[0])
            rest = rest[: match.start()] + blank + rest[match.end() :]
        text = rest
    ordered = sorted(found, key=lambda pair: pair[0])
    return [replace(question, text=_shortened(question.text)) for _, question in ordered]


def _shortened(text: str) -> str:
    """A cycle Portage finds no name for is shown as its whole graph."""
    half = TEXT_CHARACTERS // 2
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:half]}\n[...]\n{text[-half:]}"


def masked_question(subject: str, rows: Sequence[tuple[str, str]]) -> Question:
    """`rows`: (cpv, masks) of each candidate, best first; the one that asks the least is suggested."""
    offers = [(kind, lines) for cpv, masks in rows for kind, lines in [_unmask(cpv, masks)] if lines]
    if not offers:
        return Question(_mask_kind(rows[0][1]) if rows else QuestionKind.MASK, subject, "")
    # `**` also takes what was never tried on any machine, such as live ebuilds.
    kind, lines = min(offers, key=lambda offer: sum(2 if line[-2:] == "**" else 1 for line in offer[1]))
    return Question(kind, subject, "", " and ".join(lines))


def _mask_kind(masks: str) -> QuestionKind:
    return next((kind for pattern, kind in MASKS if pattern.search(masks)), QuestionKind.MASK)


def _unmask(cpv: str, masks: str) -> tuple[QuestionKind, list[str]]:
    """The lines that would lift these masks; none when one of them cannot be lifted by configuration."""
    lines = []
    for mask in masks.split(", "):
        words = mask.split()
        if mask == "package.mask":
            lines.append(f"package.unmask: ={cpv}")
        elif mask == "missing keyword":
            lines.append(f"package.accept_keywords: ={cpv} **")
        elif words[-1:] == ["keyword"]:
            lines.append(f"package.accept_keywords: ={cpv} {words[0] if words[0][0] == '~' else '**'}")
        elif words[-1:] == ["license(s)"]:
            lines.append(f"package.license: ={cpv} {' '.join(words[:-1])}")
        else:
            return _mask_kind(masks), []
    return _mask_kind(masks), lines


def _name(cpv: str) -> str:
    """category/name of `category/name-1.2`."""
    return split_cpv(cpv)[0]


def _subject(atom: str) -> str:
    """category/name an atom is about."""
    plain = ATOM.match(atom)
    named = plain[1].removesuffix("*") if plain else atom
    return _name(named) if atom[:1] in "<>=~" and plain else named


def _masked(match: re.Match[str]) -> Iterator[Question]:
    rows = CANDIDATE.findall(match[0])
    told = masked_question(_subject(match[1]), rows)
    yield Question(told.kind, told.subject, match[0].strip(), told.suggestion)


def _wrong_use(match: re.Match[str]) -> Iterator[Question]:
    lines = []
    subject = ""
    for cpv, change in CHANGE.findall(match[0]):
        if flags := FLAGS.search(change):
            subject = subject or _name(cpv)
            lines.append(f"package.use: {_name(cpv)} {flags[1].replace('+', '').strip()}")
    if lines:
        yield Question(QuestionKind.USE, subject, match[0].strip(), " or ".join(lines))
    else:
        yield Question(QuestionKind.UNSATISFIED, match[1], match[0].strip())


def _required_use(match: re.Match[str]) -> Iterator[Question]:
    name, wanted = _name(match[1]), " ".join(match[3].split())
    is_set, forced = required_use.flags(match[2])
    whole = COMPLETE.search(match[0])
    line = " ".join(required_use.solve(whole[1] if whole else wanted, is_set, forced))
    hint = f"package.use: {name} {line}" if line else f"set the flags of {name} so that {wanted}"
    yield Question(QuestionKind.REQUIRED_USE, name, match[0].strip(), hint)


def _unsatisfied(match: re.Match[str]) -> Iterator[Question]:
    meant = re.search(r"Maybe you meant (?:any of these: )?(.*)\?", match[0])
    hint = f"perhaps {meant[1]} is meant" if meant else ""
    # Where there is no package at all, the flags that are wanted of it say nothing.
    yield Question(QuestionKind.UNSATISFIED, match[1].partition("[")[0], match[0].strip(), hint)


def missing(atom: str) -> Question:
    """Of an atom of a set, which no package fits."""
    text = f"all packages that could satisfy {atom} are masked or do not exist"
    return Question(QuestionKind.MISSING, atom, text)


def _missing(match: re.Match[str]) -> Iterator[Question]:
    yield from (missing(atom) for atom in match[1].split())


def _necessary(match: re.Match[str]) -> Iterator[Question]:
    """A block of --autounmask: comments that say who requires it, then the line itself."""
    file, kind = FILES[match[1]]
    comments: list[str] = []
    for line in match[2].splitlines():
        if line.startswith("#"):
            comments.append(line)
        elif line.strip():
            text = "\n".join([f"the following {match[1]} change is necessary: {line}", *comments])
            yield Question(kind, _subject(line.split()[0]), text, f"{file}: {line.strip()}")
            comments = []


def _blockers(match: re.Match[str]) -> Iterator[Question]:
    pairs = list(dict.fromkeys(BLOCKERS.findall(match[0])))
    why = match[0][match[0].find(" * Error:") :].partition("For more information")[0].strip()
    for atom, how, parents in pairs:
        text = f"{atom} is {how} blocking {parents}\n{why}".strip()
        hint = f"package.mask: {atom} or remove {parents} from what the profile wants"
        yield Question(QuestionKind.BLOCKER, atom, text, hint)


def _slot_conflict(match: re.Match[str]) -> Iterator[Question]:
    parts = re.split(r"^(?=\S+:\S+$)", match[1], flags=re.MULTILINE)
    lines = _use_lines(match[0])
    for part in parts[1:]:
        slot = part.splitlines()[0]
        heads = [line for line in part.splitlines() if line.startswith("  (")]
        cpvs = [cpv for cpv, _ in PACKAGE.findall("\n".join(heads))]
        hint = " or ".join(lines or [f"package.mask: ={cpv}" for cpv in cpvs])
        yield Question(QuestionKind.SLOT_CONFLICT, slot, part.strip(), hint)


def _use_lines(text: str) -> list[str]:
    found = []
    for cpv, change in CHANGE.findall(text):
        if flags := FLAGS.search(change):
            found.append(f"package.use: ={cpv} {flags[1].replace('+', '').strip()}")
    return list(dict.fromkeys(found))


def _cycle(match: re.Match[str]) -> Iterator[Question]:
    """The flags Portage names break the cycle for a first pass; afterwards they may be set again."""
    shown = match[0].partition("It might be possible")[0]
    members = sorted({_name(cpv) for cpv, _ in PACKAGE.findall(shown)})
    hint = " or ".join(_use_lines(match[0]))
    yield Question(QuestionKind.CYCLE, " ".join(members), match[0].strip(), hint)


def _skipped(match: re.Match[str]) -> Iterator[Question]:
    for slot in re.findall(r"^\S+/\S+:\S+$", match[0], re.MULTILINE):
        yield Question(QuestionKind.SKIPPED, slot, match[0].strip())


def _installed_masked(match: re.Match[str]) -> Iterator[Question]:
    for cpv, masks in CANDIDATE.findall(match[0]):
        told = masked_question(_name(cpv), [(cpv, masks)])
        text = f"{cpv} is installed, but masked by: {masks}"
        yield Question(QuestionKind.INSTALLED_MASKED, told.subject, text, told.suggestion)


def _no_set(match: re.Match[str]) -> Iterator[Question]:
    yield Question(QuestionKind.SET, match[1] or match[2], match[0].strip())


def _other(match: re.Match[str]) -> Iterator[Question]:
    yield Question(QuestionKind.OTHER, match[0].splitlines()[0].strip("! "), match[0].strip())


def _nothing(_: re.Match[str]) -> Iterable[Question]:
    """Words that ask nothing of anybody."""
    return ()


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], Iterable[Question]]]
REQUIRED_BY = r'(?:\(dependency required by ".*" \[.*\]\)\n?)*'
DOCS = r"^For more information, see the MASKED PACKAGES.*?(?=\n\n|\Z)"


def _rule(pattern: str, make: Callable[[re.Match[str]], Iterable[Question]]) -> Rule:
    return re.compile(pattern, re.MULTILINE | re.DOTALL), make


RULES: tuple[Rule, ...] = (
    _rule(r"^ \* Error: circular dependencies:.*?(?=^ \* Note that circular|^Note that this|\Z)", _cycle),
    _rule(r"^[^\n]*Multiple package instances within a single package slot have been pulled\n"
          r"!!! into the dependency graph, resulting in a slot conflict:\n(.*?)"
          r"(?=^It may be possible to solve|^!!! |^emerge: |\Z)", _slot_conflict),
    _rule(r"(?:^\[blocks\s+B[^\n]*\n[^\[]*)+", _blockers),
    _rule(r'^!!! The ebuild selected to satisfy "[^\n]*" has unmet requirements\.\n'
          r"- (\S+?)(?:::\S+)? ([^\n]*)\n\n"
          r"  The following REQUIRED_USE flag constraints are unsatisfied:\n    ([^\n]*)\n"
          r"(?:\n  The above constraints[^\n]*\n[^\n]*\n)?\n?" + REQUIRED_BY, _required_use),
    _rule(r'^emerge: there are no (?:ebuilds|binary packages) built with USE flags to satisfy "([^\n]*)"\.\n'
          r"(?:!!! [^\n]*\n|- [^\n]*\n)*" + REQUIRED_BY, _wrong_use),
    _rule(r'^!!! All (?:ebuilds|binary packages) that could satisfy "([^\n]*)" have been masked\.\n.*?'
          r"(?:" + DOCS + r"|\Z)", _masked),
    _rule(r'^emerge: there are no (?:ebuilds|binary packages) to satisfy "([^\n]*)"\.\n'
          r"(?:\n?emerge: searching for similar names[^\n]*\n(?:\n?emerge: Maybe you meant[^\n]*\n)?)?"
          r"\n?" + REQUIRED_BY, _unsatisfied),
    _rule(r"^!!! Ebuilds for the following packages are either all\n"
          r"!!! masked or don't exist:\n([^\n]*)$", _missing),
    _rule(r"^The following (USE|keyword|mask|license) changes are necessary to proceed:\n"
          r" \(see [^\n]*\)\n((?:[#<>=~\w][^\n]*\n)+)", _necessary),
    _rule(r"^!!! The following (?:installed packages are masked|updates are masked by LICENSE changes):\n.*?"
          r"(?:" + DOCS + r"|\Z)", _installed_masked),
    _rule(r"^(?:WARNING: One or more updates/rebuilds have been skipped due to a dependency conflict|"
          r"!!! The following update(?:\(s\) have| has) been skipped due to unsatisfied dependencies)"
          r".*?(?=^!!! (?!triggered)|^WARNING|^emerge: |^The following|^Total|\Z)", _skipped),
    _rule(r"^emerge: (?:[Tt]here are no sets to satisfy ['\"]([^'\"]*)['\"]|"
          r"the given set ['\"][^'\"]*['\"] contains a non-existent set named ['\"]([^'\"]*)['\"])[^\n]*$",
          _no_set),
    _rule(r"^!!! Problems have been detected with your world file\n!!! Please run [^\n]*$", _nothing),
    _rule(r"^!!! Problem resolving dependencies for [^\n]*$", _nothing),
    _rule(r"^(?:!!! [^\n]*(?:\n|\Z))+", _other),
)  # fmt: skip

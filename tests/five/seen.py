"""What was seen of the machines: kept as JSON, and the table made of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "five.md"
RESULTS = PAGE.with_suffix(".json")
BEGIN, END = "<!-- five: made by make five -->", "<!-- end of five -->"
STANDS, STANDS_END = "<!-- stands in: made by make five -->", "<!-- end of stands in -->"
COLUMNS: tuple[str, ...] = ("machine", "firmware", "processor", "profile, matched by", "disk layout")
COLUMNS += ("packages", "seconds", "from disk")


@dataclass(frozen=True)
class Seen:
    """One run of one machine. Nothing in it is assumed: what was not seen is empty, 0 or False."""

    machine: str
    title: str
    on: str
    """The day, YYYY-MM-DD."""
    firmware: str = ""
    """As the machine told it."""
    processor: str = ""
    """As the machine told it, with the number of processors and the accelerator."""
    profile: str = ""
    matched_by: str = ""
    layout: tuple[str, ...] = ()
    release: str = ""
    packages: int = 0
    """Of its release, each of them merged on the machine."""
    phases: tuple[tuple[str, float], ...] = ()
    """Stage and seconds, in the order they ended."""
    total_seconds: float = 0.0
    """From power-on to `is up`, or to the end of what was seen."""
    booted_from_disk: bool = False
    problem: str = ""


def write(results: Path, seen: Sequence[Seen]) -> dict[str, Seen]:
    """Put what was seen in the place of what was seen of the same machines before; all of it by machine."""
    known = read(results) | {one.machine: one for one in seen}
    rows = [asdict(known[name]) for name in sorted(known)]
    results.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return known


def read(results: Path) -> dict[str, Seen]:
    if not results.exists():
        return {}
    rows = [_seen(row) for row in json.loads(results.read_text())]
    return {row.machine: row for row in rows}


def _seen(row: dict[str, Any]) -> Seen:
    lists = {"layout": tuple(row["layout"]), "phases": tuple((name, took) for name, took in row["phases"])}
    return Seen(**{**row, **lists})


def table(titles: Mapping[str, str], seen: Mapping[str, Seen]) -> str:
    """Markdown, one line for each machine, in the order of the titles."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    lines += [_line(name, title, seen.get(name)) for name, title in titles.items()]
    return "\n".join(lines) + "\n"


def _line(name: str, title: str, one: Seen | None) -> str:
    if one is None:
        return f"| {name}: {title} |" + " not seen yet |" * (len(COLUMNS) - 1)
    phases = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in one.phases)
    cells = (
        f"{name}: {title}",
        one.firmware,
        one.processor,
        f"{one.profile}: {one.matched_by}" if one.matched_by else one.profile,
        "; ".join(one.layout),
        str(one.packages) if one.packages else "",
        f"{one.total_seconds:.0f}: {phases}" if phases else "",
        "yes" if one.booted_from_disk else f"**no**{f': {one.problem}' if one.problem else ''}",
    )
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') or '—' for cell in cells)} |"


def between(text: str, begin: str, end: str, made: str) -> str:
    """The text with something else between two marks. Raises ValueError when they are not there."""
    before, found, rest = text.partition(f"{begin}\n")
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the page has no {begin} and {end}")
    return f"{before}{begin}\n{made}{end}{after}"

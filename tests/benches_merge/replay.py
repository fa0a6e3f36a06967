"""The replay: every pair of versions with edits of its own, every peer, every result judged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distserver_client.triples import digest
from tests.benches_merge import edits, judging
from tests.benches_merge.archive import Pair
from tests.benches_merge.peers import PEERS

SEED = "2026-11-22"
LEAST = 200
MOST_OF_A_DIRECTORY = 8
"""Of /etc/NAME in one step: packages with hundreds of like files do not decide the shares."""


@dataclass(frozen=True)
class Case:
    pair: Pair
    ours: bytes
    edits: tuple[edits.Edit, ...]


@dataclass(frozen=True)
class Share:
    """Of all cases, what one peer made of them."""

    automatic: int
    asked: int
    wrong: int
    """Automatic, and not right."""

    @property
    def cases(self) -> int:
        return self.automatic + self.asked + self.wrong


@dataclass(frozen=True)
class Wrong:
    peer: str
    case: Case
    why: str
    merged: bytes


def cases(pairs: Iterable[Pair], seed: str = SEED) -> Iterator[Case]:
    """Those in which the generator found something to edit."""
    taken: Counter[tuple[str, str]] = Counter()
    for pair in sorted(pairs, key=lambda one: digest(f"{seed} {one.step} {one.path}".encode())):
        group = (pair.step, pair.path.split("/")[2])
        if taken[group] >= MOST_OF_A_DIRECTORY:
            continue
        ours, made = edits.edit(pair.base, f"{seed} {pair.step} {pair.path}")
        if made and ours != pair.base:
            taken[group] += 1
            yield Case(pair, ours, made)


def replay(found: Iterable[Case], scratch: Path) -> tuple[Mapping[str, Share], list[Wrong]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    mistakes = []
    for case in found:
        pair = case.pair
        versions = judging.Versions(pair.base, case.ours, pair.theirs)
        for name, peer in PEERS.items():
            merged = peer(pair.path, pair.base, case.ours, pair.theirs, scratch)
            if merged is None:
                counts[name]["asked"] += 1
                continue
            why = judging.wrong(pair.path, case.edits, versions, merged, scratch)
            counts[name]["wrong" if why else "automatic"] += 1
            if why:
                mistakes.append(Wrong(name, case, why, merged))
    shares = {name: Share(one["automatic"], one["asked"], one["wrong"]) for name, one in counts.items()}
    return shares, mistakes

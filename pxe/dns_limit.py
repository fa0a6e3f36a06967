"""How many DNS answers one address gets by UDP: a bucket of tokens for each, in bounded memory."""

from collections import OrderedDict
from enum import Enum

RATE = 100.0
"""Answers a second and address in the long run."""
BURST = 300.0
MOST_SOURCES = 4096


class Verdict(Enum):
    ANSWER = "answer"
    SLIP = "slip"
    """Only say TC: a real client comes again by TCP, where its address is proven."""
    DROP = "drop"


class Limiter:
    def __init__(self, rate: float = RATE, burst: float = BURST, most_sources: int = MOST_SOURCES) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most_sources
        self._buckets: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()
        """Address -> tokens, when they were counted (seconds), whether the last one over it was dropped."""

    def judge(self, source: str, now: float) -> Verdict:
        """One more question of an address; of those over its rate every other one is dropped."""
        tokens, then, dropped = self._buckets.get(source, (self._burst, now, False))
        tokens = min(self._burst, tokens + max(now - then, 0.0) * self._rate)
        if tokens >= 1:
            verdict, tokens, dropped = Verdict.ANSWER, tokens - 1, False
        else:
            verdict, dropped = (Verdict.SLIP, False) if dropped else (Verdict.DROP, True)
        self._buckets[source] = tokens, now, dropped
        self._buckets.move_to_end(source)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return verdict

    def __len__(self) -> int:
        return len(self._buckets)

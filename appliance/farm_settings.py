"""The table [farm] of the site: how much is built at a time, and where the queue is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.repositories import is_url
from appliance.schema import Keys, Kind, parse_size, parse_span
from appliance.site_model import FarmSettings

FARM = Keys(
    {
        "jobs": Kind.INTEGER,
        "ccache": Kind.SIZE,
        "workers": Kind.INTEGER,
        "memory": Kind.SIZE,
        "queue": Kind.TEXT,
        "staleness": Kind.SPAN,
        "strict": Kind.BOOLEAN,
        "port": Kind.INTEGER,
        "fetch": Kind.BOOLEAN,
        "mirrors": Kind.WORDS,
    }
)
SCHEMES = ("redis", "rediss", "unix")
MIRROR_SCHEMES = ("https", "http", "ftp", "rsync")


def read_farm(table: Mapping[str, Any], file: Path, complaints: list[str]) -> FarmSettings:
    """The settings, each checked beyond its kind."""
    usual = FarmSettings()
    workers, queue, port = table.get("workers", 1), table.get("queue", "sqlite"), table.get("port", 0)
    if workers < 1:
        complaints.append(f"{file}: farm.workers: expected at least 1, got {workers}")
    if not 0 <= port < 65536:
        complaints.append(f"{file}: farm.port: expected a TCP port or 0, got {port}")
    if queue != "sqlite" and urlsplit(queue).scheme not in SCHEMES:
        complaints.append(
            f'{file}: farm.queue: expected "sqlite" or a URL such as "redis://10.0.0.1:6379/0", got {queue!r}'
        )
    staleness = parse_span(table["staleness"]) if "staleness" in table else None
    complaints += [
        f"{file}: farm.mirrors: expected URLs ({', '.join(MIRROR_SCHEMES)}), got {mirror!r}"
        for mirror in table.get("mirrors", ())
        if not is_url(mirror, MIRROR_SCHEMES)
    ]
    return FarmSettings(
        workers=workers,
        memory_bytes=parse_size(table.get("memory", "0")) or 0,
        queue=queue,
        staleness_seconds=usual.staleness_seconds if staleness is None else staleness,
        port=port,
        strict=table.get("strict", False),
        fetch=table.get("fetch", True),
        mirrors=tuple(table.get("mirrors", ())),
    )

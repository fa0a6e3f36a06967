"""Media: the images that were made, which reports came from them, and which images the web page wants."""

import json
import sqlite3
from dataclasses import dataclass
from enum import Enum

from appliance.process import own_name, process_id
from appliance.store.database import Database

TOKEN = "medium"
"""The purpose of a token on an image for one machine."""


@dataclass(frozen=True)
class KnownMedium:
    """An image that was made here; times in seconds since the epoch."""

    id: str
    made_at: float
    who: str
    server: str
    offline: bool
    releases: tuple[tuple[str, str], ...]
    """(release, profile)"""
    mac: str = ""
    """Of the only machine it is for; empty: it is for any."""
    name: str = ""
    expires_at: float | None = None
    used_at: float | None = None
    revoked_at: float | None = None

    def allows(self, now: float) -> bool:
        """Whether it may still install its machine without asking."""
        open_yet = self.used_at is None and self.revoked_at is None
        return bool(self.mac) and open_yet and self.expires_at is not None and now < self.expires_at


class ImageState(Enum):
    WANTED = "wanted"
    MAKING = "making"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class WantedImage:
    """The image of a release that somebody wants to download."""

    release: str
    offline: bool
    state: ImageState
    wanted_at: float
    begun_at: float | None
    ended_at: float | None
    tries: int
    said: str
    """What is being done, or why it failed."""
    done_bytes: int
    all_bytes: int
    file: str
    """Its name in state/media when it is done."""
    size_bytes: int
    sha256: str


class Media:
    def __init__(self, database: Database) -> None:
        self.database = database

    # what was made

    def add(self, medium: KnownMedium, token: str = "") -> None:
        """Remember an image; the same one made again is the same row. `token`: the hash of its token."""
        self.database.execute(
            "INSERT INTO medium (id, made_at, who, server, offline, releases, mac, name, token, expires_at)"
            " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET made_at = excluded.made_at,"
            " who = excluded.who",
            (
                medium.id,
                medium.made_at,
                medium.who,
                medium.server,
                medium.offline,
                json.dumps(medium.releases),
                medium.mac,
                medium.name,
                token,
                medium.expires_at,
            ),
        )

    def forget(self, medium: str) -> None:
        self.database.execute("DELETE FROM medium WHERE id = ?", (medium,))

    def get(self, medium: str) -> KnownMedium | None:
        row = self.database.row("SELECT * FROM medium WHERE id = ?", (medium,))
        return _medium(row) if row else None

    def all(self) -> list[KnownMedium]:
        """Newest first."""
        return [_medium(row) for row in self.database.rows("SELECT * FROM medium ORDER BY made_at DESC, id")]

    def of_machine(self, mac: str) -> list[KnownMedium]:
        rows = self.database.rows("SELECT * FROM medium WHERE mac = ? ORDER BY made_at DESC, id", (mac,))
        return [_medium(row) for row in rows]

    def of_token(self, token: str) -> KnownMedium | None:
        """`token`: its hash."""
        row = self.database.row("SELECT * FROM medium WHERE token = ? AND token != ''", (token,))
        return _medium(row) if row else None

    def token_of(self, medium: str) -> str:
        """The hash of its token; empty when it has none."""
        row = self.database.row("SELECT token FROM medium WHERE id = ?", (medium,))
        return str(row["token"]) if row else ""

    def use(self, medium: str, *, now: float) -> None:
        self.database.execute("UPDATE medium SET used_at = ? WHERE id = ? AND used_at IS NULL", (now, medium))

    def revoke(self, mac: str, *, now: float) -> list[str]:
        """Those of a machine that were neither used nor revoked allow nothing any more; their ids."""
        rows = self.database.rows(
            "UPDATE medium SET revoked_at = ? WHERE mac = ? AND used_at IS NULL AND revoked_at IS NULL"
            " RETURNING id",
            (now, mac),
        )
        return [row["id"] for row in rows]

    # what came from them

    def heard(self, nonce: str, medium: str, mac: str, *, now: float) -> bool:
        """Note a first report; False when it came before."""
        noted = self.database.execute(
            "INSERT INTO first_report (nonce, medium, mac, at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
            (nonce, medium, mac, now),
        )
        return noted.rowcount == 1

    def heard_from(self, nonce: str) -> tuple[str, str] | None:
        """(medium, MAC) of a first report that was taken."""
        row = self.database.row("SELECT medium, mac FROM first_report WHERE nonce = ?", (nonce,))
        return (str(row["medium"]), str(row["mac"])) if row else None

    # what the web page wants

    def image(self, release: str, offline: bool) -> WantedImage | None:
        row = self.database.row(
            "SELECT * FROM image WHERE release = ? AND offline = ?", (release, int(offline))
        )
        return _image(row) if row else None

    def images(self) -> list[WantedImage]:
        """The one that was wanted first, first."""
        rows = self.database.rows("SELECT * FROM image ORDER BY wanted_at, release, offline")
        return [_image(row) for row in rows]

    def want(self, release: str, offline: bool, *, stale: bool, now: float) -> None:
        """Somebody wants an image; one under way stays as it is, one that is done unless it is `stale`."""
        self.database.execute(
            "INSERT INTO image (release, offline, state, wanted_at) VALUES (?,?,'wanted',?)"
            " ON CONFLICT (release, offline) DO UPDATE SET state = 'wanted', wanted_at = excluded.wanted_at,"
            " tries = 0, said = '' WHERE state = 'failed' OR (state = 'done' AND ?)",
            (release, int(offline), now, int(stale)),
        )

    def begin_image(self, *, now: float) -> WantedImage | None:
        """Make the first one that waits this process's own; None while there is none or another is made."""
        rows = self.database.rows(
            "UPDATE image SET state = 'making', begun_at = ?, owner = ?, tries = tries + 1, said = '',"
            " done_bytes = 0, all_bytes = 0 WHERE rowid = (SELECT rowid FROM image WHERE state = 'wanted'"
            " ORDER BY wanted_at, release, offline LIMIT 1)"
            " AND NOT EXISTS (SELECT 1 FROM image WHERE state = 'making') RETURNING *",
            (now, own_name()),
        )
        return _image(rows[0]) if rows else None

    def note_image(self, release: str, offline: bool, said: str, done_bytes: int, all_bytes: int) -> None:
        self.database.execute(
            "UPDATE image SET said = ?, done_bytes = ?, all_bytes = ? WHERE release = ? AND offline = ?"
            " AND state = 'making'",
            (said, done_bytes, all_bytes, release, int(offline)),
        )

    def end_image(
        self, release: str, offline: bool, *, now: float, file: str, size_bytes: int, sha256: str
    ) -> None:
        self.database.execute(
            "UPDATE image SET state = 'done', ended_at = ?, owner = '', said = '', file = ?, size_bytes = ?,"
            " sha256 = ? WHERE release = ? AND offline = ? AND state = 'making'",
            (now, file, size_bytes, sha256, release, int(offline)),
        )

    def fail_image(self, release: str, offline: bool, said: str, *, now: float) -> None:
        self.database.execute(
            "UPDATE image SET state = 'failed', ended_at = ?, owner = '', said = ?"
            " WHERE release = ? AND offline = ?",
            (now, said, release, int(offline)),
        )

    def interrupt_images(self, *, now: float, most_tries: int) -> None:
        """What a process that is gone was making waits again, or has failed when it did so too often."""
        for row in self.database.rows("SELECT * FROM image WHERE state = 'making'"):
            if process_id(row["owner"]) is not None:
                continue
            state = "wanted" if row["tries"] < most_tries else "failed"
            said = "" if state == "wanted" else f"the process that made it ended {row['tries']} times"
            self.database.execute(
                "UPDATE image SET state = ?, said = ?, owner = '', ended_at = ? WHERE release = ?"
                " AND offline = ? AND state = 'making' AND owner = ?",
                (state, said, now, row["release"], row["offline"], row["owner"]),
            )

    def forget_images(self, release: str) -> None:
        self.database.execute("DELETE FROM image WHERE release = ?", (release,))


def _medium(row: sqlite3.Row) -> KnownMedium:
    return KnownMedium(
        id=row["id"],
        made_at=row["made_at"],
        who=row["who"],
        server=row["server"],
        offline=bool(row["offline"]),
        releases=tuple((release, profile) for release, profile in json.loads(row["releases"])),
        mac=row["mac"],
        name=row["name"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )


def _image(row: sqlite3.Row) -> WantedImage:
    names = (
        "release", "wanted_at", "begun_at", "ended_at", "tries", "said", "done_bytes", "all_bytes",
        "file", "size_bytes", "sha256",
    )  # fmt: skip
    said = {name: row[name] for name in names}
    return WantedImage(**said, offline=bool(row["offline"]), state=ImageState(row["state"]))

"""Releases: what was sealed, of which packages, what is wrong with one, and how channels moved."""

import sqlite3
from collections.abc import Collection, Iterable

from appliance.farm_model import Move, Origin, Pin, Release
from appliance.store.database import Database

BEGUN, DONE, ABANDONED = "begun", "done", "abandoned"
MOVE = ("profile", "channel", "serial", "release_before", "release", "kind", "state", "at", "who", "why")


class Releases:
    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, release: str) -> Release | None:
        row = self.database.row("SELECT * FROM release WHERE id = ?", (release,))
        return _release(row) if row else None

    def all(self, profile: str | None = None) -> list[Release]:
        """Newest first."""
        rows = self.database.rows(
            "SELECT * FROM release WHERE ? IS NULL OR profile = ? ORDER BY created_at DESC, id",
            (profile, profile),
        )
        return [_release(row) for row in rows]

    def page(self, profile: str = "", *, limit: int, offset: int = 0) -> list[Release]:
        """A part of all(), of one profile when it is named."""
        where, values = ("WHERE profile = ?", (profile,)) if profile else ("", ())
        rows = self.database.rows(
            f"SELECT * FROM release {where} ORDER BY created_at DESC, id LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        return [_release(row) for row in rows]

    def after(self, profile: str, mark: tuple[float, str] | None, *, limit: int) -> list[Release]:
        """A part of all(): those that stand after (created_at, id); None: the first."""
        terms, values = ["1"], list[float | str]()
        if profile:
            terms.append("profile = ?")
            values.append(profile)
        if mark:
            terms.append("(created_at < ? OR (created_at = ? AND id > ?))")
            values += [mark[0], mark[0], mark[1]]
        rows = self.database.rows(
            f"SELECT * FROM release WHERE {' AND '.join(terms)} ORDER BY created_at DESC, id LIMIT ?",
            (*values, limit),
        )
        return [_release(row) for row in rows]

    def count(self, profile: str = "") -> int:
        where, values = ("WHERE profile = ?", (profile,)) if profile else ("", ())
        row = self.database.row(f"SELECT count(*) AS count FROM release {where}", values)
        return int(row["count"]) if row else 0

    def before(self, release: Release) -> Release | None:
        """The one of the same profile that stands after it in all()."""
        row = self.database.row(
            "SELECT * FROM release WHERE profile = ? AND (created_at < ? OR (created_at = ? AND id > ?))"
            " ORDER BY created_at DESC, id LIMIT 1",
            (release.profile, release.created_at, release.created_at, release.id),
        )
        return _release(row) if row else None

    def faults(self) -> list[tuple[str, str]]:
        """(release, what is wrong), the newest fault first."""
        rows = self.database.rows("SELECT release, reason FROM release_fault ORDER BY at DESC, release")
        return [(row["release"], row["reason"]) for row in rows]

    def add(self, release: Release, origins: Iterable[Origin] = ()) -> None:
        """Remember a sealed release; what is known of it already stays."""
        with self.database.change():
            self.database.execute(
                "INSERT INTO release (id, profile, created_at, snapshot, packages, size_bytes)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
                (
                    release.id,
                    release.profile,
                    release.created_at,
                    release.snapshot,
                    release.packages,
                    release.size_bytes,
                ),
            )
            self.database.connection.executemany(
                "INSERT INTO release_package (release, sha256, cpv, origin, profile) VALUES (?,?,?,?,?)"
                " ON CONFLICT (release, sha256) DO NOTHING",
                [(release.id, one.sha256, one.cpv, one.origin, one.profile) for one in origins],
            )

    def forget(self, release: str) -> None:
        with self.database.change():
            self.database.execute("DELETE FROM release WHERE id = ?", (release,))
            self.database.execute("DELETE FROM release_fault WHERE release = ?", (release,))

    def origins(self, release: str) -> list[Origin]:
        rows = self.database.rows("SELECT * FROM release_package WHERE release = ? ORDER BY cpv", (release,))
        return [Origin(row["sha256"], row["cpv"], row["origin"], row["profile"]) for row in rows]

    def using(self, sha256: str) -> list[Release]:
        """The releases that hold a package, the newest first."""
        rows = self.database.rows(
            "SELECT release.* FROM release JOIN release_package ON release_package.release = release.id"
            " WHERE release_package.sha256 = ? ORDER BY release.created_at DESC, release.id DESC",
            (sha256,),
        )
        return [_release(row) for row in rows]

    def count_origins(self, release: str) -> dict[str, int]:
        """How many packages were built and how many reused."""
        rows = self.database.rows(
            "SELECT origin, count(*) AS number FROM release_package WHERE release = ? GROUP BY origin",
            (release,),
        )
        return {row["origin"]: row["number"] for row in rows}

    def builder(self, sha256: str) -> str:
        """The profile a package was built for; empty when that is not known."""
        row = self.database.row(
            "SELECT profile FROM release_package WHERE sha256 = ? AND profile != ''"
            " ORDER BY origin, release LIMIT 1",
            (sha256,),
        )
        return str(row["profile"]) if row else ""

    # faults

    def set_fault(self, release: str, reason: str, *, now: float) -> None:
        """A release that does not verify is neither served nor moved to; no reason: it verifies again."""
        if not reason:
            self.database.execute("DELETE FROM release_fault WHERE release = ?", (release,))
            return
        self.database.execute(
            "INSERT INTO release_fault (release, at, reason) VALUES (?,?,?)"
            " ON CONFLICT (release) DO UPDATE SET at = excluded.at, reason = excluded.reason",
            (release, now, reason),
        )

    def fault(self, release: str) -> str:
        row = self.database.row("SELECT reason FROM release_fault WHERE release = ?", (release,))
        return str(row["reason"]) if row else ""

    def newest_sound(self, of: Collection[str] | None = None) -> Release | None:
        """The newest that verifies, of any profile or one of those."""
        asked = "SELECT * FROM release WHERE id NOT IN (SELECT release FROM release_fault)"
        if of is not None:
            asked += f" AND profile IN ({','.join('?' * len(of))})"
        row = self.database.row(f"{asked} ORDER BY created_at DESC, id LIMIT 1", tuple(sorted(of or ())))
        return _release(row) if row else None

    # how channels moved; where they point is said by their files alone

    def begin_move(self, move: Move) -> None:
        values = (*(getattr(move, name) for name in MOVE),)
        self.database.execute(
            f"INSERT INTO channel_move ({', '.join(MOVE)}) VALUES (?,?,?,?,?,?,?,?,?,?)", values
        )

    def end_move(self, profile: str, channel: str, serial: int, state: str = DONE) -> None:
        self.database.execute(
            "UPDATE channel_move SET state = ? WHERE profile = ? AND channel = ? AND serial = ?",
            (state, profile, channel, serial),
        )

    def moves(self, profile: str | None = None, channel: str | None = None) -> list[Move]:
        """Newest first; also those that never happened."""
        rows = self.database.rows(
            "SELECT * FROM channel_move WHERE (? IS NULL OR profile = ?) AND (? IS NULL OR channel = ?)"
            " ORDER BY profile, channel, serial DESC",
            (profile, profile, channel, channel),
        )
        return [Move(**{name: row[name] for name in MOVE}) for row in rows]

    def last_serial(self, profile: str, channel: str) -> int:
        """The greatest serial that was ever used or meant to be; 0 before the first move."""
        row = self.database.row(
            "SELECT max(serial) AS serial FROM channel_move WHERE profile = ? AND channel = ?",
            (profile, channel),
        )
        return int(row["serial"] or 0) if row else 0

    # pins

    def pin(self, pin: Pin) -> None:
        self.database.execute(
            "INSERT INTO pin (profile, channel, release, at, who, why) VALUES (?,?,?,?,?,?)"
            " ON CONFLICT (profile, channel) DO UPDATE SET release = excluded.release, at = excluded.at,"
            " who = excluded.who, why = excluded.why",
            (pin.profile, pin.channel, pin.release, pin.at, pin.who, pin.why),
        )

    def unpin(self, profile: str, channel: str) -> None:
        self.database.execute("DELETE FROM pin WHERE profile = ? AND channel = ?", (profile, channel))

    def pinned(self, profile: str, channel: str) -> Pin | None:
        row = self.database.row("SELECT * FROM pin WHERE profile = ? AND channel = ?", (profile, channel))
        return _pin(row) if row else None

    def pins(self) -> list[Pin]:
        return [_pin(row) for row in self.database.rows("SELECT * FROM pin ORDER BY profile, channel")]


def _release(row: sqlite3.Row) -> Release:
    return Release(
        id=row["id"],
        profile=row["profile"],
        created_at=row["created_at"],
        snapshot=row["snapshot"],
        packages=row["packages"],
        size_bytes=row["size_bytes"],
    )


def _pin(row: sqlite3.Row) -> Pin:
    return Pin(row["profile"], row["channel"], row["release"], row["at"], row["who"], row["why"])

"""Failed attempts to sign in, by account and by address; a lock outlives the process."""

from collections.abc import Mapping

from appliance.account_model import FORGOTTEN_SECONDS, LONGEST_WAIT, wait_seconds
from appliance.store.database import Database

MOST_ROWS = 10_000


class Attempts:
    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, free: Mapping[str, int], *, now: float) -> float:
        """Count an attempt as failed under every key, and return 0; or the seconds to wait, counting nothing.

        `free`: for each key how many failures have no wait. It is counted before the password is looked at:
        many at a time, or a killed process, win nothing.
        """
        with self.database.change():
            known = {key: self._row(key, now) for key in free}
            wait = max(until - now for _, until in known.values())
            if wait > 0:
                return wait
            for key, (failures, _) in known.items():
                closed = now + wait_seconds(failures + 1, free[key])
                self.database.execute(
                    "INSERT OR REPLACE INTO attempt (key, failures, last_at, closed_until) VALUES (?,?,?,?)",
                    (key, failures + 1, now, closed),
                )
            self._prune(now)
        return 0.0

    def succeeded(self, account: str, address: str) -> None:
        """Forget those of the account; of the address only this one, others may be behind it."""
        with self.database.change():
            self.database.execute("DELETE FROM attempt WHERE key = ?", (account,))
            self.database.execute(
                "UPDATE attempt SET failures = failures - 1, closed_until = 0 WHERE key = ?", (address,)
            )

    def _row(self, key: str, now: float) -> tuple[int, float]:
        row = self.database.row("SELECT * FROM attempt WHERE key = ?", (key,))
        if row is None or row["last_at"] < now - FORGOTTEN_SECONDS:
            return 0, 0.0
        # A clock that was set back must not close a door for longer than the longest wait.
        return int(row["failures"]), min(row["closed_until"], now + LONGEST_WAIT)

    def _prune(self, now: float) -> None:
        """Names that nobody has are forgotten first: a flood of them opens no lock of an account."""
        self.database.execute("DELETE FROM attempt WHERE last_at < ?", (now - FORGOTTEN_SECONDS,))
        self.database.execute(
            "DELETE FROM attempt WHERE key IN (SELECT key FROM attempt WHERE key NOT IN"
            " (SELECT 'account ' || name FROM account) ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
            (MOST_ROWS,),
        )

"""Passwords: argon2id, the same work for a name that does not exist, and a bound on how many at a time."""

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# RFC 9106, 4, second recommended option, with one lane: 64 MiB and about 0.1 s.
HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
NOBODY = "$argon2id$v=19$m=65536,t=3,p=1$1+V56eESLq7xJ4EJMUgThg$KTkSoBAnkItaXGBJ/il/I/EUtMsB69DvOlw2nkv7WfM"
"""The hash of random bytes that nobody kept."""
AT_A_TIME = threading.BoundedSemaphore(2)
"""Each needs 64 MiB: who sends a hundred passwords waits."""


def hash_password(password: str) -> str:
    with AT_A_TIME:
        return HASHER.hash(_plain(password))


def verify_password(hashed: str, password: str) -> bool:
    """With an empty hash it works as long and says no. argon2 compares in constant time."""
    with AT_A_TIME:
        try:
            return HASHER.verify(hashed or NOBODY, _plain(password)) and bool(hashed)
        except (VerificationError, InvalidHashError):
            return False


def _plain(password: str) -> bytes:
    # The same characters come composed from one keyboard and decomposed from another.
    return unicodedata.normalize("NFC", password).encode()

"""What the door of installed machines asks of the rest of the appliance."""

from collections.abc import Mapping
from typing import Any, Protocol


class ClientDirector(Protocol):
    """Decides for installed machines. Every call is quick; a MAC is lower case with colons."""

    def certificate(self, key: str) -> str | None:
        """The certificate of a public key, PEM; empty: not signed yet; None: no such key. Raises Problem."""

    def machine_of(self, fingerprint: str) -> str:
        """The MAC of who has the certificate with this SHA-256. Raises Problem when nobody has it."""

    def order(self, mac: str) -> Mapping[str, Any]:
        """What a machine is to have now, as JSON."""

    def report(self, mac: str, body: bytes) -> bool:
        """Take a machine's report; False: it has to come with its lists. Raises Problem for nonsense."""

    def event(self, mac: str, body: bytes) -> None:
        """Take a step of a machine's timeline. Raises Problem when it makes no sense."""

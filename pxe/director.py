"""What this room asks of the rest of the appliance."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol

from appliance.model import BootTarget, Event, Firmware
from appliance.net_settings import NetSettings
from appliance.strategies import Preference, Strategy


class Director(Protocol):
    """Decides for machines and keeps their timelines. Every call is quick; a MAC is lower case with colons.

    `here` is where this server is seen by machines: `http://IP:PORT`.
    """

    def boot_target(self, mac: str, firmware: Firmware | None) -> BootTarget:
        """What a machine that asks for a boot program is to boot."""

    def moment(self) -> AbstractContextManager[None]:
        """Inside the block what others change does not count: for packets that had come when it began."""

    def net(self) -> NetSettings:
        """What the site says of its networks."""

    def strategy_of(self, mac: str, kind: str) -> Preference | None:
        """What a machine's firmware is to be offered first, if anybody knows."""

    def strategy_won(self, mac: str, kind: str, strategy: Strategy) -> None:
        """Remember that a machine, which is one of `kind`, followed a strategy."""

    def script_target(self, mac: str, firmware: Firmware | None, here: str) -> BootTarget:
        """What a machine that asks for its boot script is to boot; may issue a token."""

    def record(
        self,
        mac: str,
        stage: str,
        *,
        status: str = "done",
        size_bytes: int | None = None,
        seconds: float | None = None,
        message: str = "",
    ) -> None:
        """Add to the machine's timeline."""

    def recent_events(self, seconds: float) -> Sequence[tuple[float, Event]]:
        """What came to the timelines lately: how many seconds ago, and what; the oldest first."""

    def saw_address(self, mac: str, address: str) -> None:
        """Note the IPv4 address of a machine, as a passing packet tells it."""

    def reserved(self, mac: str, network: IPv4Network) -> IPv4Address | None:
        """The address on a network that belongs to a machine, as the site says or by a lease it has."""

    def hello(self, facts_text: str, here: str) -> str:
        """Answer to a machine that says what it is. Raises Problem when the text makes no sense."""

    def profiles(self) -> str:
        """Profiles that a person at a machine may choose from: `NAME<TAB>DESCRIPTION` lines."""

    def plan(self, body: str, here: str) -> str:
        """The plan for the token in the body, or a refusal. Raises Problem when the text makes no sense."""

    def event(self, body: str) -> str:
        """Take a report of a step. Raises Problem when the text makes no sense."""

    def installed(self, body: str) -> str:
        """Take the report of a machine that was installed from a medium. Raises Problem like the others."""

    def enroll(self, body: str) -> str:
        """Take the signing request of a machine that is being installed. Raises Problem like the others."""

    def release_file(self, release: str, name: str) -> Path | None:
        """A file of a release."""

    def pool_file(self, relative: str) -> Path | None:
        """A file of the pool, by its path below pool/."""

    def channel_text(self, profile: str, channel: str) -> bytes | None:
        """The signed statement that says which release a channel names now."""

    def cluster_hello(self, body: str, address: str) -> str:
        """Answer to a compile host at `address`. Raises Problem when the text makes no sense."""

    def cluster_orders(self, name: str) -> Path | None:
        """The signed orders of a compile host."""

    def toolchain_file(self, name: str) -> Path | None:
        """A toolchain image, by its file name."""

    def distfile(self, name: str) -> Path | None:
        """A distfile, by its name."""

"""A Director that decides by a table and remembers what it was told."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance.errors import Problem
from appliance.model import BootTarget, Event, Firmware, Silence
from appliance.net_settings import NetSettings
from appliance.strategies import Preference, Strategy


@dataclass(frozen=True)
class Recorded:
    mac: str
    stage: str
    status: str = "done"
    size_bytes: int | None = None
    seconds: float | None = None
    message: str = ""


@dataclass
class FakeDirector:
    targets: Mapping[str, BootTarget] = field(default_factory=dict)
    """By MAC; `*` for every other machine."""
    reservations: Mapping[str, IPv4Address] = field(default_factory=dict)
    broken: str = ""
    """A MAC that is a bug's."""
    releases: Path = Path("/nonexistent")
    pool: Path = Path("/nonexistent")
    channels: Path = Path("/nonexistent")
    distfiles: Path = Path("/nonexistent")
    addresses: dict[str, str] = field(default_factory=dict)
    records: list[Recorded] = field(default_factory=list)
    before: list[tuple[float, Event]] = field(default_factory=list)
    """What an earlier process recorded, and how many seconds ago."""
    asked: list[tuple[str, Firmware | None]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    """Whose script was asked for: the real one may issue a token then."""
    settings: NetSettings = field(default_factory=NetSettings)
    preferences: dict[str, Preference] = field(default_factory=dict)
    """By MAC or kind."""
    won: list[tuple[str, str, Strategy]] = field(default_factory=list)

    def boot_target(self, mac: str, firmware: Firmware | None) -> BootTarget:
        self.asked.append((mac, firmware))
        if mac == self.broken:
            raise RuntimeError("a bug")
        return self.targets.get(mac) or self.targets.get("*") or Silence("nobody said what it is to boot")

    def moment(self) -> AbstractContextManager[None]:
        return nullcontext()

    def net(self) -> NetSettings:
        return self.settings

    def strategy_of(self, mac: str, kind: str) -> Preference | None:
        return self.preferences.get(mac) or self.preferences.get(kind)

    def strategy_won(self, mac: str, kind: str, strategy: Strategy) -> None:
        self.won.append((mac, kind, strategy))

    def script_target(self, mac: str, firmware: Firmware | None, here: str) -> BootTarget:
        self.scripts.append(mac)
        return self.boot_target(mac, firmware)

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
        self.keep(Recorded(mac, stage, status, size_bytes, seconds, message))

    def recent_events(self, seconds: float) -> list[tuple[float, Event]]:
        return [one for one in self.before if one[0] <= seconds]

    def keep(self, entry: Recorded) -> None:
        """Remember what was recorded."""
        self.records.append(entry)

    def saw_address(self, mac: str, address: str) -> None:
        self.addresses[mac] = address

    def reserved(self, mac: str, network: IPv4Network) -> IPv4Address | None:
        found = self.reservations.get(mac)
        return found if found and found in network else None

    def hello(self, facts_text: str, here: str) -> str:
        if not facts_text.startswith("mac "):
            raise Problem("the facts name no mac", hint="expected a line `mac 52:54:00:77:00:01`")
        return f"install token-for-{here}"

    def profiles(self) -> str:
        return "vm\ta virtual machine\n"

    def plan(self, body: str, here: str) -> str:
        if not body.startswith("token "):
            raise Problem("the first line is no token")
        return f"plan 1\nbase {here}/r/1"

    def event(self, body: str) -> str:
        if body == "explode\n":
            raise RuntimeError("a bug")
        if "report " not in body:
            raise Problem("the report has no secret")
        return "ok"

    def installed(self, body: str) -> str:
        if not body.startswith("hmac "):
            raise Problem("line 1 is no proof")
        return "taken"

    def enroll(self, body: str) -> str:
        if not body.startswith("report "):
            raise Problem("line 1 is no secret")
        return "key 00\n"

    def release_file(self, release: str, name: str) -> Path | None:
        path = self.releases / release / name
        # As the real one: what is not sealed yet is no release.
        return path if path.is_file() and not release.endswith(".partial") else None

    def pool_file(self, relative: str) -> Path | None:
        path = self.pool / relative
        return path if path.is_file() else None

    def channel_text(self, profile: str, channel: str) -> bytes | None:
        path = self.channels / profile / channel
        return path.read_bytes() if path.is_file() else None

    def cluster_hello(self, body: str, address: str) -> str:
        return f"ok 5 0 {address}"

    def cluster_orders(self, name: str) -> Path | None:
        return None

    def toolchain_file(self, name: str) -> Path | None:
        return None

    def distfile(self, name: str) -> Path | None:
        path = self.distfiles / name
        return path if path.is_file() else None

    def stages(self) -> list[str]:
        return [record.stage for record in self.records]

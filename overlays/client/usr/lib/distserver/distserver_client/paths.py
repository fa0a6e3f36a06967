"""Where the agent finds and keeps things on a machine."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Paths below `root`, the machine's own unless a test says otherwise."""

    root: Path = Path("/")

    @property
    def settings(self) -> Path:
        return self.root / "etc/distserver"

    @property
    def server(self) -> Path:
        """The address of the server, `http://HOST[:PORT]`."""
        return self.settings / "server"

    @property
    def key(self) -> Path:
        """The public key with which releases and channels are signed."""
        return self.settings / "release-key.gpg"

    @property
    def installed_release(self) -> Path:
        """The id of the release, for people; written with every update."""
        return self.settings / "release"

    @property
    def policy(self) -> Path:
        return self.settings / "client.toml"

    @property
    def shelf(self) -> Path:
        return self.root / "var/lib/distserver"

    @property
    def index(self) -> Path:
        """The directory of the one package index that Portage reads."""
        return self.shelf / "index"

    @property
    def state(self) -> Path:
        return self.shelf / "client/state.json"

    @property
    def journal(self) -> Path:
        return self.shelf / "client/journal"

    @property
    def client(self) -> Path:
        """Everything that the agent remembers."""
        return self.shelf / "client"

    @property
    def bases(self) -> Path:
        """Pristine configuration files by their SHA256."""
        return self.client / "bases"

    @property
    def kernels(self) -> Path:
        """Which kernel is on trial, and which was given up."""
        return self.client / "kernel.json"

    @property
    def modules(self) -> Path:
        """Modules of the kernels that can be started, by the ids of these."""
        return self.client / "modules"

    @property
    def lock(self) -> Path:
        return self.shelf / "client/lock"

    @property
    def cache(self) -> Path:
        return self.root / "var/cache/distserver"

    @property
    def pool(self) -> Path:
        """Packages by their SHA256, as on the server."""
        return self.cache / "pool"

    @property
    def binhost(self) -> Path:
        """Where Portage keeps packages under its own names, hard links to those of the pool."""
        return self.cache / "binhost"

    def release(self, release: str) -> Path:
        """The directory of a release's files."""
        return self.cache / "r" / release

    @property
    def log(self) -> Path:
        """What emerge printed in the last update."""
        return self.root / "var/log/distserver-client.log"

    @property
    def packages(self) -> Path:
        """Portage's record of what is installed."""
        return self.root / "var/db/pkg"

    @property
    def world(self) -> Path:
        """The directory of Portage's `world` and `world_sets`."""
        return self.root / "var/lib/portage"

    @property
    def machine_id(self) -> Path:
        return self.root / "etc/machine-id"

"""The store: SQLite in WAL mode, one module per aggregate, numbered migrations."""

from pathlib import Path

from appliance.store.addresses import Addresses
from appliance.store.claims import Claims
from appliance.store.compile_hosts import CompileHosts
from appliance.store.database import Database
from appliance.store.events import Events
from appliance.store.failures import Failures
from appliance.store.history import History
from appliance.store.jobs import Jobs
from appliance.store.leases import Leases
from appliance.store.machines import Machines
from appliance.store.packages import Packages
from appliance.store.plans import Plans
from appliance.store.questions import Questions
from appliance.store.recall import Recall
from appliance.store.releases import Releases
from appliance.store.snapshots import Snapshots
from appliance.store.strategies import Strategies
from appliance.store.tokens import Tokens
from appliance.store.workers import Workers


class Store:
    """Everything that is remembered. Each thread opens its own; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.machines = Machines(self.database)
        self.addresses = Addresses(self.database)
        self.events = Events(self.database)
        self.failures = Failures(self.database)
        self.jobs = Jobs(self.database)
        self.leases = Leases(self.database)
        self.claims = Claims(self.database)
        self.history = History(self.database)
        self.workers = Workers(self.database)
        self.packages = Packages(self.database)
        self.plans = Plans(self.database)
        self.questions = Questions(self.database)
        self.compile_hosts = CompileHosts(self.database)
        self.releases = Releases(self.database)
        self.snapshots = Snapshots(self.database)
        self.strategies = Strategies(self.database)
        self.recall = Recall(self.database, self.machines, self.releases, self.strategies)
        self.tokens = Tokens(self.database)

    def close(self) -> None:
        self.database.close()

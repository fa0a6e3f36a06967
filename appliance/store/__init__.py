"""The store: SQLite in WAL mode, one module per aggregate, numbered migrations."""

from pathlib import Path

from appliance.store.accounts import Accounts
from appliance.store.addresses import Addresses
from appliance.store.attempts import Attempts
from appliance.store.audit import Audit
from appliance.store.build_requests import BuildRequests
from appliance.store.claims import Claims
from appliance.store.clients import Clients
from appliance.store.compile_hosts import CompileHosts
from appliance.store.consoles import Consoles
from appliance.store.contents import Contents
from appliance.store.database import Database
from appliance.store.disk_keys import DiskKeys
from appliance.store.edits import Edits
from appliance.store.errands import Errands
from appliance.store.events import Events
from appliance.store.examinations import Examinations
from appliance.store.failures import Failures
from appliance.store.figures import Figures
from appliance.store.history import History
from appliance.store.job_packages import JobPackages
from appliance.store.jobs import Jobs
from appliance.store.leases import Leases
from appliance.store.machines import Machines
from appliance.store.masks import Masks
from appliance.store.media import Media
from appliance.store.merges import Merges
from appliance.store.packages import Packages
from appliance.store.plan_views import PlanViews
from appliance.store.plans import Plans
from appliance.store.questions import Questions
from appliance.store.recall import Recall
from appliance.store.releases import Releases
from appliance.store.rollouts import Rollouts
from appliance.store.sessions import Sessions
from appliance.store.snapshots import Snapshots
from appliance.store.strategies import Strategies
from appliance.store.tokens import Tokens
from appliance.store.topics import Topics
from appliance.store.webhooks import Webhooks
from appliance.store.workers import Workers


class Store:
    """Everything that is remembered. Each thread opens its own; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.machines = Machines(self.database)
        self.addresses = Addresses(self.database)
        self.events = Events(self.database)
        self.consoles = Consoles(self.database)
        self.edits = Edits(self.database)
        self.errands = Errands(self.database)
        self.examinations = Examinations(self.database)
        self.failures = Failures(self.database)
        self.figures = Figures(self.database)
        self.job_packages = JobPackages(self.database)
        self.jobs = Jobs(self.database)
        self.leases = Leases(self.database)
        self.build_requests = BuildRequests(self.database)
        self.clients = Clients(self.database)
        self.disk_keys = DiskKeys(self.database)
        self.rollouts = Rollouts(self.database)
        self.claims = Claims(self.database)
        self.history = History(self.database)
        self.workers = Workers(self.database)
        self.masks = Masks(self.database)
        self.media = Media(self.database)
        self.merges = Merges(self.database)
        self.contents = Contents(self.database)
        self.packages = Packages(self.database)
        self.plan_views = PlanViews(self.database)
        self.plans = Plans(self.database)
        self.questions = Questions(self.database)
        self.compile_hosts = CompileHosts(self.database)
        self.releases = Releases(self.database)
        self.snapshots = Snapshots(self.database)
        self.strategies = Strategies(self.database)
        self.recall = Recall(self.database, self.machines, self.releases, self.strategies)
        self.tokens = Tokens(self.database)
        self.topics = Topics(self.database)
        self.accounts = Accounts(self.database)
        self.sessions = Sessions(self.database)
        self.attempts = Attempts(self.database)
        self.audit = Audit(self.database)
        self.webhooks = Webhooks(self.database)

    def close(self) -> None:
        self.database.close()

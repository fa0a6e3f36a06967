"""`distserver worker`: build for a farm on another host."""

import argparse
import logging
from pathlib import Path

from appliance import daemon
from appliance.cli.base import Commands
from appliance.desks.worker import Farm, Lost, RemoteWorker, do_job, job_argv, worker_name
from appliance.model import Tree
from appliance.queue import read_secret

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    text = "build for a farm on another host; it needs root, and a copy of the farm's keys/farm.secret"
    made = commands.add("worker", cmd_worker, text, site=False)
    made.add_argument("--server", required=True, help="the farm's [farm] port, http://HOST:PORT")
    made.add_argument("--redis", default="redis://localhost:6379/0", help="the farm's [farm] queue")
    made.add_argument("--secret", type=Path, help="the secret (keys/farm.secret of the state directory)")
    made.add_argument("--name", default="", help="how the farm calls this worker (the host's name)")
    made.add_argument("--owner", default="", help=argparse.SUPPRESS)
    made.add_argument("--job", type=int, default=0, help=argparse.SUPPRESS)


def cmd_worker(asked: argparse.Namespace) -> int:
    tree = Tree(asked.state.resolve())
    secret = (asked.secret or tree.path / "keys" / "farm.secret").resolve()
    farm = Farm(asked.server, read_secret(secret), asked.owner or worker_name(asked.name))
    if asked.job:
        try:
            do_job(farm, asked.job, tree)
        except Lost as why:
            log.info("%s", why)
        return 0
    daemon.check_programs()
    RemoteWorker(farm, asked.redis, tree, job_argv(tree.path, farm, secret)).run()
    return 0

"""What the farm does for the site's files: it makes changes, and keeps a copy of the last good ones."""

import logging

from appliance.desks.merge_files import MergeFilesDesk
from appliance.good_site import keep_good
from appliance.model import Tree
from appliance.services import Services

log = logging.getLogger(__name__)


def start_site(services: Services, group: int) -> None:
    """What every start does with the site: the copy, and the decisions of merges that its files hold."""
    keep_good_site(services, group)
    taken = MergeFilesDesk(services.live, services.merges).take()
    if taken.new:
        log.info("%d decisions of merges were taken from the site", taken.new)
    for problem in taken.wrong:
        log.warning("%s", problem)


def keep_good_site(services: Services, group: int) -> None:
    """Copy the site that is in force, unless it is the copy; `group` may read it."""
    live = services.live
    if live.wrong() is None and live.good and keep_good(live.good, live.path, live.files(), group=group):
        log.info("the site is kept as the last good one")


def make_edits(services: Services) -> None:
    """Write what the web page asks for; the site is read again after each."""
    services.edits.recover()
    while done := services.edits.do_next():
        change = done.change
        log.info("%s of %s/%s for %s: %s", change.verb, change.profile, change.name, done.who, done.said)


def store_group(tree: Tree) -> int:
    """Of the user who answers the network."""
    return tree.store.stat().st_gid

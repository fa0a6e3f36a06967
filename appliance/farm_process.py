"""The farm process of `distserver up`: it keeps the backlog moving and does what only root may do."""

import logging
import pwd
import threading
from collections.abc import Callable

from appliance.backlog import span
from appliance.client_tending import tend_clients
from appliance.desks.backlog import WARM, Unwanted
from appliance.desks.doctor import DoctorDesk
from appliance.desks.errands import LANES
from appliance.desks.examinations import Progress as Examining
from appliance.errors import Problem
from appliance.farm_model import Job
from appliance.findings import Examined
from appliance.foreman import ANY_STATUS, Foreman
from appliance.rights import DIE_TOGETHER
from appliance.run import run
from appliance.services import Services
from appliance.site_keeper import keep_good_site, make_edits, store_group
from appliance.site_model import Site
from appliance.telling import keep_telling, owner
from appliance.up import Up, open_services
from appliance.watching import keep_watching
from appliance.web_address import names
from appliance.web_keys import WebKeys
from buildfarm.build import Progress
from pxe.probe import COLLECT_SECONDS

log = logging.getLogger(__name__)

FARM_LOOK_SECONDS = 30.0
CLUSTER_LOOK_SECONDS = 10.0
IMAGE_LOOK_SECONDS = 1.0
ERRAND_LOOK_SECONDS = 0.5
SITE_LOOK_SECONDS = 0.5
EXAMINATION_LOOK_SECONDS = 1.0
CERTIFICATE_LOOK_SECONDS = 6 * 3600.0
SYNC_LOOK_SECONDS = 300.0
"""Looking means to ask for the times of all files of a local repository."""


def farm(asked: Up) -> None:
    """The farm process: keeps the backlog moving, each build being a process of its own."""
    services = open_services(asked, "farm")
    services.release_desk.start(deep=True)

    def argv(job: int, jobs: int) -> list[str]:
        return [*DIE_TOGETHER, *asked.argv("build"), "--job", str(job), "--jobs", str(jobs)]

    def plan(job: int) -> list[str]:
        return [*DIE_TOGETHER, *asked.argv("plan"), "--job", str(job)]

    foreman = Foreman(services, argv, look_seconds=FARM_LOOK_SECONDS, plan=plan)
    threading.Thread(target=keep_in_sync, args=(asked, foreman.look), daemon=True).start()
    threading.Thread(target=keep_ordered, args=(asked,), daemon=True).start()
    threading.Thread(target=keep_making_images, args=(asked,), daemon=True).start()
    for lane in LANES:
        threading.Thread(target=keep_running_errands, args=(asked, lane), daemon=True).start()
    threading.Thread(target=keep_examining, args=(asked,), daemon=True).start()
    watching = lambda: open_services(asked, "farm"), threading.Event()
    threading.Thread(target=keep_watching, args=watching, daemon=True).start()
    threading.Thread(target=keep_certified, args=(asked,), daemon=True).start()
    threading.Thread(target=keep_site, args=(asked,), daemon=True).start()
    tend_clients(lambda: open_services(asked, "farm"), lambda site: served_addresses(asked, site))
    telling = (lambda: open_services(asked, "farm"), asked.argv("webhooks"))
    threading.Thread(target=keep_telling, args=telling, daemon=True).start()
    foreman.run()


def keep_in_sync(asked: Up, changed: Callable[[], None]) -> None:
    """Synchronise what is due, for ever; a first metadata cache may take an hour, and builds go on."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            outcomes = services.sync.sync_due()
        except Exception:
            log.exception("synchronising")
            outcomes = []
        for one in outcomes:
            log.log(logging.ERROR if one.problem else logging.INFO, "%s", one)
        if any(one.changed for one in outcomes):
            changed()
        idle.wait(SYNC_LOOK_SECONDS)


def keep_ordered(asked: Up) -> None:
    """Order what is wanted onto compile hosts as they come, and sign orders again before they are over."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            services.cluster.tend()
        except Exception:
            log.exception("ordering compile hosts")
        idle.wait(CLUSTER_LOOK_SECONDS)


def keep_certified(asked: Up) -> None:
    """Renew the web page's certificate in time; the web process takes the new one by itself."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while not idle.wait(CERTIFICATE_LOOK_SECONDS):
        try:
            if keep_certificate(asked, services, owner(services.tree)):
                log.info("the web page has another certificate")
        except Exception:
            log.exception("renewing the web page's certificate")


def keep_certificate(asked: Up, services: Services, user: pwd.struct_passwd | None) -> bool:
    """Have a certificate that lasts, when the web page needs one; whether it is another one."""
    site = services.live.now()
    if not site.web.tls:
        return False
    keys, served = WebKeys.below(services.tree), served_addresses(asked, services.live.now())
    made = keys.keep(site.web, site.name, names(site, served), group=user.pw_gid if user else 0)
    if made:
        services.audit.note(None, "web certificate", site.name, "another one")
    return made


def served_addresses(asked: Up, site: Site) -> tuple[str, ...]:
    """Those of the interfaces that machines are on."""
    return tuple(str(link.address) for link in asked.network(site).links())


def keep_making_images(asked: Up) -> None:
    """Make what the web page wants, each image in a process of its own that may be killed at any moment."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            services.downloads.recover()
            if services.downloads.waits():
                argv = [*DIE_TOGETHER, *asked.argv("image")]
                run(argv, on_line=lambda line: log.info("%s", line), ok=ANY_STATUS)
        except Exception:
            log.exception("making images")
        idle.wait(IMAGE_LOOK_SECONDS)


def keep_examining(asked: Up) -> None:
    """Examine the network when the web page asks for it: that process has no raw sockets."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            examine_wanted(asked, services)
        except Exception:
            log.exception("examining the network")
        idle.wait(EXAMINATION_LOOK_SECONDS)


def examine_wanted(asked: Up, services: Services) -> bool:
    """Make the examination that waits, on the interfaces that are served; False when none waits."""

    def examine(name: str, progress: Examining) -> Examined:
        made = DoctorDesk(services).examine(name, seconds=COLLECT_SECONDS, progress=progress)
        return Examined(made.interface, len(made.offers), made.findings)

    names = asked.interfaces or services.live.now().net.interfaces
    return services.examinations.make_next(names, examine, seconds=COLLECT_SECONDS)


def keep_site(asked: Up) -> None:
    """Make the changes that the web page asks for, and copy the site whenever another one is good."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            make_edits(services)
            keep_good_site(services, store_group(services.tree))
        except Exception:
            log.exception("keeping the site")
        idle.wait(SITE_LOOK_SECONDS)


def image(asked: Up) -> None:
    """One image that the web page wants."""
    services = open_services(asked, "farm")
    if made := services.downloads.make_next(asked.interfaces):
        done = made.path or (made.wanted.said if made.wanted else "it is not wanted any more")
        log.info("the %s image of release %s: %s", made.kind, made.release, done)


def keep_running_errands(asked: Up, lane: str) -> None:
    """Do what the web page asks for, one after another in each lane."""
    services = open_services(asked, "farm")
    idle = threading.Event()
    while True:
        try:
            services.errands.recover()
            while done := services.errands.do_next(LANES[lane]):
                log.info("%s for %s: %s, %s", done.kind.value, done.who, done.state.value, done.said)
        except Exception:
            log.exception("doing what the web page asks for")
        idle.wait(ERRAND_LOOK_SECONDS)


def plan_job(asked: Up, job: int) -> None:
    """Find out what a waiting build of the farm will take."""
    services = open_services(asked, "farm")
    expected = services.foresight.foresee(job)
    if expected:
        log.info("job %d will take about %s", job, span(expected.seconds))


def build_job(asked: Up, job: int, jobs: int) -> None:
    """One build of the farm; whatever goes wrong is in its job, and the farm goes on."""
    services = open_services(asked, "farm")
    row = services.store.jobs.get(job)
    if row is None:
        log.info("there is no job %d any more", job)
        return
    name = row.profile
    if row.kind == WARM:
        _prepare(services, row)
        return

    def show(progress: Progress) -> None:
        log.info("%s: %s", name, progress)

    try:
        result = services.building.build(name, show, ticket=job, jobs=jobs)
    except Unwanted as why:
        log.info("%s: %s", name, why)
    except Problem as problem:
        log.error("%s: %s", name, problem)
    except Exception:
        log.exception("building %s", name)
    else:
        said = f"release {result.release.id}" if result.release else "; ".join(result.reasons)
        log.info("%s: %s", name, said)


def _prepare(services: Services, job: Job) -> None:
    """Make the bundle that a worker on another host builds from."""
    try:
        services.building.offer(job, lambda progress: log.info("%s: %s", job.profile, progress))
    except Exception as failure:
        message = f"it cannot be offered: {failure}"
        services.store.jobs.end(job.id, "failed", now=services.clock(), message=message)
        raise

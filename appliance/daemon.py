"""`distserver up`: three processes on one store, kept running; and what each of them does."""

import asyncio
import contextlib
import gc
import logging
import os
import pwd
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import waitress

from appliance.backlog import span
from appliance.desks.backlog import WARM, Unwanted
from appliance.door import make_app as make_door
from appliance.door import serve as serve_door
from appliance.errors import Problem
from appliance.farm_model import Job
from appliance.foreman import Foreman
from appliance.model import Tree
from appliance.overlays import HOME
from appliance.queue import farm_secret
from appliance.run import run
from appliance.services import Services
from appliance.site_model import Site
from buildfarm.build import Progress
from pxe import hot_loop, images
from pxe.company import refuse_company
from pxe.dns_server import DnsServer
from pxe.maker import RemoteMaker, answer, make
from pxe.servers import Network, Servers
from webui.pages import make_app

log = logging.getLogger(__name__)

USER = "distserver"
DOOR_CAPABILITIES = "chown", "dac_override"
"""It writes packages as root and the store of the service user; it mounts nothing and binds no low port."""
BOOT_CAPABILITIES = "net_bind_service", "net_raw"
DIE_TOGETHER = ["setpriv", "--pdeathsig", "KILL"]
"""A killed `up` must not leave processes behind that hold its ports."""
RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0
FARM_LOOK_SECONDS = 30.0
CLUSTER_LOOK_SECONDS = 10.0
SYNC_LOOK_SECONDS = 300.0
"""Looking means to ask for the times of all files of a local repository."""


@dataclass(frozen=True)
class Up:
    """What `distserver up` was asked for."""

    site: Path
    state: Path
    interfaces: tuple[str, ...] = ()
    """Empty: those the site names."""
    sockets: int | None = None
    """Descriptor of the connection on which the parent process makes sockets."""

    def argv(self, process: str) -> list[str]:
        words = [sys.executable, "-m", "appliance.cli", "--state", str(self.state), "process", process]
        named = [word for name in self.interfaces for word in ("--interface", name)]
        return [*words, "--site", str(self.site), *named]

    def network(self, site: Site) -> Network:
        """What is to be served. Raises Problem when nobody named an interface."""
        names = self.interfaces or site.net.interfaces
        if not names:
            hint = (
                "give --interface, or set [net] interfaces in appliance.toml; `ip -brief address` lists them"
            )
            raise Problem("nobody said on which network interface machines are", hint=hint)
        return Network(
            tuple(dict.fromkeys(names)),
            site.http_port,
            site.address,
            site.net.beside_dhcp,
            site.tftp,
            site.http_front,
        )


def up(asked: Up) -> None:
    """Serve until a signal says stop."""
    if os.geteuid() != 0:
        raise Problem("`distserver up` binds ports below 1024 and makes chroots", hint="run it as root")
    tree = Tree(asked.state.resolve())
    services = Services(asked.site, tree)
    site = services.live.now()
    links = asked.network(site).links()
    refuse_company(links, site.dhcp)
    images.make_boot_directory(tree.room("boot"), services.secure_boot.signer(), shim=site.secure_boot.shim)
    for link in links:
        log.info("serving %s on %s, http://%s:%d", site.name, link.name, link.address, site.http_port)
    log.info("%s", services.secure_boot.sentence())
    log.info("web page: http://%s:%d/login/%s", site.web_host, site.web_port, services.login_token())
    services.release_desk.start(deep=False)
    services.store.close()
    user = service_user() if _open_to_others(asked.site.resolve(), tree.path) else None
    hand_over(tree, user)
    asyncio.run(_supervise(asked, user, workers=bool(site.farm.port)))


def service_user() -> pwd.struct_passwd:
    """The unprivileged user that answers the network; made at the first start."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    log.info("adding the system user %s", USER)
    home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    run(["useradd", "--system", *home, USER])
    return pwd.getpwnam(USER)


def _open_to_others(site: Path, state: Path) -> bool:
    """Whether another user can read the program and the site and reach the state; says so when not."""
    python = Path(sys.executable)
    places = (python, Path(sys.prefix), python.resolve(), HOME, site, state.parent)
    closed = [
        up
        for place in places
        for up in (place, *place.parents)
        if up.exists() and up.stat().st_mode & 0o5 != 0o5
    ]
    if closed:
        log.warning(
            "%s is closed to other users: boot and web run as root without its capabilities; "
            "for an unprivileged user keep program, site and state elsewhere",
            closed[0],
        )
    return not closed


def hand_over(tree: Tree, user: pwd.struct_passwd | None) -> None:
    """The store belongs to the user of boot and web, and nothing else does: not releases, pool or keys.

    SQLite makes its side files belong to the same user, whoever writes.
    """
    tree.path.chmod(0o755)
    uid, gid = (user.pw_uid, user.pw_gid) if user else (0, 0)
    for file in (tree.store.parent, *tree.store.parent.iterdir()):
        os.chown(file, uid, gid)


def unprivileged(user: pwd.struct_passwd | None, capabilities: Sequence[str]) -> list[str]:
    """An argv prefix: the service user (or root) with nothing but these capabilities."""
    sets = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    bounds = ["--no-new-privs", f"--inh-caps={sets}", f"--bounding-set={sets}"]
    if user is None:
        return [*DIE_TOGETHER, *bounds]
    identity = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [*DIE_TOGETHER, *identity, *bounds, f"--ambient-caps={sets}"]


async def _supervise(asked: Up, user: pwd.struct_passwd | None, *, workers: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            _keep(
                unprivileged(user, BOOT_CAPABILITIES) + asked.argv("boot"), "boot", stop, makes_sockets=True
            )
        )
        tasks.create_task(_keep(unprivileged(user, ()) + asked.argv("web"), "web", stop))
        tasks.create_task(_keep(DIE_TOGETHER + asked.argv("farm"), "farm", stop))
        if workers:
            words = unprivileged(None, DOOR_CAPABILITIES) + asked.argv("door")
            tasks.create_task(_keep(words, "door", stop))


async def _keep(argv: Sequence[str], name: str, stop: asyncio.Event, *, makes_sockets: bool = False) -> None:
    """Start a process again whenever it ends, more and more slowly, until told to stop."""
    failures = 0
    while not stop.is_set():
        started = time.monotonic()
        with contextlib.ExitStack() as lent:
            more, descriptors = lent.enter_context(_making_sockets()) if makes_sockets else ([], ())
            child = await asyncio.create_subprocess_exec(
                *argv,
                *more,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=descriptors,
            )
            waiting = asyncio.create_task(stop.wait())
            ended = asyncio.create_task(child.wait())
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if stop.is_set():
                await _end(child)
                return
        failures = 0 if time.monotonic() - started > STEADY_SECONDS else failures + 1
        delay = RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1]
        log.error("the %s process ended with status %s, again in %d s", name, child.returncode, delay)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), delay)


@contextlib.contextmanager
def _making_sockets() -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Make sockets for a process that may not; its further arguments and descriptors.

    A receive buffer for a thousand machines takes CAP_NET_ADMIN, which a process that reads packets has not.
    All it can ask for is one more socket that is bound to nothing.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def asked() -> None:
        try:
            if answer(ours):
                return
        except (OSError, ValueError):
            log.exception("making a socket for another process")
        loop.remove_reader(ours)

    with ours, theirs:
        loop.add_reader(ours, asked)
        try:
            yield ["--sockets", str(theirs.fileno())], (theirs.fileno(),)
        finally:
            loop.remove_reader(ours)


async def _end(child: asyncio.subprocess.Process) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signum)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), 10)
            return


def boot(asked: Up) -> None:
    """The boot process: DHCP, TFTP, HTTP, and DNS when the site has a zone."""
    services = Services(asked.site, Tree(asked.state))
    site = services.live.now()
    dns = DnsServer(services.names, site.http_front or site.http_port) if site.dns.zone else None
    maker = RemoteMaker(socket.socket(fileno=asked.sockets)) if asked.sockets is not None else make
    boot_dir = services.tree.path / "boot"
    servers = Servers(asked.network(site), services.desk, boot_dir, dns, services.leases, maker=maker)
    servers.open()

    async def serve() -> None:
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        try:
            await servers.serve(stop)
        finally:
            services.desk.journal.close()

    # Every transfer and every connection holds a descriptor, and the usual limit is 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What is there by now stays: looking through it for garbage holds up whoever is being answered.
    gc.freeze()
    # Answers wait no longer than this for a thread that writes events or reads files.
    sys.setswitchinterval(0.0005)
    hot_loop.run(serve())


def web(asked: Up) -> None:
    """The web process: what a person sees."""
    tree = Tree(asked.state)
    site = Services(asked.site, tree).live.now()
    # Here the servers' code runs for explanations only: nobody was told what it says it told.
    logging.getLogger("pxe").setLevel(logging.ERROR)
    app = make_app(lambda: Services(asked.site, tree))
    waitress.serve(app, host=site.web_host, port=site.web_port, threads=4, ident=None)


def farm(asked: Up) -> None:
    """The farm process: keeps the backlog moving, each build being a process of its own."""
    services = Services(asked.site, Tree(asked.state))
    services.release_desk.start(deep=True)

    def argv(job: int, jobs: int) -> list[str]:
        return [*DIE_TOGETHER, *asked.argv("build"), "--job", str(job), "--jobs", str(jobs)]

    def plan(job: int) -> list[str]:
        return [*DIE_TOGETHER, *asked.argv("plan"), "--job", str(job)]

    foreman = Foreman(services, argv, look_seconds=FARM_LOOK_SECONDS, plan=plan)
    threading.Thread(target=keep_in_sync, args=(asked, foreman.look), daemon=True).start()
    threading.Thread(target=keep_ordered, args=(asked,), daemon=True).start()
    foreman.run()


def keep_in_sync(asked: Up, changed: Callable[[], None]) -> None:
    """Synchronise what is due, for ever; a first metadata cache may take an hour, and builds go on."""
    services = Services(asked.site, Tree(asked.state))
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
    services = Services(asked.site, Tree(asked.state))
    idle = threading.Event()
    while True:
        try:
            services.cluster.tend()
        except Exception:
            log.exception("ordering compile hosts")
        idle.wait(CLUSTER_LOOK_SECONDS)


def plan_job(asked: Up, job: int) -> None:
    """Find out what a waiting build of the farm will take."""
    services = Services(asked.site, Tree(asked.state))
    expected = services.foresight.foresee(job)
    if expected:
        log.info("job %d will take about %s", job, span(expected.seconds))


def build_job(asked: Up, job: int, jobs: int) -> None:
    """One build of the farm; whatever goes wrong is in its job, and the farm goes on."""
    services = Services(asked.site, Tree(asked.state))
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
        result = services.build(name, show, ticket=job, jobs=jobs)
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
        services.offer(job, lambda progress: log.info("%s: %s", job.profile, progress))
    except Exception as failure:
        message = f"it cannot be offered: {failure}"
        services.store.jobs.end(job.id, "failed", now=services.clock(), message=message)
        raise


def door(asked: Up) -> None:
    """The door process: workers on other hosts come here."""
    tree = Tree(asked.state)
    services = Services(asked.site, tree)
    site = services.live.now()
    links = asked.network(site).links()
    if not links:
        raise Problem("no interface has an IPv4 address yet that workers could come to")
    address = str(links[0].address)
    services.remote.sweep()
    app = make_door(services.remote, farm_secret(tree))
    asyncio.run(serve_door(app, address, site.farm.port))


def check_programs() -> None:
    """Raises Problem that names the Debian packages which are missing on this host."""
    needed = {
        "mksquashfs": "squashfs-tools",
        "git": "git",
        "rsync": "rsync",
        "gpg": "gnupg",
        "gpgv": "gpgv",
        "zstd": "zstd",
        "grub-mkimage": "grub-common",
        "unshare": "util-linux",
    }
    missing = sorted({package for program, package in needed.items() if not shutil.which(program)})
    if missing:
        raise Problem(f"this host lacks {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")

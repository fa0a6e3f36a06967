"""`distserver up`: three processes on one store, and what each of them does."""

import asyncio
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys

from appliance.client_keys import ClientKeys
from appliance.client_tending import keep_door_certificate
from appliance.door import make_app as make_door
from appliance.door import serve as serve_door
from appliance.errors import Problem
from appliance.farm_process import keep_certificate, served_addresses
from appliance.model import Tree
from appliance.queue import farm_secret
from appliance.rights import DIE_TOGETHER, hand_over, open_to_others, service_user, unprivileged
from appliance.services import Services
from appliance.site_keeper import start_site
from appliance.supervision import Kept, supervise
from appliance.telling import tell
from appliance.up import Up, open_services
from appliance.web_address import start_sentences
from appliance.web_keys import WebKeys
from pxe import hot_loop, images
from pxe.client_disks import routes as disk_routes
from pxe.client_door import ClientDoor
from pxe.client_merges import routes
from pxe.company import refuse_company
from pxe.dns_server import DnsServer
from pxe.maker import RemoteMaker, answer, make
from pxe.servers import Servers
from webui.app import make_app
from webui.server import make_server

log = logging.getLogger(__name__)

DOOR_CAPABILITIES = "chown", "dac_override"
"""It writes packages as root and the store of the service user; it mounts nothing and binds no low port."""
BOOT_CAPABILITIES = "net_bind_service", "net_raw"


def up(asked: Up) -> None:
    """Serve until a signal says stop."""
    if os.geteuid() != 0:
        raise Problem("`distserver up` binds ports below 1024 and makes chroots", hint="run it as root")
    tree = Tree(asked.state.resolve())
    services = open_services(asked, "up")
    site = services.live.now()
    links = asked.network(site).links()
    refuse_company(links, site.dhcp)
    images.make_boot_directory(tree.room("boot"), services.secure_boot.signer(), shim=site.secure_boot.shim)
    for link in links:
        log.info("serving %s on %s, http://%s:%d", site.name, link.name, link.address, site.http_port)
    log.info("%s", services.secure_boot.sentence())
    user = service_user() if open_to_others(asked.site.resolve(), tree.path) else None
    keep_certificate(asked, services, user)
    keep_door_certificate(services, served_addresses(asked, services.live.now()), user)
    for sentence in start_sentences(services):
        log.info("%s", sentence)
    services.release_desk.start(deep=False)
    start_site(services, user.pw_gid if user else 0)
    services.store.close()
    hand_over(tree, user)
    processes = [
        Kept("boot", unprivileged(user, BOOT_CAPABILITIES) + asked.argv("boot"), makes_sockets=answer),
        Kept("web", unprivileged(user, ()) + asked.argv("web")),
        Kept("farm", DIE_TOGETHER + asked.argv("farm")),
    ]
    if site.farm.port:
        processes.append(Kept("door", unprivileged(None, DOOR_CAPABILITIES) + asked.argv("door")))
    asyncio.run(supervise(processes))


def boot(asked: Up) -> None:
    """The boot process: DHCP, TFTP, HTTP, and DNS when the site has a zone."""
    services = open_services(asked, "boot")
    site = services.live.now()
    dns = DnsServer(services.names, site.http_front or site.http_port) if site.dns.zone else None
    maker = RemoteMaker(socket.socket(fileno=asked.sockets)) if asked.sockets is not None else make
    boot_dir = services.tree.path / "boot"
    servers = Servers(
        asked.network(site),
        services.desk,
        boot_dir,
        dns,
        services.leases,
        maker=maker,
        clients=client_door(services),
    )
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


def client_door(services: Services) -> ClientDoor | None:
    """The door of installed machines, unless the site wants none."""
    port, keys = services.live.now().clients.port, ClientKeys.below(services.tree)
    if not port:
        return None
    further = (*routes(services.merges), *disk_routes(services.disk_keys))
    return ClientDoor(services.desk.clients, port, pem=keys.served, authority=keys.authority, routes=further)


def web(asked: Up) -> None:
    """The web process: what a person sees."""
    tree = Tree(asked.state)
    site = Services(asked.site, tree).live.now()
    # Here the servers' code runs for explanations only: nobody was told what it says it told.
    logging.getLogger("pxe").setLevel(logging.ERROR)
    app = make_app(lambda: Services(asked.site, tree))
    pem = WebKeys.below(tree).served if site.web.tls else None
    make_server(app, site.web.host, site.web.port, pem=pem, proxies=site.web.proxies).start()


def webhooks(asked: Up) -> None:
    """Tell webhooks what is due."""
    tell(open_services(asked, "farm"))


def door(asked: Up) -> None:
    """The door process: workers on other hosts come here."""
    tree = Tree(asked.state)
    services = open_services(asked, "door")
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

"""The web page's address, its certificate and its one-time links, as a person is told them."""

import socket
from ipaddress import ip_address

from appliance.account_model import Account
from appliance.services import Services
from appliance.site_model import Site
from appliance.web_keys import WebKeys
from appliance.web_settings import EVERYWHERE, is_name


def page(site: Site, secret: str = "") -> str:
    """Where the page is; with a secret, the one-time link."""
    scheme = "https" if site.web.tls else "http"
    address = f"{scheme}://{_host(site)}:{site.web.port}/"
    if site.web.proxies and site.web.names:
        # Browsers come to the proxy, and it speaks TLS: nobody types a password otherwise.
        address = f"https://{_host(site)}/"
    return f"{address}login/{secret}" if secret else address


def names(site: Site, served: tuple[str, ...]) -> tuple[str, ...]:
    """By which browsers may come; `served` are the addresses of the interfaces machines are on."""
    web = site.web
    own = (*served, socket.gethostname(), "localhost", "127.0.0.1") if web.host in EVERYWHERE else (web.host,)
    zone = (f"boot.{site.dns.zone}",) if site.dns.zone else ()
    address = (site.address,) if site.address else ()
    return tuple(name for name in dict.fromkeys((*web.names, *own, *address, *zone)) if is_name(name))


def door_names(site: Site, served: tuple[str, ...]) -> tuple[str, ...]:
    """By which installed machines may come."""
    zone = (f"boot.{site.dns.zone}",) if site.dns.zone else ()
    address = (site.address,) if site.address else ()
    own = (*site.clients.names, *served, socket.gethostname(), *address, *zone)
    return tuple(name for name in dict.fromkeys(own) if is_name(name))


def start_sentences(services: Services) -> list[str]:
    """What `up` says: the page, its authority, and as long as there is no admin how to become one."""
    site = services.live.now()
    said = [f"web page: {page(site)}"]
    if site.web.tls and not site.web.certificate:
        keys = WebKeys.below(services.tree)
        said.append(f"web page: browsers trust it with {keys.authority}, SHA-256 {keys.fingerprint()}")
    if services.accounts.nobody_yet:
        secret = services.accounts.first_link()
        said.append(f"web page: make the first account, an admin, at {page(site, secret)}")
    return said


def login_sentence(services: Services, name: str = "") -> str:
    """A link that works once, and for whom."""
    site = services.live.now()
    if services.accounts.nobody_yet and not name:
        return f"there is no admin yet; make one at {page(site, services.accounts.first_link())}"
    account, secret = services.accounts.login_link(name)
    return f"{page(site, secret)} signs in as {account.name} ({account.role.value}), once, within an hour"


def invitation_sentence(services: Services, account: Account, secret: str) -> str:
    return f"{account.name} chooses a password at {page(services.live.now(), secret)}, within three days"


def _host(site: Site) -> str:
    host = site.web.names[0] if site.web.names else site.web.host
    if host in EVERYWHERE:
        host = site.address or socket.gethostname()
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host

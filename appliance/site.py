"""The site directory -> Site, with complaints that name file, key, what was expected and the likely key."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.client_settings import CLIENTS, read_clients
from appliance.dhcp_settings import DHCP, read_dhcp
from appliance.dns_settings import DNS, read_dns
from appliance.errors import Problem
from appliance.farm_settings import FARM, read_farm
from appliance.machine_settings import MACHINE, read_machines
from appliance.net_settings import NET, read_net
from appliance.profiles import read_documents, read_profiles
from appliance.repositories import REPOSITORY, SYNC, read_repositories, read_schedule
from appliance.schema import Keys, Kind, check, parse_size, parse_span, read_toml
from appliance.secure_boot import SECURE_BOOT, read_secure_boot
from appliance.site_cluster import read_cluster
from appliance.site_model import Profile, Site
from appliance.tftp_settings import TFTP, read_tftp
from appliance.web_settings import WEB, read_web

COMPILE_HOST = Keys(
    {"name": Kind.TEXT, "address": Kind.TEXT, "slots": Kind.INTEGER, "arch": Kind.TEXT},
    many=True,
    required=frozenset({"name", "address"}),
)
APPLIANCE = Keys(
    {
        "name": Kind.TEXT,
        "repository": REPOSITORY,
        "sync": SYNC,
        "net": NET,
        "secure_boot": SECURE_BOOT,
        "http": Keys({"port": Kind.INTEGER, "front": Kind.INTEGER, "address": Kind.TEXT}),
        "web": WEB,
        "clients": CLIENTS,
        "cluster": Keys({"builders": Kind.WORDS, "host": COMPILE_HOST}),
        "dhcp": DHCP,
        "farm": FARM,
        "dns": DNS,
        "machine": MACHINE,
        "tftp": TFTP,
        "gc": Keys({"keep": Kind.INTEGER, "younger_than": Kind.SPAN}),
    },
    required=frozenset({"name", "repository"}),
)
CCACHE = "10 GiB"
LEAST_KEPT, LEAST_KEPT_SECONDS = 2, 86400.0


class WrongSite(Problem):
    """A site that does not read; its complaints are the lines of `complaints`, each with its file."""

    def __init__(self, path: Path, complaints: list[str]) -> None:
        self.complaints = tuple(complaints)
        count = f"{len(complaints)} mistakes" if len(complaints) > 1 else "1 mistake"
        super().__init__(f"{path}: {count}\n" + "\n".join(complaints))


def read_site(path: Path, *, copy: Path | None = None) -> Site:
    """Read a site directory. Raises WrongSite with every complaint, one a line.

    `copy`: a directory whose appliance.toml and profiles are read as if they stood in `path`. What they name
    is relative to `path`, and so are complaints.
    """
    try:
        return _read(path, copy or path)
    except OSError as failed:
        said = f"{failed.filename}: {(failed.strerror or 'cannot be read').lower()}"
        raise WrongSite(path, [_placed(said, path, copy or path)]) from failed


def _read(path: Path, root: Path) -> Site:
    complaints: list[str] = []
    document, text = read_toml(root / "appliance.toml", complaints)
    if document:
        complaints += check(path / "appliance.toml", text, document, APPLIANCE)
    documents = read_documents(root, complaints)
    _stop_on(path, complaints, root)
    profiles = read_profiles(path, documents, complaints, root=root)
    repositories = read_repositories(path, document["repository"], complaints)
    schedule = read_schedule(path, document.get("sync", {}), complaints)
    farm = read_farm(document.get("farm", {}), path / "appliance.toml", complaints)
    dhcp = read_dhcp(document.get("dhcp", {}), path / "appliance.toml", complaints)
    keeping = _keeping(path / "appliance.toml", document.get("gc", {}), complaints)
    net = read_net(document.get("net", {}), path / "appliance.toml", complaints)
    hosts, builders = read_cluster(path / "appliance.toml", document.get("cluster", {}), complaints)
    machines = read_machines(tuple(document.get("machine", ())), path / "appliance.toml", complaints)
    tftp = read_tftp(document.get("tftp", {}), path / "appliance.toml", complaints)
    dns = read_dns(document.get("dns", {}), path / "appliance.toml", complaints)
    clients = read_clients(document.get("clients", {}), path / "appliance.toml", complaints)
    web = read_web(document.get("web", {}), path / "appliance.toml", complaints)
    http = document.get("http", {})
    others = {"web.port": web.port, "farm.port": farm.port, "http.port": http.get("port", 80)}
    complaints += [
        f"{path / 'appliance.toml'}: clients.port: expected another port than {name}, {port}"
        for name, port in others.items()
        if port and port == clients.port
    ]
    _stop_on(path, complaints, root)
    return Site(
        path=path,
        name=document["name"],
        repositories=repositories,
        profiles=profiles,
        http_port=http.get("port", 80),
        http_front=http.get("front", 0),
        address=http.get("address", ""),
        web=web,
        clients=clients,
        jobs=document.get("farm", {}).get("jobs", 0),
        compile_hosts=hosts,
        builders=builders,
        ccache_bytes=parse_size(document.get("farm", {}).get("ccache", CCACHE)) or 0,
        dhcp=dhcp,
        farm=farm,
        tftp=tftp,
        keep_releases=keeping[0],
        keep_seconds=keeping[1],
        schedule=schedule,
        net=net,
        dns=dns,
        secure_boot=read_secure_boot(document.get("secure_boot", {})),
        machines=machines,
    )


def _keeping(file: Path, table: Mapping[str, Any], complaints: list[str]) -> tuple[int, float]:
    """How many releases gc leaves, and how young what it never touches is."""
    keep = table.get("keep", Site.keep_releases)
    if keep < LEAST_KEPT:
        complaints.append(f"{file}: gc.keep: expected at least {LEAST_KEPT}, one to roll back to, got {keep}")
    seconds = parse_span(table["younger_than"]) if "younger_than" in table else Site.keep_seconds
    if seconds is None or seconds < LEAST_KEPT_SECONDS:
        complaints.append(f"{file}: gc.younger_than: expected at least a day, got {table['younger_than']!r}")
    return keep, seconds or Site.keep_seconds


def find_profile(site: Site, name: str) -> Profile:
    """The profile, or a Problem that names the nearest one."""
    if name in site.profiles:
        return site.profiles[name]
    near = difflib.get_close_matches(name, site.profiles, n=1)
    known = ", ".join(sorted(site.profiles)) or "none"
    hint = f"did you mean {near[0]}?" if near else f"profiles of this site: {known}"
    raise Problem(f"{site.path} has no profile {name}", hint=hint)


def _stop_on(path: Path, complaints: list[str], root: Path) -> None:
    if complaints:
        raise WrongSite(path, list(dict.fromkeys(_placed(one, path, root) for one in complaints)))


def _placed(complaint: str, path: Path, root: Path) -> str:
    """A complaint about a file of a copy names the file that it stands for."""
    return complaint if root == path else complaint.replace(f"{root}/", f"{path}/")

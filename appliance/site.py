"""The site directory -> Site, with complaints that name file, key, what was expected and the likely key."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.channels import CANARY, NAMES, STABLE
from appliance.dhcp_settings import DHCP, read_dhcp
from appliance.dns_settings import DNS, read_dns
from appliance.errors import Problem
from appliance.farm_settings import FARM, read_farm
from appliance.kernel_choice import choose_kernel, kernel_config
from appliance.machine_settings import MACHINE, read_machines
from appliance.model import Firmware
from appliance.net_settings import NET, read_net
from appliance.repositories import REPOSITORY, SYNC, read_repositories, read_schedule
from appliance.schema import Keys, Kind, check, parse_size, parse_span, read_toml
from appliance.secure_boot import SECURE_BOOT, read_secure_boot
from appliance.site_cluster import FLAG_FILES, native_flags, read_cluster
from appliance.site_model import DiskLayout, MatchRule, Partition, Profile, Site, StageSource
from appliance.tftp_settings import TFTP, read_tftp

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
        "web": Keys({"port": Kind.INTEGER, "host": Kind.TEXT}),
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
STAGE = Keys(
    {
        "location": Kind.TEXT,
        "sha256": Kind.TEXT,
        "digests": Kind.TEXT,
        "signature": Kind.TEXT,
        "keyring": Kind.TEXT,
    },
    required=frozenset({"location"}),
)
PROFILE = Keys(
    {
        "description": Kind.TEXT,
        "parent": Kind.WORDS,
        "abstract": Kind.BOOLEAN,
        "arch": Kind.TEXT,
        "chost": Kind.TEXT,
        "profile": Kind.TEXT,
        "stage": STAGE,
        "install_stage": STAGE,
        "kernel": Keys(
            {"package": Kind.TEXT, "source": Kind.TEXT, "base": Kind.TEXT, "arguments": Kind.TEXT}
        ),
        "release": Keys({"channel": Kind.TEXT, "promote_after": Kind.SPAN}),
        "gate": Keys({"hold": Kind.BOOLEAN, "boot": Kind.BOOLEAN}),
        "disk": Keys(
            {
                "min_size": Kind.SIZE,
                "transport": Kind.TEXT,
                "model": Kind.TEXT,
                "serial": Kind.TEXT,
                "partition": Keys(
                    {
                        "name": Kind.TEXT,
                        "size": Kind.TEXT,
                        "filesystem": Kind.TEXT,
                        "mount": Kind.TEXT,
                        "firmware": Kind.TEXT,
                    },
                    many=True,
                    required=frozenset({"name", "size"}),
                ),
            }
        ),
        "match": Keys(
            {
                "mac": Kind.TEXT,
                "vendor": Kind.TEXT,
                "product": Kind.TEXT,
                "serial": Kind.TEXT,
                "uuid": Kind.TEXT,
                "arm": Kind.BOOLEAN,
            },
            many=True,
        ),
    }
)
NEEDED = ("arch", "chost", "profile", "stage.location", "kernel", "disk.partition")
FILESYSTEMS = ("ext4", "vfat", "swap", "")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
CCACHE = "10 GiB"
LEAST_KEPT, LEAST_KEPT_SECONDS = 2, 86400.0
PROFILE_FILES = frozenset({"profile.toml", "portage", "world", "kernel.config", "authorized_keys"})


def read_site(path: Path) -> Site:
    """Read a site directory. Raises Problem with every complaint, one a line."""
    complaints: list[str] = []
    document, text = read_toml(path / "appliance.toml", complaints)
    if document:
        complaints += check(path / "appliance.toml", text, document, APPLIANCE)
    raw = _read_profiles(path, complaints)
    _stop_on(path, complaints)
    profiles = {}
    for name, own in sorted(raw.items()):
        lineage = _lineage(path, name, raw, complaints)
        if lineage and not own.get("abstract", False):
            profile = _profile(path, name, lineage, raw, complaints)
            if profile:
                profiles[name] = profile
    repositories = read_repositories(path, document["repository"], complaints)
    schedule = read_schedule(path, document.get("sync", {}), complaints)
    _check_rules(profiles, complaints)
    farm = read_farm(document.get("farm", {}), path / "appliance.toml", complaints)
    dhcp = read_dhcp(document.get("dhcp", {}), path / "appliance.toml", complaints)
    keeping = _keeping(path / "appliance.toml", document.get("gc", {}), complaints)
    net = read_net(document.get("net", {}), path / "appliance.toml", complaints)
    hosts, builders = read_cluster(path / "appliance.toml", document.get("cluster", {}), complaints)
    machines = read_machines(tuple(document.get("machine", ())), path / "appliance.toml", complaints)
    dns = read_dns(document.get("dns", {}), path / "appliance.toml", complaints)
    _stop_on(path, complaints)
    http, web = document.get("http", {}), document.get("web", {})
    return Site(
        path=path,
        name=document["name"],
        repositories=repositories,
        profiles=profiles,
        http_port=http.get("port", 80),
        http_front=http.get("front", 0),
        address=http.get("address", ""),
        web_host=web.get("host", "127.0.0.1"),
        web_port=web.get("port", 8080),
        jobs=document.get("farm", {}).get("jobs", 0),
        compile_hosts=hosts,
        builders=builders,
        ccache_bytes=parse_size(document.get("farm", {}).get("ccache", CCACHE)) or 0,
        dhcp=dhcp,
        farm=farm,
        tftp=read_tftp(document.get("tftp", {}), path / "appliance.toml", complaints),
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


def _stop_on(path: Path, complaints: list[str]) -> None:
    if complaints:
        count = f"{len(complaints)} mistakes" if len(complaints) > 1 else "1 mistake"
        raise Problem(f"{path}: {count}\n" + "\n".join(complaints))


def _read_profiles(path: Path, complaints: list[str]) -> dict[str, dict[str, Any]]:
    """Each profile's own document, checked by itself."""
    raw = {}
    for place in sorted((path / "profiles").glob("*/")):
        file = place / "profile.toml"
        if not NAME.fullmatch(place.name):
            complaints.append(f"{place}: a profile's name is lower case letters, digits, - and _, at most 31")
        document, text = read_toml(file, complaints)
        complaints += check(file, text, document, PROFILE)
        known = {*PROFILE_FILES, str(document.get("kernel", {}).get("base", ""))}
        for stray in sorted(entry.name for entry in place.iterdir() if entry.name not in known):
            near = difflib.get_close_matches(stray, PROFILE_FILES, n=1)
            expected = f"did you mean {near[0]}?" if near else f"expected {', '.join(sorted(PROFILE_FILES))}"
            complaints.append(f"{place / stray}: unknown file, {expected}")
        for name in sorted(FLAG_FILES):
            start = place / "portage" / name
            for one in sorted(file for file in (start, *start.rglob("*")) if file.is_file()):
                complaints += native_flags(one, one.read_text(encoding="utf-8", errors="replace"))
        raw[place.name] = document
    if not raw:
        complaints.append(f"{path / 'profiles'}: no profile, expected at least one NAME/profile.toml")
    return raw


def _lineage(
    path: Path, name: str, raw: Mapping[str, dict[str, Any]], complaints: list[str]
) -> tuple[str, ...]:
    """The profile and all its parents, the most distant first; empty when one is missing or in a circle."""
    order: list[str] = []

    def visit(one: str, below: tuple[str, ...]) -> bool:
        file = path / "profiles" / (below[-1] if below else one) / "profile.toml"
        if one in below:
            complaints.append(f"{file}: parent: {' -> '.join((*below, one))} is a circle")
            return False
        if one not in raw:
            near = difflib.get_close_matches(one, raw, n=1)
            mean = f", did you mean {near[0]}?" if near else ""
            complaints.append(f"{file}: parent: there is no profile {one}{mean}")
            return False
        parents = [visit(parent, (*below, one)) for parent in raw[one].get("parent", ())]
        if one not in order:
            order.append(one)
        return all(parents)

    return tuple(order) if visit(name, ()) else ()


def _fold(lineage: tuple[str, ...], raw: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Later documents win key by key; match rules belong to the profile that states them."""
    folded: dict[str, Any] = {}
    for name in lineage:
        for key, value in raw[name].items():
            if isinstance(value, dict):
                inherited = dict(folded.get(key, {}))
                if key == "kernel" and ("package" in value or "source" in value):
                    # Where the kernel comes from is one choice: a child makes it anew.
                    inherited = {name: inherited[name] for name in inherited if name == "arguments"}
                folded[key] = {**inherited, **value}
            elif key not in ("match", "abstract", "parent"):
                folded[key] = value
    folded["match"] = raw[lineage[-1]].get("match", [])
    return folded


def _profile(
    path: Path,
    name: str,
    lineage: tuple[str, ...],
    raw: Mapping[str, dict[str, Any]],
    complaints: list[str],
) -> Profile | None:
    file = path / "profiles" / name / "profile.toml"
    folded = _fold(lineage, raw)
    parents = f" (nor in {', '.join(lineage[:-1])})" if lineage[:-1] else ""
    missing = [key for key in NEEDED if not _has(folded, key)]
    complaints += [f"{file}: {key}: missing{parents}" for key in missing]
    if missing:
        return None
    if ":" not in folded["profile"]:
        complaints.append(f"{file}: profile: expected REPOSITORY:PATH, got {folded['profile']!r}")
    stage = _stage(path, folded["stage"])
    kernel = choose_kernel(path, lineage, folded["kernel"], complaints)
    return Profile(
        name=name,
        description=folded.get("description", ""),
        arch=folded["arch"],
        chost=folded["chost"],
        portage_profile=folded["profile"],
        stage=stage,
        install_stage=_stage(path, folded["install_stage"]) if "install_stage" in folded else stage,
        kernel_package=kernel.package,
        kernel_source=kernel.source,
        kernel_base=kernel.base,
        kernel_arguments=folded["kernel"].get("arguments", ""),
        kernel_config=kernel_config(path, lineage, complaints),
        portage=_portage_files(path, lineage),
        world=tuple(sorted({*_world(path, lineage), kernel.package})),
        disk=_disk(file, folded["disk"], complaints),
        authorized_keys=_joined(path, lineage, "authorized_keys"),
        match=tuple(
            MatchRule(**rule, source=f"{file}: match[{n}]") for n, rule in enumerate(folded["match"], 1)
        ),
        lineage=lineage,
        channel=_channel(file, folded.get("release", {}), complaints),
        promote_after_seconds=parse_span(folded.get("release", {}).get("promote_after", "")),
        hold=folded.get("gate", {}).get("hold", True),
        boot=folded.get("gate", {}).get("boot", False),
    )


def _channel(file: Path, table: Mapping[str, str], complaints: list[str]) -> str:
    """Where new releases of the profile go."""
    channel = table.get("channel", STABLE)
    if channel not in NAMES:
        complaints.append(f"{file}: release.channel: expected {' or '.join(NAMES)}, got {channel!r}")
    if "promote_after" in table and channel != CANARY:
        complaints.append(f'{file}: release.promote_after: only with channel = "{CANARY}"')
    return channel


def _has(folded: Mapping[str, Any], key: str) -> bool:
    value: Any = folded
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return bool(value)


def _stage(path: Path, table: Mapping[str, str]) -> StageSource:
    location = table["location"]
    if ":" not in location:
        location = str((path / location).resolve())
    return StageSource(
        location=location,
        sha256=table.get("sha256", "").lower(),
        digests=table.get("digests", ""),
        signature=table.get("signature", ""),
        keyring=(path / table["keyring"]).resolve() if table.get("keyring") else None,
    )


def _disk(file: Path, table: Mapping[str, Any], complaints: list[str]) -> DiskLayout:
    partitions = tuple(
        _partition(f"{file}: disk.partition[{n}]", entry, complaints)
        for n, entry in enumerate(table["partition"], 1)
    )
    names = [part.name for part in partitions]
    complaints += [
        f"{file}: disk.partition: {name} is there twice"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    rests = [part.name for part in partitions if part.size_bytes is None]
    if rests and (len(rests) > 1 or partitions[-1].size_bytes is not None):
        complaints.append(f'{file}: disk.partition: only the last one may have size = "rest"')
    if sum(part.mount == "/" for part in partitions) != 1:
        complaints.append(f'{file}: disk.partition: expected exactly one with mount = "/"')
    return DiskLayout(
        partitions=partitions,
        min_size_bytes=parse_size(table.get("min_size", "0")) or 0,
        transport=table.get("transport", ""),
        model=table.get("model", ""),
        serial=table.get("serial", ""),
    )


def _partition(where: str, entry: Mapping[str, str], complaints: list[str]) -> Partition:
    size = None if entry["size"] == "rest" else parse_size(entry["size"])
    if entry["size"] != "rest" and not size:
        complaints.append(f'{where}.size: expected a size such as "512 MiB" or "rest", got {entry["size"]!r}')
    if entry.get("filesystem", "") not in FILESYSTEMS:
        complaints.append(
            f"{where}.filesystem: expected {', '.join(filter(None, FILESYSTEMS))} or nothing, "
            f"got {entry['filesystem']!r}"
        )
    firmware = entry.get("firmware", "")
    if firmware not in ("", *(one.value for one in Firmware)):
        complaints.append(f"{where}.firmware: expected bios or uefi, got {firmware!r}")
        firmware = ""
    return Partition(
        name=entry["name"],
        size_bytes=size,
        filesystem=entry.get("filesystem", ""),
        mount=entry.get("mount", ""),
        firmware=Firmware(firmware) if firmware else None,
    )


def _check_rules(profiles: Mapping[str, Profile], complaints: list[str]) -> None:
    for profile in profiles.values():
        complaints += [
            f"{rule.source}: matches every machine, "
            f"expected at least one of mac, vendor, product, serial, uuid"
            for rule in profile.match
            if not rule.patterns
        ]


def _joined(path: Path, lineage: tuple[str, ...], name: str) -> str:
    files = [path / "profiles" / one / name for one in lineage]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def _world(path: Path, lineage: tuple[str, ...]) -> tuple[str, ...]:
    """The union of the world files, sorted; a line `-atom` takes an inherited atom away."""
    atoms: set[str] = set()
    for line in _joined(path, lineage, "world").splitlines():
        atom = line.partition("#")[0].strip()
        if atom.startswith("-"):
            atoms.discard(atom[1:])
        elif atom:
            atoms.add(atom)
    return tuple(sorted(atoms))


def _portage_files(path: Path, lineage: tuple[str, ...]) -> dict[str, bytes]:
    """Files of /etc/portage: a child's file replaces its parent's; make.conf is the parents' and its own."""
    files: dict[str, bytes] = {}
    for name in lineage:
        base = path / "profiles" / name / "portage"
        for file in sorted(one for one in base.rglob("*") if one.is_file()):
            relative = str(file.relative_to(base))
            before = files.get(relative, b"") if relative == "make.conf" else b""
            files[relative] = before + file.read_bytes()
    return files

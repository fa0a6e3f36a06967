"""The profiles of a site: each with what it inherits, and every mistake in them named."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.channels import CANARY, NAMES, STABLE
from appliance.client_settings import CLIENT, Following, read_canaries, read_client
from appliance.disk_profiles import KEYS, inherited_layout, read_disks
from appliance.kernel_choice import choose_kernel, kernel_config
from appliance.match_rules import MATCH, conditions, read_rule
from appliance.package_lines import is_checked, mistakes
from appliance.profile_model import AGENT, Cross
from appliance.schema import Keys, Kind, check, parse_span, read_text, read_toml
from appliance.site_cluster import FLAG_FILES, native_flags
from appliance.site_model import Profile, StageSource

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
        "cross": Kind.TEXT,
        "cross_stage": STAGE,
        "kernel": Keys(
            {"package": Kind.TEXT, "source": Kind.TEXT, "base": Kind.TEXT, "arguments": Kind.TEXT}
        ),
        "release": Keys(
            {
                "channel": Kind.TEXT,
                "promote_after": Kind.SPAN,
                "canary": Kind.AMOUNT,
                "report_within": Kind.SPAN,
            }
        ),
        "client": CLIENT,
        "gate": Keys(
            {
                "hold": Kind.BOOLEAN,
                "boot": Kind.BOOLEAN,
                "processor": Kind.BOOLEAN,
                "dispatched": Kind.WORDS,
            }
        ),
        **KEYS,
        "match": MATCH,
    }
)
NEEDED = ("arch", "chost", "profile", "stage.location", "kernel")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
PROFILE_FILES = frozenset({"profile.toml", "portage", "world", "kernel.config", "authorized_keys"})


def read_documents(path: Path, complaints: list[str]) -> dict[str, dict[str, Any]]:
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
        _check_lines(place, complaints)
        raw[place.name] = document
    if not raw:
        complaints.append(f"{path / 'profiles'}: no profile, expected at least one NAME/profile.toml")
    return raw


def _check_lines(place: Path, complaints: list[str]) -> None:
    """Name what Portage would pass over of a profile's atoms; bytes that are no text others name."""
    portage = sorted(one for one in (place / "portage").rglob("*") if one.is_file())
    for file in (place / "world", *portage):
        name = str(file.relative_to(place))
        if file.is_file() and is_checked(name):
            try:
                text = file.read_bytes().decode()
            except UnicodeDecodeError as bad:
                if name != "world":
                    complaints.append(f"{file}: byte {bad.start} is not UTF-8")
                continue
            complaints += [f"{file}:{line}: {said}" for line, said in mistakes(name, text)]


def read_profiles(
    path: Path, raw: Mapping[str, dict[str, Any]], complaints: list[str], *, root: Path
) -> dict[str, Profile]:
    """Each profile that is not abstract, with what it inherits from the documents of its parents.

    `root`: the directory whose files are read; what they name is relative to `path`.
    """
    profiles = {}
    for name, own in sorted(raw.items()):
        lineage = _lineage(path, name, raw, complaints)
        if lineage and not own.get("abstract", False):
            profile = _profile(path, name, lineage, raw, complaints, root=root)
            if profile:
                profiles[name] = profile
    _check_rules(profiles, complaints)
    return profiles


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
        folded = inherited_layout(folded, raw[name])
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
    *,
    root: Path,
) -> Profile | None:
    file = path / "profiles" / name / "profile.toml"
    folded = _fold(lineage, raw)
    parents = f" (nor in {', '.join(lineage[:-1])})" if lineage[:-1] else ""
    missing = [key for key in NEEDED if not _has(folded, key)]
    if not _has(folded, "disks") and not _has(folded, "disk.partition"):
        missing.append("disk.partition")
    complaints += [f"{file}: {key}: missing{parents}" for key in missing]
    if missing:
        return None
    if ":" not in folded["profile"]:
        complaints.append(f"{file}: profile: expected REPOSITORY:PATH, got {folded['profile']!r}")
    stage = _stage(path, folded["stage"])
    cross = _cross(file, folded, complaints)
    kernel = choose_kernel(root, lineage, folded["kernel"], complaints)
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
        kernel_config=kernel_config(root, lineage, complaints),
        portage=_portage_files(root, lineage),
        world=tuple(sorted({*_world(root, lineage, complaints), kernel.package})),
        disk=read_disks(file, folded, complaints),
        authorized_keys=_joined(root, lineage, "authorized_keys", complaints),
        match=tuple(
            read_rule(rule, f"{file}: match[{n}]", complaints) for n, rule in enumerate(folded["match"], 1)
        ),
        lineage=lineage,
        channel=_channel(file, folded.get("release", {}), complaints),
        promote_after_seconds=parse_span(folded.get("release", {}).get("promote_after", "")),
        cross=cross,
        cross_stage=_cross_stage(path, folded) if cross is Cross.EMULATED else None,
        hold=folded.get("gate", {}).get("hold", True),
        boot=folded.get("gate", {}).get("boot", False),
        processor=folded.get("gate", {}).get("processor", False),
        dispatched=tuple(folded.get("gate", {}).get("dispatched", ())),
        client=Following(
            read_client(folded.get("client", {}), file, complaints),
            read_canaries(folded.get("release", {}), file, complaints),
        ),
    )


def _channel(file: Path, table: Mapping[str, str], complaints: list[str]) -> str:
    """Where new releases of the profile go."""
    channel = table.get("channel", STABLE)
    if channel not in NAMES:
        complaints.append(f"{file}: release.channel: expected {' or '.join(NAMES)}, got {channel!r}")
    if "promote_after" in table and channel != CANARY:
        complaints.append(f'{file}: release.promote_after: only with channel = "{CANARY}"')
    return channel


def _cross(file: Path, folded: Mapping[str, Any], complaints: list[str]) -> Cross:
    """How the profile's packages are made when the farm's processor is another one."""
    ways = {way.value: way for way in (Cross.EMULATED, Cross.ROOT)}
    said = folded.get("cross")
    if said is not None and said not in ways:
        complaints.append(f"{file}: cross: expected {' or '.join(ways)}, or nothing, got {said!r}")
    way = ways.get(said, Cross.NATIVE)
    if "cross_stage" in folded and way is not Cross.EMULATED:
        complaints.append(
            f'{file}: cross_stage: only with cross = "emulated"; otherwise [stage] has the compiler'
        )
    return way


def _cross_stage(path: Path, folded: Mapping[str, Any]) -> StageSource:
    """Where the compiler of compile hosts is; without a word of it the reference stage that has one."""
    processor = folded["chost"].partition("-")[0]
    return _stage(path, folded.get("cross_stage", {"location": f"reference:cross:{processor}"}))


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


def _check_rules(profiles: Mapping[str, Profile], complaints: list[str]) -> None:
    for profile in profiles.values():
        complaints += [
            f"{rule.source}: matches every machine, expected a condition such as vendor, product, mac or pci"
            for rule in profile.match
            if not conditions(rule)
        ]


def _joined(path: Path, lineage: tuple[str, ...], name: str, complaints: list[str]) -> str:
    files = [path / "profiles" / one / name for one in lineage]
    return "".join(read_text(file, complaints) for file in files if file.is_file())


def _world(path: Path, lineage: tuple[str, ...], complaints: list[str]) -> tuple[str, ...]:
    """The union of the world files and the agent, sorted; a line `-atom` takes an inherited atom away."""
    atoms = {AGENT}
    for line in _joined(path, lineage, "world", complaints).splitlines():
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

"""What a medium offers: its profiles and releases as text, all that the planner there decides with. Pure.

Only what plan_install and choose read is written: a planner of a medium builds nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from appliance.disk_model import DiskLayout, DiskRole, Group, Luks, Partition, Raid, Subvolume, Table, Volume
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.match_rules import rule_fields, rule_of
from appliance.model import Firmware
from appliance.profile_model import Profile, StageSource

FORMAT = 2


@dataclass(frozen=True)
class Offer:
    """A profile, and the release of it that is on the medium."""

    profile: Profile
    release: Release


def listing(descriptions: Mapping[str, str]) -> str:
    """`NAME<TAB>DESCRIPTION` lines for a menu on a console: nothing in them steers a terminal."""
    return "".join(f"{name}\t{one_line(said)}\n" for name, said in descriptions.items())


def one_line(text: str) -> str:
    """Without ends of lines and what could steer a terminal. Blanks at the front stay."""
    return "".join(letter if letter.isprintable() else " " for letter in text).rstrip()


def write_offers(offers: Sequence[Offer]) -> str:
    """The text of distserver/profiles.json: the same offers give the same bytes; order is kept."""
    said = {"format": FORMAT, "offers": [_said(offer) for offer in offers]}
    return json.dumps(said, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def parse_offers(text: str) -> Mapping[str, Offer]:
    """By profile, in the order of the medium; what a planner does not need of a profile is empty.

    Raises Problem when it is not what write_offers() of this version writes.
    """
    try:
        said = json.loads(text)
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise Problem(
                "the medium's profiles are of another version of DistServer",
                hint="make the image again",
            )
        return {offer.profile.name: offer for offer in map(_read, said["offers"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as bad:
        raise Problem(f"the medium's profiles cannot be read: {type(bad).__name__}: {bad}") from bad


def _said(offer: Offer) -> dict[str, Any]:
    profile, release = offer.profile, offer.release
    return {
        "profile": {
            "name": profile.name,
            "description": profile.description,
            "arch": profile.arch,
            "kernel_arguments": profile.kernel_arguments,
            "disk": _plain(profile.disk),
            # Where the site lies is the server's business, and not the same everywhere.
            "match": [
                rule_fields(rule) | {"source": f"{profile.name}: match[{number}]"}
                for number, rule in enumerate(profile.match, 1)
            ],
        },
        "release": _texts(release),
    }


def _texts(one: Release) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _plain(one: Any) -> Any:
    """A layout as JSON has it."""
    if is_dataclass(one):
        return {field.name: _plain(getattr(one, field.name)) for field in fields(one)}
    if isinstance(one, Enum):
        return one.value
    return [_plain(each) for each in one] if isinstance(one, tuple) else one


def _layout(said: dict[str, Any]) -> DiskLayout:
    return DiskLayout(
        **_role(said)
        | {
            "others": tuple(DiskRole(**_role(one)) for one in said["others"]),
            "raids": tuple(
                Raid(**_holder(one) | {"members": tuple(one["members"])}) for one in said["raids"]
            ),
            "containers": tuple(Luks(**_holder(one)) for one in said["containers"]),
            "groups": tuple(
                Group(one["name"], tuple(one["members"]), tuple(Volume(**_holder(v)) for v in one["volumes"]))
                for one in said["groups"]
            ),
        }
    )


def _role(said: dict[str, Any]) -> dict[str, Any]:
    partitions = tuple(
        Partition(**_holder(part) | {"firmware": Firmware(part["firmware"]) if part["firmware"] else None})
        for part in said["partitions"]
    )
    return said | {"partitions": partitions, "table": Table(said["table"])}


def _holder(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"subvolumes": tuple(Subvolume(**one) for one in said["subvolumes"])}


def _read(said: dict[str, Any]) -> Offer:
    profile, disk = said["profile"], said["profile"]["disk"]
    layout = _layout(disk)
    rules = tuple(map(rule_of, profile["match"]))
    return Offer(
        Profile(
            **profile | {"disk": layout, "match": rules},
            chost="",
            portage_profile="",
            stage=StageSource(""),
            install_stage=StageSource(""),
            kernel_package="",
            kernel_config="",
            portage={},
            world=(),
        ),
        Release(**said["release"]),
    )

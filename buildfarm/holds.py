"""Which packages stay at an older version, since a new one fails or a person says so; tells Portage so."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from appliance.farm_model import Held, Mask, Package
from buildfarm.index import split_cpv
from buildfarm.portage import Installed

MASK = "etc/portage/package.mask"
OURS = "distserver-held"
PERSONS = "distserver-asked"
Content = bytes | PurePosixPath


def stand_ins(
    failed: Collection[str], installed: Sequence[Installed], packages: Iterable[Package]
) -> tuple[Held, ...]:
    """Other installed versions that may stay in the place of those that failed; empty unless for all.

    Their packages are among `packages`, those of the last commit that are in the pool: a fresh machine needs
    them, too. A version that is installed itself, and only had to be built in another way, has no stand-in:
    it would be masked with the other.
    """
    here = {one.cpv for one in installed}
    kept = {(one.cpv, one.build_id, int(one.built_at)) for one in packages}
    found = []
    for cpv in sorted(failed):
        name = split_cpv(cpv)[0]
        others = [one for one in installed if split_cpv(one.cpv)[0] == name]
        usable = [one for one in others if (one.cpv, one.build_id, one.build_time) in kept]
        if cpv in here or not usable:
            return ()
        found.append(Held(cpv, usable[-1].cpv))
    return tuple(found)


def with_masks(portage: Mapping[str, bytes], masks: Iterable[Mask]) -> dict[str, bytes]:
    """Files of /etc/portage by relative path, with what persons keep out of the profile masked."""
    lines = [
        f"# {mask.kind.value} of {mask.subject} by {plain(mask.who)}: {plain(mask.why) or 'no reason'}\n"
        + "".join(f"{atom}\n" for atom in mask.atoms)
        for mask in masks
    ]
    if not lines:
        return {**portage}
    name = MASK.rpartition("/")[2]
    own = portage.get(name)
    text = "".join(["# DistServer: kept out by a person.\n", *lines]).encode()
    if own is not None:
        return {**portage, name: own.rstrip(b"\n") + b"\n" + text}
    return {**portage, f"{name}/{PERSONS}": text}


def plain(text: str) -> str:
    """On one line, whatever stands in it: what comes after it is read by Portage."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def mask_files(configuration: Mapping[str, Content], held: Iterable[Held]) -> dict[str, Content]:
    """The configuration with a mask of the versions that are held back.

    Just these versions are masked, so that the next one is tried when it comes. package.mask may be one file
    or a directory of files (portage(5)); a profile has one or the other.
    """
    ordered = sorted(held, key=lambda one: one.cpv)
    lines = ["# DistServer: these versions do not build, what is installed stays.\n"]
    lines += [f"# {one.at} stays instead of\n={one.cpv}\n" for one in ordered]
    text = "".join(lines).encode() if ordered else b""
    own = configuration.get(MASK)
    if isinstance(own, bytes):
        return {**configuration, MASK: own.rstrip(b"\n") + b"\n" + text if text else own}
    return {**configuration, f"{MASK}/{OURS}": text} if text else {**configuration}

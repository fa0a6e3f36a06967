"""The resolved truth about ebuilds: whatever decides what a build of each would put into its package.

`settings.environ()` after `setcpv()` is what an ebuild sees, profile, make.conf, package.env and package.use
folded in. All of it counts, except what is known to be neutral: a variable that nobody here has heard of
costs a rebuild too many rather than one too few.
"""

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import portage  # type: ignore[import-not-found]
from portage.dep import Atom, match_from_list, use_reduce  # type: ignore[import-not-found]
from portage.exception import InvalidDependString  # type: ignore[import-not-found]
from portage.versions import _pkg_str  # type: ignore[import-not-found]

trees = portage.db[portage.root]
ebuilds = trees["porttree"].dbapi
settings = portage.config(clone=trees["vartree"].settings)

DEPENDENCIES = ("DEPEND", "BDEPEND", "RDEPEND", "PDEPEND", "IDEPEND")
METADATA = (
    "DEFINED_PHASES", "EAPI", "INHERITED", "IUSE", "KEYWORDS", "LICENSE", "PROPERTIES", "REQUIRED_USE",
    "RESTRICT", "SLOT", "SRC_URI", "repository", *DEPENDENCIES,
)  # fmt: skip
# Said by the ebuild and its eclasses, which are hashed, or made from USE, which is a part of its own.
DERIVED = """
    A AA ACCEPT_LICENSE BASH_FUNC____in_portage_iuse%% CATEGORY DESCRIPTION EAPI EBUILD FEATURES HOMEPAGE
    IUSE_EFFECTIVE IUSE_IMPLICIT P PF PKGUSE PN PORTAGE_FEATURES PORTAGE_IUSE PORTAGE_PROPERTIES
    PORTAGE_REPO_NAME PORTAGE_RESTRICT PORTAGE_USE PR PROFILE_ONLY_VARIABLES PV PVR USE USE_EXPAND
    USE_EXPAND_HIDDEN USE_EXPAND_IMPLICIT USE_EXPAND_UNPREFIXED USE_ORDER
"""
# Where things lie, who looks on, how much runs at once, what is fetched from where, which version is chosen.
NEUTRAL = """
    _ all_proxy ARCHLIST AUTOCLEAN BOOTSTRAP_USE CLEAN_DELAY COLORTERM COLUMNS COMMON_FLAGS DISPLAY DISTDIR
    ECLASSDIR EDITOR ENV_FILE ftp_proxy GENTOO_MIRRORS GOMAXPROCS GPG_AGENT_INFO HOME HOSTNAME http_proxy
    https_proxy INFOPATH LESS LESSOPEN LINES LOGNAME LS_COLORS MANPATH NO_COLOR no_proxy NOCOLOR O OLDPWD
    PAGER PATH PKG_LOGDIR PKG_TMPDIR PKGDIR PORT_LOGDIR PORTAGE_ACTUAL_DISTDIR PORTAGE_ARCHLIST
    PORTAGE_BIN_PATH PORTAGE_BINHOST PORTAGE_BUILD_GROUP PORTAGE_BUILD_USER PORTAGE_BUILDDIR
    PORTAGE_BUNZIP2_COMMAND PORTAGE_BZIP2_COMMAND PORTAGE_COLORMAP PORTAGE_CONFIGROOT PORTAGE_DEBUG
    PORTAGE_DEPCACHEDIR PORTAGE_ECLASS_LOCATIONS PORTAGE_FETCH_RESUME_MIN_SIZE PORTAGE_GID PORTAGE_GRPNAME
    PORTAGE_INTERNAL_CALLER PORTAGE_IPC_DAEMON PORTAGE_MODE PORTAGE_NICENESS PORTAGE_PYM_PATH
    PORTAGE_PYTHON PORTAGE_PYTHONPATH PORTAGE_QUIET PORTAGE_REPO_REVISIONS PORTAGE_REPOSITORIES
    PORTAGE_RO_DISTDIRS PORTAGE_SANDBOX_COMPAT_LEVEL PORTAGE_SOCKS5_PROXY PORTAGE_SYNC_STALE
    PORTAGE_TMPDIR PORTAGE_USERNAME PORTAGE_VERBOSE PORTAGE_WORKDIR_MODE PORTDIR PORTDIR_OVERLAY PWD
    QUICKPKG_DEFAULT_OPTS ROOTPATH rsync_proxy SHELL SHLVL SSH_AGENT_PID SSH_AUTH_SOCK STY SYNC TEMP TERM
    TERMCAP TMP TMPDIR UID USER WINDOW XAUTHORITY
"""
NEUTRAL_KINDS = re.compile(
    r"(ACCEPT_|BINPKG_|BINREPOS_|CCACHE_|CONFIG_PROTECT|DISTCC_|DISTSERVER_|EMERGE_|FETCH|GPG_VERIFY_|ICECC_|PORTAGE_BINPKG|"
    r"PORTAGE_ELOG_|PORTAGE_GPG_|PORTAGE_IONICE|PORTAGE_LOG|PORTAGE_RSYNC_|PORTAGE_SCHEDULING_|PORTAGE_SSH_|"
    r"PORTAGE_TRUST_|RESUME|SANDBOX_|UNINSTALL_|USE_EXPAND_VALUES_|__)|.*_DEFAULT_OPTS$"
)
PARALLEL = ("MAKEOPTS", "MAKEFLAGS", "GNUMAKEFLAGS", "NINJAOPTS", "NINJAFLAGS", "SAMUFLAGS")
# `-j4`, `-j 4`, `-l 3.5`, `--load-average=4`, `-Oline`: how make runs, not what it makes.
PACE = re.compile(
    r"(^|\s)(-[jl]\s*[0-9.]*|--jobs(=|\s+)?[0-9]*|--(max-load|load-average)((=|\s+)[0-9.]+)?"
    r"|-O\w*|--output-sync(=\w+)?|-k|-s|--silent|--quiet|--no-print-directory)(?=\s|$)"
)
# FEATURES that leave the image alone (make.conf(5), const.py of 3.0.83); any other counts.
IDLE_FEATURES = """
    assume-digests binpkg-ignore-signature binpkg-logs binpkg-multi-instance binpkg-request-signature
    binpkg-signing buildpkg buildpkg-live buildpkg-proactive buildsyspkg candy ccache cgroup clean-logs
    collision-protect compress-build-logs compress-index config-protect-if-modified digest distcc
    distlocks downgrade-backup ebuild-locks
    export-pms-vars fail-clean force-mirror getbinpkg gpg-keepalive
    home-dir-template-copy icecream ipc-sandbox jobserver-token keeptemp keepwork lmirror merge-sync
    merge-use-vdb merge-wait metadata-transfer mirror mount-sandbox multilib-strict network-sandbox
    network-sandbox-proxy news noauto noclean nodoc noinfo noman notitles observability parallel-fetch
    parallel-install pid-sandbox pkgdir-index-trusted preserve-libs protect-owned python-trace
    qa-unresolved-soname-deps sandbox sesandbox sign skiprocheck split-elog split-log strict stricter
    test-fail-continue unknown-features-filter unknown-features-warn unmerge-backup unmerge-logs
    unmerge-orphans unprivileged userfetch userpriv usersandbox usersync warn-on-large-env webrsync-gpg
"""
KERNEL_ECLASSES = frozenset(("kernel-build", "kernel-install"))
SLOT_OPERATOR = re.compile(r":[^\s:\[\]]*=")
UNHEARD = frozenset((*DERIVED.split(), *NEUTRAL.split(), *METADATA))
IDLE = frozenset(IDLE_FEATURES.split())


class Hashes:
    """sha256 of files, each read once in a call."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.folders: dict[str, dict[str, str]] = {}
        self.manifests: dict[str, dict[str, str]] = {}

    def file(self, path: str) -> str:
        if path not in self.known:
            with open(path, "rb") as source:  # noqa: PTH123
                self.known[path] = hashlib.sha256(source.read()).hexdigest()
        return self.known[path]

    def below(self, top: str) -> dict[str, str]:
        if top not in self.folders:
            self.folders[top] = {os.path.relpath(path, top): self.file(path) for path in files_below(top)}
        return self.folders[top]

    def distfiles(self, manifest: str) -> dict[str, str]:
        """Name -> the rest of its DIST line."""
        if manifest not in self.manifests:
            lines: list[list[str]] = []
            if os.path.exists(manifest):  # noqa: PTH110
                with open(manifest, encoding="utf-8", errors="replace") as source:  # noqa: PTH123
                    lines = [line.split(None, 2) for line in source if line.startswith("DIST ")]
            self.manifests[manifest] = {words[1]: words[2].strip() for words in lines if len(words) == 3}
        return self.manifests[manifest]


def files_below(top: str) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        folders.sort()
        yield from (path for name in sorted(names) if os.path.isfile(path := os.path.join(folder, name)))  # noqa: PTH113,PTH118


class Final:
    """What will be installed when all is done, to see which slots `:=` is going to be bound to."""

    def __init__(self, slots: Mapping[str, str]) -> None:
        self.by_name: dict[str, list[Any]] = {}
        for cpv, slot in sorted(slots.items()):
            one = _pkg_str(cpv, slot=slot)
            self.by_name.setdefault(one.cp, []).append(one)

    def best(self, atom: Any) -> Any:
        plain = atom.without_use if atom.use else atom
        found = match_from_list(plain, self.by_name.get(atom.cp, ()))
        return portage.best(found) and next(one for one in found if one == portage.best(found))


def atoms(text: str, use: frozenset[str], eapi: str) -> Iterator[Any]:
    try:
        found = use_reduce(text, uselist=use, eapi=eapi, flat=True, token_class=Atom)
    except InvalidDependString:
        return
    yield from (one for one in found if isinstance(one, Atom) and not one.blocker)


def bound(metadata: Mapping[str, str], use: frozenset[str], final: Final) -> Iterator[tuple[str, str]]:
    """(atom, slot it will be bound to) of every `:=` that something installed satisfies."""
    for name in DEPENDENCIES:
        if not SLOT_OPERATOR.search(metadata[name]):
            continue
        for atom in atoms(metadata[name], use, metadata["EAPI"]):
            if atom.slot_operator == "=" and (match := final.best(atom)):
                yield f"slot {atom.without_use if atom.use else atom}", f"{match.slot}/{match.sub_slot}"


def needs(metadata: Mapping[str, str], names: Iterable[str], use: frozenset[str], final: Final) -> list[str]:
    """What of the final state these dependencies mean."""
    wanted = (atom for name in names for atom in atoms(metadata[name], use, metadata["EAPI"]))
    return sorted({str(match) for atom in wanted if (match := final.best(atom))})


def variables(own: Any) -> Iterator[tuple[str, str]]:
    """What the ebuild will see, without what cannot change its package."""
    expanded = set(own.get("USE_EXPAND", "").split()) - {"LINGUAS"}
    # What packages leave in /etc/env.d comes and goes with the root; strict keys count the packages.
    layers = [layer for name, layer in own.configdict.items() if name != "env.d"]
    passing = {name for name in own.configdict["env.d"] if not any(name in layer for layer in layers)}
    # Older releases leave the default to ecompress.
    seen = {"PORTAGE_COMPRESS": "bzip2", **own.environ()}
    for name, value in sorted(seen.items()):
        if name in UNHEARD or name in expanded or name in passing or NEUTRAL_KINDS.match(name):
            continue
        plain = " ".join((PACE.sub(" ", value) if name in PARALLEL else value).split())
        if plain:
            yield f"variable {name}", plain


def patches(place: str, metadata: Mapping[str, str], cpv: Any) -> Iterator[tuple[str, str]]:
    """User patches that eapply_user would apply (portage(5), /etc/portage/patches)."""
    slot = metadata["SLOT"].partition("/")[0]
    name, version, revision = portage.pkgsplit(cpv)
    stems = (f"{name}-{version}-{revision}", f"{name}-{version}", name)
    for folder in (f"{stem}{suffix}" for stem in stems for suffix in ("", f":{slot}")):
        for path in files_below(os.path.join(place, folder)):  # noqa: PTH118
            if path.endswith((".patch", ".diff")):
                yield f"patch {os.path.relpath(path, place)}", path


def scripts(own: Any, user: str, bashrc: str, metadata: Mapping[str, str], cpv: Any) -> Iterator[str]:
    """Shell texts that are sourced into a build of this package (portage(5): bashrc, package.bashrc, env)."""
    resolved = getattr(own, "_pbashrc", None)
    if resolved is None:  # another Portage: whatever there is counts for every package
        for profile in own.profiles:
            for name in ("profile.bashrc", "package.bashrc", "bashrc"):
                path = os.path.join(profile, name)  # noqa: PTH118
                yield from [path] if os.path.isfile(path) else files_below(path)  # noqa: PTH113
    else:
        yield from resolved
    yield bashrc
    category, full = str(cpv).split("/")
    name, version, _ = portage.pkgsplit(cpv)
    name = name.partition("/")[2]
    slot = metadata["SLOT"].partition("/")[0]
    for hook in (name, f"{name}:{slot}", f"{name}-{version}", full):
        yield os.path.join(user, "env", category, hook)  # noqa: PTH118


@functools.cache
def read_metadata(cpv: str, tree: str | None) -> dict[str, str]:
    """Empty for an ebuild that Portage cannot read, such as one of an EAPI to come."""
    try:
        return dict(zip(METADATA, ebuilds.aux_get(cpv, list(METADATA), mytree=tree), strict=True))
    except KeyError:
        return {}


def recipe(
    cpv: str, repository: str, *, hashes: Hashes, final: Final, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    ebuild, tree = ebuilds.findname2(cpv, myrepo=repository or None)
    metadata = read_metadata(cpv, tree) if ebuild else {}
    if not metadata:
        return {}
    settings.setcpv(cpv, mydb=metadata)
    use = frozenset(settings["PORTAGE_USE"].split())
    home = os.path.dirname(ebuild)  # noqa: PTH120
    inherited = metadata["INHERITED"].split()
    repo = ebuilds.repositories.get_repo_for_location(tree)
    listed = hashes.distfiles(os.path.join(home, "Manifest"))  # noqa: PTH118
    fetched = ebuilds.getFetchMap(cpv, useflags=use, mytree=tree) if metadata["SRC_URI"] else ()
    features = sorted(set(settings["FEATURES"].split()) - IDLE)
    user = os.path.join(settings["PORTAGE_CONFIGROOT"], "etc/portage")  # noqa: PTH118
    bashrc = os.path.join(user, arguments.get("bashrc", "bashrc"))  # noqa: PTH118
    sourced = scripts(settings, user, bashrc, metadata, cpv)
    parts = {
        "repository": metadata["repository"],
        "EAPI": metadata["EAPI"],
        "ebuild": hashes.file(ebuild),
        "USE": " ".join(sorted(use)),
        "FEATURES": " ".join(features),
        **{f"eclass {n}": hashes.file(repo.eclass_db.eclasses[n].location) for n in inherited},
        **{f"file {n}": s for n, s in hashes.below(os.path.join(home, "files")).items()},  # noqa: PTH118
        **{f"distfile {name}": listed[name] for name in fetched if name in listed},
        **{f"script {p}": hashes.file(p) for p in sourced if os.path.isfile(p)},  # noqa: PTH113
        **{n: hashes.file(p) for n, p in patches(os.path.join(user, "patches"), metadata, cpv)},  # noqa: PTH118
        **dict(variables(settings)),
        **dict(bound(metadata, use, final)),
    }
    strict = arguments.get("strict", False)
    return {
        "parts": parts,
        "kernel": cpv.startswith("sys-kernel/") or not KERNEL_ECLASSES.isdisjoint(inherited),
        "needs": needs(metadata, ("DEPEND", "BDEPEND"), use, final) if strict else [],
        "runs": needs(metadata, ("RDEPEND", "IDEPEND"), use, final) if strict else [],
    }


def slots_of(wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for cpv, repository in wanted:
        ebuild, tree = ebuilds.findname2(cpv, myrepo=repository or None)
        metadata = read_metadata(cpv, tree) if ebuild else {}
        if metadata:
            yield cpv, metadata["SLOT"]


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`cpvs`: `category/name-1` or `category/name-1::repository`; `final`: cpv -> slot of what will be there
    (none: what is asked); `strict`: also tell dependencies; `bashrc`: the profile's own below /etc/portage.

    Gives cpv -> parts, kernel, needs, runs; an ebuild that is not there is empty.
    """
    wanted = [name.partition("::")[::2] for name in arguments["cpvs"]]
    slots = arguments.get("final") or dict(slots_of(wanted))
    hashes, final = Hashes(), Final(slots)
    return {
        cpv: recipe(cpv, repository, hashes=hashes, final=final, arguments=arguments)
        for cpv, repository in wanted
    }

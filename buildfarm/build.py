"""Builds a profile and publishes it as a release, or says why not."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance import kernel_choice
from appliance.farm_model import FailureKind, Held, Origin, Package, Release
from appliance.install import STORAGE
from appliance.model import Tree
from appliance.profile_model import AGENT, Cross
from appliance.site_model import Profile, Site
from buildfarm import (
    bases,
    client_package,
    crossing,
    gate,
    harvest,
    index,
    kernel,
    kernel_configs,
    machine_portage,
    open_firmware,
    outcome,
    portage,
    processor_gate,
    release,
    reuse,
    root,
)
from buildfarm.boot_files import sign_boot_files
from buildfarm.compiling import Compiled, WrongObjects, compile_profile, made_of, recall
from buildfarm.failures import Failure, classify_resolver
from buildfarm.inspection import Inspector
from buildfarm.installer import has_programs
from buildfarm.kernel import Kernel
from buildfarm.manifest import Manifest
from buildfarm.order import Order, PackageLedger, Progress, Report, Tools, take_order
from buildfarm.outcome import Outcome
from buildfarm.pool import Pool
from buildfarm.preparing import build_sandbox, laid_files
from buildfarm.resolution import Question
from buildfarm.root import Attempt
from buildfarm.signing import Signer
from buildfarm.site_keys import SiteKeys
from buildfarm.space import full_disk_is_a_problem
from buildfarm.tarball import Member, write_tar
from buildfarm.trial import Offer, Trials

__all__ = ["BuildResult", "Failure", "PackageLedger", "Progress", "Tools", "build_profile"]


@dataclass(frozen=True)
class BuildResult:
    """Either a release or the reasons why there is none."""

    release: Release | None
    reasons: tuple[str, ...] = ()
    fresh: bool = False
    """Sealed by this build; False: the same content had been published already."""
    built: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    """Of the packages of the release; a reused one's profile is empty where the ledger does not know it."""
    failed: tuple[Failure, ...] = ()
    held: tuple[Held, ...] = ()
    """What the release leaves at an older version."""
    cause: FailureKind | None = None
    """Why emerge gave up when it was no package's fault."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Build keys of everything that was wanted."""
    questions: tuple[Question, ...] | None = None
    """What the resolver noted and could go on with; None: it was not asked."""
    logs: Path | None = None


def build_profile(
    site: Site,
    profile: Profile,
    tree: Tree,
    packages: PackageLedger,
    progress: Report,
    *,
    tools: Tools | None = None,
) -> BuildResult:
    """Build what is missing and publish it when the gate has no objection.

    The root and all releases stay as they were unless everything went well. Packages that were finished are
    kept in any case, also those of a build that was killed, so the next call goes on from there. Raises
    Problem when the profile cannot be built at all: an unknown atom, no stage, a build under way.
    """
    own = root.Root(tree.room("roots").resolve() / profile.name)
    with own.lock(), full_disk_is_a_problem(tree.path):
        if left := own.leftover():
            kept = harvest.gather(left, Pool(tree.room("pool").resolve()), packages)
            progress(Progress("packages", f"kept {len(kept)} packages of an interrupted build"))
        tools = tools or Tools()
        order = take_order(site, profile, tree, ledger=packages, report=progress, tools=tools)
        identity = made_of(order)
        known = _known_outcome(order, own, identity)
        attempt = own.begin(order.build_stage.sha256)
        try:
            compiled = recall(known) if known else None
            if compiled is None:
                order, compiled = compile_profile(order, attempt, _packages_before(own))
        except WrongObjects as wrong:
            progress(Progress("cluster", f"building again without compile hosts: {wrong}", status="failed"))
            own.discard()
            order, attempt = order.without_hosts(), own.begin(order.build_stage.sha256)
            order, compiled = compile_profile(order, attempt, _packages_before(own))
        result = _publish(order, attempt, compiled)
        if result.release and not known:
            own.commit()
            _remember(order, own, made_of(order), compiled)
        else:
            own.discard()
        return result


def _known_outcome(order: Order, own: root.Root, identity: str) -> Outcome | None:
    """What is in the root already when it, or another profile's, is made of just the same things."""
    others = outcome.others(own)
    known = outcome.read(own)
    if known is None or known.identity != identity:
        twin = outcome.twin(others, identity)
        if twin is None:
            files = outcome.digests(laid_files(order))
            near = None if own.head() else outcome.nearest(others, files, order.build_stage.sha256)
            if near and own.seed(near):
                order.report(Progress("root", f"starts from that of {near.path.name}", status="done"))
            return None
        own.follow(twin)
        order.report(Progress("root", f"is the same as that of {twin.path.name}", status="done"))
        known = others[twin]
        outcome.write(known, own)
    whole = all(order.pool.whole(package.sha256, package.size_bytes) for package in known.packages)
    return known if whole else None


def _packages_before(own: root.Root) -> tuple[Package, ...]:
    known = outcome.read(own)
    return known.packages if known else ()


def _remember(order: Order, own: root.Root, identity: str, compiled: Compiled) -> None:
    head = own.head()
    assert head
    files = outcome.digests(laid_files(order))
    outcome.write(Outcome(identity, head.layers, files, compiled.state, compiled.packages), own)


def _publish(order: Order, attempt: Attempt, compiled: Compiled) -> BuildResult:
    done = BuildResult(
        release=None,
        built=tuple(package.cpv for package in compiled.built),
        reused=tuple(package.cpv for package in compiled.reused),
        failed=(*compiled.failures, *compiled.earlier),
        cause=_cause(compiled),
        held=order.held,
        keys=compiled.keys,
        questions=compiled.questions,
        logs=order.logs,
    )
    damaged = harvest.condemn_damaged(order.pool, order.ledger, compiled.packages)
    image = _kernel(order, attempt, [package for package in compiled.packages if package not in damaged])
    findings = _findings(order, compiled, damaged, image=image is not None)
    reasons = gate.root_reasons(findings)
    if order.profile.cross is not Cross.NATIVE:
        reasons += crossing.foreign_files(compiled.packages, order.pool, order.profile.chost)
    if image:
        reasons += _objections(order, image, compiled.packages)
        reasons += kernel.disk_objections(order.profile.disk, image, arch=order.profile.arch)
    reasons += processor_gate.reasons(order, compiled.packages) if not reasons else []
    if reasons:
        return _refused(order, done, [*_causes(compiled), *reasons])
    listing = index.make(compiled.state.header, compiled.packages)
    content = _content(order, attempt, compiled, listing)
    sizes = {name: path.stat().st_size if path.exists() else None for name, path in content.files.items()}
    if missing := gate.file_reasons(sizes):
        return _refused(order, done, missing)
    wanted = release.describe(content, order.started)
    inspector = Inspector(order.pool, Signer(order.tree.room("keys")))
    sealed = release.find(order.tree.room("releases"), wanted, inspector)
    if sealed is None:
        reasons = _try(order, content, wanted, listing) or _rehearse(order, content, wanted, inspector)
        if reasons:
            return _refused(order, done, reasons)
        sealed = release.seal(content, wanted, releases=order.tree.room("releases"), inspector=inspector)
        saved = reuse.saved_seconds(compiled.packages, built={one.sha256 for one in compiled.built})
        said = f"{sealed.id}, packages that were there already saved {saved:.0f} s of building"
        order.report(Progress("release", said, status="done"))
    else:
        order.report(Progress("release", f"nothing to do, {sealed.id} is the same"))
    built = {one.sha256 for one in compiled.built}
    origins = reuse.origins(order.profile.name, compiled.packages, built=built)
    return replace(done, release=release.summary(sealed), fresh=sealed == wanted, origins=origins)


def _cause(compiled: Compiled) -> FailureKind | None:
    if compiled.status == 0 or compiled.failures:
        return None
    return classify_resolver(compiled.output).kind


def _causes(compiled: Compiled) -> list[str]:
    """What a person wants to read first: which packages failed, or what emerge itself complained of."""
    if compiled.status != 0 and not compiled.failures:
        return [portage.explain(compiled.output)]
    return [f"{failure.package} {failure}" for failure in compiled.failures]


def _refused(order: Order, done: BuildResult, reasons: list[str]) -> BuildResult:
    order.report(Progress("gate", "; ".join(reasons), status="failed"))
    return replace(done, reasons=tuple(reasons))


def _findings(order: Order, compiled: Compiled, damaged: Sequence[Package], *, image: bool) -> gate.Findings:
    return gate.Findings(
        status=compiled.status,
        ended_well=compiled.ended_well,
        remaining=compiled.remaining,
        installed=compiled.state.installed,
        packages=compiled.packages,
        atoms={**compiled.state.system, **compiled.state.world},
        chost=order.profile.chost,
        damaged=tuple(package.cpv for package in damaged),
        kernel=image,
        preserved=compiled.state.preserved,
    )


def _out(attempt: Attempt) -> Path:
    """Where the small files of the release are made; they are hard-linked into it."""
    place = attempt.path / "release"
    place.mkdir(exist_ok=True)
    return place


def _kernel(order: Order, attempt: Attempt, packages: Sequence[Package]) -> Kernel | None:
    """Extract the kernel of the profile's kernel package."""
    found = kernel.choose(packages, order.profile.kernel_package)
    if found is None:
        return None
    image = kernel.extract_kernel(order.pool.file(found.sha256), _out(attempt) / "kernel")
    kernel_configs.keep(order.tree.room(kernel_configs.ROOM), found.sha256, image.config)
    return image


def _objections(order: Order, image: Kernel, packages: Sequence[Package]) -> list[str]:
    """Options of the profile's kernel.config that its kernel lacks; its sources may say why."""
    profile = order.profile
    found = kernel.objections(profile.kernel_config, image, arch=profile.arch, kconfigs={})
    if not found:
        return []
    names = (profile.kernel_package, kernel_choice.atom_name(profile.kernel_source))
    sources = [order.pool.file(one.sha256) for name in names if (one := kernel.choose(packages, name))]
    kconfigs = kernel.read_kconfigs(sources)
    return kernel.objections(profile.kernel_config, image, arch=profile.arch, kconfigs=kconfigs)


def _content(order: Order, attempt: Attempt, compiled: Compiled, listing: str) -> release.Content:
    out = _out(attempt)
    (out / "Packages").write_text(listing)
    protected = bases.protection(compiled.state.header)
    found = bases.Store(order.tree.room("etc-base")).gather(compiled.packages, order.pool, protected)
    (out / "bases").write_text(bases.write(found))
    write_tar(_members(order.configuration), out / "portage.tar")
    _make_machine_portage(order, out / machine_portage.FILE)
    write_tar(_client_files(order), out / "client.tar")
    public_key = Signer(order.tree.room("keys")).public_keyring().read_bytes()
    shelf = order.tree.room("installers")
    keys = _site_keys(order)
    signed = _signed(order, keys, out) if keys else {}
    enrolment = keys.enrolment() if keys and order.site.secure_boot.enroll else {}
    with root.view(build_sandbox(order, attempt)) as merged:
        source, target = order.build_stage.root, merged
        if order.target:
            # The build stage runs on this processor; what is installed runs on the machine's.
            source, target = order.install_stage.root, merged / order.target.relative_to("/")
        if order.target and not has_programs(source):
            order.tools.make_small_installer(target, out / "installer")
        else:
            order.tools.make_installer(source, target, public_key, out / "installer", shelf, enrolment)
        if order.profile.disk.needs_programs:
            order.tools.make_storage(source, target, out / STORAGE)
            signed = {**signed, STORAGE: out / STORAGE}
    names = ("Packages", "bases", "client.tar", "installer", "kernel", machine_portage.FILE, "portage.tar")
    return release.Content(
        profile=order.profile.name,
        arch=order.profile.arch,
        snapshot=" ".join(f"{one.repository}:{one.revision}" for one in order.snapshots),
        files={
            **{name: out / name for name in names},
            **signed,
            **_open_firmware(order, out),
            "stage": release.stage_archive(order.install_stage.archive),
            **{release.tree_file(one.repository): one.image for one in order.snapshots},
        },
        packages=compiled.packages,
    )


def _open_firmware(order: Order, out: Path) -> Mapping[str, Path]:
    """What SPARC machines load by TFTP besides: kernel and installer in one, by its name in the release."""
    if order.profile.arch != "sparc":
        return {}
    kernel, installer = ((out / name).read_bytes() for name in ("kernel", "installer"))
    (out / release.OPEN_FIRMWARE).write_bytes(open_firmware.image(kernel, installer))
    return {release.OPEN_FIRMWARE: out / release.OPEN_FIRMWARE}


def _make_machine_portage(order: Order, image: Path) -> None:
    stage, compiles = order.install_stage.root, order.profile.client.policy.compile
    members = machine_portage.files(order.configuration, stage, order.snapshots, compiles=compiles)
    machine_portage.make(members, image)


def _site_keys(order: Order) -> SiteKeys | None:
    """The site's Secure Boot keys, when it has some and wants them used."""
    keys = SiteKeys.below(order.tree)
    return keys if order.site.secure_boot.enabled and keys.exist else None


def _signed(order: Order, keys: SiteKeys, out: Path) -> Mapping[str, Path]:
    """What a release has besides for Secure Boot, by its names there."""
    found = sign_boot_files(keys, out / "kernel", out, shim=order.site.secure_boot.shim)
    if isinstance(found, str):
        order.report(Progress("release", f"not signed for Secure Boot: {found}"))
        return {}
    return found


def _client_files(order: Order) -> dict[str, Member]:
    """What is laid over an installed machine besides its packages: whom it trusts, and who may log in."""
    profile = order.profile
    files = client_package.left_over() if AGENT in profile.world else client_package.without_agent()
    if AGENT in profile.world:
        files |= client_package.door_files(order.site, order.tree)
    if profile.authorized_keys:
        files["root/.ssh/authorized_keys"] = Member(profile.authorized_keys.encode())
    return files


def _members(configuration: Mapping[str, root.Content]) -> dict[str, Member]:
    return {name: Member(content) for name, content in configuration.items()}


def _try(order: Order, content: release.Content, wanted: Manifest, listing: str) -> list[str]:
    """Install a fresh machine, then update one at each release that is still used."""
    offer = Offer(
        stage=order.build_stage.root if order.target else order.install_stage.root,
        stage_sha256=next(item.sha256 for item in wanted.files if item.name == "stage"),
        snapshots=order.snapshots,
        configuration=order.configuration,
        index=listing,
        pool=order.pool.path,
        target=order.target,
    )
    trials = Trials(order.tree.room("trials").resolve())
    log = order.logs / "client.out"
    order.report(Progress("gate", "installing a fresh machine from the index", status="begin"))
    client = trials.fresh(offer, log)
    reasons = gate.client_reasons(client, content.packages)
    for live in order.tools.live_releases(order.profile.name) if not reasons else ():
        order.report(Progress("gate", f"updating a machine at release {live.name}"))
        reasons += gate.client_reasons(trials.over(live, offer, log), content.packages)
    if not reasons:
        order.report(Progress("gate", f"{len(client.installed)} packages installed", status="done"))
    return reasons


def _rehearse(order: Order, content: release.Content, wanted: Manifest, inspector: Inspector) -> list[str]:
    """Let a virtual machine install and boot the candidate when the profile asks for it; once is enough."""
    passed = order.tree.room("rehearsals") / f"{wanted.content}.passed"
    if not order.profile.boot or order.tools.rehearse is None or passed.exists():
        return []
    order.report(Progress("gate", "a virtual machine installs and boots it", status="begin"))
    stage = Tree(order.tree.path / "rehearsals" / order.profile.name)
    shutil.rmtree(stage.path, ignore_errors=True)
    try:
        sealed = release.seal(content, wanted, releases=stage.room("releases"), inspector=inspector)
        reason = order.tools.rehearse(stage, release.summary(sealed))
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    if not reason:
        passed.touch()
    return [reason] if reason else []

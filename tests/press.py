"""Small releases of made-up packages, sealed and published as the farm does it."""

import gzip
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.channels import Channels
from appliance.desks.releases import ReleaseDesk
from appliance.farm_model import Origin, Package, Release
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.store import Store
from buildfarm import bases, index, release
from buildfarm.cpio import cpio, file
from buildfarm.inspection import Inspector
from buildfarm.on_medium import FINDS_MEDIA
from buildfarm.pool import Pool
from buildfarm.signing import Notary
from buildfarm.tarball import Member, write_tar
from tests.clock import Clock

START = 1795337807.0
HOUR = 3600.0


@dataclass
class Press:
    """A state directory; `site` is a site directory whose profiles are published for."""

    tree: Tree
    site: Path
    notary: Notary
    clock: Clock = field(default_factory=lambda: Clock(START))

    def store(self) -> Store:
        return Store(self.tree.store)

    def channels(self) -> Channels:
        return Channels(self.tree.path / "channels", self.notary.signed_text)

    def desk(self) -> ReleaseDesk:
        """With a store of its own: as another process would have it."""
        return ReleaseDesk(
            LiveSite(self.site), self.tree, self.store(),
            channels=self.channels(), notary=self.notary, clock=self.clock,
        )  # fmt: skip

    def pool(self) -> Pool:
        return Pool(self.tree.room("pool"))

    def package(self, cpv: str, content: bytes, build_id: int = 1) -> Package:
        """Bytes in the pool that are a package by name only."""
        sha256 = hashlib.sha256(content).hexdigest()
        place = self.pool().file(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(".part")
        part.write_bytes(content)
        os.utime(part, (self.clock.now, self.clock.now))
        part.rename(place)
        entry = {"CPV": cpv, "BUILD_ID": str(build_id), "SHA256": sha256, "SIZE": str(len(content))}
        text = index.write_paragraph(entry)
        return Package(sha256, cpv, build_id, len(content), "key", self.clock.now, text)

    def content(
        self,
        packages: tuple[Package, ...],
        *,
        profile: str = "vm",
        kernel: bytes = b"kernel",
        configuration: Mapping[str, bytes] | None = None,
        tree: bytes = b"tree",
    ) -> release.Content:
        out = (
            self.tree.room("made")
            / hashlib.sha256(repr((packages, profile, kernel, tree)).encode()).hexdigest()
        )
        out.mkdir(exist_ok=True)
        files = configuration or {"var/lib/portage/world": b"app-misc/a\n"}
        write_tar({name: Member(text) for name, text in files.items()}, out / "portage.tar")
        (out / "Packages").write_text(index.make({"CHOST": "x86_64-pc-linux-gnu"}, packages))
        (out / "kernel").write_bytes(kernel)
        (out / "tree-gentoo.sqfs").write_bytes(tree)
        (out / "installer").write_bytes(gzip.compress(cpio([file(FINDS_MEDIA, b"")]), mtime=0))
        names = (*release.FILES, "tree-gentoo.sqfs")
        for name in names:
            if not (out / name).exists():
                (out / name).write_text(name)
        (out / "bases").write_text(bases.write(self._base(package) for package in packages))
        revision = hashlib.sha256(tree).hexdigest()[:12]
        paths = {name: out / name for name in names}
        return release.Content(profile, "amd64", f"gentoo:{revision}", paths, packages)

    def seal(self, content: release.Content) -> Release:
        inspector = Inspector(self.pool(), self.notary)
        wanted = release.describe(content, self.clock.now)
        releases = self.tree.room("releases")
        sealed = release.seal(content, wanted, releases=releases, inspector=inspector)
        os.utime(releases / sealed.id, (self.clock.now, self.clock.now))
        return release.summary(sealed)

    def _base(self, package: Package) -> bases.Base:
        """The one configuration file of a made-up package."""
        text = f"# {package.cpv} {package.sha256}\n".encode()
        sha256 = hashlib.sha256(text).hexdigest()
        place = self.tree.room("etc-base") / sha256
        part = place.with_name(f".part-{sha256}")
        part.write_bytes(text)
        os.utime(part, (self.clock.now, self.clock.now))
        part.rename(place)
        name = package.cpv.replace("/", "-")
        return bases.Base(f"/etc/{name}.conf", f"{package.cpv}-{package.build_id}", sha256)

    def release(self, *contents: bytes, profile: str = "vm", kernel: bytes = b"kernel") -> Release:
        """A sealed release of app-misc/a, app-misc/b ... with the given bytes."""
        packages = tuple(
            self.package(f"app-misc/{letter}-1", content)
            for letter, content in zip("abcdefgh", contents, strict=False)
        )
        return self.seal(self.content(packages, profile=profile, kernel=kernel))

    def published(self, *contents: bytes, profile: str = "vm") -> Release:
        """A release of an hour later than the last, published."""
        self.clock.now += HOUR
        sealed = self.release(*contents, profile=profile)
        self.desk().publish(sealed)
        return sealed


def origins_of(packages: tuple[Package, ...], origin: str, profile: str) -> list[Origin]:
    return [Origin(one.sha256, one.cpv, origin, profile) for one in packages]

"""Stages over HTTP with real signatures: what is right gets in, anything else leaves nothing behind."""

import hashlib
import http.server
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import run
from appliance.sandbox import Overlay, Sandbox
from appliance.site_model import StageSource
from buildfarm.stage import Stage, acquire

NAME = "stage3-test.tar.xz"


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a directory; `cut` bytes are missing at the end of archives, though announced."""

    cut = 0

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        content = source.read()
        outputfile.write(content[: len(content) - self.cut] if self.path.endswith(".xz") else content)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Keys:
    """A throw-away GnuPG home with one signing key, and its public half as a keyring file."""

    home: Path
    keyring: Path

    def sign(self, mode: str, file: Path, to: Path) -> None:
        gpg = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--armor", "--output", str(to)]
        run([*gpg, f"--{mode}", file])


def make_keys(name: str) -> Keys:
    home = Path(tempfile.mkdtemp(prefix="gnupg-"))
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    run([*gpg, "--quick-generate-key", f"{name} <{name}@example>", "ed25519", "sign", "never"])
    run([*gpg, "--armor", "--output", str(home / "keyring.asc"), "--export"])
    return Keys(home, home / "keyring.asc")


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[Keys, Keys]]:
    """The mirror's key, and that of somebody else."""
    both = make_keys("mirror"), make_keys("stranger")
    yield both
    for each in both:
        run(["gpgconf", "--homedir", each.home, "--kill", "all"])
        shutil.rmtree(each.home, ignore_errors=True)  # its agent takes its sockets away meanwhile


@dataclass(frozen=True)
class Scene:
    place: Path
    url: str
    tree: Tree
    keys: Keys
    stranger: Keys
    handler: type[Mirror]

    @property
    def archive(self) -> Path:
        return self.place / NAME

    @property
    def source(self) -> StageSource:
        return StageSource(f"{self.url}/{NAME}", keyring=self.keys.keyring)

    def write_digests(self, *, sha512: str = "", signer: Keys | None = None) -> None:
        content = self.archive.read_bytes()
        plain = self.place / "digests"
        plain.write_text(
            f"# BLAKE2B HASH\n{hashlib.blake2b(content).hexdigest()}  {NAME}\n"
            f"# SHA512 HASH\n{sha512 or hashlib.sha512(content).hexdigest()}  {NAME}\n"
        )
        if signer:
            signer.sign("clear-sign", plain, self.place / f"{NAME}.DIGESTS")
        else:
            shutil.copy(plain, self.place / f"{NAME}.DIGESTS")

    def acquire(self, source: StageSource | None = None) -> Stage:
        return acquire(source or self.source, self.tree, lambda _: None)

    def refused(self, words: str, source: StageSource | None = None) -> None:
        with pytest.raises(Problem, match=words):
            self.acquire(source)
        assert [path.name for path in self.tree.room("stages").iterdir()] in ([], [".stage.lock"])


@pytest.fixture
def scene(tmp_path: Path, keys: tuple[Keys, Keys]) -> Iterator[Scene]:
    place = tmp_path / "mirror"
    (tmp_path / "content/etc").mkdir(parents=True)
    (tmp_path / "content/etc/hostname").write_text("stage\n")
    (tmp_path / "content/etc/noise").write_bytes(hashlib.shake_256(b"noise").digest(100_000))
    place.mkdir()
    with tarfile.open(place / NAME, "w:xz") as tar:
        tar.add(tmp_path / "content", ".")
    handler = type("Handler", (Mirror,), {})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: handler(*a, directory=str(place))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield Scene(place, url, Tree(tmp_path / "state"), keys[0], keys[1], handler)
        server.shutdown()


def test_a_clearsigned_stage_is_fetched_once_and_unpacked(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    stage = scene.acquire()
    assert stage.sha256 == hashlib.sha256(scene.archive.read_bytes()).hexdigest()
    assert (stage.root / "etc/hostname").read_text() == "stage\n"
    assert stage.archive.read_bytes() == scene.archive.read_bytes()
    scene.archive.unlink()
    assert scene.acquire() == stage


def test_plain_digests_need_a_signature_of_the_archive(scene: Scene) -> None:
    scene.write_digests()
    scene.refused(r"cannot fetch .*\.asc")
    scene.keys.sign("detach-sign", scene.archive, scene.place / f"{NAME}.asc")
    assert (scene.acquire().root / "etc/hostname").exists()


def test_a_binary_keyring_serves_as_well(scene: Scene, tmp_path: Path) -> None:
    scene.write_digests(signer=scene.keys)
    binary = tmp_path / "keyring.gpg"
    run(["gpg", "--homedir", scene.keys.home, "--batch", "--output", binary, "--export"])
    assert (scene.acquire(replace(scene.source, keyring=binary)).root / "etc/hostname").exists()


def test_a_wrong_digest_is_refused(scene: Scene) -> None:
    scene.write_digests(sha512="0" * 128, signer=scene.keys)
    scene.refused(r"has SHA512 [0-9a-f]{128}, its DIGESTS say 0{128}")


def test_digests_changed_after_signing_are_refused(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    digests = scene.place / f"{NAME}.DIGESTS"
    digests.write_text(digests.read_text().replace("# SHA512", "# Sha512"))
    scene.refused("the signature does not match")


def test_digests_outside_of_the_signed_part_do_not_count(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    digests = scene.place / f"{NAME}.DIGESTS"
    signed = digests.read_text()
    with tarfile.open(scene.archive, "w:xz") as tar:
        tar.add(scene.place / "digests", "evil")
    evil = hashlib.sha512(scene.archive.read_bytes()).hexdigest()
    digests.write_text(f"{signed}# SHA512 HASH\n{evil}  {NAME}\n")
    scene.refused("its DIGESTS say|the signature|no signature")


def test_a_signature_of_another_file_is_refused(scene: Scene) -> None:
    scene.write_digests()
    scene.keys.sign("detach-sign", scene.place / "digests", scene.place / f"{NAME}.asc")
    scene.refused("the signature does not match")


def test_an_unknown_key_is_refused(scene: Scene) -> None:
    scene.write_digests(signer=scene.stranger)
    scene.refused("a key that is not in the keyring")


def test_a_truncated_download_is_refused(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    scene.handler.cut = 1000
    scene.refused(r"ended after \d+ of \d+ bytes")


def test_a_stage_url_without_a_keyring_is_refused(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    scene.refused("the site names no keyring", replace(scene.source, keyring=None))


def test_a_keyring_that_is_not_one_is_named(scene: Scene) -> None:
    scene.write_digests(signer=scene.keys)
    scene.refused("gpg cannot read the keyring", replace(scene.source, keyring=scene.archive))


def test_a_stage_that_is_not_there_is_named(scene: Scene) -> None:
    scene.refused(r"cannot fetch .*DIGESTS: HTTP Error 404")


def test_a_local_tarball_needs_no_signature_but_keeps_its_pin(scene: Scene) -> None:
    sha256 = hashlib.sha256(scene.archive.read_bytes()).hexdigest()
    scene.refused(rf"has SHA256 {sha256}, expected 1{{64}}", StageSource(str(scene.archive), sha256="1" * 64))
    stage = scene.acquire(StageSource(str(scene.archive), sha256=sha256))
    assert (stage.root / "etc/hostname").read_text() == "stage\n"


def test_something_that_is_no_archive_is_refused(scene: Scene) -> None:
    scene.archive.write_bytes(b"<html>not found</html>")
    scene.refused("cannot be unpacked", StageSource(str(scene.archive)))


def test_a_reference_stage_that_does_not_exist_is_named(scene: Scene) -> None:
    with pytest.raises(Problem, match="there is no stage reference:other"):
        scene.acquire(StageSource("reference:other"))


def over(stage: Stage, place: Path) -> list[str]:
    """A sandbox in which the stage itself stays untouched."""
    for name in ("upper", "work", "root"):
        (place / name).mkdir(parents=True)
    return Sandbox(
        root=place / "root", mounts=(Overlay((stage.root,), place / "upper", place / "work"),)
    ).prefix()


def test_both_reference_stages_are_ready_for_portage(
    build_stage: Stage, install_stage: Stage, tmp_path: Path
) -> None:
    for stage in (build_stage, install_stage):
        inside = over(stage, tmp_path / stage.sha256)
        assert "Portage 3.0.83 " in run(["emerge", "--version"], prefix=inside).stdout
        assert run(["id", "-u", "portage"], prefix=inside).stdout == "250\n"
        assert (stage.root / "etc/shadow").read_text().startswith("root:*:")
        assert (stage.root / "etc/machine-id").read_bytes() == b""
        assert list((stage.root / "var/lib/apt").rglob("*_Packages*")) == []


def test_the_build_stage_has_what_compiles_and_what_the_installer_is_made_of(
    build_stage: Stage, tmp_path: Path
) -> None:
    inside = over(build_stage, tmp_path)
    assert run(["x86_64-pc-linux-gnu-gcc", "-dumpfullversion"], prefix=inside).stdout.startswith("12.")
    for program in ("sfdisk", "mke2fs", "mkfs.fat", "gpgv", "zstd", "cpio", "scanelf"):
        run(["which", program], prefix=inside)
    assert (build_stage.root / "usr/lib/distcc/x86_64-pc-linux-gnu-gcc-12").is_symlink()


def test_the_install_stage_makes_boot_loaders_for_both_firmwares(
    install_stage: Stage, tmp_path: Path
) -> None:
    inside = over(install_stage, tmp_path)
    run(["grub-install", "--version"], prefix=inside)
    for target, modules in {"i386-pc": ["biosdisk"], "x86_64-efi": ["efi_gop"]}.items():
        image = f"/var/tmp/{target}"
        make = ["grub-mkimage", f"--format={target}", "--prefix=/boot/grub", f"--output={image}"]
        run([*make, *modules, "part_gpt", "ext2", "fat", "normal"], prefix=inside)
        assert (tmp_path / "upper/var/tmp" / target).stat().st_size > 50_000

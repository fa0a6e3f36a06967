"""What the installer writes on a machine's disk: settings, boot loaders, packages."""

from pathlib import Path

import pytest

from tests.installer_box import RELEASE, Box, Server, lay, plan_text, publish, sha256


@pytest.fixture
def partitioned(box: Box) -> Box:
    """The plan's partitions have names, from a program that stands for `blkid -s KIND -o value DEVICE`."""
    box.plan(plan_text())
    tools = box.path / "tools"
    lay(tools, {"blkid": '#!/bin/sh\neval "device=\\$$#"\necho "$2-of-${device##*/}"\n'})
    (tools / "blkid").chmod(0o755)
    return Box(box.path, box.server, {"tools": str(tools)})


@pytest.mark.parametrize(
    ("disk", "there", "neighbours"),
    [
        ("sda", ["sda1", "sda12"], ["sda", "sdaa", "sdaa1"]),
        ("nvme0n1", ["nvme0n1p1", "nvme0n1p2"], ["nvme0n1", "nvme0n10", "nvme0n10p1", "nvme0n1q1"]),
    ],
)
def test_partitions_of_a_disk_are_none_of_its_neighbours(
    box: Box, disk: str, there: list[str], neighbours: list[str]
) -> None:
    lay(box.path, {f"dev/{name}": "" for name in (*there, *neighbours)})
    found = box.sh(f"set -e; partitions_there $work/dev/{disk}").stdout.split()
    assert [Path(name).name for name in found] == there


def test_fstab_names_file_systems_by_uuid_and_mounts_the_trees(partitioned: Box) -> None:
    (partitioned.path / "trees").write_text("tree-gentoo.sqfs gentoo\ntree-guru.sqfs guru\n")
    assert partitioned.sh("set -e; fstab").stdout.splitlines()[1:] == [
        "UUID=UUID-of-nvme0n1p3 / ext4 defaults,noatime 0 1",
        "UUID=UUID-of-nvme0n1p1 /boot/efi vfat defaults,noatime 0 2",
        "UUID=UUID-of-nvme0n1p2 none swap sw 0 0",
        "/var/lib/distserver/tree-gentoo.sqfs /var/db/repos/gentoo squashfs loop,ro,nofail 0 0",
        "/var/lib/distserver/tree-guru.sqfs /var/db/repos/guru squashfs loop,ro,nofail 0 0",
    ]


def test_a_file_system_without_uuid_ends_the_step(partitioned: Box) -> None:
    lay(partitioned.path / "tools", {"blkid": "#!/bin/sh\nexit 2\n"})
    assert "went on" not in partitioned.sh("set -e; fstab >$work/fstab; echo went on", ok=(1, 2)).stdout


def test_grub_starts_the_release_kernel_and_speaks_on_the_serial_line(partitioned: Box) -> None:
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "console=ttyS0 quiet\n"})
    text = partitioned.sh("set -e; grub_config").stdout
    root = "root=PARTUUID=PARTUUID-of-nvme0n1p3"
    assert f"linux /boot/vmlinuz-6 {root} rootwait ro console=ttyS0 quiet\n" in text
    assert "serial --unit=0 --speed=115200" in text
    assert "set timeout=1\n" in text


def test_grub_names_the_kernel_from_a_boot_partition_of_its_own(partitioned: Box) -> None:
    partitioned.plan(plan_text().replace("/boot/efi", "/boot"))
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "quiet\n"})
    text = partitioned.sh("set -e; grub_config").stdout
    assert "linux /vmlinuz-6 root=" in text
    assert "serial" not in text


@pytest.mark.parametrize(
    ("place", "name"), [("/", "/@sys/boot/"), ("/boot", "/@sys/")], ids=["whole system", "boot alone"]
)
def test_grub_names_the_kernel_from_the_top_of_a_btrfs(partitioned: Box, place: str, name: str) -> None:
    plan = plan_text().replace("/boot/efi", "/efi")
    lines = [line for line in plan.splitlines(keepends=True) if not line.endswith(f" {place}\n")]
    partitioned.plan("".join([*lines, f"mount /dev/nvme0n1p3 {place} compress=zstd:1,subvol=@sys\n"]))
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "quiet\n"})
    lay(partitioned.path, {"target/boot/initramfs-6.img": ""})
    text = partitioned.sh("set -e; grub_config").stdout
    assert f"  linux {name}vmlinuz-6 root=" in text
    assert f"  initrd {name}initramfs-6.img\n" in text


def test_a_kernel_that_is_not_the_releases_ends_the_step(partitioned: Box) -> None:
    lay(partitioned.path, {"target/boot/vmlinuz-5": "old", "target/etc/x": "", "manifest.sig": ""})
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    said = partitioned.sh("set -e; check_kernel quiet", ok=(1,)).stdout
    assert f"/boot/vmlinuz-5: 3 {sha256(b'old')}" in said
    assert "no kernel in /boot is the release's" in said
    lay(partitioned.path, {"target/boot/vmlinuz-6": "new"})
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6\n"
    assert (partitioned.path / "target/etc/hostname").read_text() == "vm-1\n"


def test_a_kernel_in_its_build_tree_is_brought_to_boot(partitioned: Box) -> None:
    image = "target/usr/src/linux-6.6.30-gentoo/arch/x86/boot/bzImage"
    lay(
        partitioned.path,
        {image: "new", "target/boot/vmlinuz-5": "old", "target/etc/x": "", "manifest.sig": ""},
    )
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6.6.30-gentoo\n"
    assert (partitioned.path / "target/boot/vmlinuz-6.6.30-gentoo").read_text() == "new"


def test_a_kernel_beside_its_modules_is_brought_to_boot(partitioned: Box) -> None:
    image = "target/usr/lib/modules/6.6.30-x/vmlinuz"
    lay(partitioned.path, {image: "new", "target/boot/grub/x": "", "target/etc/x": "", "manifest.sig": ""})
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6.6.30-x\n"


def test_grub_loads_the_initramfs_of_the_kernel_and_no_other(partitioned: Box) -> None:
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6.6-x\n", "kernel.arguments": "quiet\n"})
    lay(partitioned.path, {"target/boot/initramfs-6.5.img": ""})
    assert "initrd" not in partitioned.sh("set -e; grub_config").stdout
    lay(partitioned.path, {"target/boot/initramfs-6.6-x.img": ""})
    text = partitioned.sh("set -e; grub_config").stdout
    assert "rootwait ro quiet\n  initrd /boot/initramfs-6.6-x.img\n}" in text


SIGNED_FILES = {"loader.efi": b"a loader", "kernel.efi": b"a kernel"}


def signed_release(box: Box, server: Server, files: dict[str, bytes] = SIGNED_FILES) -> None:
    """A release with a signed kernel and loader, its kernel found, no GRUB anywhere."""
    lines = [f"FILE {name} {len(data)} SHA256 {sha256(data)}\n" for name, data in files.items()]
    (box.path / "manifest").write_text("".join(lines))
    server.files |= {f"/r/x/{name}": data for name, data in files.items()}
    box.plan(plan_text(base=f"{server.url}/r/x"))
    lay(box.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "console=ttyS0 quiet\n"})


def test_a_signed_release_brings_its_own_loader_and_kernel(partitioned: Box, server: Server) -> None:
    signed_release(partitioned, server)
    said = partitioned.sh("set -e; install_loader uefi /dev/nvme0n1").stdout
    esp = partitioned.path / "target/boot/efi"
    assert (esp / "EFI/BOOT/BOOTX64.EFI").read_bytes() == b"a loader"
    assert (esp / "EFI/distserver/kernel.efi").read_bytes() == b"a kernel"
    assert (esp / "loader/entries/distserver.conf").read_text().splitlines() == [
        "title Gentoo",
        "linux /EFI/distserver/kernel.efi",
        "options root=PARTUUID=PARTUUID-of-nvme0n1p3 rootwait ro console=ttyS0 quiet",
    ]
    assert "editor no" in (esp / "loader/loader.conf").read_text()
    assert "the site's signature" in said and "setup mode" not in said


def test_a_shim_of_the_release_stands_before_the_loader(partitioned: Box, server: Server) -> None:
    files = {"loader.efi": b"a loader", "kernel.efi": b"a kernel", "shim.efi": b"a shim"}
    signed_release(partitioned, server, {**files, "mokmanager.efi": b"a manager"})
    partitioned.sh("set -e; install_loader uefi /dev/nvme0n1")
    place = partitioned.path / "target/boot/efi/EFI/BOOT"
    assert {one.name: one.read_bytes() for one in place.iterdir()} == {
        "BOOTX64.EFI": b"a shim",
        "grubx64.efi": b"a loader",
        "mmx64.efi": b"a manager",
    }


def test_the_signed_kernel_has_its_initramfs_beside_it(partitioned: Box, server: Server) -> None:
    signed_release(partitioned, server)
    lay(partitioned.path, {"target/boot/initramfs-6.img": "an initramfs"})
    partitioned.sh("set -e; install_loader uefi /dev/nvme0n1")
    esp = partitioned.path / "target/boot/efi"
    assert (esp / "EFI/distserver/initramfs").read_text() == "an initramfs"
    assert "\ninitrd /EFI/distserver/initramfs\n" in (esp / "loader/entries/distserver.conf").read_text()


def test_a_loader_that_no_firmware_would_find_is_a_failure(partitioned: Box, server: Server) -> None:
    signed_release(partitioned, server)
    plan = plan_text(base=f"{server.url}/r/x")
    partitioned.plan("".join(line for line in plan.splitlines(keepends=True) if "/boot/efi" not in line))
    said = partitioned.sh("set -e; install_loader uefi /dev/nvme0n1", ok=(1,)).stdout
    assert "the plan mounts no EFI system partition at /boot/efi" in said


@pytest.mark.parametrize(("firmware", "signed"), [("bios", True), ("uefi", False)])
def test_other_machines_and_releases_get_grub(
    partitioned: Box, server: Server, firmware: str, signed: bool
) -> None:
    signed_release(partitioned, server)
    if not signed:
        (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    script = f"mount_inside() {{ :; }}; set -e; install_loader {firmware} /dev/nvme0n1"
    assert "grub-install is not in the installed system" in partitioned.sh(script, ok=(1,)).stdout


@pytest.mark.parametrize(
    ("processor", "platform"), [("x86_64", "x86_64-efi"), ("i686", "x86_64-efi"), ("aarch64", "arm64-efi")]
)
def test_grub_is_the_one_for_the_machines_firmware(partitioned: Box, processor: str, platform: str) -> None:
    lay(partitioned.path, {"target/usr/sbin/grub-install": "#!/bin/sh\n"})
    (partitioned.path / "target/usr/sbin/grub-install").chmod(0o755)
    stand_ins = "mount_inside() { :; }; grub_config() { :; }; inside() { echo inside: $*; }"
    said = partitioned.sh(
        f"{stand_ins}; processor={processor}; set -e; install_loader uefi /dev/nvme0n1"
    ).stdout
    assert f"grub-install --target={platform} --efi-directory=/boot/efi" in said


@pytest.mark.parametrize(("setup_mode", "enrolled"), [(1, True), (0, False)])
def test_keys_are_enrolled_only_in_setup_mode(
    partitioned: Box, server: Server, setup_mode: int, enrolled: bool
) -> None:
    signed_release(partitioned, server)
    vendor, images = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
    efi, keys = partitioned.path / "efi", partitioned.path / "keys"
    lay(keys, {"PK.auth": "the PK", "KEK.auth": "the KEK", "db.auth": "the db"})
    efi.mkdir()
    (efi / f"SetupMode-{vendor}").write_bytes(bytes((6, 0, 0, 0, setup_mode)))
    box = Box(partitioned.path, partitioned.server, {**partitioned.settings})
    settings = f"efi_variables={efi}; enrolment={keys}; "
    said = box.sh(f"{settings} set -e; install_loader uefi /dev/nvme0n1").stdout
    written = {one.name: one.read_bytes() for one in efi.iterdir() if not one.name.startswith("SetupMode")}
    names = {f"db-{images}": "the db", f"KEK-{vendor}": "the KEK", f"PK-{vendor}": "the PK"}
    expected = {name: b"\x27\0\0\0" + text.encode() for name, text in names.items()}
    assert written == (expected if enrolled else {})
    assert ("the site's keys are enrolled" in said) is enrolled
    assert ("not in setup mode" in said) is not enrolled


def test_the_index_names_the_pool_and_every_package_has_a_time(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    index = b"URI: http://elsewhere\nVERSION: 0\n\nCPV: a/b-1\nSIZE: 5\n\nCPV: a/c-1\nMTIME: 7\n\n"
    publish(server, keys, tmp_path, Packages=index)
    trusting.sh("set -e; verify_release; write_index")
    assert (trusting.path / "target/var/lib/distserver/index/Packages").read_text() == (
        "URI: http://10.77.0.2\nVERSION: 0\n\nCPV: a/b-1\nMTIME: 1\nSIZE: 5\n\nCPV: a/c-1\nMTIME: 1\n\n"
    )


def test_a_package_that_is_not_of_the_release_is_removed_before_it_is_merged(box: Box) -> None:
    place = box.path / "target/var/cache/binhost/release/pool"
    lay(place, {"aa/one.gpkg.tar": "one", "bb/two.gpkg.tar": "two"})
    (box.path / "manifest").write_text(f"PACKAGE a/one-1-1 3 SHA256 {sha256(b'one')}\n")
    said = box.sh("set -e; check_packages; echo went on", ok=(1,)).stdout
    assert "pool/bb/two.gpkg.tar is not what the manifest says; it was removed unused" in said
    assert "went on" not in said
    assert sorted(path.name for path in place.rglob("*.tar")) == ["one.gpkg.tar"]


@pytest.mark.parametrize(
    ("memory_kib", "largest", "enough"),
    [(996_000, 12_000_000, True), (996_000, 60_000_000, False), (480_000, 1000, False)],
)
def test_packages_are_unpacked_in_memory_only_when_they_fit(
    box: Box, memory_kib: int, largest: int, enough: bool
) -> None:
    lay(
        box.path,
        {"proc/meminfo": f"MemTotal: {memory_kib} kB\n", "manifest": f"PACKAGE a/b-1-1 {largest} x\n"},
    )
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    inner.sh("memory_is_enough", ok=(0 if enough else 1,))


def test_each_package_emerge_comes_to_is_reported_once(box: Box, server: Server) -> None:
    lines = (
        ">>> Emerging binary (3 of 16) sys-apps/sed-4.9::distserver",
        ">>> Installing (3 of 16) sys-apps/sed-4.9::distserver",
        ">>> Jobs: 0 of 16 complete",
    )
    quoted = "\\n".join(lines)
    assert box.sh(f"printf '{quoted}\\n' | watch_emerge merging").stdout.splitlines() == list(lines)
    assert [body for _, body in server.posted] == [
        "report s3cret\nstage packages\nstatus note\n\nmerging 3/16 sys-apps/sed-4.9\n"
    ]


# Stands for emerge: each call takes the next status of a list, the last one for ever.
EMERGE = """emerge() {
    calls=$((${calls:-0} + 1)); rm -f "$work/emerge.status"
    status=$(echo $statuses | cut -d ' ' -f $calls)
    [ "$status" = 0 ] || echo ${status:-1} >"$work/emerge.status"
}
sleep() { :; }
"""


@pytest.mark.parametrize(("statuses", "calls"), [("0", 1), ("1 0", 2), ("1 1 0", 3)])
def test_packages_that_did_not_come_are_fetched_again(
    box: Box, server: Server, statuses: str, calls: int
) -> None:
    box.plan(f"base {server.url}/r/x\n")
    server.files["/r/x/manifest.sig"] = b"x"
    assert box.sh(f"{EMERGE} statuses='{statuses}'; fetch_packages @system; echo $calls").stdout.endswith(
        f"{calls}\n"
    )


def test_packages_that_a_present_server_does_not_give_end_the_step_after_three_tries(
    box: Box, server: Server
) -> None:
    box.plan(f"base {server.url}/r/x\n")
    server.files["/r/x/manifest.sig"] = b"x"
    script = f"{EMERGE} statuses=''; trap 'echo $calls' EXIT; fetch_packages @system"
    said = box.sh(script, ok=(1,)).stdout
    assert "emerge --fetchonly ended with status 1" in said
    assert said.endswith("3\n")


def test_a_server_that_is_away_for_longer_is_waited_for(box: Box) -> None:
    box.plan("base http://127.0.0.1:9/r/x\n")
    statuses = " ".join(["1"] * 12 + ["0"])
    assert box.sh(f"{EMERGE} statuses='{statuses}'; fetch_packages @system; echo $calls").stdout.endswith(
        "13\n"
    )


TREES = "tree-gentoo.sqfs gentoo\ntree-guru.sqfs guru\n"
KEPT = ("tree-gentoo.sqfs", "tree-guru.sqfs", "Packages")


@pytest.fixture
def followed(partitioned: Box, server: Server) -> Box:
    """A target with the agent on it, before its settings are written; the release lists portage.sqfs."""
    files = {name: name.encode() for name in ("portage.sqfs", "bases", "kernel", *KEPT)}
    server.files |= {f"/r/{RELEASE}/{name}": data for name, data in files.items()}
    partitioned.plan(plan_text(f"{server.url}/r/{RELEASE}"))
    manifest = "".join(
        f"FILE {name} {len(data)} SHA256 {sha256(data)}\n" for name, data in sorted(files.items())
    )
    lay(
        partitioned.path,
        {"manifest": manifest, "manifest.sig": "", "trees": TREES, "key": "the key", "secret": "S3"}
        | {f"target/var/lib/distserver/{name}": name for name in KEPT}
        | {"target/usr/sbin/distserver-client": "", "target/etc/portage/make.conf": "local"},
    )
    (partitioned.path / "target/usr/sbin/distserver-client").chmod(0o755)
    (partitioned.path / "target/etc/distserver").mkdir(parents=True)
    key = {"key": str(partitioned.path / "key")}
    return Box(partitioned.path, server.url, {**partitioned.settings, **key})


def test_a_machine_with_an_agent_has_its_release_before_its_first_start(followed: Box) -> None:
    followed.sh("set -e; write_settings")
    target = followed.path / "target"
    own = target / "var/cache/distserver/r" / RELEASE
    names = {"manifest", "manifest.sig", "Packages", "bases", "portage.sqfs"}
    assert {path.name for path in own.iterdir()} == names | {"tree-gentoo.sqfs", "tree-guru.sqfs"}
    assert (own / "portage.sqfs").read_text() == "portage.sqfs"
    assert "squashfs" not in (target / "etc/fstab").read_text()
    assert [path.name for path in (target / "etc/portage").iterdir()] == ["README"]
    assert (target / "etc/distserver/release-key.gpg").read_text() == "the key"
    assert not (target / "etc/distserver/door").exists()


def test_without_an_agent_everything_stays_where_it_was(followed: Box) -> None:
    (followed.path / "target/usr/sbin/distserver-client").unlink()
    followed.sh("set -e; write_settings")
    target = followed.path / "target"
    assert (target / "etc/fstab").read_text().count("squashfs") == 2
    assert (target / "etc/portage/make.conf").read_text() == "local"
    assert not (target / "var/cache").exists()


MAKES_KEY = (
    "mount_inside() { mkdir -p $target/run; }; "
    "inside() { echo secret >$target/etc/distserver/machine.key; echo PEM >$target/run/machine.request; }; "
)


def test_a_machine_is_enrolled_with_a_key_that_stays_on_it(followed: Box, server: Server) -> None:
    own = followed.path / "target/etc/distserver"
    lay(own, {"ca.crt": "authority", "door-port": "8443\n"})
    server.answers["/enroll"] = f"key {'ab' * 32}\n"
    said = followed.sh(f"set -e; {MAKES_KEY} enrol").stdout
    assert server.posted == [("/enroll", "report S3\nPEM\n")]
    assert (own / "door").read_text() == "https://127.0.0.1:8443\n"
    assert (own / "machine.key").stat().st_mode & 0o777 == 0o600
    assert said.startswith("enrolled with key abab")
    server.answers["/enroll"] = "stop this installation was ended on the server\n"
    (own / "door").unlink()
    assert "not enrolled: stop this installation" in followed.sh(f"set -e; {MAKES_KEY} enrol").stdout
    assert not (own / "machine.key").exists() and not (own / "door").exists()

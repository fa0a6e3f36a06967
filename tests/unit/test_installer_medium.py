"""The installer on a medium: real images on loop devices, mounted by a real busybox."""

import threading
from dataclasses import replace

import pytest

from appliance.deadline import wait_until
from appliance.run import run
from tests.burning import CREATED, PLAIN, SERVER, Slot, burn
from tests.installer_box import CODE, RELEASE, Server, lay, plan_text, sha256

STAGE = b"".join(b"%d\n" % number for number in range(1_200_000))
PACKAGE = b"p" * 70_000
POOL = f"pool/{sha256(PACKAGE)[:2]}/{sha256(PACKAGE)}.gpkg.tar"


def with_release(slot: Slot, **changed: bytes) -> None:
    """A release and its package on the medium, and the manifest that was verified; `changed` files differ."""
    files = {"stage": STAGE, "Packages": b"CPV: a/b-1\n\n"}
    base = slot.tree / "r" / RELEASE
    base.mkdir(parents=True)
    for name, data in files.items():
        (base / name).write_bytes(changed.get(name, data))
    (slot.tree / POOL).parent.mkdir(parents=True)
    (slot.tree / POOL).write_bytes(changed.get("package", PACKAGE))
    lines = [f"FILE {name} {len(data)} SHA256 {sha256(data)}\n" for name, data in files.items()]
    lines.append(f"PACKAGE a/b-1-1 {len(PACKAGE)} SHA256 {sha256(PACKAGE)}\n")
    (slot.box.path / "manifest").write_text("".join(lines))
    place = slot.box.settings["medium"]
    slot.box.plan(
        plan_text(base=f"file://{place}/r/{RELEASE}").replace("pool http://10.77.0.2", f"pool file://{place}")
    )


# Finding it


def test_the_medium_is_found_among_other_drives_and_mounted_read_only(slot: Slot) -> None:
    _, other = slot.burn(replace(PLAIN, server="http://10.0.0.1"))
    made, image = slot.burn()
    slot.put_in(other, "sda")
    slot.put_in(image, "sr0")
    said = slot.sh(
        made,
        "open_medium; ls $medium/distserver; touch $medium/x 2>/dev/null && echo written; "
        'grep " $medium " /proc/mounts',
    )
    assert f"medium {made} on /dev/sr0: signature good" in said
    assert f"id-{made}" in said
    assert "written" not in said
    assert " squashfs ro," in said


def test_a_stick_that_takes_its_time_is_waited_for(slot: Slot) -> None:
    made, image = slot.burn()
    said: list[str] = []
    asker = threading.Thread(target=lambda: said.append(slot.sh(made, "medium_seconds=60; open_medium")))
    asker.start()
    wait_until(lambda: (slot.box.path / "cmdline").exists() or None, seconds=30, what="the installer began")
    slot.put_in(image)
    asker.join(60)
    assert f"medium {made} on /dev/sda" in said[0]


def test_a_medium_that_does_not_appear_ends_the_step_with_what_was_looked_at(slot: Slot) -> None:
    _, image = slot.burn()
    slot.put_in(image, "sr0")
    said = slot.sh("0123456789abcdef", "open_medium; echo went on", ok=(1,))
    assert "the medium 0123456789abcdef did not appear in 1 s among sr0" in said
    assert "went on" not in said


@pytest.mark.parametrize("how", ["another key", "changed", "another medium's"])
def test_a_description_that_is_not_the_release_keys_own_is_not_believed(slot: Slot, how: str) -> None:
    made, image = slot.burn(signer="other" if how == "another key" else "good")
    if how == "changed":
        text = (slot.tree / "distserver/medium").read_text()
        (slot.tree / "distserver/medium").write_text(text.replace("10.77.0.2", "10.77.0.3"))
        image = burn(slot.tree, slot.box.path / "changed.image")
    if how == "another medium's":
        (slot.tree / "distserver/id-0000000000000000").touch()
        made, image = "0000000000000000", burn(slot.tree, slot.box.path / "renamed.image")
    slot.put_in(image)
    said = slot.sh(made, "open_medium; echo went on", ok=(1,))
    wanted = (
        "expected 0000000000000000"
        if how == "another medium's"
        else "signature of the medium's description is not good"
    )
    assert wanted in said
    assert "went on" not in said
    assert not (slot.box.path / "medium").exists()


def test_the_medium_is_no_disk_to_install_on_whatever_its_removable_flag_says(slot: Slot) -> None:
    made, image = slot.burn()
    slot.put_in(image)
    lay(
        slot.box.path / "sys",
        {"block/sda/removable": "0\n", "block/sdb/size": "2048\n", "class/block/sdb/size": "0\n"},
    )
    assert slot.sh(made, "list_disks").split() == ["sda", "sdb"]
    assert slot.sh(made, "open_medium >/dev/null; list_disks").split() == ["sdb"]


def test_a_medium_in_a_partition_takes_its_whole_disk_from_the_list(slot: Slot) -> None:
    made, image = slot.burn()
    slot.put_in(image, "sda1")
    sysfs = slot.box.path / "sys"
    lay(
        sysfs,
        {"devices/sda/sda1/size": "9\n", "devices/sda/sda1/partition": "1\n", "block/sda/size": "2048\n"},
    )
    for name in ("sda1", "sda"):
        entry = sysfs / "class/block" / name
        if entry.exists():
            (entry / "size").unlink()
            entry.rmdir()
    (sysfs / "class/block/sda1").symlink_to(sysfs / "devices/sda/sda1")
    (sysfs / "block/sda1/size").unlink()
    assert "sda" not in slot.sh(made, "open_medium >/dev/null; list_disks || true").split()


# What is on it


def test_a_release_that_is_whole_is_read_with_progress(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    lines = slot.sh(made, "open_medium; inspect_medium").splitlines()
    percents = [int(line.split()[-2]) for line in lines if line.startswith("checking the medium: ")]
    assert percents == sorted(set(percents))
    assert len(percents) >= 3
    assert percents[-1] == 100
    assert lines[-1] == "3 files of the medium are what the release says"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"package": b"q" + PACKAGE[1:]}, "a/b-1-1 is not what the release says: nothing was written"),
        ({"package": PACKAGE[1:]}, f"{POOL} on the medium has 69999 bytes, expected 70000"),
        ({"stage": STAGE[:-1] + b"t"}, f"r/{RELEASE}/stage on the medium is damaged: SHA256 "),
    ],
)
def test_a_file_that_is_not_the_releases_is_named(slot: Slot, changed: dict[str, bytes], named: str) -> None:
    with_release(slot, **changed)
    made, image = slot.burn()
    slot.put_in(image)
    said = slot.sh(made, "open_medium; inspect_medium; echo went on", ok=(1,))
    assert named in said
    assert "went on" not in said


def test_a_file_that_is_missing_is_named(slot: Slot) -> None:
    with_release(slot)
    (slot.tree / POOL).unlink()
    made, image = slot.burn()
    slot.put_in(image)
    said = slot.sh(made, "open_medium; inspect_medium", ok=(1,))
    assert f"{POOL} is missing on the medium: write it again" in said
    assert "a/b-1-1 is not what the release says" in said


def test_a_file_that_cannot_be_read_is_said_to_be(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    data = bytearray(image.read_bytes())
    middle = len(data) // 2  # in a compressed block of the stage
    data[middle : middle + 100] = bytes(100)
    image.write_bytes(data)
    slot.put_in(image)
    said = slot.sh(made, "open_medium; inspect_medium", ok=(1,))
    assert "cannot be read from the medium: it is damaged or cut short; write it again" in said
    assert "nothing was written" in said


def test_a_file_of_the_medium_is_copied_and_compared(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    slot.sh(made, "open_medium; fetch Packages $work/got")
    assert (slot.box.path / "got").read_bytes() == b"CPV: a/b-1\n\n"
    assert (slot.box.path / "bytes").read_text() == "12\n"


def test_a_medium_that_was_taken_out_is_said_so(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    said = slot.sh(
        made,
        "open_medium; rm $devices/sda; rm -f $work/got; umount $medium; fetch Packages $work/got",
        ok=(1,),
    )
    assert (
        f"the medium {made} was taken out or does not answer any more; put it back and type 'retry'" in said
    )


def test_an_archive_is_unpacked_from_the_medium_without_a_copy_of_it(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    lay(slot.box.path / "tools", {"tar": '#!/bin/sh\necho "$@" >"$work/tar"\nls "$kept" >>"$work/tar"\n'})
    (slot.box.path / "tools/tar").chmod(0o755)
    slot.sh(made, "open_medium; tools=$work/tools; export work kept; unpack stage; cat $work/bytes")
    asked, *there = (slot.box.path / "tar").read_text().splitlines()
    assert f"-f {slot.box.settings['medium']}/r/{RELEASE}/stage -C" in asked
    assert there == []
    assert (slot.box.path / "bytes").read_text() == f"{len(STAGE)}\n"


def test_the_index_names_the_medium_for_the_installation_and_the_server_ever_after(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    index = slot.box.path / "target/var/lib/distserver/index/Packages"
    slot.sh(made, "open_medium; write_index")
    assert index.read_text().startswith(f"URI: file://{slot.box.settings['medium']}\nCPV: a/b-1\nMTIME: 1\n")
    slot.sh(made, "open_medium; write_index; name_the_pool $server")
    assert index.read_text().startswith(f"URI: {slot.box.server}\nCPV: a/b-1\n")


def test_the_server_of_a_medium_is_not_asked_for_events(slot: Slot, server: Server) -> None:
    made, _ = slot.burn()
    slot.sh(made, "event stage done 'all is well' 1.5 4096; event packages note x; event kernel begin ''")
    assert server.posted == []
    (line,) = (slot.box.path / "events").read_text().splitlines()
    assert line.split()[1:5] == ["stage", "done", "1.5", "4096"]
    assert line.endswith(" all is well")


def test_the_description_names_its_time_and_server(slot: Slot) -> None:
    made, image = slot.burn()
    slot.put_in(image)
    said = slot.sh(made, "open_medium; medium_value created; medium_value server; medium_value machine")
    assert said.splitlines()[-2:] == [CREATED, SERVER]


# When the server says that this machine boots from its disk, or the disk is full


def test_a_machine_that_is_to_boot_its_disk_waits_for_the_medium_to_be_taken_out(
    slot: Slot, server: Server
) -> None:
    made, image = slot.burn()
    slot.put_in(image)
    server.answers["/hello"] = ["local release x is installed\n", "local release x is installed\n"]
    lay(slot.box.path / "sys", {"class/net/eth0/address": "52:54:00:77:00:01\n"})
    # The second time it waits somebody takes it out.
    fakes = "reboot() { echo restarted; exit; }; say() { echo said $*; }; "
    fakes += "sleep() { slept=$((slept + 1)); [ $slept -lt 7 ] || rm -f $devices/sda; }"
    script = f"{fakes}; open_medium; nic=eth0; facts >$work/facts; ask_for_token"
    said = slot.sh(made, script)
    assert said.splitlines()[-1] == "restarted"
    assert (
        "said release x is installed: take the medium out, then this machine restarts from its disk" in said
    )
    assert len(server.posted) == 2


def test_a_step_that_filled_the_disk_says_how_large_it_is(slot: Slot) -> None:
    image = slot.box.path / "disk.image"
    run(["mkfs.ext4", "-q", image, "24M"])
    lay(slot.box.path / "code", {path.name: path.read_text() for path in CODE.iterdir()})
    (slot.box.path / "code/step").chmod(0o755)
    with (slot.box.path / "code/main.sh").open("a") as part:
        part.write("fill() { dd if=/dev/zero of=$target/x bs=64k; }\n")
    inner = replace(slot.box, settings={**slot.box.settings, "code": str(slot.box.path / "code")})
    script = f"mkdir $target; mount -t ext4 -o loop {image} $target; step stage fill || exit 7"
    said = inner.sh(script, ok=(7,))
    log = (slot.box.path / "log").read_text()
    assert "No space left on device" in log, said
    assert log.splitlines()[-1].startswith("the disk is full: / has ")
    assert log.splitlines()[-1].endswith(" MiB, 0 MiB of it are free")


def test_a_file_of_the_medium_that_finds_no_room_is_not_called_damaged(slot: Slot) -> None:
    with_release(slot)
    made, image = slot.burn()
    slot.put_in(image)
    small = "mkdir $work/small; mount -t tmpfs -o size=64k none $work/small"
    said = slot.sh(made, f"open_medium; {small}; fetch stage $work/small/x", ok=(1,))
    assert f"r/{RELEASE}/stage has no room on the disk" in said


def test_a_disk_with_room_is_not_blamed(slot: Slot) -> None:
    image = slot.box.path / "disk.image"
    run(["mkfs.ext4", "-q", image, "24M"])
    assert slot.box.sh(f"mkdir $target; mount -t ext4 -o loop {image} $target; explain_failure").stdout == ""

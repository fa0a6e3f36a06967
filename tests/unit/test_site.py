"""The site directory is read whole or refused with every mistake named."""

import shutil
from pathlib import Path

import pytest

from appliance.client_settings import (
    Canaries,
    ClientPolicy,
    ConfigRule,
    Keep,
    Reboot,
    Window,
    policy_to_json,
)
from appliance.errors import Problem
from appliance.model import Firmware
from appliance.overlays import example_site
from appliance.site import find_profile, read_site
from appliance.site_model import SiteHost, SyncKind


@pytest.fixture
def site(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    shutil.copytree(example_site(), place)
    return place


def complaint(site: Path) -> str:
    with pytest.raises(Problem) as caught:
        read_site(site)
    return caught.value.message


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_the_example_site_reads(site: Path) -> None:
    read = read_site(site)
    assert list(read.profiles) == ["vm"]
    vm = read.profiles["vm"]
    assert vm.lineage == ("amd64", "vm")
    assert vm.arch == "amd64"
    assert [part.name for part in vm.disk.partitions] == ["bios", "esp", "root"]
    assert vm.disk.partitions[0].firmware is Firmware.BIOS
    assert vm.disk.min_size_bytes == 2 * 2**30


def test_make_conf_of_a_child_comes_after_its_parents(site: Path) -> None:
    for name, text in (("amd64", b'A="1"\n'), ("vm", b'B="2"\n')):
        place = site / "profiles" / name / "portage"
        place.mkdir(exist_ok=True)
        (place / "make.conf").write_bytes(text)
    assert read_site(site).profiles["vm"].portage["make.conf"] == b'A="1"\nB="2"\n'


def test_a_world_line_with_a_minus_takes_an_inherited_atom_away(site: Path) -> None:
    (site / "profiles/amd64/world").write_text("app-misc/a\napp-misc/b # why\n")
    (site / "profiles/vm/world").write_text("-app-misc/a\napp-misc/c\n")
    assert read_site(site).profiles["vm"].world == (
        "app-misc/b",
        "app-misc/c",
        "sys-apps/distserver-client",
        "sys-kernel/distserver-kernel",
    )


def test_an_unknown_key_names_file_line_and_the_nearest_key(site: Path) -> None:
    edit(site / "profiles/vm/profile.toml", "description", "descripton")
    said = complaint(site)
    assert "profiles/vm/profile.toml:1: descripton: unknown key, did you mean description?" in said


def test_a_wrong_type_names_what_was_expected_and_what_came(site: Path) -> None:
    edit(site / "appliance.toml", "port = 80\n", 'port = "eighty"\n')
    assert "http.port: expected a whole number, got 'eighty'" in complaint(site)


def test_every_mistake_is_named_at_once(site: Path) -> None:
    edit(site / "appliance.toml", "[farm]", "[fram]")
    edit(site / "profiles/vm/profile.toml", 'vendor = "QEMU*"', 'vendr = "QEMU*"')
    said = complaint(site)
    assert "2 mistakes" in said
    assert "did you mean farm?" in said
    assert "match[1].vendr: unknown key, did you mean vendor?" in said


def test_broken_toml_names_the_line(site: Path) -> None:
    edit(site / "appliance.toml", 'name = "example"', "name = ")
    assert "at line 2" in complaint(site)


def test_a_missing_parent_names_the_nearest_profile(site: Path) -> None:
    edit(site / "profiles/vm/profile.toml", '["amd64"]', '["amd46"]')
    assert "there is no profile amd46, did you mean amd64?" in complaint(site)


def test_a_circle_of_parents_is_shown(site: Path) -> None:
    edit(site / "profiles/amd64/profile.toml", "abstract = true", 'parent = ["vm"]\nabstract = true')
    assert "vm -> amd64 -> vm is a circle" in complaint(site)


def test_a_missing_value_names_the_parents_that_do_not_have_it_either(site: Path) -> None:
    edit(site / "profiles/amd64/profile.toml", 'chost = "x86_64-pc-linux-gnu"', "")
    assert "chost: missing (nor in amd64)" in complaint(site)


def test_a_rule_that_would_match_everything_is_refused(site: Path) -> None:
    edit(site / "profiles/vm/profile.toml", 'vendor = "QEMU*"\n', "")
    assert "matches every machine" in complaint(site)


def test_a_layout_without_a_root_is_refused(site: Path) -> None:
    edit(site / "profiles/amd64/profile.toml", 'mount = "/"\n', 'mount = "/home"\n')
    assert 'expected exactly one with mount = "/"' in complaint(site)


def test_a_repository_that_is_none_is_refused(site: Path) -> None:
    edit(site / "appliance.toml", 'location = "builtin:portage"', 'location = "nowhere"')
    assert "is no ebuild repository" in complaint(site)


def test_a_stray_file_in_a_profile_is_named(site: Path) -> None:
    (site / "profiles/vm/wrold").write_text("app-misc/hello\n")
    assert "profiles/vm/wrold: unknown file, did you mean world?" in complaint(site)


def test_an_unknown_profile_names_the_nearest_one(tmp_path: Path, site: Path) -> None:
    with pytest.raises(Problem, match="did you mean vm"):
        find_profile(read_site(site), "vmm")


def test_the_kernels_package_is_part_of_the_world(site: Path) -> None:
    vm = read_site(site).profiles["vm"]
    assert vm.kernel_package == "sys-kernel/distserver-kernel"
    assert vm.kernel_package in vm.world
    assert (vm.kernel_source, vm.kernel_base) == ("", "")


def test_a_kernel_from_sources_is_a_package_of_its_own(site: Path) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write('[kernel]\nsource = ">=sys-kernel/gentoo-sources-6.6.30-r1:6.6"\n')
    vm = read_site(site).profiles["vm"]
    assert vm.kernel_source == ">=sys-kernel/gentoo-sources-6.6.30-r1:6.6"
    assert vm.kernel_package == "sys-kernel/gentoo-sources-kernel"
    assert vm.kernel_base == "defconfig"
    assert vm.kernel_arguments == "console=tty0 console=ttyS0,115200"
    assert "sys-kernel/distserver-kernel" not in vm.world


def test_the_base_of_a_kernel_may_be_a_file_of_a_parent(site: Path) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write('[kernel]\nsource = "sys-kernel/git-sources"\nbase = "server.config"\n')
    assert "server.config" in complaint(site)
    (site / "profiles/vm/server.config").write_text("CONFIG_A=y\n")
    assert read_site(site).profiles["vm"].kernel_base == "CONFIG_A=y\n"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('package = "sys-kernel/a"\nsource = "sys-kernel/b"', "expected either package or source, got both"),
        ('package = "gentoo-kernel"', "kernel.package: expected CATEGORY/NAME, got 'gentoo-kernel'"),
        ('package = "=sys-kernel/gentoo-kernel-6.6"', "kernel.package: expected CATEGORY/NAME"),
        ('source = "sys-kernel/"', "kernel.source: expected an atom such as"),
        ('package = "sys-kernel/a"\nbase = "defconfig"', "kernel.base: only for a kernel from source"),
        ('sauce = "sys-kernel/a"', "kernel.sauce: unknown key, did you mean source?"),
    ],
)
def test_a_kernel_that_cannot_be_is_named(site: Path, table: str, expected: str) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write(f"[kernel]\n{table}\n")
    assert expected in complaint(site)


def test_a_misspelt_kernel_option_is_named_with_its_line(site: Path) -> None:
    (site / "profiles/vm/kernel.config").write_text("CONFIG_A=y\nCONFG_B=y\n")
    said = complaint(site)
    assert f"{site / 'profiles/vm/kernel.config'}:2: expected CONFIG_NAME=VALUE" in said
    assert said.count("CONFG_B") == 1


def test_the_bound_of_the_compiler_cache_is_a_size(site: Path) -> None:
    assert read_site(site).ccache_bytes == 10 * 2**30
    edit(site / "appliance.toml", "[farm]", '[farm]\nccache = "0"')
    assert read_site(site).ccache_bytes == 0
    edit(site / "appliance.toml", 'ccache = "0"', 'ccache = "much"')
    assert "farm.ccache: expected a size" in complaint(site)


def test_strict_keys_are_asked_for_in_the_farm_table(site: Path) -> None:
    assert not read_site(site).farm.strict
    edit(site / "appliance.toml", "[farm]", "[farm]\nstrict = true")
    assert read_site(site).farm.strict


def test_the_farms_settings_are_read(site: Path) -> None:
    text = 'workers = 3\nmemory = "8 GiB"\nstaleness = "2 d"\nqueue = "redis://10.0.0.1/0"\nport = 8090\n'
    edit(site / "appliance.toml", "jobs = 0\n", f"jobs = 0\n{text}")
    farm = read_site(site).farm
    assert (farm.workers, farm.memory_bytes, farm.staleness_seconds) == (3, 8 << 30, 2 * 86400)
    assert (farm.queue, farm.port) == ("redis://10.0.0.1/0", 8090)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("workers = 0", "farm.workers: expected at least 1, got 0"),
        ('queue = "rabbit"', 'farm.queue: expected "sqlite" or a URL'),
        ('staleness = "soon"', 'expected a time such as "30 min"'),
        ('memory = "lots"', "expected a size such as"),
        ("port = 70000", "expected a TCP port or 0"),
        ("worker = 2", "did you mean workers?"),
    ],
)
def test_a_wrong_setting_of_the_farm_is_named(site: Path, line: str, said: str) -> None:
    edit(site / "appliance.toml", "jobs = 0\n", f"{line}\n")
    assert said in complaint(site)


REPOSITORIES = """
name = "x"
[[repository]]
name = "gentoo"
sync = "git"
uri = "https://example.org/gentoo.git"
branch = "stable"
keyring = "keys.asc"
[[repository]]
name = "guru"
sync = "rsync"
uri = "rsync://example.org/guru"
priority = 10
[sync]
at = "04:30"
[farm]
mirrors = ["http://example.org/gentoo"]
"""


@pytest.fixture
def repositories(site: Path) -> Path:
    """The appliance.toml of a site with two repositories."""
    (site / "keys.asc").write_text("keys")
    (site / "appliance.toml").write_text(REPOSITORIES)
    return site / "appliance.toml"


def test_repositories_say_where_they_come_from(repositories: Path, site: Path) -> None:
    read = read_site(site)
    gentoo, guru = read.repositories
    assert gentoo.source == "git https://example.org/gentoo.git stable"
    assert (gentoo.depth, gentoo.keyring, gentoo.location) == (1, site / "keys.asc", None)
    assert (guru.sync, guru.priority) == (SyncKind.RSYNC, 10)
    assert read.schedule.at_minute == 4 * 60 + 30
    assert read.farm.mirrors == ("http://example.org/gentoo",)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('sync = "git"', 'sync = "gti"', "sync: expected one of local, git, rsync, snapshot, squashfs, got"),
        ("https://example.org/gentoo.git", "ext::sh -c id", "gentoo: uri: expected a URL (https, http, git"),
        ("https://example.org/gentoo.git", "--upload-pack=x", "gentoo: uri: expected a URL"),
        ("rsync://example.org/guru", "http://example.org/guru", "guru: uri: expected a URL (rsync), got"),
        ("rsync://example.org/guru", "rsync://example.org:0x/guru", "guru: uri: expected a URL (rsync), got"),
        ('uri = "rsync://example.org/guru"', "", 'guru: uri: missing, expected for sync = "rsync"'),
        ('branch = "stable"', 'branch = "--all"', "gentoo: branch: expected the name of a branch or tag"),
        ('branch = "stable"', "depth = -1", "gentoo: depth: expected a number of commits"),
        ("keys.asc", "nothing.asc", "nothing.asc is not there, expected a file of public keys"),
        ("priority = 10", "depth = 1", 'guru: depth: expected only for sync = "git"'),
        ("priority = 10", 'location = "/x"', "guru: location: expected only for a local repository"),
        ("priority = 10", 'priority = "10"', "priority: expected a whole number, got '10'"),
        ('sync = "rsync"', "", "guru: uri: expected only for a repository with `sync`"),
        ('"guru"', '"gentoo"', "repository: gentoo is there twice"),
        ('"guru"', '"../guru"', "name: expected what the tree's profiles/repo_name says"),
        ('"guru"', '"guru-1.2"', "name: expected what the tree's profiles/repo_name says"),
        ('at = "04:30"', 'at = "25:00"', 'at: expected a time of day such as "04:00", got'),
        ('at = "04:30"', 'every = "soon"', 'every: expected a time such as "30 min"'),
        ('at = "04:30"', 'every = "5 s"', "sync.every: expected at least 60 s, got '5 s'"),
        ('at = "04:30"', 'at = "04:30"\nevery = "1 d"', "sync: expected `every` or `at`, not both"),
        ("http://example.org/gentoo", "example.org", "farm.mirrors: expected URLs (https, http, ftp, rsync)"),
    ],
)
def test_a_bad_repository_names_file_key_and_what_was_expected(
    repositories: Path, site: Path, before: str, after: str, expected: str
) -> None:
    edit(repositories, before, after)
    said = complaint(site)
    assert expected in said
    assert "appliance.toml" in said


def test_a_git_address_may_be_written_like_a_path(repositories: Path, site: Path) -> None:
    edit(repositories, "https://example.org/gentoo.git", "git@example.org:gentoo.git")
    assert read_site(site).repositories[0].uri == "git@example.org:gentoo.git"


def test_native_flags_are_refused_wherever_flags_are_set_but_not_in_a_patch(site: Path) -> None:
    portage = site / "profiles" / "vm" / "portage"
    for name in ("env/fast.conf", "patches/app-misc/x/x.patch"):
        (portage / name).parent.mkdir(parents=True, exist_ok=True)
        (portage / name).write_text('CFLAGS="-O3 -march=native"\n')
    with pytest.raises(Problem) as caught:
        read_site(site)
    assert f"{portage}/env/fast.conf:1: -march=native is the processor of whoever compiles" in str(
        caught.value
    )
    assert "x.patch" not in str(caught.value)


def test_compile_hosts_are_read(site: Path) -> None:
    with (site / "appliance.toml").open("a") as file:
        file.write(
            '\n[cluster]\nbuilders = ["10.0.0.6"]\n[[cluster.host]]\nname = "b7"\naddress = "10.0.0.7"\n'
        )
    read = read_site(site)
    assert read.compile_hosts == (SiteHost("b7", "10.0.0.7"),)
    assert read.builders == ("10.0.0.6",)


CLIENT = """
[release]
canary = 2
report_within = "12 h"

[client]
window = "23:30-5:00"
spread = "2 h"
bandwidth = "4 MiB/s"
reboot = "window"
compile = true
depclean = false
health = "rc-service sshd status"

[[client.config]]
path = "/etc/ssh/*"
policy = "ours"
restart = "sshd"

[[client.config]]
path = "/etc/shadow"
secret = true
"""


def test_how_installed_machines_update_is_said_by_their_profile(site: Path) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write(CLIENT)
    client = read_site(site).profiles["vm"].client
    assert client.canaries == Canaries(2, report_seconds=12 * 3600.0)
    assert client.policy == ClientPolicy(
        window=Window(23 * 60 + 30, 300),
        spread_seconds=7200.0,
        bandwidth_bytes=4 << 20,
        reboot=Reboot.WINDOW,
        compile=True,
        depclean=False,
        health="rc-service sshd status",
        config=(ConfigRule("/etc/ssh/*", Keep.OURS, restart="sshd"), ConfigRule("/etc/shadow", secret=True)),
    )
    said = policy_to_json(client.policy)
    assert said["window"] == "23:30-05:00"
    assert said["config"][1] == {"path": "/etc/shadow", "secret": True}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[client]\nwindow = "2-5"', "client.window: expected two times of day"),
        ('[client]\nwindow = "02:00-02:00"', "client.window: expected two times of day"),
        ('[client]\nspread = "2 w"', "client.spread: expected at most a week"),
        ('[client]\nbandwidth = "4 MiB"', "client.bandwidth: expected a size a second"),
        ('[client]\nbandwidth = "1 B/s"', "client.bandwidth: expected a size a second"),
        ('[client]\nreboot = "soon"', "client.reboot: expected never, window, now"),
        ('[client]\nhealth = "a\\nb"', "client.health: expected one line"),
        ('[client]\nwindows = "02:00-05:00"', "did you mean window?"),
        ('[[client.config]]\npath = "etc/x"', "client.config[1].path: expected a glob pattern"),
        ('[[client.config]]\npath = "/x"\npolicy = "mine"', "client.config[1].policy: expected ours, theirs"),
        ('[[client.config]]\npath = "/x"\nrestart = "a b"', "client.config[1].restart: expected the name"),
        ('[[client.config]]\npolicy = "ours"', "client.config[1].path: missing"),
        ("[release]\ncanary = -1", "release.canary: expected how many machines"),
        ('[release]\ncanary = "0 %"', "release.canary: expected how many machines"),
        ("[release]\ncanary = true", "expected a whole number such as 2, or a share"),
        ('[release]\nreport_within = "0 h"', "release.report_within"),
    ],
)
def test_mistakes_in_how_machines_update_are_named(site: Path, table: str, said: str) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write(f"\n{table}\n")
    assert said in complaint(site)


def test_a_share_of_the_machines_may_go_first(site: Path) -> None:
    with (site / "profiles/vm/profile.toml").open("a") as file:
        file.write('\n[release]\ncanary = "10 %"\n')
    assert read_site(site).profiles["vm"].client.canaries.of(101) == 11


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("port = 70000", "clients.port"),
        ("port = 8080", "clients.port: expected another port than web.port, 8080"),
        ('names = ["a b"]', "clients.names"),
        ('silent_after = "1 min"', "clients.silent_after: expected at least an hour"),
    ],
)
def test_mistakes_in_the_door_of_machines_are_named(site: Path, table: str, said: str) -> None:
    assert read_site(site).clients.port == 8443
    with (site / "appliance.toml").open("a") as file:
        file.write(f"\n[clients]\n{table}\n")
    assert said in complaint(site)

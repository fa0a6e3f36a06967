"""The compile cluster: real agents and distccds on hosts of their own, a farm that leases them."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.deadline import wait_until
from appliance.desks.cluster import ClusterDesk
from appliance.errors import Problem
from appliance.lab import APPLIANCE_ADDRESS, wait_for_port
from appliance.model import Tree
from appliance.run import run, running
from appliance.sandbox import Overlay, Sandbox
from appliance.services import Services
from appliance.store import Store
from buildfarm.elf import section
from buildfarm.stage import Stage
from buildfarm.toolchain import Toolchain
from tests.integration.compile_yard import ADDRESSES, CHOST, PORT, ROOMS, SECONDS, Yard, flags, yard

FILES = 16
# A /dev as containers have it, here without any node for loop devices.
STATIC_DEV = """
mount -t tmpfs -o mode=755 dev /dev
for node in "null 1 3" "zero 1 5" "random 1 8" "urandom 1 9" "loop-control 10 237"; do
    set -- $node; mknod -m 666 "/dev/$1" c "$2" "$3"
done
"""


@dataclass(frozen=True)
class Cluster:
    """A yard with both hosts running and both toolchains on them."""

    yard: Yard
    made: dict[int, Toolchain]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, build_stage: Stage) -> Iterator[Cluster]:
    """Host one has all of a Debian, host two a static /dev and only what an installer's initramfs has."""
    with yard(tmp_path_factory.mktemp("yard"), build_stage.root) as made, ExitStack() as agents:
        desk = made.services.cluster
        for host, address in ADDRESSES.items():
            desk.add(host, address=address, slots=2)
        agents.enter_context(made.agent("one"))
        small = ["unshare", "--mount", "env", f"PATH={made.small_tools()}", "sh", "-euc"]
        agents.enter_context(made.agent("two", shell=[*small, f'(:{STATIC_DEV}); exec sh "$@"', "sh"]))
        toolchains = {version: desk.toolchain(made.root(), flags(version)) for version in (12, 11)}
        for toolchain in toolchains.values():
            desk.want(toolchain)
        for host in ADDRESSES:
            for toolchain in toolchains.values():
                made.wait_for_toolchain(host, toolchain.hash)
        yield Cluster(made, toolchains)


@pytest.fixture(autouse=True)
def nobody_is_punished(cluster: Cluster) -> Iterator[None]:
    """What one test does to a host is no other test's."""
    yield
    for host in cluster.yard.services.cluster.hosts():
        if host.name not in ADDRESSES:
            cluster.yard.services.cluster.remove(host.name)
        elif host.state is HostState.QUARANTINED:
            cluster.yard.services.cluster.release_quarantine(host.name)


def compilers(sandbox: Sandbox) -> set[str]:
    """What the objects of a root's /src say they were made by."""
    upper = next(mount.upper for mount in sandbox.mounts if isinstance(mount, Overlay))
    found = {section(file.read_bytes(), ".comment").strip(b"\0").decode() for file in upper.glob("src/*.o")}
    assert len(list(upper.glob("src/*.o"))) == len(list(upper.glob("src/*.c")))
    return found


def test_a_build_runs_on_both_hosts_and_its_share_is_shown(cluster: Cluster) -> None:
    root = cluster.yard.root()
    cluster.yard.project(root, FILES)
    with cluster.yard.services.cluster.lease(root, 1, flags=flags(12)) as lease:
        assert lease.hosts == ("one", "two")
        assert lease.slots == 5
        assert "127.0.0.1:4001/2,lzo" in lease.env["DISTCC_HOSTS"]
        cluster.yard.make(lease, root, 12)
        usage = lease.report()
    assert set(usage.remote) == {"one", "two"}
    assert sum(usage.remote.values()) + usage.local == FILES
    assert usage.share == sum(usage.remote.values()) / FILES
    assert usage.checked >= 2
    assert usage.wrong == {}
    assert usage.octets > FILES * 100
    assert str(usage).startswith(f"{usage.share:.0%} of {FILES} compilations on other hosts (one ")
    assert lease.report() == usage
    for host in ADDRESSES:
        log = (cluster.yard.work(host) / "run" / cluster.made[12].hash / "log").read_text()
        assert f"{CHOST}-gcc-12 f" in log
        assert "COMPILE_OK" in log


def test_real_portage_compiles_on_other_hosts(cluster: Cluster) -> None:
    root = cluster.yard.root()
    cluster.yard.portage(root, FILES)
    with cluster.yard.services.cluster.lease(root, 1) as lease:
        inside = lease.into(root)
        run(["emerge", "--oneshot", "--quiet-build=y", "--color=n", "app-misc/many"], prefix=inside.prefix())
        usage = lease.report()
    assert sum(usage.remote.values()) + usage.local == FILES
    assert usage.share == sum(usage.remote.values()) / FILES


def test_a_root_without_distcc_gets_this_hosts_for_the_build_only(cluster: Cluster) -> None:
    root = cluster.yard.root()
    run(["rm", "-r", "/usr/bin/distcc", "/usr/bin/distccd", "/usr/lib/distcc"], prefix=root.prefix())
    cluster.yard.portage(root, FILES)
    with cluster.yard.services.cluster.lease(root, 1) as lease:
        assert lease.hosts == ("one", "two"), lease.rejected
        argv = ["emerge", "--oneshot", "--quiet-build=y", "--color=n", "app-misc/many"]
        run(argv, prefix=lease.into(root).prefix())
        assert lease.report().share > 0
        assert lease.report().wrong == {}
    assert run(["find", "/usr/lib/distcc"], prefix=root.prefix()).stdout.split() == ["/usr/lib/distcc"]
    (old,) = [made for made, _ in cluster.yard.services.cluster.all_toolchains() if "opt" in made.daemon[0]]
    cluster.yard.forget(old)


def test_two_profiles_compile_on_the_same_hosts_each_with_its_own_compiler(cluster: Cluster) -> None:
    desk = cluster.yard.services.cluster
    roots = {version: cluster.yard.root() for version in (11, 12)}
    with ExitStack() as both:
        leases = {
            version: both.enter_context(desk.lease(root, 1, flags=flags(version)))
            for version, root in roots.items()
        }
        for root in roots.values():
            cluster.yard.project(root, FILES)
        building = [
            threading.Thread(target=cluster.yard.make, args=(leases[version], root, version))
            for version, root in roots.items()
        ]
        for thread in building:
            thread.start()
        for thread in building:
            thread.join()
        usages = {version: lease.report() for version, lease in leases.items()}
    for version, root in roots.items():
        (said,) = compilers(root)
        assert f" {version}." in said
        assert usages[version].share > 0
        assert usages[version].wrong == {}


def test_a_host_that_is_killed_in_the_middle_does_not_stop_the_build(cluster: Cluster) -> None:
    root = cluster.yard.root()
    cluster.yard.project(root, 3 * FILES)
    desk = cluster.yard.services.cluster
    host = "three"
    desk.add(host, address="10.77.0.13", slots=2)
    with cluster.yard.agent(host) as agent:
        cluster.yard.wait_for_toolchain(host, cluster.made[12].hash)
        with desk.lease(root, 1, flags=flags(12)) as lease:
            assert host in lease.hosts
            building = threading.Thread(target=cluster.yard.make, args=(lease, root, 12))
            building.start()
            wait_until(
                lambda: lease.report().remote.get(host) or None, seconds=SECONDS, what="the host compiles"
            )
            os.kill(agent.pid, signal.SIGKILL)
            building.join()
            usage = lease.report()
        assert len(compilers(root)) == 1
        assert sum(usage.remote.values()) + usage.local == 3 * FILES
        assert usage.remote[host] > 0

        def nothing_left() -> bool | None:
            pids = run(["ip", "netns", "pids", cluster.yard.net.namespace(host)]).stdout.split()
            return None if pids else True

        wait_until(nothing_left, seconds=SECONDS, what="no process of the killed agent is left")
    loops = run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]).stdout
    assert str(cluster.yard.work(host)) not in loops
    # Started again, it goes on.
    with cluster.yard.agent(host):
        cluster.yard.wait_for_toolchain(host, cluster.made[12].hash)


def test_a_farm_that_is_killed_leaves_no_relay_and_the_next_lease_tidies_up(cluster: Cluster) -> None:
    root = cluster.yard.root()
    leases = cluster.yard.services.tree.path / "cluster/leases"
    child = os.fork()
    if child == 0:
        try:
            services = Services(cluster.yard.services.live.path, cluster.yard.services.tree)
            with services.cluster.lease(root, 1, flags=flags(12)) as lease:
                (cluster.yard.path / "leased").write_text(str(lease.sandbox_network))
                run(["sleep", "600"], prefix=lease.into(root).prefix())
        finally:
            os._exit(1)
    leased = cluster.yard.path / "leased"
    wait_until(lambda: (leased.exists() and leased.read_text()) or None, seconds=SECONDS, what="it leases")
    relay = int(Path(leased.read_text()).parts[2])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_until(lambda: None if alive(relay) else True, seconds=SECONDS, what="the relay has ended")
    (left,) = leases.glob("lease-*")
    with cluster.yard.services.cluster.lease(cluster.yard.root(), 1, flags=flags(12)) as lease:
        assert lease.hosts == ("one", "two")
        assert not left.exists()
    assert list(leases.glob("lease-*")) == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@contextmanager
def pretender(cluster: Cluster, name: str, address: str, port: int) -> Iterator[None]:
    """A host that says it runs the gcc-12 toolchain on this port."""
    made = cluster.made[12]
    desk = cluster.yard.services.cluster
    report = HostReport(name, "x86_64", 2, runs={made.hash: port})
    host = CompileHost(name, address, HostState.READY, slots=2, seen_at=time.time(), report=report)
    desk.store.compile_hosts.put(host)
    desk.store.compile_hosts.set_ports(name, {made.hash: port})
    yield


def test_a_host_with_another_compiler_behind_the_name_is_quarantined_before_use(
    cluster: Cluster, build_stage: Stage
) -> None:
    liar = cluster.yard.root()
    upper = next(mount.upper for mount in liar.mounts if isinstance(mount, Overlay))
    (upper / "usr/bin").mkdir(parents=True)
    for tool in ("gcc", "g++"):
        shutil.copy(build_stage.root / f"usr/bin/x86_64-linux-gnu-{tool}-11", upper / "usr/bin")
        (upper / f"usr/bin/x86_64-linux-gnu-{tool}-11").rename(upper / f"usr/bin/x86_64-linux-gnu-{tool}-12")
    there = replace(liar, namespace=Path("/run/netns") / cluster.yard.net.namespace("two"))
    daemon = ["distccd", "--no-detach", "--daemon", "--allow", APPLIANCE_ADDRESS, "--port", "3900"]
    root = cluster.yard.root()
    with (
        running([*daemon, "--user", "nobody"], prefix=there.prefix(), output=cluster.yard.path / "liar.log"),
        pretender(cluster, "liar", ADDRESSES["two"], 3900),
    ):
        wait_for_port(cluster.yard.net, "two", 3900, seconds=SECONDS)
        with cluster.yard.services.cluster.lease(root, 1, flags=flags(12)) as lease:
            assert lease.hosts == ("one", "two")
            assert "of probe.c it makes" in lease.rejected["liar"]
            assert ") 11." in lease.rejected["liar"]
    found = cluster.yard.services.cluster.host("liar")
    assert found.state is HostState.QUARANTINED
    assert found.reason == lease.rejected["liar"]


@contextmanager
def meddler(target: tuple[str, int], port: int, change: dict[bytes, bytes]) -> Iterator[None]:
    """A proxy that changes requests on their way while `change` holds something."""
    with socket.create_server((APPLIANCE_ADDRESS, port)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=forward, args=(client,), daemon=True).start()

        def forward(client: socket.socket) -> None:
            with client, socket.create_connection(target) as there:
                threading.Thread(target=back, args=(there, client), daemon=True).start()
                while data := client.recv(65536):
                    for old, new in change.items():
                        data = data.replace(old, new)
                    there.sendall(data)

        def back(there: socket.socket, client: socket.socket) -> None:
            try:
                while data := there.recv(65536):
                    client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


def test_a_host_that_turns_bad_during_a_build_is_found_and_used_no_more(cluster: Cluster) -> None:
    root = cluster.yard.root()
    cluster.yard.project(root, FILES)
    desk = cluster.yard.services.cluster
    change: dict[bytes, bytes] = {}
    port = desk.store.compile_hosts.ports("two")[cluster.made[12].hash]
    with (
        meddler((ADDRESSES["two"], port), 3901, change),
        pretender(cluster, "turncoat", APPLIANCE_ADDRESS, 3901),
        desk.lease(root, 1, flags=flags(12)) as lease,
    ):
        assert lease.hosts == ("one", "turncoat", "two")
        change[b"-O2"] = b"-O1"
        cluster.yard.make(lease, root, 12)
        usage = lease.report()
        assert set(usage.wrong) == {"turncoat"}
    assert desk.host("turncoat").state is HostState.QUARANTINED
    assert desk.host("two").state is HostState.READY


def test_a_toolchain_that_is_replaced_during_a_build_is_used_no_more(cluster: Cluster) -> None:
    root = cluster.yard.root()
    cluster.yard.project(root, FILES)
    with cluster.yard.services.cluster.lease(root, 1, flags=flags(12)) as lease:
        upper = next(mount.upper for mount in root.mounts if isinstance(mount, Overlay))
        (upper / "usr/bin").mkdir(parents=True)
        shutil.copy(cluster.yard.stage / "usr/bin/x86_64-linux-gnu-as", upper / "usr/bin")
        assert lease.report().outdated
        wait_until(
            lambda: lease.report().failures == {} or None, seconds=SECONDS, what="nobody is blamed for it"
        )
        cluster.yard.make(lease, root, 12)
        assert lease.report().share < 1
    assert len(compilers(root)) == 1


def said_by(desk: ClusterDesk, host: str) -> HostReport:
    report = desk.host(host).report
    assert report is not None
    return report


def test_altered_foreign_and_old_orders_are_refused(cluster: Cluster) -> None:
    place = cluster.yard.services.tree.path / "cluster/orders"
    good, other = (place / "one").read_text(), (place / "two").read_text()
    desk = cluster.yard.services.cluster
    lies = {
        "the signature of the orders is not good": good.replace("nice 10", "nice 11"),
        "the orders are for two, not for one": other,
    }
    for said, text in lies.items():
        (place / "one").write_text(text)
        cluster.yard.wait_for_log("one", said)
    (place / "one").write_text(good)
    with desk.store.database.change():
        newer = desk.store.compile_hosts.next_serial("one", now=time.time())
    (place / "one").unlink()
    desk.tend()
    assert f"serial {newer + 1}" in (place / "one").read_text()
    wait_until(
        lambda: ((report := desk.host("one").report) and report.serial > newer) or None,
        seconds=SECONDS,
        what="the host follows newer orders",
    )
    (place / "one").write_text(good)
    cluster.yard.wait_for_log("one", "they are old")
    wait_until(
        lambda: "they are old" in said_by(desk, "one").problem or None,
        seconds=SECONDS,
        what="the host reports it",
    )
    # It goes on with the last good ones.
    assert set(said_by(desk, "one").runs) == {made.hash for made in cluster.made.values()}
    (place / "one").unlink()
    desk.tend()


def test_an_altered_toolchain_image_is_not_started(cluster: Cluster) -> None:
    desk = cluster.yard.services.cluster
    eleven = cluster.made[11]
    forged = replace(eleven, hash="f0" * 32)
    shutil.copy(desk.toolchains / f"{eleven.hash}.sqfs", desk.toolchains / f"{forged.hash}.sqfs")
    text = (desk.toolchains / f"{eleven.hash}.json").read_text().replace(eleven.hash, forged.hash)
    (desk.toolchains / f"{forged.hash}.json").write_text(text)
    desk.want(forged, seconds=600)
    for host in ADDRESSES:
        cluster.yard.wait_for_log(host, f"toolchain {forged.hash} is not what the orders say")
        assert not (cluster.yard.work(host) / "run" / forged.hash).exists()
    cluster.yard.forget(forged)


def test_a_kit_is_all_a_host_needs(cluster: Cluster, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    server = f"http://{APPLIANCE_ADDRESS}:{PORT}"
    desk = cluster.yard.services.cluster
    desk.kit(kit, server=server, name="three")
    with pytest.raises(Problem, match="is not empty"):
        desk.kit(kit, server=server)
    settings = kit / "etc/distserver/compile-host.conf"
    places = f"work={tmp_path}/work\nstate={tmp_path}/state\nkey={kit}/etc/distserver/release-key.gpg\n"
    settings.write_text(settings.read_text() + places)
    agent: list[str | Path] = [kit / "usr/lib/distserver/compile-host", settings]
    with running(agent, prefix=cluster.yard.net.exec_prefix("three"), output=tmp_path / "log"):
        # Nobody knows it at first; a person lets it be used without naming its address.
        cluster.yard.wait_for_host("three", HostState.UNKNOWN)
        assert desk.add("three").address == ROOMS["three"]
        assert desk.host("three").state is HostState.READY


def test_a_person_can_probe_a_host(cluster: Cluster) -> None:
    found = cluster.yard.services.cluster.probe("two")
    assert {made.hash: wrong for made, wrong in found} == {made.hash: "" for made in cluster.made.values()}


def test_native_flags_are_refused_with_what_they_mean_here(cluster: Cluster) -> None:
    desk = cluster.yard.services.cluster
    with (
        pytest.raises(Problem, match="has -march=native") as caught,
        desk.lease(cluster.yard.root(), 1, flags=flags(12, "-O2", "-march=native")),
    ):
        raise AssertionError("it was leased")
    assert "-march=" in caught.value.hint
    assert "native" not in caught.value.hint


def test_without_any_host_a_lease_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    alone = ClusterDesk(cluster.yard.services.live, tree, Store(tree.store), time.time)
    root = cluster.yard.root()
    with alone.lease(root, 3) as lease:
        assert lease.into(root) is root
        assert lease.slots == 3
        assert lease.report().share == 0.0
    assert not (tmp_path / "toolchains").exists()

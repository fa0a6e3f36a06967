"""The table of everything the API does: the routes and the OpenAPI document are both made from it."""

from collections.abc import Callable, Sequence

from appliance.account_model import Role
from appliance.services import Services
from appliance.store.consoles import WatchState
from appliance.store.errands import ErrandKind
from appliance.store.machines import Search
from webui.api import clients, matching, merges, people, profiles, releases, shapes, webhooks, yard
from webui.api.build_operations import BUILD_OPERATIONS
from webui.api.operation import Absent, Operation, Page, cut, looking


def list_machines(desk: Services, query: shapes.MachineQuery) -> Page:
    search = Search(query.text, query.state, query.profile, query.release, query.sign)
    found = desk.machines_after(search, query.cursor.lower(), limit=query.limit + 1)
    return cut([shapes.machine(one) for one in found], query.limit, lambda one: one.mac)


def show_machine(desk: Services, machine: str) -> shapes.MachineNow:
    with looking():
        found = desk.machine(machine)
    boots, plan = desk.desk.explain(found.mac), desk.machine_desk.fingerprint(found.mac)
    return shapes.MachineNow(shapes.machine(found), boots, plan)


def list_machine_events(desk: Services, machine: str, query: shapes.NumberQuery) -> Page:
    with looking():
        mac = desk.machine(machine).mac
    return events_of(desk, mac, query.cursor, query.limit)


def add_machine(desk: Services, body: shapes.NewMachine) -> shapes.Machine:
    return shapes.machine(desk.add_machine(body.mac, profile=body.profile or None, name=body.name))


def assign_machine(desk: Services, machine: str, body: shapes.Assignment) -> shapes.Machine:
    return shapes.machine(desk.assign(mac_of(desk, machine), body.profile, name=body.name))


def arm_machine(desk: Services, machine: str) -> shapes.Machine:
    return shapes.machine(desk.arm(mac_of(desk, machine)))


def disarm_machine(desk: Services, machine: str) -> shapes.Machine:
    return shapes.machine(desk.disarm(mac_of(desk, machine)))


def set_channel(desk: Services, machine: str, body: shapes.ChannelChoice) -> shapes.Machine:
    return shapes.machine(desk.put_on_channel(mac_of(desk, machine), body.channel.value))


def rescue_machine(desk: Services, machine: str, body: shapes.RescueChoice) -> shapes.Machine:
    return shapes.machine(desk.machine_desk.rescue(mac_of(desk, machine), body.wanted))


def wake_machine(desk: Services, machine: str) -> shapes.Errand:
    return shapes.errand(desk.switching.wake(mac_of(desk, machine)))


def switch_machine(desk: Services, machine: str, body: shapes.PowerChoice) -> shapes.Errand:
    return shapes.errand(desk.switching.want(mac_of(desk, machine), body.action.value))


def list_machine_errands(desk: Services, machine: str) -> Page:
    return Page(tuple(shapes.errand(one) for one in desk.switching.last(mac_of(desk, machine))), None)


def show_console(desk: Services, machine: str) -> shapes.Console:
    seen = desk.consoles.seen(mac_of(desk, machine))
    watch = seen.watch
    if watch is None:
        return shapes.Console(False, 0.0, WatchState.WANTED, "", 0, "")
    return shapes.Console(seen.open, watch.until, watch.state, watch.said, watch.size_bytes, seen.text)


def watch_console(desk: Services, machine: str, body: shapes.WatchChoice) -> shapes.Console:
    mac = mac_of(desk, machine)
    desk.consoles.watch(mac, body.wanted)
    return show_console(desk, mac)


def rename_machine(desk: Services, machine: str, body: shapes.NewName) -> shapes.Machine:
    return shapes.machine(desk.rename(mac_of(desk, machine), body.name))


def retire_machine(desk: Services, machine: str) -> shapes.Machine:
    return shapes.machine(desk.machine_desk.retire(mac_of(desk, machine)))


def wipe_machine(desk: Services, machine: str, body: shapes.TypedName) -> shapes.Machine:
    return shapes.machine(desk.machine_desk.wipe(mac_of(desk, machine), typed=body.name))


def list_profiles(desk: Services) -> Page:
    return Page(tuple(shapes.profile(one) for one in desk.profiles()), None)


def show_profile(desk: Services, profile: str) -> shapes.Profile:
    found = next((one for one in desk.profiles() if one.name == profile), None)
    if found is None:
        raise Absent(f"there is no profile {profile}", hint="/api/v1/profiles lists those there are")
    return shapes.profile(found)


def list_errands(desk: Services, profile: str) -> Page:
    return Page(tuple(shapes.errand(one) for one in desk.errands.last(profile)), None)


def mover(kind: ErrandKind) -> Callable[[Services, str, shapes.Move], shapes.Errand]:
    """The web process may move no channel: the farm does it, and the errand says what came of it."""

    def move(desk: Services, profile: str, body: shapes.Move) -> shapes.Errand:
        releases.must_be_known(desk, profile)
        asked = {"release": body.release, "who": desk.audit.who, "why": body.why}
        return shapes.errand(desk.errands.want(kind, profile, channel=body.channel.value, **asked))

    return move


def list_jobs(desk: Services, query: shapes.NumberQuery) -> Page:
    before = int(query.cursor) if query.cursor else None
    found = desk.jobs_before(before, limit=query.limit + 1)
    return cut([shapes.job(one) for one in found], query.limit, lambda one: str(one.id))


def list_hosts(desk: Services) -> Page:
    return Page(tuple(shapes.host(one) for one in desk.cluster.look()), None)


def list_events(desk: Services, query: shapes.EventQuery) -> Page:
    return events_of(desk, query.subject, query.cursor, query.limit)


def list_audit(desk: Services, query: shapes.AuditQuery) -> Page:
    before = int(query.cursor) if query.cursor else None
    wanted = {"who": query.who, "action": query.action, "subject": query.subject}
    found = desk.audit.page(**wanted, before=before, limit=query.limit + 1)
    return cut([shapes.note(one) for one in found], query.limit, lambda one: str(one.id))


MACHINE = "/machines/{machine}"
VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN
OPERATIONS: Sequence[Operation] = (
    Operation(
        "listMachines", "GET", "/machines", VIEWER, "Machines, by MAC.", list_machines,
        shapes.Machine, listed=True, query=shapes.MachineQuery,
    ),
    Operation(
        "addMachine", "POST", "/machines", OPERATOR, "Make a machine known before it boots.", add_machine,
        shapes.Machine, body=shapes.NewMachine, status=201,
    ),
    Operation(
        "showMachine", "GET", MACHINE, VIEWER, "One machine, by MAC or name.", show_machine,
        shapes.MachineNow,
    ),
    Operation(
        "listMachineEvents", "GET", f"{MACHINE}/events", VIEWER, "A machine's timeline, the oldest first.",
        list_machine_events, shapes.Event, listed=True, query=shapes.NumberQuery,
    ),
    Operation(
        "assignMachine", "POST", f"{MACHINE}/assign", OPERATOR, "Give it a profile, which disarms it.",
        assign_machine, shapes.Machine, body=shapes.Assignment,
    ),
    Operation(
        "armMachine", "POST", f"{MACHINE}/arm", OPERATOR,
        "Allow one installation, which wipes the one disk that matches its profile.",
        arm_machine, shapes.Machine,
    ),
    Operation(
        "disarmMachine", "POST", f"{MACHINE}/disarm", OPERATOR, "Take that permission back.",
        disarm_machine, shapes.Machine,
    ),
    Operation(
        "setMachineChannel", "POST", f"{MACHINE}/channel", OPERATOR, "Let it follow stable or canary.",
        set_channel, shapes.Machine, body=shapes.ChannelChoice,
    ),
    Operation(
        "wakeMachine", "POST", f"{MACHINE}/wake", OPERATOR, "Let the farm wake it by Wake-on-LAN.",
        wake_machine, shapes.Errand, status=202,
    ),
    Operation(
        "switchMachine", "POST", f"{MACHINE}/power", OPERATOR,
        "Let the farm tell its controller something, or ask it whether the power is on.",
        switch_machine, shapes.Errand, body=shapes.PowerChoice, status=202,
    ),
    Operation(
        "listMachineErrands", "GET", f"{MACHINE}/errands", VIEWER,
        "What the farm was asked to do with it and what came of that, the newest first.",
        list_machine_errands, shapes.Errand, listed=True,
    ),
    Operation(
        "showConsole", "GET", f"{MACHINE}/console", OPERATOR, "The last its serial console said.",
        show_console, shapes.Console,
    ),
    Operation(
        "watchConsole", "POST", f"{MACHINE}/console", OPERATOR,
        "Let the farm read its serial console for 15 minutes, or no longer.",
        watch_console, shapes.Console, body=shapes.WatchChoice, status=202,
    ),
    Operation(
        "rescueMachine", "POST", f"{MACHINE}/rescue", OPERATOR,
        "Let it start from the network into the rescue shell once, or no longer; nothing is written.",
        rescue_machine, shapes.Machine, body=shapes.RescueChoice,
    ),
    Operation(
        "renameMachine", "POST", f"{MACHINE}/rename", OPERATOR, "Give it a host name, or take it away.",
        rename_machine, shapes.Machine, body=shapes.NewName,
    ),
    Operation(
        "retireMachine", "POST", f"{MACHINE}/retire", OPERATOR,
        "Forget it, with its timeline, tokens and images; what is on its disks stays.",
        retire_machine, shapes.Machine,
    ),
    Operation(
        "wipeMachine", "POST", f"{MACHINE}/wipe", OPERATOR,
        "Allow that its one matching disk is wiped when it next starts from the network; then it is retired.",
        wipe_machine, shapes.Machine, body=shapes.TypedName,
    ),
    Operation(
        "listProfiles", "GET", "/profiles", VIEWER, "The site's profiles.", list_profiles,
        shapes.Profile, listed=True,
    ),
    Operation(
        "showProfile", "GET", "/profiles/{profile}", VIEWER, "One profile.", show_profile, shapes.Profile,
    ),
    Operation(
        "listErrands", "GET", "/profiles/{profile}/errands", VIEWER,
        "What the farm was asked to do with its channels, the newest first.", list_errands,
        shapes.Errand, listed=True,
    ),
    *(
        Operation(
            f"{kind.value}Release", "POST", f"/profiles/{{profile}}/{kind.value}", OPERATOR, text,
            mover(kind), shapes.Errand, body=shapes.Move, status=202,
        )
        for kind, text in (
            (ErrandKind.PROMOTE, "Move stable to what canary names, or to a release."),
            (ErrandKind.ROLLBACK, "Move a channel back, or to a release."),
            (ErrandKind.PIN, "Keep a channel at a release, whatever is published."),
            (ErrandKind.UNPIN, "Let a channel move again."),
        )
    ),
    Operation(
        "listJobs", "GET", "/jobs", VIEWER, "Jobs of the farm, the newest first.", list_jobs,
        shapes.Job, listed=True, query=shapes.NumberQuery,
    ),
    *releases.OPERATIONS,
    *BUILD_OPERATIONS,
    Operation(
        "listHosts", "GET", "/cluster/hosts", VIEWER, "The compile hosts.", list_hosts,
        shapes.Host, listed=True,
    ),
    Operation(
        "listEvents", "GET", "/events", VIEWER, "What happened, the oldest first: poll with the last number.",
        list_events, shapes.Event, listed=True, query=shapes.EventQuery,
    ),
    Operation(
        "listAudit", "GET", "/audit", ADMIN, "Who changed what, the newest first.", list_audit,
        shapes.Note, listed=True, query=shapes.AuditQuery,
    ),
    *matching.OPERATIONS,
    *merges.OPERATIONS,
    *profiles.OPERATIONS,
    *webhooks.OPERATIONS,
    *yard.OPERATIONS,
    *people.OPERATIONS,
    *clients.OPERATIONS,
)  # fmt: skip


def mac_of(desk: Services, machine: str) -> str:
    with looking():
        return desk.machine(machine).mac


def events_of(desk: Services, subject: str, cursor: str, limit: int) -> Page:
    found = desk.events_after(subject, int(cursor or 0), limit=limit + 1)
    return cut([shapes.event(number, one) for number, one in found], limit, lambda one: str(one.id))

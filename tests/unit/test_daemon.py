"""With what rights the processes of `up` are started."""

import pwd

from appliance.daemon import BOOT_CAPABILITIES, DIE_TOGETHER, unprivileged

SOMEBODY = pwd.struct_passwd(("distserver", "x", 998, 997, "", "/nonexistent", "/usr/sbin/nologin"))


def test_a_process_becomes_the_service_user_with_only_its_capabilities() -> None:
    argv = unprivileged(SOMEBODY, BOOT_CAPABILITIES)
    kept = "-all,+net_bind_service,+net_raw"
    assert argv[: len(DIE_TOGETHER)] == DIE_TOGETHER
    assert argv[argv.index("--reuid") + 1] == "998"
    assert argv[argv.index("--regid") + 1] == "997"
    assert {f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"} <= set(argv)
    assert "--no-new-privs" in argv


def test_without_a_service_user_root_loses_its_capabilities_all_the_same() -> None:
    argv = unprivileged(None, ())
    assert "--reuid" not in argv
    assert {"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"} <= set(argv)

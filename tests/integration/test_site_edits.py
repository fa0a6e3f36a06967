"""Changes of a site's files as the farm makes them: in real directories and real git checkouts."""

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.edit_model import MOST_BYTES, Change, Changed, encode
from appliance.errors import Problem
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from appliance.site_git import Author, commit, obstacle
from appliance.site_writer import PART, read_file, write_file
from appliance.store.edits import Edit, EditState

ANN = Author("ann", "ann@site")
WORLD = "profiles/vm/world"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


@pytest.fixture
def services(site: Path, tmp_path: Path) -> Services:
    return Services(site, Tree(tmp_path / "state"))


def git(top: Path, *words: str) -> str:
    who = ["-c", "user.name=bob", "-c", "user.email=bob@home", "-c", "safe.directory=*"]
    return run(["git", "-C", top, *who, *words]).stdout.rstrip("\n")


@pytest.fixture
def checkout(site: Path) -> Path:
    git(site, "init", "-q", "-b", "main")
    git(site, "add", ".")
    git(site, "commit", "-q", "-m", "start")
    return site


def change(site: Path, name: str, text: str | None, profile: str = "vm") -> Change:
    return Change(profile, name, read_file(site, profile, name), None if text is None else encode(text))


def ask(services: Services, name: str, text: str | None, *, why: str = "", role: Role = Role.ADMIN) -> Edit:
    return services.edits.want(change(services.live.path, name, text), who="web ann", role=role, why=why)


def made(services: Services) -> Edit:
    found = services.edits.do_next()
    assert found
    return found


# files


def test_a_file_is_written_with_its_owner_and_mode_and_nothing_is_left_beside_it(site: Path) -> None:
    world = site / WORLD
    world.chmod(0o640)
    os.chown(world, 1234, 1235)
    os.chown(site / "profiles/vm/portage", 1234, 1235)
    before = {one.name for one in site.rglob("*")}
    (site / PART).write_text("of a process that was killed")
    write_file(site, change(site, "world", "app-misc/x\n"))
    status = world.stat()
    assert (world.read_text(), status.st_mode & 0o777, status.st_uid, status.st_gid) == (
        "app-misc/x\n",
        0o640,
        1234,
        1235,
    )
    write_file(site, change(site, "portage/package.use/lua", "dev-lang/lua x\n"))
    new = site / "profiles/vm/portage/package.use/lua"
    assert (new.stat().st_uid, new.stat().st_mode & 0o777) == (1234, 0o644)
    assert new.parent.stat().st_uid == 1234
    write_file(site, change(site, "portage/package.use/lua", None))
    assert not new.exists()
    assert {one.name for one in site.rglob("*")} == before | {"package.use"}


def test_what_somebody_else_changed_is_not_written_over(site: Path) -> None:
    mine = change(site, "world", "app-misc/mine\n")
    (site / WORLD).write_text("app-misc/theirs\n")
    with pytest.raises(Changed):
        write_file(site, mine)
    gone = change(site, "world", None)
    (site / WORLD).unlink()
    with pytest.raises(Changed):
        write_file(site, gone)
    new = Change("vm", "kernel.config", None, b"CONFIG_A=y\n")
    (site / "profiles/vm/kernel.config").write_text("CONFIG_B=y\n")
    with pytest.raises(Changed):
        write_file(site, new)
    assert (site / "profiles/vm/kernel.config").read_text() == "CONFIG_B=y\n"


@pytest.mark.parametrize("link", ["world", "portage", "portage/package.use"])
def test_no_symbolic_link_is_followed(site: Path, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_text("secret\n")
    place = site / "profiles/vm" / link
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    target = elsewhere / "x" if link == "world" else elsewhere
    place.symlink_to(target)
    name = link if link == "world" else f"{link}/x"
    with pytest.raises(Problem, match="symbolic link"):
        read_file(site, "vm", name)
    with pytest.raises(Problem, match="symbolic link"):
        write_file(site, Change("vm", name, b"secret\n", b"mine\n"))
    assert (elsewhere / "x").read_text() == "secret\n"


def test_a_profile_that_is_a_link_a_directory_a_pipe_and_a_large_file_are_refused(
    site: Path, tmp_path: Path
) -> None:
    (site / "profiles/other").symlink_to(site / "profiles/vm")
    with pytest.raises(Problem, match="symbolic link"):
        read_file(site, "other", "world")
    (site / "profiles/vm/portage/dir").mkdir()
    with pytest.raises(Problem, match=r"is a directory \(name a file in it\)"):
        read_file(site, "vm", "portage/dir")
    os.mkfifo(site / "profiles/vm/portage/pipe")
    with pytest.raises(Problem, match="no plain file"):
        read_file(site, "vm", "portage/pipe")
    (site / "profiles/vm/portage/large").write_bytes(b"x" * (MOST_BYTES + 1))
    with pytest.raises(Problem, match="edited on the disk only"):
        read_file(site, "vm", "portage/large")
    assert read_file(site, "vm", "portage/none") is None
    assert read_file(site, "nobody", "world") is None


# git


def commit_of(site: Path, name: str, text: str | None, *, message: str = "why\n\nmore") -> str:
    wanted = change(site, name, text)
    write_file(site, wanted)
    return commit(site, wanted, author=ANN, message=message)


def test_a_change_is_a_commit_of_that_file_by_that_account(checkout: Path) -> None:
    said = commit_of(checkout, "world", "app-misc/x\n")
    assert said == f"commit {git(checkout, 'rev-parse', 'HEAD')[:12]}"
    assert (
        git(checkout, "log", "-1", "--format=%an <%ae> %cn|%B").rstrip()
        == "ann <ann@site> DistServer|why\n\nmore"
    )
    assert git(checkout, "show", "--format=", "--name-status") == f"M\t{WORLD}"
    commit_of(checkout, "portage/package.use/lua", "dev-lang/lua x\n")
    assert git(checkout, "show", "--format=", "--name-status") == "A\tprofiles/vm/portage/package.use/lua"
    commit_of(checkout, "portage/package.use/lua", None)
    assert git(checkout, "show", "--format=", "--name-status") == "D\tprofiles/vm/portage/package.use/lua"
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "fsck", "--strict") == ""


def test_what_others_staged_and_changed_stays_as_it_is(checkout: Path) -> None:
    (checkout / "appliance.toml").write_text((checkout / "appliance.toml").read_text() + "# unstaged\n")
    (checkout / "profiles/amd64/world").write_text("app-misc/staged\n")
    git(checkout, "add", "profiles/amd64/world")
    (checkout / "notes").write_text("untracked\n")
    before = git(checkout, "status", "--porcelain"), git(checkout, "diff"), git(checkout, "diff", "--cached")
    assert commit_of(checkout, "world", "app-misc/x\n").startswith("commit ")
    after = git(checkout, "status", "--porcelain"), git(checkout, "diff"), git(checkout, "diff", "--cached")
    assert after == before
    assert git(checkout, "show", "--format=", "--name-only") == WORLD


def test_a_file_with_somebodys_uncommitted_changes_is_written_and_not_committed(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / WORLD).write_text("app-misc/theirs\n")
    wanted = change(checkout, "world", "app-misc/theirs\napp-misc/mine\n")
    reason = "the file has uncommitted changes of somebody else"
    assert obstacle(checkout, wanted) == reason
    write_file(checkout, wanted)
    assert commit(checkout, wanted, author=ANN, message="x") == f"not committed: {reason}"
    assert git(checkout, "rev-parse", "HEAD") == head
    assert git(checkout, "status", "--porcelain") == f" M {WORLD}"


def test_what_is_staged_of_the_same_file_stays_staged(checkout: Path) -> None:
    committed = (checkout / WORLD).read_text()
    (checkout / WORLD).write_text("app-misc/staged\n")
    git(checkout, "add", WORLD)
    (checkout / WORLD).write_text(committed)
    assert commit_of(checkout, "world", "app-misc/mine\n").endswith("stays staged")
    assert git(checkout, "show", f":{WORLD}") == "app-misc/staged"
    assert git(checkout, "show", f"HEAD:{WORLD}") == "app-misc/mine"


def untracked(top: Path) -> None:
    git(top, "rm", "-q", "--cached", WORLD)
    git(top, "commit", "-q", "-m", "no world")


def merging(top: Path) -> None:
    (top / ".git/MERGE_HEAD").write_text(git(top, "rev-parse", "HEAD"))


@pytest.mark.parametrize(
    ("spoil", "said"), [(untracked, "was never committed"), (merging, "in the middle of a merge or rebase")]
)
def test_why_it_is_not_committed_is_said(checkout: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(checkout)
    head = git(checkout, "rev-parse", "HEAD")
    assert said in commit_of(checkout, "world", "app-misc/x\n")
    assert (git(checkout, "rev-parse", "HEAD"), (checkout / WORLD).read_text()) == (head, "app-misc/x\n")


def test_an_ignored_new_file_is_not_committed_nor_one_whose_deletion_was_not(checkout: Path) -> None:
    (checkout / ".git/info/exclude").write_text("authorized_keys\n")
    assert "git ignores" in commit_of(checkout, "authorized_keys", "ssh-ed25519 A ann\n")
    (checkout / WORLD).unlink()
    assert "somebody deleted" in commit_of(checkout, "world", "app-misc/x\n")


def test_nothing_of_the_checkouts_configuration_runs(checkout: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir(mode=0o777)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 >> {marks}/ran\nexit 1\n")
    program.chmod(0o755)
    hooks = checkout / ".git/hooks"
    for name in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "reference-transaction",
        "post-index-change",
        "pre-push",
    ):
        shutil.copy(program, hooks / name)
    for key in ("core.fsmonitor", "gpg.program", "filter.x.clean", "filter.x.process", "core.editor"):
        git(checkout, "config", key, str(program))
    git(checkout, "config", "core.hooksPath", str(hooks))
    git(checkout, "config", "commit.gpgSign", "true")
    (checkout / ".git/info/attributes").write_text("* filter=x\n")
    assert commit_of(checkout, "world", "app-misc/x\n").startswith("commit ")
    assert list(marks.iterdir()) == []
    run([program], ok=(1,))
    assert list(marks.iterdir()), "the mark itself works"


def test_in_a_checkout_of_another_user_git_runs_as_that_user(checkout: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for one in (checkout, *checkout.rglob("*")):
        os.chown(one, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    for above in checkout.parents:  # how many of them pytest keeps closed depends on how it is started
        above.chmod(above.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    assert commit_of(checkout, "world", "app-misc/x\n").startswith("commit ")
    owners = {one.lstat().st_uid for one in (checkout, *checkout.rglob("*"))}
    assert owners == {nobody.pw_uid}


def test_a_checkout_above_the_site_without_a_commit_and_none_at_all(site: Path) -> None:
    assert commit_of(site, "world", "app-misc/x\n") == "the site is no git checkout"
    top = site.parent
    git(top, "init", "-q")
    (site / "profiles/vm/kernel.config").unlink(missing_ok=True)
    assert commit_of(site, "kernel.config", "CONFIG_A=y\n").startswith("commit ")
    assert git(top, "ls-tree", "-r", "--name-only", "HEAD") == "site/profiles/vm/kernel.config"


def test_a_commit_that_was_made_before_the_end_is_not_made_again(checkout: Path) -> None:
    wanted = change(checkout, "world", "app-misc/x\n")
    write_file(checkout, wanted)
    commit(checkout, wanted, author=ANN, message="once")
    assert commit(checkout, wanted, author=ANN, message="twice") == "committed"
    assert git(checkout, "log", "--format=%s") == "once\nstart"


# what is asked for and what the farm does


def test_a_change_is_asked_for_written_committed_and_in_the_audit_log(
    checkout: Path, services: Services
) -> None:
    services.live.now()
    asked = ask(services, "world", "app-misc/x\r\n", why="  because\n\nof\x1b[31m this ", role=Role.OPERATOR)
    assert asked.state is EditState.WANTED and (checkout / WORLD).read_text() != "app-misc/x\n"
    done = made(services)
    assert done.state is EditState.DONE and done.said.startswith("written; commit ")
    assert services.live.now().profiles["vm"].world[0] == "app-misc/x"
    assert (
        git(checkout, "log", "-1", "--format=%an|%ae|%B").rstrip() == "ann|ann@example|because\n\nof[31m this"
    )
    notes = [(one.who, one.action, one.subject) for one in services.audit.page(subject="vm/world")]
    assert notes == [
        ("web ann", "profile change", "vm/world"),
        ("web ann", "profile want change", "vm/world"),
    ]
    assert services.edits.do_next() is None


def test_without_words_the_commit_names_the_file(checkout: Path, services: Services) -> None:
    ask(services, "world", None)
    made(services)
    assert git(checkout, "log", "-1", "--format=%s") == "profiles/vm/world: delete by ann"


def test_what_would_be_a_mistake_is_never_asked_for(services: Services) -> None:
    with pytest.raises(Problem, match=r"vm/profile.toml:1: descripton: unknown key"):
        ask(services, "profile.toml", 'descripton = ""\n')
    with pytest.raises(Problem, match="for admins"):
        ask(services, "portage/bashrc", "x\n", role=Role.OPERATOR)
    with pytest.raises(Problem, match="nothing is changed"):
        ask(services, "world", (services.live.path / WORLD).read_text())
    with pytest.raises(Changed):
        services.edits.want(Change("vm", "world", b"old\n", b"new\n"), who="web ann", role=Role.ADMIN)
    assert services.edits.last("vm") == []


def test_of_two_who_were_both_asked_the_second_is_told_and_keeps_his_text(services: Services) -> None:
    ask(services, "world", "app-misc/ann\n")
    second = change(services.live.path, "world", "app-misc/bob\n")
    services.edits.want(second, who="web bob", role=Role.OPERATOR)
    assert made(services).state is EditState.DONE
    failed = made(services)
    assert failed.state is EditState.FAILED and "changed by somebody else" in failed.said
    assert failed.change == second
    assert (services.live.path / WORLD).read_text() == "app-misc/ann\n"


def test_what_became_a_mistake_meanwhile_is_not_written(services: Services) -> None:
    new = Change("child", "profile.toml", None, b'description = "x"\nparent = ["vm"]\n')
    services.edits.want(new, who="web ann", role=Role.ADMIN)
    (services.live.path / "profiles/vm").rename(services.live.path / "profiles/vm2")
    failed = made(services)
    assert failed.state is EditState.FAILED and "there is no profile vm" in failed.said
    assert not (services.live.path / "profiles/child").exists()


IS_KILLED = """
import os, signal, sys
from pathlib import Path
from appliance.model import Tree
from appliance.services import Services
from appliance.site_writer import write_file
services = Services(Path(sys.argv[1]), Tree(Path(sys.argv[2])))
edit = services.store.edits.begin()
if len(sys.argv) > 3:
    write_file(services.live.path, edit.change)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how_far", [[], ["written"]])
def test_a_change_whose_process_is_killed_is_made_by_the_next(
    checkout: Path, services: Services, how_far: list[str]
) -> None:
    ask(services, "world", "app-misc/x\n")
    services.store.database.execute("PRAGMA wal_checkpoint")
    run([sys.executable, "-c", IS_KILLED, checkout, services.tree.path, *how_far], ok=(-9,))
    assert services.edits.do_next() is None
    services.edits.recover()
    assert made(services).said.startswith("written; commit ")
    assert git(checkout, "status", "--porcelain") == ""

"""Runs a program as the signer's user on a private copy of its keys; PID 1 of new namespaces.

Called as `python3 enclave.py KEYS UID GID read|keep|file PROGRAM ARGUMENT ...`; the program starts in the
copy. `keep` copies what it left back to KEYS. `file` puts standard input into the file `input` before, and
prints the file `output` in base64 afterwards. Standard library only.
"""

import base64
import os
import shutil
import sys

HOME = "/run/signer"
INPUT, OUTPUT = "input", "output"
FOLDERS = (".", "private-keys-v1.d", "openpgp-revocs.d")


def copy(name: str, source: int, target: int) -> None:
    with (
        os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source), "rb") as old,
        os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=target), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


def copy_home(source: int, target: int) -> None:
    """Every plain file of a GnuPG home: no sockets and no locks of another namespace's processes."""
    for folder in FOLDERS:
        try:
            here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=source)
        except FileNotFoundError:
            continue
        if folder != ".":
            os.makedirs(f"/proc/self/fd/{target}/{folder}", mode=0o700, exist_ok=True)  # noqa: PTH103
        there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=target)
        for entry in os.scandir(here):
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith((".#", "S.")):
                copy(entry.name, here, there)
        os.fsync(there)
        os.close(here)
        os.close(there)


def main() -> None:
    keys, uid, gid, mode, *arguments = sys.argv[1:]
    # Opened as root: the way there may lead through directories that are closed to the signer's user.
    shelf = os.open(keys, os.O_RDONLY | os.O_DIRECTORY)
    # Over /run, where another gpg-agent's sockets could be; gone with the namespace.
    if os.spawnvp(os.P_WAIT, "mount", ["mount", "-n", "-t", "tmpfs", "-o", "mode=755", "signer", "/run"]):
        sys.exit("the signer has no private /run")
    os.mkdir(HOME, 0o700)  # noqa: PTH102
    os.chown(HOME, int(uid), int(gid))
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.umask(0o077)
    home = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)
    copy_home(shelf, home)
    os.chdir(HOME)
    os.environ |= {"HOME": HOME, "GNUPGHOME": HOME}
    if mode == "file":
        with open(INPUT, "wb") as file:  # noqa: PTH123
            shutil.copyfileobj(sys.stdin.buffer, file)
    status = os.spawnvp(os.P_WAIT, arguments[0], arguments)
    if status == 0 and mode == "keep":
        copy_home(home, shelf)
    if status == 0 and mode == "file":
        with open(OUTPUT, "rb") as file:  # noqa: PTH123
            print(base64.b64encode(file.read()).decode())
    sys.exit(status)


if __name__ == "__main__":
    main()

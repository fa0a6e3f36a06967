"""The menu of a medium in GRUB's language, the same for every firmware. Pure."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from appliance.errors import Problem
from appliance.grub import EFI_LOADERS, grub_quoted, words

INSTALLED = ("/var/lib/distserver/installed", "/distserver-installed")
"""Files the installer leaves in a system's root, and on a /boot of its own."""
TOKENS = "/var/lib/distserver/media"
"""Where a root has a file for each per-machine image that was installed on it."""
MEMORY_TESTS = ("memtest86+x64.bin", "memtest86+ia32.bin", "memtest86+x64.efi", "memtest86+ia32.efi")
"""In Debian's /boot and in boot/ of the medium."""
ARM64 = "arm64"
TITLE_CHARACTERS = 74
"""What fits between the borders of GRUB's menu on 80 columns."""
SERIAL = "ttyS0,115200"
RESCUE = "distserver.mode=rescue"


@dataclass(frozen=True)
class Entry:
    """A profile that can be chosen, and what boots for it."""

    profile: str
    description: str
    release: str
    arguments: str
    """Of the profile's kernel; they decide where the kernel and the installer speak."""
    kernel: str
    installer: str
    """Paths on the medium, without a slash at the start."""
    arch: str = "amd64"
    """The profile's, by Gentoo's name."""


@dataclass(frozen=True)
class Menu:
    medium_id: str
    label: str
    entries: tuple[Entry, ...]
    """The first one of each processor boots unless somebody chooses."""
    server: str
    """URL of the appliance."""
    offline: bool
    timeout_seconds: int = 10
    machine: str = ""
    """Host name: the image is for this machine only."""
    token: str = ""
    """Of a per-machine image."""


def identity_file(menu: Menu) -> str:
    """The empty file by which boot loader and installer find this medium among all disks."""
    return f"distserver/id-{menu.medium_id}"


def first_commands(menu: Menu) -> str:
    """What a boot loader does before it can read the menu: line by line, there is no `if` yet."""
    return (
        f"search --no-floppy --file --set=root /{identity_file(menu)}\n"
        "set prefix=($root)/boot/grub\n"
        "normal ($root)/boot/grub/grub.cfg\n"
    )


def grub_config(menu: Menu, memory_tests: Collection[str] = MEMORY_TESTS) -> str:
    """boot/grub/grub.cfg. `memory_tests` are the programs of MEMORY_TESTS the medium has.

    Nothing in names, descriptions and arguments can leave its word. Raises Problem without an entry.
    """
    if not menu.entries:
        raise Problem("a medium without a profile boots nothing", hint="name a profile that has a release")
    foreign = [entry for entry in menu.entries if entry.arch == ARM64]
    native = [entry for entry in menu.entries if entry.arch != ARM64]
    lines = [
        *_beginning(menu),
        *_default(menu),
        "",
        'if [ "$grub_cpu" = "arm64" ]; then',
        *_boots(menu, foreign),
        "else",
        *_boots(menu, native),
        *_memory_tests(memory_tests),
        "fi",
        "",
        *_local_disk(),
        *_menu_entry("Restart", "restart", ["reboot"]),
        *_menu_entry("Power off", "off", ["halt"]),
    ]
    return "\n".join([*lines, ""])


def _beginning(menu: Menu) -> list[str]:
    return [
        f"# DistServer medium {menu.medium_id}",
        "set medium=$root",
        "regexp --set=1:medium_disk '^([^,]+)' \"$medium\"",
        f"set timeout={max(menu.timeout_seconds, 0)}",
        "set timeout_style=menu",
        # UEFI firmware shows its console on serial lines itself; GRUB beside it would eat parts of keys.
        'if [ "$grub_platform" = "pc" ]; then',
        "  if serial --unit=0 --speed=115200; then",
        "    terminal_input --append serial",
        "    terminal_output --append serial",
        "  fi",
        "fi",
    ]


def _default(menu: Menu) -> list[str]:
    """A medium that is still in after the installation must not begin it again."""
    markers: Sequence[str] = INSTALLED
    if menu.token:
        # The machine it is made for may carry a system already: only what this image installed counts.
        markers = (f"{TOKENS}/{sha256(menu.token.encode()).hexdigest()[:16]}",)
    lines = ["set default=recognise", "set installed="]
    for number, marker in enumerate(markers):
        lines += [
            f"{'elif' if number else 'if'} search --no-floppy --file --set=installed {marker}; then",
            "  set default=disk",
        ]
    return [*lines, "fi", "regexp --set=1:installed_disk '^([^,]+)' \"$installed\""]


def _boots(menu: Menu, entries: Sequence[Entry]) -> list[str]:
    """What runs the installer, for one kind of processor."""
    if not entries:
        told = ["echo 'Nothing on this medium is for this processor.'", "sleep --interruptible 60"]
        return _indented(_menu_entry("No profile on this medium is for this processor", "recognise", told))
    first = entries[0]
    lines = _menu_entry(recognise_title(menu), "recognise", _linux(menu, first))
    for number, entry in enumerate(entries, 1):
        chosen = _linux(menu, entry, profile_argument(entry))
        lines += _menu_entry(profile_title(entry), f"profile-{number}", chosen)
    lines += _menu_entry("Rescue shell", "rescue", _linux(menu, first, RESCUE))
    return _indented(lines)


def recognise_title(menu: Menu) -> str:
    if menu.machine:
        return f"Recognise this machine (this medium is for {menu.machine})"
    if menu.offline:
        return "Recognise this machine (by what this medium knows)"
    return f"Recognise this machine (asks {menu.server})"


def profile_title(entry: Entry) -> str:
    return f"Profile {entry.profile}: {entry.description}".removesuffix(": ")


def profile_argument(entry: Entry) -> str:
    return f"distserver.profile={entry.profile}"


def arguments(menu: Menu, entry: Entry, choice: str = "") -> list[str]:
    """The kernel's, word by word: what the medium says, what was chosen, and the profile's own."""
    said = [f"distserver.medium={menu.medium_id}", f"distserver={menu.server}", *([choice] if choice else [])]
    if menu.offline:
        said.append("distserver.offline=1")
    elif menu.token:
        said.append(f"distserver.token={menu.token}")
    return [*said, *words(entry.arguments)]


def shown(title: str) -> str:
    """A title as consoles can show it: one line of printable ASCII that fits."""
    plain = unicodedata.normalize("NFKD", title)
    return "".join(one for one in plain if " " <= one <= "~")[:TITLE_CHARACTERS]


def _linux(menu: Menu, entry: Entry, choice: str = "") -> list[str]:
    line = " ".join(grub_quoted(word) for word in arguments(menu, entry, choice))
    return [
        f"echo {grub_quoted(f'Release {entry.release} of profile {entry.profile}')}",
        f'linux "($medium)"{grub_quoted("/" + entry.kernel)} {line}',
        f'initrd "($medium)"{grub_quoted("/" + entry.installer)}',
    ]


def _memory_tests(found: Collection[str]) -> Iterator[str]:
    """By firmware and processor; the program itself draws on the screen, and on a serial line if told to."""
    programs = (
        ("pc-x86_64", "memtest86+x64.bin"),
        ("pc-i386", "memtest86+ia32.bin"),
        ("efi-x86_64", "memtest86+x64.efi"),
        ("efi-i386", "memtest86+ia32.efi"),
    )
    yield '  set kind="$grub_platform-$grub_cpu"'
    # GRUB for BIOS is always one for i386.
    yield '  if [ "$kind" = "pc-i386" ]; then if cpuid -l; then set kind=pc-x86_64; fi; fi'
    for kind, name in programs:
        if name not in found:
            continue
        yield f'  if [ "$kind" = "{kind}" ]; then'
        for title, key, arguments in (
            ("Memory test", "memory", ""),
            ("Memory test, on the serial line too", "memory-serial", f" console={SERIAL}"),
        ):
            body = [f'linux "($medium)/boot/{name}"{arguments}']
            yield from _indented(_indented(_menu_entry(title, key, body)))
        yield "  fi"


def _local_disk() -> list[str]:
    """Boots an installed system: the one with our marker, or else any disk but the medium."""
    body = [
        'if [ "$grub_platform" = "efi" ]; then',
        *(
            f'  if [ "$grub_cpu" = "{cpu}" ]; then set loader=/EFI/BOOT/{loader}; fi'
            for cpu, loader in EFI_LOADERS
        ),
        # What the marker's disk has comes first; then every partition that GRUB sees.
        '  for esp in "($installed_disk,gpt1)" "($installed_disk,gpt2)" (*,gpt*) (*,msdos*); do',
        "    regexp --set=1:disk '^\\(([^,]+)' \"$esp\"",
        '    if [ "$disk" != "$medium_disk" ]; then',
        '      if [ -e "$esp$loader" ]; then',
        '        echo "Starting $esp$loader"',
        # GRUB tells a program that it came from $root, whatever its name says (loader/efi/chainloader.c):
        # the installed GRUB would look for its partition on the medium.
        "        regexp --set=1:root '^\\((.+)\\)' \"$esp\"",
        '        if chainloader "$esp$loader"; then boot; fi',
        "      fi",
        "    fi",
        "  done",
        "else",
        # (hd*) has partitions, too: they are no disks.
        '  for place in "($installed_disk)" (hd*); do',
        "    if regexp --set=1:disk '^\\(([^,]+)\\)$' \"$place\"; then",
        '      if [ "$disk" != "$medium_disk" ]; then',
        '        set root="$disk"',
        # A stick may be the first disk of this boot; what is on the disk expects to be that itself. What
        # chainloader tells it is decided when that reads the sector.
        '        if [ "$disk" != "hd0" ]; then drivemap --swap "$place" (hd0); fi',
        "        if chainloader +1; then",
        '          echo "Starting $place"',
        "          boot",
        "        fi",
        "        drivemap --reset",
        "      fi",
        "    fi",
        "  done",
        "fi",
        "echo 'No disk of this machine boots. Going on with what the firmware tries next.'",
        "sleep --interruptible 5",
        "exit",
    ]
    return _menu_entry("Boot the system on the local disk", "disk", body)


def _menu_entry(title: str, key: str, body: Iterable[str]) -> list[str]:
    return [f"menuentry {grub_quoted(shown(title))} --id {key} {{", *_indented(body), "}"]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]

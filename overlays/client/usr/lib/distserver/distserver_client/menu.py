"""The text of grub.cfg: the good kernel, another one beside it, and how its starts are counted; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_TRIES = 2
"""So often a kernel on trial is started: one start may be cut short by somebody at the power switch."""
BEGIN, END = "# distserver: a start with a kernel on trial is counted before it begins", "# distserver: end"
RUNS = "distserver.kernel"
"""The word of the kernel's command line that says which entry was started."""
TRIAL = "distserver.trial"
"""And that it is on trial: seconds after the start until which it has to be approved."""
ON_ESP = "/EFI/distserver/grubenv"
PANIC_SECONDS = 10
ROOT_SECONDS = 30
MENUENTRY = re.compile(r"^\s*menuentry\s")
LINE = re.compile(r"^(\s*)(linux|initrd) (\S+) ?(.*)$")
ID = re.compile(r"--id k([0-9a-f]{12})\b")
OURS = re.compile(r"set (?:timeout|default)=\d+")
STRANGE = re.compile(r"^\s*(?:submenu|function)\s|\bset\s+default=", re.MULTILINE)
"""In a menu that grub-mkconfig or a person wrote, who then look after its kernels, too."""


@dataclass(frozen=True)
class Entry:
    """A kernel that can be started."""

    id: str
    """12 hexadecimal digits of its content; empty for what an installer wrote."""
    title: str
    kernel: str
    """As GRUB names it: from the root of the file system that has it."""
    initrd: str = ""


@dataclass(frozen=True)
class Menu:
    """Every entry is started in the same way, with the same arguments."""

    head: tuple[str, ...]
    """Lines before the entries that are not ours: consoles, what makes the file system readable."""
    body: tuple[str, ...]
    """Lines of an entry besides its kernel and initramfs."""
    arguments: str
    good: Entry
    """Started unless a person chooses, or another one is on trial."""
    other: Entry | None = None
    """The one on trial, or the one that was good before."""
    trial_seconds: int = 0
    """0: the other one is not on trial."""
    on_esp: bool = False
    """The environment block is on the EFI system partition, and not beside the menu."""
    tail: tuple[str, ...] = ()
    """What stands after the first entry besides ours, kept as it is."""


def parse(text: str) -> Menu | None:
    """A menu that we or an installer wrote; None for any other."""
    head, entries, tail, counted = _split(text)
    first = _entry(entries[0]) if entries else None
    if first is None or STRANGE.search("\n".join((*head, *tail))):
        return None
    good, arguments, body = first
    other = next((one[0] for lines in entries[1:] if (one := _entry(lines)) and one[0].id), None)
    strange = (lines for lines in entries[1:] if not ID.search(lines[0]))
    seconds = re.search(rf" {TRIAL}=(\d+)", text)
    return Menu(
        head=tuple(head),
        body=body,
        arguments=" ".join(word for word in arguments.split() if not word.startswith(f"{RUNS}=")),
        good=good,
        other=other,
        trial_seconds=int(seconds[1]) if seconds and other else 0,
        on_esp=any("envdev" in line for line in counted),
        tail=(*(line for lines in strange for line in lines), *tail),
    )


def render(menu: Menu) -> str:
    """As GRUB reads it."""
    lines = [*menu.head, "set timeout=1", "set default=0"]
    on_trial = menu.other is not None and menu.trial_seconds > 0
    if menu.other and on_trial:
        lines += counting(menu.other.id, on_esp=menu.on_esp)
    lines += _entry_lines(menu, menu.good, menu.arguments)
    if menu.other:
        words = trial_arguments(menu.arguments, menu.other.initrd, menu.trial_seconds)
        lines += _entry_lines(menu, menu.other, words if on_trial else menu.arguments)
    return "\n".join([*lines, *menu.tail, ""])


def counting(kernel: str, *, on_esp: bool) -> list[str]:
    """GRUB has no arithmetic; save_env fails where it cannot write, and then nothing is tried."""
    block = f"($envdev){ON_ESP}" if on_esp else "$prefix/grubenv"
    lines = [BEGIN, *([f"search --no-floppy --file --set=envdev {ON_ESP}"] if on_esp else [])]
    lines += [f'if [ -s "{block}" ]; then', f'  load_env --file "{block}" trial tries', "fi"]
    lines += [f'if [ "$trial" = "{kernel}" ]; then']
    for left in range(MOST_TRIES, 0, -1):
        word = "if" if left == MOST_TRIES else "elif"
        lines += [f'  {word} [ "$tries" = {left} ]; then set tries={left - 1}']
    lines += ["  else set trial=", "  fi", '  if [ -n "$trial" ]; then']
    lines += [
        f'    if save_env --file "{block}" tries; then',
        "      set default=1",
        "      set fallback=0",
        "    fi",
    ]
    return [*lines, "  fi", "fi", END]


def trial_arguments(arguments: str, initrd: str, seconds: int) -> str:
    """What makes a kernel that does not come up start the machine again instead of waiting for a person.

    panic=: kernel-parameters.rst. rootwait waits for ever for a disk whose driver is missing; rootdelay waits
    as long as this, and then the kernel panics. In an initramfs dracut.cmdline(7)'s rd.emergency does it.
    """
    words = [word for word in arguments.split() if word != "rootwait" and not word.startswith("panic=")]
    more = ["rd.shell=0", "rd.emergency=reboot"] if initrd else [f"rootdelay={ROOT_SECONDS}"]
    return " ".join([*words, *more, f"panic={PANIC_SECONDS}", f"{TRIAL}={seconds}"])


def _entry_lines(menu: Menu, entry: Entry, arguments: str) -> list[str]:
    named = f" --id k{entry.id}" if entry.id else ""
    mark = f" {RUNS}={entry.id}" if entry.id else ""
    inner = [f"  linux {entry.kernel} {arguments}{mark}".rstrip()]
    inner += [f"  initrd {entry.initrd}"] if entry.initrd else []
    return [f'menuentry "{entry.title}"{named} {{', *menu.body, *inner, "}"]


def _split(text: str) -> tuple[list[str], list[tuple[str, ...]], list[str], list[str]]:
    """Lines before the entries, of each entry, between and after them, and those that count starts."""
    head: list[str] = []
    tail: list[str] = []
    counted: list[str] = []
    entries: list[tuple[str, ...]] = []
    inside: list[str] | None = None
    ours = False
    for line in text.splitlines():
        if line == BEGIN:
            ours = True
        if ours:
            counted.append(line)
            ours = line != END
        elif inside is not None:
            inside.append(line)
            if line.strip() == "}":
                entries.append(tuple(inside))
                inside = None
        elif MENUENTRY.match(line):
            inside = [line]
        elif not OURS.fullmatch(line):
            (tail if entries else head).append(line)
    return head, entries, tail, counted


def _entry(lines: Sequence[str]) -> tuple[Entry, str, tuple[str, ...]] | None:
    """An entry, its arguments, and its further lines; None when it starts no Linux kernel."""
    found = {match[2]: match for line in lines if (match := LINE.match(line))}
    if "linux" not in found:
        return None
    name = ID.search(lines[0])
    title = re.search(r"""["']([^"']*)["']""", lines[0])
    initrd = found["initrd"][3] if "initrd" in found else ""
    entry = Entry(name[1] if name else "", title[1] if title else "Gentoo", found["linux"][3], initrd)
    body = tuple(line for line in lines[1:-1] if not LINE.match(line))
    return entry, found["linux"][4], body

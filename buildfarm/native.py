"""What -march=native means on this machine, as flags that mean the same on every machine."""

import re
from collections.abc import Mapping, Sequence

from appliance.errors import Problem
from appliance.run import Argument, CommandFailed, run

OPTION = re.compile(r"^\s+(-m[\w.+-]+?)(=)?\s+(\S.*?)?\s*$")
SWITCHES = ("[enabled]", "[disabled]")


def parse_target(text: str) -> dict[str, str]:
    """What `gcc -Q --help=target` prints: option -> [enabled], [disabled] or its value."""
    found = {}
    for line in text.splitlines():
        if match := OPTION.match(line):
            found[match[1] + (match[2] or "")] = match[3] or ""
    return found


def difference(native: Mapping[str, str], plain: Mapping[str, str]) -> list[str]:
    """The flags that make `plain` what `native` is."""
    flags = []
    for option, value in sorted(native.items()):
        if plain.get(option) == value or option in ("-march=", "-mtune="):
            continue
        if value in SWITCHES and not option.endswith("="):
            flags.append(option if value == "[enabled]" else f"-mno-{option[2:]}")
        elif option.endswith("=") and value and value not in SWITCHES:
            flags.append(f"{option}{value}")
    return flags


def resolve(compiler: str, *, prefix: Sequence[Argument] = ()) -> list[str]:
    """Ask a compiler; raises Problem when it does not know this processor."""

    def ask(*words: str) -> dict[str, str]:
        try:
            argv = [compiler, *words, "-Q", "--help=target"]
            return parse_target(run(argv, prefix=prefix, env={"LC_ALL": "C"}).stdout)
        except (CommandFailed, FileNotFoundError) as failure:
            raise Problem(f"{compiler} does not tell what -march=native is: {failure}") from failure

    native = ask("-march=native")
    named = [f"{option}{native[option]}" for option in ("-march=", "-mtune=") if native.get(option)]
    if not native.get("-march="):
        raise Problem(f"{compiler} does not know what processor this is")
    return [*named, *difference(native, ask(*named))]

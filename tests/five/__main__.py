"""`python -m tests.five [MACHINE...]`: switch the machines on and put what was seen into docs/five.md."""

import os
import sys

from appliance.errors import Problem
from tests.five.machines import FIVE, MACHINES, page
from tests.five.play import play
from tests.five.seen import PAGE, RESULTS, table, write


def main(names: list[str]) -> int:
    """0 when all of them started from their disks."""
    if unknown := sorted(set(names) - set(MACHINES)):
        raise Problem(f"there is no machine {unknown[0]}", hint=f"they are {', '.join(MACHINES)}")
    if os.geteuid() != 0:
        raise Problem("this makes network namespaces and chroots", hint="run it as root")
    seen = play(names or list(MACHINES), MACHINES)
    known = write(RESULTS, seen)
    PAGE.write_text(page(PAGE.read_text(), known))
    print(table(FIVE, known), end="")
    return 0 if all(one.booted_from_disk for one in seen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

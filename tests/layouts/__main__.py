"""`make layouts`: installs every layout and writes the table into docs/disks.md."""

import sys
import tempfile
import time
from pathlib import Path

from appliance.run import run
from tests.layouts.catalogue import ALL, Layout
from tests.layouts.installing import Yard, go_through, yard

PAGE = Path(__file__).resolve().parents[2] / "docs" / "disks.md"
START, END = "<!-- layouts: made by make layouts -->", "<!-- end of layouts -->"
HEAD = "| layout | firmware | disks | done in a virtual machine |\n| --- | --- | --- | --- |\n"


def main() -> int:
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="distserver-layouts-") as name:
        place = Path(name)
        make_key(place / "keys")
        with yard(place, place / "keys") as there:
            rows = [row(there, one, place) for one in ALL if not wanted or one.name in wanted]
    if not wanted:
        text = PAGE.read_text()
        before, after = text.partition(START)[0], text.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n{HEAD}{''.join(rows)}{END}{after}")
    return 0


def row(there: Yard, layout: Layout, place: Path) -> str:
    began = time.monotonic()
    done = list(go_through(there, layout, place / layout.name))
    print(f"{layout.name}: {'; '.join(done)} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return f"| {layout.name} | {layout.firmware.value} | {len(layout.disks_bytes)} | {'; '.join(done)} |\n"


def make_key(keys: Path) -> None:
    """The key `good`, as the fixture of the tests makes it."""
    home = keys / "good"
    home.mkdir(parents=True, mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    run([*gpg, "--quick-gen-key", "good <good@example.org>", "ed25519", "sign", "never"])
    run([*gpg, "--output", str(keys / "good.gpg"), "--export"])
    run(["gpgconf", "--homedir", home, "--kill", "all"])


if __name__ == "__main__":
    sys.exit(main())

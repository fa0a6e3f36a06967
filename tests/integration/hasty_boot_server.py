"""The boot server on a real store, for which boots stand still sooner: its clock is so many times faster.

`python -m tests.integration.hasty_boot_server SITE STATE TIMES`, run inside its namespace.
"""

import asyncio
import logging
import sys
import time
from pathlib import Path

from appliance.model import Tree
from appliance.services import Services
from pxe.servers import Network, Servers


def main(site: Path, state: Path, times: float) -> None:
    services = Services(site, Tree(state))
    boot_dir = services.tree.room("boot")
    serving = Servers(Network(("eth0",)), services.desk, boot_dir, clock=lambda: time.monotonic() * times)
    serving.open()
    asyncio.run(serving.serve(asyncio.Event()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))

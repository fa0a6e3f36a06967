"""The boot server's HTTP part alone, for compile hosts: STATE SITE ADDRESS PORT."""

import sys
from pathlib import Path

from aiohttp import web

from appliance.model import Tree
from appliance.services import Services
from pxe.http import application
from pxe.sightings import Sightings


def main() -> None:
    state, site, address, port = sys.argv[1:]
    tree = Tree(Path(state))
    desk = Services(Path(site), tree).desk
    app = application(desk, tree.room("boot"), Sightings())
    web.run_app(app, host=address, port=int(port), print=None)


if __name__ == "__main__":
    main()

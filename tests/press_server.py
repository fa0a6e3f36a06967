"""Releases served over HTTP in a process of its own, `press_server.py STATE SITE PORT`."""

import sys
from pathlib import Path

from aiohttp import web

from appliance.model import Tree
from buildfarm.signing import Signer
from tests.press import Press
from tests.readers import release_server

if __name__ == "__main__":
    tree = Tree(Path(sys.argv[1]))
    press = Press(tree, Path(sys.argv[2]), Signer(tree.room("keys")))
    web.run_app(release_server(press)(0), port=int(sys.argv[3]), print=lambda *said: None)

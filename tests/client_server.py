"""The door of installed machines in a process of its own, `client_server.py SITE STATE`; says its port."""

import asyncio
import sys
from ipaddress import IPv4Address
from pathlib import Path

from appliance.client_keys import ClientKeys
from appliance.model import Tree
from appliance.services import Services
from pxe import hot_loop
from pxe.client_door import ClientDoor

ADDRESS = "127.0.0.1"


async def serve(services: Services) -> None:
    keys = ClientKeys.below(services.tree)
    door = ClientDoor(services.desk.clients, 0, pem=keys.served, authority=keys.authority)
    address = IPv4Address(ADDRESS)
    door.attend(address)
    serving = asyncio.create_task(door.run())
    while not door.bound(address):
        await asyncio.sleep(0.01)
    print(f"port {door.bound(address)}", flush=True)
    await serving


if __name__ == "__main__":
    hot_loop.run(serve(Services(Path(sys.argv[1]), Tree(Path(sys.argv[2])))))

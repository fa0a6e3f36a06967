"""Our TFTP server and nothing else, for foreign clients: `python -m tests.tftp_program ADDRESS ROOT MTU`."""

import asyncio
import logging
import socket
import sys
from pathlib import Path

from pxe import hot_loop
from pxe.tftp import Limits
from pxe.tftp_server import TftpServer

READY = "tftp server is ready"


async def serve(address: str, root: Path, mtu: int) -> None:
    def resolve(name: str, peer: str) -> Path | None:
        path = root / name
        return path if path.exists() else None

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port69:
        port69.bind((address, 69))
        server = TftpServer(
            address, resolve, roots=(root,), finished=lambda *_: None, limits=Limits.on(mtu), port69=port69
        )
        loop = asyncio.get_running_loop()
        loop.add_reader(port69, lambda: server.receive(*port69.recvfrom(65536)))
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    hot_loop.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))

"""Makes sockets with room for a thousand machines at once, here or in the process that may."""

import logging
import socket
from collections.abc import Callable
from enum import Enum

log = logging.getLogger(__name__)

# With the default buffer 598 of 1000 machines switched on at once lost their DISCOVER. This has room for all
# and for what they repeat after 4 and 8 s. Without CAP_NET_ADMIN rmem_max limits it, once to 208 KiB.
RECEIVE_BUFFER_BYTES = 8 << 20
# <asm/socket.h>; Python's module has no name for it.
_SO_RCVBUFFORCE = 33
ANSWER_SECONDS = 10.0


class Kind(Enum):
    UDP = b"u"
    PACKET = b"p"
    """Takes packets as they come in by an interface (AF_PACKET); bound to nothing yet."""


Maker = Callable[[Kind], socket.socket]


def make(kind: Kind) -> socket.socket:
    """A new socket that is bound to nothing.

    A buffer beyond net.core.rmem_max takes CAP_NET_ADMIN; without it the buffer is as large as it may be.
    """
    mode = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    # SOCK_DGRAM of AF_PACKET is without Ethernet headers; protocol 0 receives nothing before it is bound.
    made = socket.socket(socket.AF_INET if kind is Kind.UDP else socket.AF_PACKET, mode, 0)
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    except BaseException:
        made.close()
        raise
    return made


class RemoteMaker:
    """Asks another process for sockets: the one that started this one and may make larger buffers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(ANSWER_SECONDS)

    def __call__(self, kind: Kind) -> socket.socket:
        try:
            self._connection.send(kind.value)
            _, descriptors, _, _ = socket.recv_fds(self._connection, 1, 1)
        except OSError as error:
            log.warning("no sockets come from the parent process: %s", error)
            descriptors = []
        return socket.socket(fileno=descriptors[0]) if descriptors else make(kind)


def answer(connection: socket.socket) -> bool:
    """Answer one question of a RemoteMaker; False when there will be no more."""
    asked = connection.recv(1)
    if not asked:
        return False
    with make(Kind(asked)) as made:
        socket.send_fds(connection, [asked], [made.fileno()])
    return True

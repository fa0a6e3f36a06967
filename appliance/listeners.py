"""Who has a port, out of what `ss` prints; pure."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

_PROGRAM = re.compile(r'\("(?P<name>[^"]*)",pid=(?P<pid>\d+)')


@dataclass(frozen=True)
class Listener:
    """A socket that waits for packets or connections."""

    protocol: str
    address: str
    """As ss writes it: an address, `*`, or `[::]`."""
    interface: str
    port: int
    program: str = ""
    """Empty when that may not be seen."""
    pid: int = 0

    def takes(self, address: IPv4Address, interface: str) -> bool:
        """Does it get what is sent to an address of an interface?"""
        if self.interface and self.interface != interface:
            return False
        return self.address in ("0.0.0.0", "*", "[::]", str(address))


def parse(printed: str) -> list[Listener]:
    """The lines of `ss --no-header --numeric --listening --udp --tcp --processes`."""
    found = []
    for line in printed.splitlines():
        words = line.split(maxsplit=6)
        if len(words) < 5 or words[0] not in ("udp", "tcp"):
            continue
        place, _, port = words[4].rpartition(":")
        address, _, interface = place.partition("%")
        program = _PROGRAM.search(line)
        if port.isdigit():
            found.append(
                Listener(
                    protocol=words[0],
                    address=address,
                    interface=interface,
                    port=int(port),
                    program=program["name"] if program else "",
                    pid=int(program["pid"]) if program else 0,
                )
            )
    return found

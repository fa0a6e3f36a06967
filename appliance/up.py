"""What `distserver up` was asked for, as each of its processes is told it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from appliance.services import Services
from appliance.site_model import Site
from pxe.servers import Network


@dataclass(frozen=True)
class Up:
    """What `distserver up` was asked for."""

    site: Path
    state: Path
    interfaces: tuple[str, ...] = ()
    """Empty: those the site names."""
    sockets: int | None = None
    """Descriptor of the connection on which the parent process makes sockets."""

    def argv(self, process: str) -> list[str]:
        words = [sys.executable, "-m", "appliance.cli", "--state", str(self.state), "process", process]
        named = [word for name in self.interfaces for word in ("--interface", name)]
        return [*words, "--site", str(self.site), *named]

    def network(self, site: Site) -> Network:
        """What is to be served. Raises Problem when nobody named an interface."""
        names = self.interfaces or site.net.interfaces
        if not names:
            hint = (
                "give --interface, or set [net] interfaces in appliance.toml; `ip -brief address` lists them"
            )
            raise Problem("nobody said on which network interface machines are", hint=hint)
        return Network(
            tuple(dict.fromkeys(names)),
            site.http_port,
            site.address,
            site.net.beside_dhcp,
            site.tftp,
            site.http_front,
        )


def open_services(asked: Up, who: str) -> Services:
    """Those of one process, by which it is named in the audit log."""
    services = Services(asked.site, Tree(asked.state))
    services.audit.who = who
    return services

"""The stages of a network boot, by the names the timelines give them. Pure."""

from enum import StrEnum


class Stage(StrEnum):
    """In the order in which a machine goes through them; firmware and iPXE each begin with a DISCOVER.

    What an installer reports afterwards has names of its own (overlays/installer).
    """

    DISCOVER = "discover"
    """It was switched on (or a boot program of it started) and asks for a network boot."""
    OFFER = "offer"
    """What it was told to boot."""
    PROXY = "proxy"
    """It asked port 4011, the boot server of PXE, and was told again."""
    PROGRAM = "program"
    """It fetched a network boot program, by TFTP or HTTP."""
    SCRIPT = "script"
    KERNEL = "kernel"
    INSTALLER = "installer"
    HELLO = "hello"
    """The installer (or the agent of a compile host) spoke to the server; it is no stage of the timeline."""

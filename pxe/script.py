"""What a machine is to boot, as an iPXE script."""

import re
from typing import Protocol
from urllib.parse import quote

from appliance.model import BootTarget, Firmware, LocalBoot, NetBoot, Silence
from pxe.policy import UEFI_LOCAL_PROGRAM, Here

ATTEMPTS = 5
PAUSE_SECONDS = 2
AWAY_ATTEMPTS = 60
AWAY_SECONDS = 5
"""Between attempts to reach a server that is being started again."""

_MAGIC = "#!ipxe"
GIVING_UP = ("echo DistServer: giving up, booting the next device", "exit 1")


class Decider(Protocol):
    def script_target(self, mac: str, firmware: Firmware | None, here: str) -> BootTarget: ...


def script_of(decider: Decider, mac: str, firmware: Firmware | None, here: Here) -> tuple[BootTarget, str]:
    """What a machine is to boot, and the script that says so to its iPXE."""
    target = decider.script_target(mac, firmware, here.url)
    return target, render(target, mac, here)


def render(target: BootTarget, mac: str, here: Here) -> str:
    """The script for one machine. `exit 1` hands over to the firmware's next boot device.

    A plain `exit` is success to UEFI, and OVMF then stops in its setup menu.
    """
    match target:
        case NetBoot():
            lines = _netboot(target, mac, here)
        case LocalBoot(reason):
            lines = _local(reason, here)
        case Silence(reason):
            lines = [f"echo DistServer: nothing to boot: {plain(reason)}", "exit 1"]
    return "\n".join([_MAGIC, *lines, ""])


def wait_script(mac: str, here: Here, *, seconds: int, before: int, since: float) -> str:
    """A script that waits for the machine's turn: what it may boot is decided anew when it asks again.

    While the server is away it goes on asking for some minutes.
    """
    again = f"chain --replace --autofree {here.url}/boot/{mac}.ipxe?since={since:.0f}"
    lines = [
        f"echo DistServer: waiting for its turn after {before} more, asking again in {seconds} s",
        f"sleep {seconds}",
        *[f"{again} || sleep {AWAY_SECONDS}"] * AWAY_ATTEMPTS,
        "echo DistServer: giving up, booting the next device",
        "exit 1",
    ]
    return "\n".join([_MAGIC, *lines, ""])


def on_arm64(target: NetBoot) -> NetBoot:
    """What an arm64 boots instead. Its firmware says where its console is; an x86's is not there."""
    words = (word for word in target.arguments.split() if not word.startswith("console="))
    return NetBoot(target.arm64, " ".join(words), target.reason)


def _netboot(target: NetBoot, mac: str, here: Here) -> list[str]:
    if not target.arm64:
        return _netboot_x86(target, mac, here)
    other = on_arm64(target)
    return [
        "iseq ${buildarch} arm64 || goto x86",
        *_boot(other, other.release, mac, here, "arm64"),
        *GIVING_UP,
        ":x86",
        *_netboot_x86(target, mac, here),
    ]


def _netboot_x86(target: NetBoot, mac: str, here: Here) -> list[str]:
    if not target.narrow:
        return [*_boot(target, target.release, mac, here), *GIVING_UP]
    return [
        # Bit 29 of CPUID 8000_0001h EDX: long mode. Bit 0 of CPUID 1 EDX, the FPU, is always set: where that
        # fails, this iPXE has no such command.
        "cpuid --ext 29 && goto wide ||",
        "cpuid 0 || goto wide",
        *_boot(target, target.narrow, mac, here, "narrow"),
        *GIVING_UP,
        ":wide",
        *_boot(target, target.release, mac, here),
        *GIVING_UP,
    ]


def _boot(target: NetBoot, release: str, mac: str, here: Here, mark: str = "") -> list[str]:
    """`mark` keeps the labels of two of these apart."""
    base = f"{here.url}/r/{quote(release, safe='')}"
    # The machine's name travels in the URL: behind a relay or NAT its address would tell nothing.
    asker = f"?mac={mac}"
    lines = [
        f"echo DistServer: {plain(target.reason)}",
        f"echo Release {plain(release)} for {mac}",
    ]
    for number in range(1, ATTEMPTS + 1):
        attempt = f"{number}{mark}"
        lines += [
            f":attempt{attempt}",
            f"echo Fetching kernel and installer, attempt {number} of {ATTEMPTS}",
            "imgfree",
            # Under UEFI the kernel reads its initramfs by this name from iPXE's virtual file system.
            f"kernel {base}/kernel{asker} initrd=installer {_arguments(target.arguments)}".rstrip()
            + f" || goto retry{attempt}",
            f"initrd {base}/installer{asker} || goto retry{attempt}",
            f"boot || goto retry{attempt}",
            f":retry{attempt}",
            f"echo Attempt {number} failed",
            f"sleep {PAUSE_SECONDS}",
        ]
    return lines


def _local(reason: str, here: Here) -> list[str]:
    return [
        f"echo DistServer: booting from the local disk: {plain(reason)}",
        "iseq ${platform} efi && goto efi ||",
        "sanboot --no-describe --drive 0x80 || exit 1",
        ":efi",
        f"chain {here.url}/boot/{UEFI_LOCAL_PROGRAM} ||",
        "exit 1",
    ]


def plain(text: str) -> str:
    """Text that iPXE prints as it is: no expansion, no comment, no operators, one line."""
    return " ".join(re.sub(r"[^A-Za-z0-9 .,:;/_()'=+@%-]", " ", text).split())


def _arguments(arguments: str) -> str:
    """Kernel arguments on one line, with nothing iPXE would expand or run."""
    # Greedy, for what is left of "$${{" must not be what was taken out of it.
    words = re.sub(r"\$+\{+", "", arguments).split()
    return " ".join(word for word in words if word not in ("||", "&&"))

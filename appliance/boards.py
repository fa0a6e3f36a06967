"""What a virtual machine is built on: QEMU's program and machine type, the processor, the UEFI firmware."""

from dataclasses import dataclass
from pathlib import Path

from appliance.model import Firmware

OVMF = Path("/usr/share/OVMF")
AAVMF = Path("/usr/share/AAVMF")


@dataclass(frozen=True)
class Flash:
    """UEFI firmware in two files, and the Debian package they come from."""

    code: Path
    variables: Path
    """What a new machine's variables are a copy of."""
    package: str


@dataclass(frozen=True)
class Board:
    """A mainboard as QEMU makes it."""

    qemu: str
    machine: str
    cpu: str
    """OVMF and getrandom() in the guest want rdrand; a bigger model boots slower in software emulation."""
    flash: Flash | None = None
    extra: tuple[str, ...] = ()
    foreign: bool = False
    """Its processor is not an x86: KVM cannot run it here."""


_X86 = "qemu-system-x86_64"
_X86_CPU = "qemu64,+rdrand"
# SMM keeps the flash from the operating system: without it nobody would believe Secure Boot (OVMF's README).
_LOCKED = ("-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")

PENTIUM2 = Board("qemu-system-i386", "pc", "pentium2")
"""440FX and PIIX3 as in 1998; the processor has MMX and no SSE."""
PC = Board(_X86, "pc", _X86_CPU)
UEFI_X64 = Board(_X86, "q35", _X86_CPU, Flash(OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd", "ovmf"))
UEFI_IA32 = Board(
    _X86,
    # Debian builds the 32-bit firmware with SMM only; it does not start without.
    "q35,smm=on",
    _X86_CPU,
    Flash(OVMF / "OVMF32_CODE_4M.secboot.fd", OVMF / "OVMF32_VARS_4M.fd", "ovmf-ia32"),
    _LOCKED,
)
UEFI_ARM64 = Board(
    "qemu-system-aarch64",
    "virt",
    "cortex-a57",
    Flash(AAVMF / "AAVMF_CODE.fd", AAVMF / "AAVMF_VARS.fd", "qemu-efi-aarch64"),
    foreign=True,
)
UEFI_SECURE = Board(
    _X86,
    "q35,smm=on",
    _X86_CPU,
    # Its own variables hold no keys: Secure Boot is on for a machine whose variables were enrolled (Vm.keys).
    Flash(OVMF / "OVMF_CODE_4M.secboot.fd", OVMF / "OVMF_VARS_4M.fd", "ovmf"),
    _LOCKED,
)
MICROSOFT_KEYS = OVMF / "OVMF_VARS_4M.ms.fd"
"""Variables of UEFI_SECURE as machines are sold: Microsoft's keys are enrolled and Secure Boot is on."""


def usual_board(firmware: Firmware) -> Board:
    """The x86 machine with this kind of firmware."""
    return PC if firmware is Firmware.BIOS else UEFI_X64

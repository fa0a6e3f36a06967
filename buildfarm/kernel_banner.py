"""Which version a kernel image says it is, without running it."""

from pathlib import Path

MAGIC, MAGIC_AT = b"HdrS", 0x202
POINTER_AT, POINTER_BASE = 0x20E, 0x200
MOST_BYTES = 200


def kernel_version(image: Path) -> str:
    """`6.1.176-distserver` of an x86 bzImage; empty for anything else, or when it cannot be read.

    The header at 0x202 points at the text (Linux, Documentation/arch/x86/boot.rst, kernel_version).
    """
    try:
        with image.open("rb") as source:
            head = source.read(POINTER_AT + 2)
            if head[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
                return ""
            source.seek(POINTER_BASE + int.from_bytes(head[POINTER_AT:], "little"))
            said = source.read(MOST_BYTES).partition(b"\0")[0].split()
    except OSError:
        return ""
    return said[0].decode(errors="replace") if said else ""

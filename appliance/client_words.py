"""The facts of installed machines as a person reads them. Pure."""

from collections.abc import Callable, Sequence

Say = Callable[[Sequence[str]], str]


def spoken(name: str, value: str) -> str:
    """A fact in a person's units; as it came when it is not what its word promises."""
    say = WORDS.get(name.partition(" ")[0])
    try:
        return say(value.split(" ")) if say else value
    except (ValueError, IndexError):
        return value


def size(text: str) -> str:
    """Octets in the unit that suits them."""
    left, units = float(int(text)), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    for unit_after in units:
        if left < 1024:
            break
        left, unit = left / 1024, unit_after
    return f"{left:.0f} {unit}" if unit == "B" or left >= 100 else f"{left:.1f} {unit}"


def since(text: str) -> str:
    """Seconds as days, hours and minutes."""
    minutes = int(text) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"


def _disk(words: Sequence[str]) -> str:
    octets, transport, removable, serial, *model = words
    parts = (size(octets), transport, "removable" if removable == "1" else "", *model, serial)
    return " ".join(part for part in parts if part not in ("", "-"))


def _space(words: Sequence[str]) -> str:
    free, whole, kind = words
    return f"{size(free)} of {size(whole)} free ({kind})"


def _nic(words: Sequence[str]) -> str:
    mac, state, speed = words
    return " ".join((mac, state, *([f"{int(speed)} Mbit/s"] if speed != "-" else [])))


WORDS: dict[str, Say] = {
    "memory": lambda words: size(words[0]),
    "uptime": lambda words: since(words[0]),
    "disk": _disk,
    "space": _space,
    "nic": _nic,
}

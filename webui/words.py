"""How spans, sizes and numbers are written on every page. Pure, but for telling Jinja of them."""

from flask import Flask

from appliance.backlog import span
from appliance.client_words import spoken
from appliance.install import contents

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """`512 bytes`, `1.5 GiB`."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {UNITS[unit]}"


def share(part: float) -> str:
    """`42 %`, of 0 to 1; 100 only when nothing is missing."""
    return f"{int(100 * part)} %"


def number(count: int) -> str:
    """`10 000`, with a thin space that does not break."""
    return f"{count:,}".replace(",", "\u202f")


def add_words(app: Flask) -> None:
    for filter_ in (size, share, number, span, contents, spoken):
        app.jinja_env.filters[filter_.__name__] = filter_

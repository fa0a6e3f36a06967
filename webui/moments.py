"""Points in time as elements that a script may show in the reader's zone; without one they are UTC."""

from datetime import UTC, datetime

from markupsafe import Markup


def moment(at: float | None) -> Markup:
    """A <time> element of seconds since 1970; nothing for None."""
    if at is None:
        return Markup("")
    when = datetime.fromtimestamp(at, UTC)
    text = Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}" data-time>{:%Y-%m-%d %H:%M} UTC</time>')
    return text.format(when, when)

"""What a person reads in the row of something that the farm was asked for and that went wrong."""

import logging

from appliance.errors import Problem
from appliance.run import CommandFailed

log = logging.getLogger(__name__)


def sentence_of(failed: Exception, doing: str) -> str:
    """One line for the page; a mistake of ours goes to the log with its traceback, under `doing`."""
    match failed:
        case Problem():
            return str(failed)
        case CommandFailed():
            return str(failed).splitlines()[0]
        case OSError():
            return f"{failed.strerror or failed}: {failed.filename}" if failed.filename else str(failed)
    log.error("%s", doing, exc_info=failed)
    return f"this server made a mistake ({type(failed).__name__}); its log says which"

"""Log lines for a person and for syslog: one line an event, never a secret."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Final

_LOG: Final = logging.getLogger("acmeiot")


class LogEvents:
    """The events port on the standard log. `news` is set by each event that anybody may see."""

    def __init__(self) -> None:
        self.news = threading.Event()

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        """Log one line."""
        _LOG.log(logging.WARNING if warning else logging.INFO, "%s: %s", kind, _one_line(message))
        self.news.set()

    def debug(self, kind: str, message: str) -> None:
        """Log one line that only `-v` shows."""
        _LOG.debug("%s: %s", kind, _one_line(message))

    def fault(self, what: str, error: BaseException) -> None:
        """Log a bug of this program with its traceback."""
        _LOG.error("fault: %s: %r", what, error, exc_info=error)


def _one_line(message: str) -> str:
    """Keep what devices chose (names, contacts) from faking log lines."""
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else "?" for c in message)


def to_stderr(verbose: bool) -> None:
    """Send the log to standard error, where procd and systemd pick it up and add the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("acmeiot %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    _LOG.setLevel(logging.DEBUG if verbose else logging.INFO)

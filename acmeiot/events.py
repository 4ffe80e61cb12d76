"""Log lines for a person and for syslog: one line an event, never a secret."""

from __future__ import annotations

import logging
import os
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


def begin_log(verbose: bool, syslog: str = "") -> None:
    """Send the log to the system's log at a socket such as /dev/log, each line with its priority.

    Without one it goes to standard error, where procd and systemd pick it up and add the time; but
    procd takes all that comes there for an error. A socket that is not there loses no line.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    shape, trouble = "acmeiot %(levelname)s %(message)s", None
    if syslog:
        try:
            handler, shape = _syslog(syslog), "%(message)s"
        except OSError as error:
            why = error.strerror or error  # a path that is too long has none
            trouble = _one_line(f"syslog: {syslog}: {why}; logging to standard error")
    handler.setFormatter(logging.Formatter(shape))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    _LOG.setLevel(logging.DEBUG if verbose else logging.INFO)
    if trouble is not None:
        _LOG.warning("%s", trouble)


def _syslog(place: str) -> logging.Handler:
    import socket
    from logging.handlers import SysLogHandler  # only routers need it

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.connect(place)  # the handler would complain with every line, but go on
    handler = SysLogHandler(place, SysLogHandler.LOG_DAEMON)
    handler.ident = f"acmeiot[{os.getpid()}]: "
    return handler

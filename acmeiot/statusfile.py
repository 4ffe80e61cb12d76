"""What `status` answers, as a file in RAM for a router's web page, which must not wait for anybody.

It is written when there is news and not by the clock: a page that nobody looks at costs nothing.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from acmeiot.events import LogEvents
from acmeiot.protocol.fingerprint import words

Json = dict[str, Any]

_PAUSE: Final = 2.0  # seconds from the news to the file: what comes together is written once
_MODE: Final = 0o644  # the page is another user's
_NOT_SHOWN: Final = ("directory_object",)


def shown(status: Json, http_port: int) -> Json:
    """Return what the file says of a status: without what is large, with what a page links to."""
    root = {name: value for name, value in status["root"].items() if name != "pem"}
    root["words"] = words(bytes.fromhex(root["sha256"]))
    rest = {name: value for name, value in status.items() if name not in _NOT_SHOWN}
    return {**rest, "root": root, "http_port": http_port}


class StatusFile:
    """One file that follows the server's state from `start` to `stop`, in a thread of its own.

    `read` returns what to write, with `clock.now` and `window_ends` in epoch seconds; it is called
    after events, at most once in two seconds, and when the pairing window has ended by itself.
    """

    def __init__(
        self, path: Path, read: Callable[[], Json], events: LogEvents, pause: float = _PAUSE
    ) -> None:
        self._path, self._read, self._events, self._pause = path, read, events, pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="status", daemon=True)
        self._told = False

    def start(self) -> None:
        """Write the file now, and again with every change."""
        self._events.news.clear()
        self._thread.start()

    def stop(self) -> None:
        """Delete the file: a server that has stopped has no status."""
        self._stopping.set()
        self._events.news.set()
        self._thread.join()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _keep(self) -> None:
        patience = self._write()
        while True:
            self._events.news.wait(patience)
            if self._stopping.wait(self._pause):
                return
            self._events.news.clear()
            patience = self._write()

    def _write(self) -> float | None:
        """Write the file; return after how many seconds it will be wrong without any event."""
        try:
            status = self._read()
            self._place(json.dumps(status).encode())
        except OSError as error:
            self._complain(error)
            return None
        except Exception as error:  # noqa: BLE001 - the page may be wrong, the server goes on
            self._events.fault("status file", error)
            return None
        self._told = False
        ends = status["window_ends"]
        return None if ends is None else max(0.0, ends - status["clock"]["now"])

    def _complain(self, error: OSError) -> None:
        if not self._told:  # it is an event, and so the cause of the next try
            self._told = True
            self._events.emit("status", f"{self._path}: {error.strerror}", warning=True)

    def _place(self, data: bytes) -> None:
        # Not `durable.write`: it lies in RAM, and nothing is lost with it.
        temporary = self._path.with_name(f".{self._path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _MODE)
            file.write(data)
        temporary.replace(self._path)

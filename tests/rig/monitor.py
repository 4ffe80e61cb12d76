"""QEMU's own door to a guest (QMP): by it a running router is moved to a file, memory and all."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

_LONGEST: Final = 60.0  # seconds


class Monitor:
    """A conversation with a running QEMU."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_LONGEST)
        _until(lambda: self._socket.connect_ex(str(path)) == 0, f"{path}: nobody listens")
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        self._lines.readline()  # its greeting
        self.ask("qmp_capabilities")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its answer.

        Raises:
            AssertionError: QEMU refused it; the message says why.
        """
        text = json.dumps({"execute": command, "arguments": arguments})
        self._socket.sendall(text.encode() + b"\n")
        while line := self._lines.readline():
            said = json.loads(line)
            assert "error" not in said, f"{command}: {said['error']}"
            if "return" in said:  # else an event
                return said["return"]
        raise AssertionError(f"{command}: QEMU has gone")

    def move_out(self, memory: Path) -> None:
        """Write all that the guest is, but for its disks, to a file; it stands still then.

        Raises:
            AssertionError: it could not, or not in a minute.
        """
        # Not stopped before: what is stopped is so wherever it goes on.
        self.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.ask("migrate", uri=f"exec:cat >'{memory}'")
        _until(lambda: self._status("migrate") == "completed", f"{memory} is not written")

    def until_running(self) -> None:
        """Wait until a guest that comes from a file is here: what it is told before is lost."""
        _until(lambda: self._status("status") == "running", "the guest did not go on")

    def _status(self, of: str) -> str:
        status = str(self.ask(f"query-{of}").get("status"))
        assert status != "failed", f"query-{of}"
        return status


def _until(test: Callable[[], bool], fault: str) -> None:
    ends = time.monotonic() + _LONGEST
    while not test():
        assert time.monotonic() < ends, fault
        time.sleep(0.02)

"""A QEMU guest whose serial console is on our side of a pipe, and a shell on it.

No accelerator: a nested KVM may be there and hang, and TCG boots in two seconds.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FATAL: Final = re.compile(rb"Kernel panic|Oops:|BUG: |Out of memory")
SHELL: Final = re.compile(rb"@@shell@@\r?\n")


class Guest:
    """A running QEMU. Every wait is bounded; everything it said is kept in `log`."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._heard = b""
        self._count = 0

    def shell(self, timeout: float = 60) -> None:
        """Wait until the console's shell says that it reads."""
        self._wait(SHELL, timeout)

    def press_enter(self, invitation: bytes, timeout: float) -> None:
        """Wait for a console that a key activates, press it, and wait for its shell."""
        self._wait(re.compile(re.escape(invitation)), timeout)
        self._send(b"\n")
        self._awake(timeout)
        # Busybox's line editor cuts long lines; a shell behind a pipe has none, and no prompt. No
        # cat: it may keep lines to itself.
        self._send(b"exec sh -c 'dd bs=4096 2>/dev/null | sh'\n")
        self._awake(timeout)

    def run(self, command: str, *, timeout: float = 60, fails: bool = False) -> str:
        """Run a command line to its end and return all it printed.

        Raises:
            AssertionError: it failed, or did not although `fails` says that it should.
            TimeoutError: it did not end in `timeout` seconds.
        """
        code, said = self.code(command, timeout=timeout)
        assert (code != 0) == fails, f"{command}\nexit {code}\n{said}"
        return said

    def code(self, command: str, *, timeout: float = 60) -> tuple[int, str]:
        """Run a command line to its end and return its exit code and all it printed."""
        self._count += 1
        # A console may echo what it is sent, where the markers must not be found.
        begin, end = f"@@B{self._count}@@", f"@@E{self._count}:"
        start, finish = f"echo '@@'B{self._count}@@", f"echo '@@'E{self._count}:$?@@"
        self._send(f"{start}; {{ {command}\n}} </dev/null; {finish}\n".encode())
        pattern = re.compile(rf"{begin}\r?\n(.*?){end}(\d+)@@\r?\n".encode(), re.DOTALL)
        said = self._wait(pattern, timeout)
        return int(said[2]), said[1].replace(b"\r\n", b"\n").decode("utf-8", "replace")

    def say(self, command: str) -> None:
        """Send a command line whose end nobody waits for."""
        self._send(f"{command}\n".encode())

    def cpu_seconds(self) -> float:
        """Return the seconds that this computer's processors have worked for it so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def power_off(self) -> None:
        """Pull the plug: nothing is written any more."""
        self._process.kill()
        self.close()

    def ended(self, timeout: float = 30) -> None:
        """Wait for the guest to power itself off."""
        self._process.wait(timeout)
        self.close()

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._log.close()

    def _awake(self, timeout: float) -> None:
        # What is typed before a shell reads may be dropped, or a part of it, so it is typed until
        # one answers, and without quotes, of which half would be left.
        self._count += 1
        answer = re.compile(rf"@@A{self._count}@@\r?\n".encode())
        end = time.monotonic() + timeout
        while True:
            self._send(f"echo @\\@A{self._count}@@\n".encode())
            try:
                self._wait(answer, 2)
                return
            except TimeoutError:
                if time.monotonic() > end:
                    raise

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _wait(self, pattern: re.Pattern[bytes], timeout: float) -> re.Match[bytes]:
        end = time.monotonic() + timeout
        while True:
            found = pattern.search(self._heard)
            if found:
                self._heard = self._heard[found.end() :]
                return found
            fatal = FATAL.search(self._heard)
            assert not fatal, self._heard[-2000:].decode("utf-8", "replace")
            self._listen(end)

    def _listen(self, end: float) -> None:
        assert self._process.stdout is not None
        if not self._selector.select(max(0.0, end - time.monotonic())):
            raise TimeoutError(self._heard[-2000:].decode("utf-8", "replace"))
        data = self._process.stdout.read(65536)
        assert data, f"the guest ended: {self._heard[-2000:].decode('utf-8', 'replace')}"
        self._log.write(data)
        self._log.flush()
        self._heard += data

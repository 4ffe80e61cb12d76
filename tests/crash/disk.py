"""A small disk of its own, that a test can fill and write-protect under a running server.

It is a tmpfs in a mount namespace: no other program meets it, and it is gone with the test. A user
who is not root becomes root of a user namespace.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

SIZE = "1m"
MORE = 1 << 22  # bytes, than it has
_BALLAST = "ballast"


class Disk:
    """A disk mounted at `at`, which is an empty directory for everybody else."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self._user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]

    def __enter__(self) -> Self:
        """Mount it.

        Raises:
            AssertionError: the system does not let this user make namespaces.
        """
        mapped = ["--map-root-user"] if self._user else []
        mount = f'mount -t tmpfs -o size={SIZE},mode=700 none "$1" && echo && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", *mapped, "--mount", "sh", "-c", mount, "sh", self.at],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        mounted = self._holder.stdout.read(1) == b"\n"
        assert mounted, "this system does not allow: unshare --mount; mount -t tmpfs"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._holder.communicate()  # its input ends, and so does it

    @property
    def enter(self) -> tuple[str, ...]:
        """Return what puts a command where the disk is."""
        pid = str(self._holder.pid)
        return ("nsenter", "--target", pid, *self._user, "--mount", "--root", "--wd", "--")

    def seen(self, path: Path) -> Path:
        """Return a path on the disk as this process can open it."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def copy(self, path: Path, to: Path) -> Path:
        """Copy a directory off the disk, to where SQLite finds it by its name; return `to`."""
        subprocess.run([*self.enter, "cp", "-a", path, to], check=True)
        return to

    def fill(self) -> None:
        """Leave no byte free."""
        ballast = self.seen(self.at / _BALLAST)
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(MORE))
        assert ballast.stat().st_size

    def free(self) -> None:
        """Take away what `fill` put there."""
        self.seen(self.at / _BALLAST).unlink()

    def protect(self, option: str) -> None:
        """Mount it again with `ro` or `rw`."""
        subprocess.run([*self.enter, "mount", "-o", f"remount,{option}", self.at], check=True)

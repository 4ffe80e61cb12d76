"""One machine of a home: a network namespace with its own view of a few system files."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self


class Host:
    """A machine to run programs on; what was started on it ends with `end`."""

    def __init__(self, end: ExitStack, pid: int, user: list[str]) -> None:
        self.pid = pid  # of the process that the namespaces live by
        self._end = end
        self._user = user
        self._enter = _entry(pid, user)

    @classmethod
    def first(cls, end: ExitStack) -> Self:
        """Make the first machine; a user who is not root becomes root of a user namespace.

        Raises:
            AssertionError: the system does not let this user make namespaces.
        """
        mapped = ["--map-root-user"] if os.geteuid() else []
        user = ["--user", "--preserve-credentials"] if mapped else []
        pid = _hold(end, ["unshare", *mapped, "--net", "--mount"])
        return cls(end, pid, user)

    def beside(self) -> Self:
        """Make another machine that is not yet linked to this one."""
        pid = _hold(self._end, [*self._enter, "unshare", "--net", "--mount"])
        return type(self)(self._end, pid, self._user)

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        fails: bool = False,
        seconds: float = 120,
    ) -> str:
        """Run a program to its end, in so many seconds, and return all it said.

        Raises:
            AssertionError: it failed, or did not although `fails` says that it should.
        """
        done = subprocess.run(
            [*self._enter, *map(str, argv)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        command = " ".join(map(str, argv))
        assert (done.returncode != 0) == fails, f"{command}\nexit {done.returncode}\n{done.stdout}"
        return done.stdout

    def entered(self, *argv: str | Path) -> list[str]:
        """Return the command line that runs a program on this machine."""
        return [*self._enter, *map(str, argv)]

    def start(self, *argv: str | Path, log: Path) -> None:
        """Start a program that stays until the home is left, or dies with this process."""
        self._end.enter_context(self.serving(*argv, log=log))

    @contextmanager
    def serving(
        self,
        *argv: str | Path,
        log: Path,
        stdout: int | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a program that stays for the length of a `with` block, or dies with this process.

        What it says goes to the end of `log`, but for standard output when `stdout` is a pipe.
        """
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self._enter, "setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=out,
            )
        try:
            yield process
        finally:
            _stop(process)

    def wait_for(self, test: str, *arguments: str | Path) -> None:
        """Repeat a shell test until it holds.

        Raises:
            AssertionError: it did not for a minute.
        """
        script = f"until {test}; do sleep 0.1; done"
        self.run(*("timeout", "60", "sh", "-c", script, "sh", *arguments))


def _entry(pid: int, user: list[str]) -> list[str]:
    return ["nsenter", "--target", str(pid), *user, "--net", "--mount", "--root", "--wd", "--"]


def _hold(end: ExitStack, unshare: list[str]) -> int:
    """Start the process that a namespace lives by; it ends when this one does."""
    holder = subprocess.Popen(
        [*unshare, "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    end.callback(_stop, holder)
    assert holder.stdout is not None
    assert holder.stdout.read(1) == b"\n", f"this system does not allow: {' '.join(unshare)}"
    return holder.pid


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()

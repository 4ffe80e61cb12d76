"""Runs the owner's command that makes a service take its new certificate."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from typing import IO, Final

from acmeiot.client.errors import AgentError, UsageError

TIMEOUT: Final = 60.0
_TOLD: Final = 300  # characters of what the command said


def reloader(command: str, timeout: float = TIMEOUT) -> Callable[[], None]:
    """Return what runs a command, without a shell and for `timeout` seconds at most.

    It raises AgentError with the command's last words if that fails. Raises UsageError for a text
    that is no command line.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--reload {command!a}: {error}") from None
    if not words:
        raise UsageError("--reload names no command")

    def run() -> None:
        with tempfile.TemporaryFile() as said:  # a file: it may say more than fits into memory
            code = _run(words, said, timeout)
            if code != 0:
                raise AgentError(f"{command} {_ended(code, timeout)}{_last_words(said)}")

    return run


def _run(words: list[str], said: IO[bytes], timeout: float) -> int | None:
    """Return the exit code, None if time ran out; then all it started is ended."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    except OSError as error:
        raise AgentError(f"cannot run {words[0]}: {error.strerror}") from None
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ended(code: int | None, timeout: float) -> str:
    if code is None:
        return f"did not end in {timeout:.0f} s"
    return f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _last_words(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - _TOLD))
    text = " ".join(said.read().decode("utf-8", "replace").split())
    return f": {text}" if text else ""

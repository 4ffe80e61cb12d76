"""What the owner asks of an agent: a file that stays until it is done, whoever does it.

The agent that runs is woken and does it; without one, the command does it itself. After a power
cut in the middle the next start goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from acmeiot import durable
from acmeiot.device import files

FILE: Final = "request.json"


@dataclass(frozen=True, slots=True)
class Request:
    """A new label, or `reset`: then `leave` says not to begin anew."""

    label: str = ""
    reset: bool = False
    leave: bool = False


def ask(folder: Path, request: Request, owner: int = -1) -> None:
    """Leave a request in the state directory, for the user who runs the agent to read."""
    files.dump(folder / FILE, asdict(request), (owner, -1))


def asked(folder: Path) -> Request | None:
    """Return the request that is there."""
    request = files.load(folder / FILE, Request)
    return None if request == Request() else request


def done(folder: Path) -> None:
    """Remove the request."""
    (folder / FILE).unlink(missing_ok=True)
    durable.sync_directory(folder)

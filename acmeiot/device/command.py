"""The options of the room's commands."""

from __future__ import annotations

from typing import Any


def add_parser(commands: Any) -> None:
    """Add the room's commands to the program's."""

"""The options of `announce`."""

from __future__ import annotations

from typing import Any


def add_parser(commands: Any) -> None:
    """Add `announce` to the program's."""

"""Moments as calendars have them, also those that this machine's C library does not know.

Where its time_t has 32 bits, as in Debian 12 for 32-bit ARM and MIPS, everything of the standard
library that asks it raises OverflowError for what lies after January 2038. A root's end, ten years
ahead, does so since 2028, and what a client writes into an order may at any time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc(seconds: int) -> datetime:
    """Return epoch seconds as a moment in UTC; raise OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(seconds=seconds)


def day(seconds: int) -> str:
    """Return the day for people, such as 2038-01-19, in UTC."""
    return f"{utc(seconds):%Y-%m-%d}"

"""The system's time, and whether it may be believed (design decision 9).

A router has no clock of its own: after a power cut it wakes up in the past until NTP comes. A
certificate dated then is expired or not yet valid when it is needed, so nothing is signed before
the clock is later than everything this CA has signed and than this program itself.
"""

from __future__ import annotations

import time
from typing import Final

from acmeiot.protocol.messages import rfc3339

_BACKWARDS: Final = 86400  # a jump back by more is no correction


class SystemClock:
    """The clock port on the system's clocks. `floor` is the earliest believable time."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._latest = 0

    def raise_floor(self, signed: int) -> None:
        """Do not believe a time before `signed` any more."""
        self._floor = max(self._floor, signed)

    def now(self) -> int:
        """Return the seconds since 1970."""
        now = int(time.time())
        self._latest = max(self._latest, now)
        return now

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def doubt(self) -> str | None:
        """Return why the time is not believed, None when it is."""
        now = self.now()
        if now < self._latest - _BACKWARDS:
            return (
                f"the clock went back from {rfc3339(self._latest)} to {rfc3339(now)}; set it "
                "right, or restart the service if the new time is the true one"
            )
        if now < self._floor:
            return (
                f"the clock says {rfc3339(now)}, which is before {rfc3339(self._floor)}, when this "
                "CA is known to have been running; waiting for the time from the network (NTP)"
            )
        return None

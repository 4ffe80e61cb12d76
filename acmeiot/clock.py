"""The system's time, and whether it may be believed (design decision 9).

A router has no clock of its own: after a power cut it wakes up in the past until NTP comes. A
certificate dated then is expired or not yet valid when it is needed, so nothing is signed before
the clock is later than everything this CA has signed and than this program itself. Where something
tells when NTP has set the clock, that is waited for, but not for ever: a home without the Internet
has no NTP, and its clock runs on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from acmeiot.protocol.messages import rfc3339

_BACKWARDS: Final = 86400  # a jump back by more is no correction
_NTP_WAIT: Final = 300  # seconds after the machine's start


class SystemClock:
    """The clock port on the system's clocks. `floor` is the earliest believable time.

    `set_file` comes into being when NTP has set the clock; None where nothing tells.
    """

    def __init__(self, floor: int, set_file: Path | None = None) -> None:
        self._floor, self._signed, self._latest = floor, 0, 0
        self._set_file, self._is_set = set_file, False

    def raise_floor(self, earliest: int) -> None:
        """Do not believe a time before `earliest` any more."""
        self._floor = max(self._floor, earliest)

    def have_signed(self, at: int) -> None:
        """Do not believe a time before `at`, unless NTP says so: something was signed then."""
        self._signed = max(self._signed, at)

    def now(self) -> int:
        """Return the seconds since 1970."""
        now = int(time.time())
        self._latest = max(self._latest, now)
        return now

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def _is_there(self) -> bool:
        # Path.exists would raise where the folder may not be looked into.
        return self._set_file is not None and os.path.exists(self._set_file)  # noqa: PTH110

    def doubt(self) -> str | None:
        """Return why the time is not believed, None when it is."""
        now = self.now()
        if not self._is_set and self._is_there():
            # What the clock said before, and what was signed by it, counts no more.
            self._is_set, self._latest, self._signed = True, now, 0
        floor = max(self._floor, self._signed)
        if now < self._latest - _BACKWARDS:
            return (
                f"the clock went back from {rfc3339(self._latest)} to {rfc3339(now)}; set it "
                "right, or restart the service if the new time is the true one"
            )
        if now < floor:
            return (
                f"the clock says {rfc3339(now)}, which is before {rfc3339(floor)}, when this "
                "CA is known to have been running; waiting for the time from the network (NTP)"
            )
        left = _NTP_WAIT - time.monotonic()
        if self._set_file is not None and not self._is_set and left > 0:
            return (
                f"the clock says {rfc3339(now)}, but nobody has set it since this machine started; "
                f"waiting for the time from the network (NTP), for {left:.0f} seconds at most"
            )
        return None

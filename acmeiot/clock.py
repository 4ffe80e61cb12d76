"""The system's time, and whether it may be believed (design decision 9).

A router has no clock of its own: after a power cut it wakes up in the past until NTP comes. A
certificate dated then is expired or not yet valid when it is needed, so nothing is signed before
the clock is later than everything this CA has signed and than this program itself. Where something
tells when NTP has set the clock, that is waited for, but not for ever: a home without the Internet
has no NTP, and its clock runs on.

A clock may as well have been ahead, for a start or two, and what was signed then says nothing of
the time: NTP ends such a floor. Whether there is an issuer from before is for others to know.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from acmeiot.core.ports import Events, Store, StoreFull
from acmeiot.protocol.messages import rfc3339

_DAY: Final = 86400
_BACKWARDS: Final = _DAY  # a jump back by more is no correction
_NTP_WAIT: Final = 300  # seconds after the machine's start
_FORGETS_BY: Final = "forgets by"


class SystemClock:
    """The clock port on the system's clocks. `floor` is the earliest believable time.

    `set_file` comes into being when NTP has set the clock; None where nothing tells.
    """

    def __init__(self, floor: int, set_file: Path | None = None) -> None:
        self._released, self._floor, self._signed, self._latest = floor, floor, 0, 0
        self._set_file, self._is_set = set_file, False

    def raise_floor(self, earliest: int) -> None:
        """Do not believe a time before `earliest` any more."""
        self._floor = max(self._floor, earliest)

    def have_signed(self, at: int) -> None:
        """Do not believe a time before `at`, unless NTP says so: something was signed then."""
        self._signed = max(self._signed, at)

    def before_floor(self) -> int | None:
        """Return the time that NTP has set, where it is before the floor; None otherwise."""
        now = self._look()
        believed = self._is_set and now >= max(self._released, self._latest - _BACKWARDS)
        return now if believed and now < self._floor else None

    def end_floor(self) -> None:
        """Forget `raise_floor`: what it was raised for came of a wrong clock."""
        self._floor = self._released

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

    def _look(self) -> int:
        """Return the time, after looking whether NTP has set it."""
        now = self.now()
        if not self._is_set and self._is_there():
            # What the clock said before, and what was signed by it, counts no more.
            self._is_set, self._latest, self._signed = True, now, 0
        return now

    def _way_out(self, now: int) -> str:
        if self._set_file is not None or now < self._released:
            return "waiting for the time from the network (NTP)"
        return (
            "set it right; if it is right, and was wrong then, name in clock_set_file a file that "
            "is there once the network (NTP) has set it"
        )

    def doubt(self) -> str | None:
        """Return why the time is not believed, None when it is."""
        now = self._look()
        floor = max(self._floor, self._signed)
        if now < self._latest - _BACKWARDS:
            return (
                f"the clock went back from {rfc3339(self._latest)} to {rfc3339(now)}; set it "
                "right, or restart the service if the new time is the true one"
            )
        if now < floor:
            return (
                f"the clock says {rfc3339(now)}, which is before {rfc3339(floor)}, when this "
                f"CA is known to have been running; {self._way_out(now)}"
            )
        left = _NTP_WAIT - time.monotonic()
        if self._set_file is not None and not self._is_set and left > 0:
            return (
                f"the clock says {rfc3339(now)}, but nobody has set it since this machine started; "
                f"waiting for the time from the network (NTP), for {left:.0f} seconds at most"
            )
        return None


class SlowTime:
    """The time by which records are forgotten: it follows the clock by a day at each look.

    A clock that is years ahead for a start or two thus costs no record that is needed when it is
    right again; a home that was in a drawer for a year has forgotten what it may in two weeks.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at = _number(store.fact(_FORGETS_BY))

    def follow(self, now: int) -> int:
        """Return the time by which to forget now; it is on the disk at least once a day."""
        kept = _number(self._store.fact(_FORGETS_BY))
        self._at = min(now, now if self._at is None else self._at + _DAY)
        if kept is None or abs(self._at - kept) >= _DAY:
            with suppress(StoreFull):  # which is no reason to stop; the next look tries again
                self._store.put_fact(_FORGETS_BY, str(self._at))
        return self._at


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def wait_for_time(clock: SystemClock, events: Events, stopping: Callable[[], bool]) -> bool:
    """Wait until the clock can be believed; tell why, once a minute. False if told to stop."""
    waited = 0
    while (doubt := clock.doubt()) is not None:
        if waited % 60 == 0:
            events.emit("clock", doubt, warning=True)
        if stopping():
            return False
        time.sleep(1)
        waited += 1
    return True

"""Time as the agents use it: what it is, and waiting. A test's clock does both at once."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Epoch seconds, seconds that never jump, and a wait that may end early when asked to stop."""

    def now(self) -> int:
        """Return the seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> int:
        """Return the seconds since 1970."""
        return int(time.time())

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

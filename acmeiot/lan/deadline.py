"""The end of an exchange with somebody of this LAN, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """The end of one exchange; every wait in it takes from the same `seconds`."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._monotonic = monotonic
        self._ends = monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raise TimeoutError when there are none."""
        left = self._ends - self._monotonic()
        if left <= 0:
            raise TimeoutError(f"not complete after {self.seconds:g} s")
        return left

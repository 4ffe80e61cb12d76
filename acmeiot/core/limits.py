"""Rate limits: token buckets in memory, so that one noisy device cannot starve a home (R-34).

A bucket holds `burst` tokens and regains one every `every` seconds. The table is bounded: when it
is full the bucket that was drawn from longest ago goes, and its key starts anew with a full one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from acmeiot.core.ports import Clock
from acmeiot.protocol.errors import RateLimited

_MAX_BUCKETS: Final = 4096


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then one every `every` seconds; `what` is the plural noun for a person."""

    what: str
    burst: int
    every: float


# A home has tens of devices; a client that needs more than this is broken or hostile.
NEW_ACCOUNTS: Final = Rate("new accounts from one address", burst=20, every=180)
NEW_ORDERS: Final = Rate("new orders of one account", burst=60, every=60)
ORDERS_FROM: Final = Rate("new orders from one address", burst=120, every=30)
FAILED_PROOFS: Final = Rate("failed validations of one name", burst=10, every=120)
EAB_FAILURES: Final = Rate("wrong pairing keys from one address", burst=5, every=120)
BAD_SIGNATURES: Final = Rate("bad signatures from one address", burst=60, every=5)


class Limits:
    """Count what each account, address or name does; off for tests and benchmarks."""

    def __init__(self, clock: Clock, *, enabled: bool = True) -> None:
        self._clock = clock
        self._enabled = enabled
        self._lock = threading.Lock()
        self._spent: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def check(self, rate: Rate, key: str) -> None:
        """Raise RateLimited, with Retry-After, if `key` has no token left; takes none."""
        if self._enabled:
            self._refuse_above(rate, key, self._level(rate, key), rate.burst - 1)

    def take(self, rate: Rate, key: str) -> None:
        """Take a token; raise RateLimited, with Retry-After, if there is none."""
        if not self._enabled:
            return
        with self._lock:
            level = self._level(rate, key)
            self._refuse_above(rate, key, level, rate.burst - 1)
            slot = (rate.what, key)
            self._spent[slot] = (level + 1, self._clock.monotonic())
            self._spent.move_to_end(slot)
            if len(self._spent) > _MAX_BUCKETS:
                self._spent.popitem(last=False)

    def note(self, rate: Rate, key: str) -> None:
        """Take a token for something that already happened, without complaint."""
        try:
            self.take(rate, key)
        except RateLimited:
            return  # the bucket is empty, which is all that `check` will ask

    def _level(self, rate: Rate, key: str) -> float:
        level, at = self._spent.get((rate.what, key), (0.0, 0.0))
        return max(0.0, level - (self._clock.monotonic() - at) / rate.every)

    def _refuse_above(self, rate: Rate, key: str, level: float, allowed: int) -> None:
        if level <= allowed:
            return
        wait = max(1, int((level - allowed) * rate.every) + 1)
        raise RateLimited(
            f"too many {rate.what} ({key}); try again in {wait} seconds",
            headers={"Retry-After": str(wait)},
        )

"""Anti-replay nonces: numbered and sealed, so that issuing one costs no memory.

A nonce is a counter with a MAC. Only *used* numbers are remembered, the newest `capacity` of
them; when that memory is full the floor rises above the lowest and all below it is refused. So a
flood of newNonce requests cannot push an honest client's nonce out, a replay can never pass, and
after a restart the new key refuses every old nonce (R-3, R-4).
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from array import array
from bisect import bisect_left
from typing import Final

from acmeiot.core.ports import Random
from acmeiot.protocol.errors import BadNonce
from acmeiot.protocol.jose import b64decode, b64encode

_COUNTER: Final = 6  # octets; at a million nonces a second it lasts nine years
_MAC: Final = 16
_TEXT: Final = 30  # characters of the base64url of both


class Nonces:
    """Issue and redeem nonces; bounded, thread-safe, forgotten at a restart."""

    def __init__(self, random: Random, capacity: int = 4096) -> None:
        self._key = random(32)
        self._capacity = capacity
        self._lock = threading.Lock()
        self._next = 1
        self._floor = 0  # every number up to here is refused
        self._used = array("Q")  # in order; a fifteenth of what a set would take

    def issue(self) -> str:
        """Return a fresh nonce (RFC 8555 section 7.2)."""
        with self._lock:
            number = self._next
            self._next += 1
        octets = number.to_bytes(_COUNTER, "big")
        return b64encode(octets + self._seal(octets))

    def redeem(self, nonce: str | None) -> None:
        """Take the nonce, once; raise BadNonce, or Malformed when it cannot be one (R-4)."""
        if nonce is None:
            raise BadNonce("the request has no nonce")
        raw = b64decode(nonce[: _TEXT + 1], "nonce")
        octets, seal = raw[:_COUNTER], raw[_COUNTER:]
        if len(nonce) != _TEXT or not hmac.compare_digest(seal, self._seal(octets)):
            raise BadNonce("the nonce is not from this server, or from before its restart")
        self._spend(int.from_bytes(octets, "big"))

    def _spend(self, number: int) -> None:
        with self._lock:
            place = bisect_left(self._used, number)  # nearly always the end
            if number <= self._floor or number in self._used[place : place + 1]:
                raise BadNonce("the nonce was used before, or is too old")
            self._used.insert(place, number)
            if len(self._used) > self._capacity:
                self._floor = self._used.pop(0)

    def _seal(self, octets: bytes) -> bytes:
        # A keyed hash is a MAC here (RFC 7693), and takes a tenth of an HMAC's time.
        return hashlib.blake2s(octets, key=self._key, digest_size=_MAC).digest()

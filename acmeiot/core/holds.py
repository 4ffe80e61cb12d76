"""What is being proved at this moment, and what waits for the owner: facts of memory only.

After a power cut nothing is under way, and every challenge that was can be tried again. The table
is bounded: a client that never comes back for its answer leaves its place to the next.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from acmeiot.core.records import Account, Authorization, Challenge
from acmeiot.protocol.errors import AcmeError
from acmeiot.protocol.states import ChallengeType

MAX_HOLDS: Final = 256
_POLL: Final = 1  # seconds; what a client is told while its name is looked at
_POLL_OWNER: Final = 5  # and while a person is awaited


@dataclass(frozen=True, slots=True)
class Attempt:
    """A client's answer to one challenge."""

    account: Account
    authorization: Authorization
    challenge: Challenge
    remote: str


@dataclass(frozen=True, slots=True)
class Hold:
    """An attempt that waits: for the owner, or because two sources disagree on the name."""

    attempt: Attempt
    reason: AcmeError
    until: float  # monotonic
    for_owner: bool

    @property
    def id(self) -> str:
        """Return the id of the authorization that waits."""
        return self.attempt.authorization.id


class UnderWay:
    """The attempts that run and the holds, by authorization; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, ChallengeType] = {}
        self._holds: dict[str, Hold] = {}

    def begin(self, attempt: Attempt) -> bool:
        """Note that the attempt runs; False if its authorization is under way already."""
        authorization_id = attempt.authorization.id
        with self._lock:
            if authorization_id in self._running or authorization_id in self._holds:
                return False
            self._running[authorization_id] = attempt.challenge.type
            return True

    def end(self, attempt: Attempt) -> None:
        """Note that the attempt runs no more."""
        with self._lock:
            self._running.pop(attempt.authorization.id, None)

    def hold(self, hold: Hold) -> bool:
        """Keep the attempt waiting; False if too many wait already."""
        with self._lock:
            if len(self._holds) >= MAX_HOLDS:
                return False
            self._holds[hold.id] = hold
            return True

    def held(self, authorization_id: str) -> Hold | None:
        """Return the hold on the authorization, if there is one."""
        with self._lock:
            return self._holds.get(authorization_id)

    def release(self, authorization_id: str) -> Hold | None:
        """Take the hold away and return it; of two callers one gets it."""
        with self._lock:
            return self._holds.pop(authorization_id, None)

    def overdue(self, monotonic: float) -> list[Hold]:
        """Return the holds whose time is up, whose clients have not come for the answer."""
        with self._lock:
            return [hold for hold in self._holds.values() if hold.until <= monotonic]

    def shown(self, authorization_id: str) -> tuple[ChallengeType | None, AcmeError | None]:
        """Return the challenge that is being answered, and why it takes so long."""
        with self._lock:
            hold = self._holds.get(authorization_id)
            if hold is not None:
                return hold.attempt.challenge.type, hold.reason
            return self._running.get(authorization_id), None

    def retry_after(self, authorization_id: str) -> int | None:
        """Return the seconds after which to poll again, None if nothing is under way."""
        with self._lock:
            if authorization_id in self._holds:
                return _POLL_OWNER
            return _POLL if authorization_id in self._running else None

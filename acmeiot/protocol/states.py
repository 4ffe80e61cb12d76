"""The lives of accounts, orders, authorizations and challenges, each as one literal table.

RFC 8555 section 7.1.6 draws four small machines. Here each is a dict from (state, event) to the
next state, and `step` is the only way to move: what is not in a table cannot happen, and an
attempt raises `ImpossibleStep`, which is a bug in this program and never a client's fault. The
rules look at states to refuse early, with a reason for a person; the tables are the last gate.

Three decisions are worth their lines:

* A challenge's `processing` is a fact of memory, not of the store. While a validation runs, or
  waits for the owner, the stored challenge is still `pending`, so that a power cut leaves
  something that can be tried again instead of an order that hangs for ever. The table has the
  state because clients are shown it.
* An order is signed and stored in one transaction, so its `processing` is never seen from
  outside: `ready` becomes `valid`, or stays `ready` when the CSR was bad (R-23).
* `invalid`, `revoked`, `expired` and `deactivated` are final. A client starts anew with a new
  order; nothing rises from the dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar


class AccountStatus(str, Enum):
    """RFC 8555 section 7.1.2; `revoked` is the server's act, `deactivated` the client's."""

    VALID = "valid"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


class OrderStatus(str, Enum):
    """RFC 8555 section 7.1.3."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(str, Enum):
    """RFC 8555 section 7.1.4."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ChallengeStatus(str, Enum):
    """RFC 8555 section 7.1.5."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class ChallengeType(str, Enum):
    """The ways to prove a name that this server offers."""

    HTTP_01 = "http-01"
    TLS_ALPN_01 = "tls-alpn-01"
    DNS_01 = "dns-01"


class DeviceStatus(str, Enum):
    """What the owner said of a device."""

    PENDING = "pending"
    APPROVED = "approved"
    BLOCKED = "blocked"
    FORGOTTEN = "forgotten"


class Event(str, Enum):
    """All that can happen to any of them."""

    RESPOND = "respond"  # the client posts to a challenge
    PROVE = "prove"  # the proof was seen, and the owner allows it
    FAIL = "fail"  # the proof was wrong or missing
    EXPIRE = "expire"  # the time is up
    DEACTIVATE = "deactivate"  # the client gives it up
    REVOKE = "revoke"  # the owner takes it away
    COMPLETE = "complete"  # all authorizations of the order are valid
    ISSUE = "issue"  # the certificate is signed and stored
    APPROVE = "approve"
    BLOCK = "block"
    FORGET = "forget"


State = TypeVar(
    "State", AccountStatus, OrderStatus, AuthorizationStatus, ChallengeStatus, DeviceStatus
)
Table = Mapping[tuple[State, Event], State]

ACCOUNT: Final[Table[AccountStatus]] = {
    (AccountStatus.VALID, Event.DEACTIVATE): AccountStatus.DEACTIVATED,
    (AccountStatus.VALID, Event.REVOKE): AccountStatus.REVOKED,
}

CHALLENGE: Final[Table[ChallengeStatus]] = {
    (ChallengeStatus.PENDING, Event.RESPOND): ChallengeStatus.PROCESSING,
    (ChallengeStatus.PROCESSING, Event.PROVE): ChallengeStatus.VALID,
    (ChallengeStatus.PROCESSING, Event.FAIL): ChallengeStatus.INVALID,
}

AUTHORIZATION: Final[Table[AuthorizationStatus]] = {
    (AuthorizationStatus.PENDING, Event.PROVE): AuthorizationStatus.VALID,
    (AuthorizationStatus.PENDING, Event.FAIL): AuthorizationStatus.INVALID,
    (AuthorizationStatus.PENDING, Event.EXPIRE): AuthorizationStatus.INVALID,
    (AuthorizationStatus.PENDING, Event.DEACTIVATE): AuthorizationStatus.DEACTIVATED,
    (AuthorizationStatus.PENDING, Event.REVOKE): AuthorizationStatus.REVOKED,
    (AuthorizationStatus.VALID, Event.EXPIRE): AuthorizationStatus.EXPIRED,
    (AuthorizationStatus.VALID, Event.DEACTIVATE): AuthorizationStatus.DEACTIVATED,
    (AuthorizationStatus.VALID, Event.REVOKE): AuthorizationStatus.REVOKED,
}

ORDER: Final[Table[OrderStatus]] = {
    (OrderStatus.PENDING, Event.COMPLETE): OrderStatus.READY,
    (OrderStatus.PENDING, Event.FAIL): OrderStatus.INVALID,
    (OrderStatus.PENDING, Event.EXPIRE): OrderStatus.INVALID,
    (OrderStatus.READY, Event.FAIL): OrderStatus.INVALID,
    (OrderStatus.READY, Event.EXPIRE): OrderStatus.INVALID,
    (OrderStatus.READY, Event.ISSUE): OrderStatus.VALID,
}

DEVICE: Final[Table[DeviceStatus]] = {
    (DeviceStatus.PENDING, Event.APPROVE): DeviceStatus.APPROVED,
    (DeviceStatus.PENDING, Event.BLOCK): DeviceStatus.BLOCKED,
    (DeviceStatus.PENDING, Event.FORGET): DeviceStatus.FORGOTTEN,
    (DeviceStatus.APPROVED, Event.BLOCK): DeviceStatus.BLOCKED,
    (DeviceStatus.APPROVED, Event.FORGET): DeviceStatus.FORGOTTEN,
    (DeviceStatus.BLOCKED, Event.APPROVE): DeviceStatus.APPROVED,
    (DeviceStatus.BLOCKED, Event.FORGET): DeviceStatus.FORGOTTEN,
    # A forgotten device that comes back is a stranger: it gets a new record, never this one.
}


class ImpossibleStep(Exception):
    """An event that its state has no place for: a bug here, never a client's fault."""


def step(table: Table[State], state: State, event: Event) -> State:
    """Return the state after `event`; raise ImpossibleStep where the table has none."""
    try:
        return table[state, event]
    except KeyError:
        raise ImpossibleStep(f"{type(state).__name__}: no {event.value} in {state.value}") from None

"""Authorizations: a challenge is answered, looked at, and waits for the owner if it must.

An attempt runs beside the request that asked for it. While it runs, and while a proved name waits
for the owner's word, the challenge is shown as `processing` with the reason in its `error`; the
store still says `pending` (see `protocol.states`). A wait that lasts longer than `wait` seconds
fails with the same reason, so the client ends with a sentence its user can act on, and the same
client run again after the owner's approval succeeds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Final

from acmeiot.core.devices import Devices, Newcomer
from acmeiot.core.limits import FAILED_PROOFS, Limits
from acmeiot.core.ownership import NameConflict, Ownership
from acmeiot.core.ports import Clock, Events, Lan, Random, Runner, Store, StoreFull, Validator
from acmeiot.core.records import Account, Authorization, Challenge, Device, Order
from acmeiot.protocol.challenges import key_authorization
from acmeiot.protocol.errors import (
    AcmeError,
    Caa,
    DnsFailed,
    NotFound,
    ServerInternal,
    Unauthorized,
    Unavailable,
    UserActionRequired,
)
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.names import Identifier, under
from acmeiot.protocol.states import (
    AUTHORIZATION,
    CHALLENGE,
    ORDER,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    Event,
    OrderStatus,
    step,
)

PENDING_LIFE: Final = 86400
# A proof is used again within the hour only: addresses in a home move.
VALID_LIFE: Final = 3600
_MAX_HOLDS: Final = 256
_ANSWER_WAIT: Final = 0.5  # seconds that the answer to a challenge waits for a quick proof
_POLL: Final = 1
_POLL_OWNER: Final = 5


@dataclass(frozen=True, slots=True)
class ProofRules:
    """The owner's settings. `wait` is how many seconds a client is kept for the owner's word."""

    wait: int = 30
    dns01_for_local: bool = False  # only where a resolver is forced, for tests
    caa_issuers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A client's answer to one challenge."""

    account: Account
    authorization: Authorization
    challenge: Challenge
    remote: str


@dataclass(slots=True)
class Hold:
    """A proof that waits: for the owner, or for two sources to agree on the name."""

    attempt: Attempt
    reason: AcmeError
    until: float  # monotonic
    for_owner: bool = field(default=True)


class Authorizations:
    """The authorization rules; thread-safe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        events: Events,
        limits: Limits,
        ownership: Ownership,
        devices: Devices,
        lan: Lan,
        validator: Validator,
        runner: Runner,
        rules: ProofRules,
    ) -> None:
        self._store, self._clock, self._random, self._events = store, clock, random, events
        self._limits, self._ownership, self._devices, self._lan = limits, ownership, devices, lan
        self._validator, self._runner, self.rules = validator, runner, rules
        self._lock = threading.Lock()
        self._running: dict[str, ChallengeType] = {}
        self._holds: dict[str, Hold] = {}

    # -- making and reading

    def make(self, account: Account, identifier: Identifier, *, subdomains: bool) -> Authorization:
        """Return a new pending authorization, not yet stored (RFC 8555 section 7.1.4)."""
        now = self._clock.now()
        return Authorization(
            id=b64encode(self._random(12)),
            account_id=account.id,
            identifier=identifier.base,
            wildcard=identifier.wildcard,
            status=AuthorizationStatus.PENDING,
            expires=now + PENDING_LIFE,
            created=now,
            # at least 128 bits of token; ours have 192.
            challenges=tuple(
                Challenge(kind, b64encode(self._random(24))) for kind in self._kinds(identifier)
            ),
            subdomains=subdomains,
        )

    def _kinds(self, identifier: Identifier) -> list[ChallengeType]:
        # an address has no TXT record, and a .local name is in no zone.
        in_zone = identifier.type == "dns" and (
            self.rules.dns01_for_local or not under(identifier.value, "local")
        )
        by_dns = [ChallengeType.DNS_01] if in_zone else []
        if identifier.wildcard:
            return by_dns
        return [ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01, *by_dns]

    def provable(self, identifier: Identifier) -> bool:
        """Tell whether any challenge can prove the identifier (a `.local` wildcard has none)."""
        return bool(self._kinds(identifier))

    def read(self, account: Account, authorization_id: str) -> Authorization:
        """Return the account's authorization as it is now; raise NotFound, Unauthorized (R-24)."""
        authorization = self._store.authorization(authorization_id)
        if authorization is None:
            raise NotFound("no such authorization")
        if authorization.account_id != account.id:
            raise Unauthorized("the authorization is another account's")
        return self._as_shown(self._settle(authorization))

    def _as_shown(self, authorization: Authorization) -> Authorization:
        """Return it with what only time and memory know: expiry, and challenges under way."""
        if authorization.expires <= self._clock.now():
            if (authorization.status, Event.EXPIRE) in AUTHORIZATION:
                expired = step(AUTHORIZATION, authorization.status, Event.EXPIRE)
                return replace(authorization, status=expired)
            return authorization
        kind, error = self._under_way(authorization.id)
        if kind is None or authorization.status is not AuthorizationStatus.PENDING:
            return authorization
        return replace(
            authorization,
            challenges=tuple(
                replace(c, status=step(CHALLENGE, c.status, Event.RESPOND), error=error)
                if c.type is kind
                else c
                for c in authorization.challenges
            ),
        )

    def _under_way(
        self, authorization_id: str
    ) -> tuple[ChallengeType | None, dict[str, object] | None]:
        with self._lock:
            hold = self._holds.get(authorization_id)
            if hold is not None:
                return hold.attempt.challenge.type, hold.reason.problem()
            return self._running.get(authorization_id), None

    def retry_after(self, authorization_id: str) -> int | None:
        """Return the seconds after which to poll again, None if nothing is under way."""
        with self._lock:
            if authorization_id in self._holds:
                return _POLL_OWNER
            return _POLL if authorization_id in self._running else None

    def deactivate(self, account: Account, authorization_id: str) -> Authorization:
        """Give up the authorization for good (R-24, RFC 8555 section 7.5.2)."""
        with self._store.writing():
            authorization = self.read(account, authorization_id)
            if (authorization.status, Event.DEACTIVATE) not in AUTHORIZATION:
                return authorization
            status = step(AUTHORIZATION, authorization.status, Event.DEACTIVATE)
            self._drop(authorization_id)
            ended = replace(authorization, status=status)
            self._store.put_authorization(ended)
            error = Unauthorized(f"the authorization for {ended.identifier} was given up")
            self._end_orders(ended, error)
        return ended

    # -- proving

    def respond(
        self, account: Account, authorization_id: str, kind: str, remote: str
    ) -> tuple[Authorization, Challenge]:
        """Take a client's word that a challenge is ready, and look (R-26).

        Returns quickly: with the result if the proof was, else with the challenge `processing`.
        """
        authorization = self.read(account, authorization_id)
        challenge = _challenge(authorization, kind)
        open_ = authorization.status is AuthorizationStatus.PENDING
        if not open_ or challenge.status is not ChallengeStatus.PENDING:
            return authorization, challenge
        self._limits.check(FAILED_PROOFS, f"{account.id} {authorization.identifier}")
        self._start(Attempt(account, authorization, challenge, remote))
        authorization = self.read(account, authorization_id)
        return authorization, _challenge(authorization, kind)

    def _start(self, attempt: Attempt) -> None:
        authorization_id = attempt.authorization.id
        with self._lock:
            if authorization_id in self._running or authorization_id in self._holds:
                return
            self._running[authorization_id] = attempt.challenge.type
        if not self._runner.start(lambda: self._run(attempt), _ANSWER_WAIT):
            self._stop(authorization_id)
            raise Unavailable(
                "too many validations are under way; try again in a few seconds",
                headers={"Retry-After": "5"},
            )

    def _stop(self, authorization_id: str) -> None:
        with self._lock:
            self._running.pop(authorization_id, None)

    def _run(self, attempt: Attempt) -> None:
        """Make the attempt to its end; what goes wrong here has no caller to tell."""
        try:
            self._attempt(attempt)
        except StoreFull as error:
            # The challenge is still pending in the store: the client may try again.
            self._events.emit("store", str(error), warning=True)
        except Exception as error:  # noqa: BLE001 - nobody else would ever see it
            self._events.fault(f"proving {attempt.authorization.identifier}", error)
        finally:
            self._stop(attempt.authorization.id)

    def _attempt(self, attempt: Attempt) -> None:
        try:
            where = self._look(attempt)
        except NameConflict as conflict:
            self._hold(attempt, DnsFailed(f"held, this network disagrees: {conflict}"), False)
        except AcmeError as error:
            self._fail(attempt, error)
        except Exception as error:  # noqa: BLE001 - an adapter's fault must end the attempt, loudly
            self._events.fault(f"validating {attempt.authorization.identifier}", error)
            self._fail(attempt, ServerInternal("the server failed to look; its log says why"))
        else:
            self._events.debug("proof", f"{attempt.authorization.identifier} at {where}")
            self._proved(attempt)

    def _look(self, attempt: Attempt) -> str:
        identifier, challenge = attempt.authorization.identifier, attempt.challenge
        by_dns = challenge.type is ChallengeType.DNS_01
        addresses = () if by_dns else self._ownership.addresses(identifier, attempt.remote)
        text = key_authorization(challenge.token, attempt.account.thumbprint)
        where = self._validator.validate(challenge, identifier, text, addresses)
        self._check_caa(identifier)
        return where

    def _check_caa(self, identifier: Identifier) -> None:
        """Honour a CAA record of the local zone, where one speaks (RFC 8659)."""
        if identifier.type == "ip" or not self.rules.caa_issuers:
            return
        issuers = self._lan.caa(identifier.value)
        if issuers and not set(issuers) & set(self.rules.caa_issuers):
            ours = ", ".join(self.rules.caa_issuers)
            raise Caa(
                f"the CAA record of {identifier} allows {', '.join(issuers)[:200]}, not {ours}",
                identifier=identifier,
            )

    def _proved(self, attempt: Attempt) -> None:
        identifier = attempt.authorization.identifier
        names = (identifier.value,) if identifier.type == "dns" else ()
        try:
            with self._store.writing():
                device = self._devices.admit(Newcomer(attempt.account, attempt.remote, names))
                if device.status is DeviceStatus.APPROVED:
                    self._succeed(attempt)
        except AcmeError as error:
            self._fail(attempt, error)
            return
        if device.status is DeviceStatus.PENDING:
            self._hold(attempt, _waits(device), True)
        elif device.status is not DeviceStatus.APPROVED:
            self._fail(attempt, Unauthorized(f"the owner has {device.status.value} this device"))

    def _hold(self, attempt: Attempt, reason: AcmeError, for_owner: bool) -> None:
        until = self._clock.monotonic() + self.rules.wait
        with self._lock:
            room = len(self._holds) < _MAX_HOLDS
            if room:
                self._holds[attempt.authorization.id] = Hold(attempt, reason, until, for_owner)
        if not room:
            self._fail(attempt, reason)
        else:
            self._events.emit("waiting", f"{attempt.authorization.identifier}: {reason.detail}")

    def _settle(self, authorization: Authorization) -> Authorization:
        """End a wait whose answer is there, or whose time is up; return the authorization."""
        with self._lock:
            hold = self._holds.get(authorization.id)
        if hold is None:
            return authorization
        device = self._store.device_of(authorization.account_id) if hold.for_owner else None
        approved = device is not None and device.status is DeviceStatus.APPROVED
        waiting = not hold.for_owner or (
            device is not None and device.status is DeviceStatus.PENDING
        )
        if waiting and self._clock.monotonic() < hold.until:
            return authorization
        if self._drop(authorization.id) is not None:  # of two readers one settles
            if approved:
                self._proved(hold.attempt)
            else:
                self._fail(hold.attempt, hold.reason if waiting else _said_no(device))
        return self._store.authorization(authorization.id) or authorization

    def _drop(self, authorization_id: str) -> Hold | None:
        with self._lock:
            return self._holds.pop(authorization_id, None)

    # -- outcomes

    def _succeed(self, attempt: Attempt) -> None:
        now = self._clock.now()
        authorization = self._current(attempt)
        if authorization is None:
            return
        processing = step(CHALLENGE, ChallengeStatus.PENDING, Event.RESPOND)
        valid = replace(
            attempt.challenge,
            status=step(CHALLENGE, processing, Event.PROVE),
            validated=now,
            error=None,
        )
        proved = replace(
            authorization,
            status=step(AUTHORIZATION, authorization.status, Event.PROVE),
            expires=now + VALID_LIFE,
            challenges=(valid,),
        )
        self._store.put_authorization(proved)
        for order in self._store.orders_with(proved.id):
            self._complete(order)

    def _complete(self, order: Order) -> None:
        needed = self._store.authorizations(order.authorizations)
        if order.status is OrderStatus.PENDING and all(
            a.status is AuthorizationStatus.VALID for a in needed
        ):
            self._store.put_order(replace(order, status=step(ORDER, order.status, Event.COMPLETE)))

    def _fail(self, attempt: Attempt, error: AcmeError) -> None:
        identifier = attempt.authorization.identifier
        self._limits.note(FAILED_PROOFS, f"{attempt.account.id} {identifier}")
        kind = attempt.challenge.type.value
        self._events.emit("refused", f"{identifier} by {kind}: {error.detail}")
        with self._store.writing():
            authorization = self._current(attempt)
            if authorization is None:
                return
            processing = step(CHALLENGE, ChallengeStatus.PENDING, Event.RESPOND)
            failed = replace(
                attempt.challenge,
                status=step(CHALLENGE, processing, Event.FAIL),
                error=error.problem(),
            )
            ended = replace(
                authorization,
                status=step(AUTHORIZATION, authorization.status, Event.FAIL),
                challenges=(failed,),
            )
            self._store.put_authorization(ended)
            self._end_orders(ended, error)

    def _current(self, attempt: Attempt) -> Authorization | None:
        """Return the stored authorization if it is still open; the client may have given it up."""
        authorization = self._store.authorization(attempt.authorization.id)
        if authorization is None or authorization.status is not AuthorizationStatus.PENDING:
            return None
        return authorization

    def _end_orders(self, authorization: Authorization, error: AcmeError) -> None:
        for order in self._store.orders_with(authorization.id):
            status = step(ORDER, order.status, Event.FAIL)
            self._store.put_order(replace(order, status=status, error=error.problem()))


def _challenge(authorization: Authorization, kind: str) -> Challenge:
    for challenge in authorization.challenges:
        if challenge.type.value == kind:
            return challenge
    raise NotFound(f"the authorization has no challenge {kind[:40]!a}")


def _waits(device: Device) -> UserActionRequired:
    return UserActionRequired(
        f"the name is proved, but the owner of this network has not yet allowed this device. "
        f"Owner: acmeiot approve {device.id} (or allow {device.address} on the router's page); "
        "then run the client again"
    )


def _said_no(device: Device | None) -> Unauthorized:
    word = "forgotten" if device is None else device.status.value
    return Unauthorized(f"the owner has {word} this device")

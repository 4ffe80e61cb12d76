"""Authorizations: a challenge is answered, looked at, and waits for the owner if it must.

An attempt runs beside the request that asked for it. While it runs, and while a proved name waits
for the owner's word, the challenge is shown as `processing` with the reason in its `error`; the
store still says `pending` (see `protocol.states`). A wait that lasts longer than `wait` seconds
fails with the same reason, so the client ends with a sentence its user can act on, and the same
client run again after the owner's approval succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from acmeiot.core.devices import Devices, Newcomer, said_no
from acmeiot.core.holds import Attempt, Hold, UnderWay
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
_ANSWER_WAIT: Final = 0.5  # seconds that the answer to a challenge waits for a quick proof


@dataclass(frozen=True, slots=True)
class ProofRules:
    """The owner's settings. `wait` is how many seconds a client is kept for the owner's word."""

    wait: int = 30
    dns01_for_local: bool = False  # only where a resolver is forced, for tests
    caa_issuers: tuple[str, ...] = ()


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
        self._under_way = UnderWay()

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
        return self._as_shown(self._own(account, authorization_id))

    def _own(self, account: Account, authorization_id: str) -> Authorization:
        """Return the account's authorization as the store has it, after any wait that is over."""
        authorization = self._store.authorization(authorization_id)
        if authorization is None:
            raise NotFound("no such authorization")
        if authorization.account_id != account.id:
            raise Unauthorized("the authorization is another account's")
        return self._settle(authorization)

    def _as_shown(self, authorization: Authorization) -> Authorization:
        """Return it with what only time and memory know: expiry, and challenges under way."""
        if authorization.expires <= self._clock.now():
            if (authorization.status, Event.EXPIRE) in AUTHORIZATION:
                expired = step(AUTHORIZATION, authorization.status, Event.EXPIRE)
                return replace(authorization, status=expired)
            return authorization
        kind, reason = self._under_way.shown(authorization.id)
        if kind is None or authorization.status is not AuthorizationStatus.PENDING:
            return authorization
        error = reason.problem() if reason is not None else None
        return replace(
            authorization,
            challenges=tuple(
                replace(c, status=step(CHALLENGE, c.status, Event.RESPOND), error=error)
                if c.type is kind
                else c
                for c in authorization.challenges
            ),
        )

    def retry_after(self, authorization_id: str) -> int | None:
        """Return the seconds after which to poll again, None if nothing is under way."""
        return self._under_way.retry_after(authorization_id)

    def deactivate(self, account: Account, authorization_id: str) -> Authorization:
        """Give up the authorization for good (R-24, RFC 8555 section 7.5.2)."""
        with self._store.writing():
            authorization = self._own(account, authorization_id)
            shown = self._as_shown(authorization)
            if (shown.status, Event.DEACTIVATE) not in AUTHORIZATION:
                return shown
            status = step(AUTHORIZATION, shown.status, Event.DEACTIVATE)
            self._under_way.release(authorization_id)
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
        if not self._under_way.begin(attempt):
            return
        started = False
        try:
            started = self._runner.start(lambda: self._run(attempt), _ANSWER_WAIT)
        finally:
            if not started:
                self._under_way.end(attempt)
        if not started:
            raise Unavailable(
                "too many validations are under way; try again in a few seconds",
                headers={"Retry-After": "5"},
            )

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
            self._under_way.end(attempt)

    def _attempt(self, attempt: Attempt) -> None:
        try:
            where = self._look(attempt)
        except NameConflict as conflict:
            self._hold(attempt, _disagree(conflict), for_owner=False)
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
            with self._store.writing(later=True):
                device = self._devices.admit(Newcomer(attempt.account, attempt.remote, names))
                if device.status is DeviceStatus.APPROVED:
                    self._succeed(attempt)
        except AcmeError as error:
            self._fail(attempt, error)
            return
        if device.status is DeviceStatus.PENDING:
            self._hold(attempt, _waits(device), for_owner=True)

    def _hold(self, attempt: Attempt, reason: AcmeError, *, for_owner: bool) -> None:
        now = self._clock.monotonic()
        for hold in self._under_way.overdue(now):
            self._settle(hold.attempt.authorization)
        if self._under_way.hold(Hold(attempt, reason, now + self.rules.wait, for_owner)):
            self._events.emit("waiting", f"{attempt.authorization.identifier}: {reason.detail}")
        else:
            self._fail(attempt, reason)

    def _settle(self, authorization: Authorization) -> Authorization:
        """End a wait whose answer is there, or whose time is up; return the authorization."""
        hold = self._under_way.held(authorization.id)
        if hold is None:
            return authorization
        device = self._store.device_of(authorization.account_id) if hold.for_owner else None
        approved = device is not None and device.status is DeviceStatus.APPROVED
        waiting = not hold.for_owner or (
            device is not None and device.status is DeviceStatus.PENDING
        )
        if waiting and self._clock.monotonic() < hold.until:
            return authorization
        if self._under_way.release(authorization.id) is not None:  # of two readers one settles
            if approved:
                self._proved(hold.attempt)
            else:
                self._fail(hold.attempt, hold.reason if waiting else said_no(device))
        return self._store.authorization(authorization.id) or authorization

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
        # One that was pruned is missing from `needed`; its order must never complete.
        valid = [each for each in needed if each.status is AuthorizationStatus.VALID]
        if order.status is OrderStatus.PENDING and len(valid) == len(order.authorizations):
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
        """Return the stored authorization if it is still open.

        The client may have given it up, or its day passed while the owner was awaited.
        """
        authorization = self._store.authorization(attempt.authorization.id)
        if authorization is None or authorization.status is not AuthorizationStatus.PENDING:
            return None
        return authorization if authorization.expires > self._clock.now() else None

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


def _disagree(conflict: NameConflict) -> DnsFailed:
    return DnsFailed(f"held, this network disagrees: {conflict}")

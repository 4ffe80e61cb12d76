"""Orders: from names to a certificate (RFC 8555 section 7.4).

Here an order is made, read and handed to `issuance`; what newOrder asks first is in `neworder`.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from acmeiot.core.authorizations import Authorizations
from acmeiot.core.devices import Devices
from acmeiot.core.issuance import Issuance
from acmeiot.core.limits import NEW_ORDERS, ORDERS_FROM, Limits
from acmeiot.core.neworder import OrderChecks
from acmeiot.core.ownership import Ownership
from acmeiot.core.policy import Policy
from acmeiot.core.ports import Clock, Events, Issuer, Random, Store
from acmeiot.core.records import (
    Account,
    Authorization,
    Certificate,
    Order,
)
from acmeiot.protocol.errors import (
    Malformed,
    NotFound,
    OrderNotReady,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.messages import (
    NewOrder,
    WantedName,
    csr_of,
    load_identifier,
)
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import (
    ORDER,
    AuthorizationStatus,
    Event,
    OrderStatus,
    step,
)

ORDER_LIFE: Final = 86400
MAX_OPEN: Final = 100  # pending orders of one account (specs 6: mass enrolment)


class Orders:
    """The order rules; thread-safe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        events: Events,
        policy: Policy,
        limits: Limits,
        ownership: Ownership,
        devices: Devices,
        authorizations: Authorizations,
        issuer: Issuer,
    ) -> None:
        self._store, self._clock, self._random, self._events = store, clock, random, events
        self._policy, self._limits = policy, limits
        self._devices, self._authorizations = devices, authorizations
        self._checks = OrderChecks(
            store, clock, events, policy, ownership, devices, authorizations, issuer
        )
        self._issuance = Issuance(store, clock, random, events, policy, devices, issuer)
        self._lock = threading.Lock()
        self._finishing: set[str] = set()

    # -- newOrder

    def create(self, account: Account, payload: bytes, remote: str) -> Order:
        """Return the new order (R-19); `ready` at once if its names are proved already (R-22)."""
        self.check_clock()
        wanted = NewOrder.parse(payload, self._policy.max_names)
        self._limits.take(ORDERS_FROM, remote)
        self._limits.take(NEW_ORDERS, account.id)
        self._devices.refuse_blocked(account, remote)
        profile = self._policy.profile(wanted.profile)
        self._checks.names(wanted.wanted, account, remote)
        self._checks.times(wanted, profile)
        with self._store.writing():
            now = self._clock.now()
            replaces = self._checks.replaces(wanted, account)
            self._check_room(account, now)
            authorizations = self._authorizations_for(wanted.wanted, account, now)
            order = Order(
                id=b64encode(self._random(12)),
                account_id=account.id,
                status=_first_status(authorizations),
                created=now,
                expires=now + ORDER_LIFE,
                identifiers=wanted.identifiers,
                authorizations=tuple(each.id for each in authorizations),
                profile=profile.name,
                remote=remote,
                not_before=wanted.not_before,
                not_after=wanted.not_after,
                replaces=replaces,
            )
            self._store.put_order(order)
        self._events.debug("order", f"{order.id} for {order.names} from {remote}")
        return order

    def check_clock(self) -> None:
        """Raise Unavailable while the clock cannot be believed (design decision 9)."""
        doubt = self._clock.doubt()
        if doubt is not None:
            raise Unavailable(f"nothing is signed yet: {doubt}", headers={"Retry-After": "60"})

    def _check_room(self, account: Account, now: int) -> None:
        if self._store.count_open_orders(account.id, now) >= MAX_OPEN:
            raise RateLimited(
                f"this account has {MAX_OPEN} open orders; finish or let them expire",
                headers={"Retry-After": "3600"},
            )

    def _authorizations_for(
        self, wanted: tuple[WantedName, ...], account: Account, now: int
    ) -> list[Authorization]:
        """Return one for each proof: an ancestor that vouches for several names is proved once."""
        ancestors = {name.ancestor for name in wanted}
        proofs = dict.fromkeys(name.ancestor or name.identifier for name in wanted)
        return [self._authorization(account, one, now, one in ancestors) for one in proofs]

    def _authorization(
        self, account: Account, proof: Identifier, now: int, subdomains: bool
    ) -> Authorization:
        """Return a valid authorization that can be used again (R-22), or a new one, stored."""
        usable = self._store.usable_authorization(account.id, proof, now, subdomains=subdomains)
        if usable is not None:
            return usable
        made = self._authorizations.make(account, proof, subdomains=subdomains)
        self._store.put_authorization(made)
        return made

    def authorize(self, account: Account, payload: bytes, remote: str) -> Authorization:
        """Make an authorization without an order, newAuthz (R-25, RFC 8555 section 7.4.1)."""
        identifier, subdomains = load_identifier(payload)
        if identifier.wildcard:
            raise Malformed("a wildcard cannot be authorized beforehand; order it")
        self._limits.take(ORDERS_FROM, remote)
        self._limits.take(NEW_ORDERS, account.id)
        self._devices.refuse_blocked(account, remote)
        self._checks.names((WantedName(identifier),), account, remote)
        with self._store.writing():
            return self._authorization(account, identifier, self._clock.now(), subdomains)

    # -- reading

    def read(self, account: Account, order_id: str) -> Order:
        """Return the account's order as it is now; raise NotFound or Unauthorized (R-10)."""
        order = self._store.order(order_id)
        if order is None:
            raise NotFound("no such order")
        if order.account_id != account.id:
            raise Unauthorized("the order is another account's")
        if order.status is OrderStatus.PENDING and self._any_settled(account, order):
            order = self._store.order(order_id) or order
        return self._as_shown(order)

    def _any_settled(self, account: Account, order: Order) -> bool:
        """Let waits end whose answer is there: a client may poll the order only."""
        waiting = [a for a in order.authorizations if self._authorizations.retry_after(a)]
        for authorization_id in waiting:
            self._authorizations.read(account, authorization_id)
        return bool(waiting)

    def _as_shown(self, order: Order) -> Order:
        with self._lock:
            if order.id in self._finishing and order.status is OrderStatus.READY:
                return replace(order, status=OrderStatus.PROCESSING)
        if order.expires <= self._clock.now() and (order.status, Event.EXPIRE) in ORDER:
            return replace(order, status=step(ORDER, order.status, Event.EXPIRE))
        return order

    def list(self, account: Account, after: str | None, limit: int) -> list[str]:
        """Return ids of the account's orders, oldest first, after the given one (R-35)."""
        return self._store.orders_of(account.id, after, limit)

    def certificate(self, account: Account, certificate_id: str) -> Certificate:
        """Return the account's certificate; raise NotFound or Unauthorized (R-30)."""
        certificate = self._store.certificate(certificate_id)
        if certificate is None:
            raise NotFound("no such certificate")
        if certificate.account_id != account.id:
            raise Unauthorized("the certificate is another account's")
        return certificate

    # -- finalize

    def finalize(self, account: Account, order_id: str, payload: bytes) -> Order:
        """Sign the order's certificate (R-23). A bad CSR leaves the order `ready`."""
        order = self.read(account, order_id)
        if order.status in (OrderStatus.VALID, OrderStatus.PROCESSING):
            return order  # the same request again, after a lost answer
        if order.status is not OrderStatus.READY:
            raise OrderNotReady(f"the order is {order.status.value}, not ready")
        self.check_clock()
        csr = self._issuance.check_csr(account, order, csr_of(payload))
        with self._lock:
            if order_id in self._finishing:
                return replace(order, status=OrderStatus.PROCESSING)
            self._finishing.add(order_id)
        try:
            return self._issuance.finish(account, order_id, csr)
        finally:
            with self._lock:
                self._finishing.discard(order_id)


def _first_status(authorizations: list[Authorization]) -> OrderStatus:
    valid = all(a.status is AuthorizationStatus.VALID for a in authorizations)
    return step(ORDER, OrderStatus.PENDING, Event.COMPLETE) if valid else OrderStatus.PENDING

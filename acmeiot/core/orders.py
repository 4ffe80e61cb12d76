"""Orders: from names to a certificate (RFC 8555 section 7.4).

A certificate costs three transactions: the order with its authorizations, the outcome of the
proofs, and the certificate with the finished order. The last one is the point of no return: the
leaf is signed before it and handed out after it, so a crash never loses an issued certificate.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from acmeiot.core.authorizations import Authorizations
from acmeiot.core.devices import Devices
from acmeiot.core.limits import NEW_ORDERS, ORDERS_FROM, Limits
from acmeiot.core.ownership import Ownership
from acmeiot.core.policy import BACKDATE, MAX_LIFE, PROFILES, Policy, Profile
from acmeiot.core.ports import Clock, Events, Issuer, Random, Store
from acmeiot.core.records import (
    Account,
    AuditEntry,
    Authorization,
    Certificate,
    Csr,
    Leaf,
    LeafRequest,
    Order,
)
from acmeiot.protocol.ari import check_id
from acmeiot.protocol.errors import (
    AcmeError,
    AlreadyReplaced,
    BadCsr,
    Malformed,
    NotFound,
    OrderNotReady,
    RateLimited,
    RejectedIdentifier,
    Unauthorized,
    Unavailable,
)
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.messages import (
    NewOrder,
    WantedName,
    csr_of,
    load_identifier,
    rfc3339,
    together,
)
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import (
    ORDER,
    AuthorizationStatus,
    DeviceStatus,
    Event,
    OrderStatus,
    step,
)

ORDER_LIFE: Final = 86400
MAX_OPEN: Final = 100  # pending orders of one account (specs 6: mass enrolment)
_AHEAD: Final = 30 * 86400  # notBefore may lie so far in the future


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
        self._policy, self._limits, self._ownership = policy, limits, ownership
        self._devices, self._authorizations, self._issuer = devices, authorizations, issuer
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
        self._check_names(wanted.wanted, account, remote)
        self._check_times(wanted, profile)
        replaces = self._check_replaces(wanted, account)
        with self._store.writing():
            now = self._clock.now()
            self._check_room(account, now)
            authorizations = [self._authorization(account, name, now) for name in wanted.wanted]
            order = Order(
                id=b64encode(self._random(12)),
                account_id=account.id,
                status=_first_status(authorizations),
                created=now,
                expires=now + ORDER_LIFE,
                identifiers=wanted.identifiers,
                authorizations=tuple(dict.fromkeys(a.id for a in authorizations)),
                profile=profile.name,
                remote=remote,
                not_before=wanted.not_before,
                not_after=wanted.not_after,
                replaces=replaces,
            )
            self._store.put_order(order)
        self._events.debug("order", f"{order.id} for {_names(order.identifiers)} from {remote}")
        return order

    def check_clock(self) -> None:
        """Raise Unavailable while the clock cannot be believed (design decision 9)."""
        doubt = self._clock.doubt()
        if doubt is not None:
            raise Unavailable(f"nothing is signed yet: {doubt}", headers={"Retry-After": "60"})

    def _check_names(self, wanted: tuple[WantedName, ...], account: Account, remote: str) -> None:
        problems: list[AcmeError] = []
        for name in wanted:
            try:
                self._check_name(name, account, remote)
            except RejectedIdentifier as error:
                problems.append(error)
        if problems:
            raise self._refused(together(problems), remote)

    def _refused(self, error: AcmeError, remote: str) -> AcmeError:
        self._events.emit("refused", f"{remote}: {error.detail}")
        return error

    def _check_name(self, name: WantedName, account: Account, remote: str) -> None:
        identifier, proof = name.identifier, name.ancestor or name.identifier
        self._policy.check_identifier(identifier)
        if name.ancestor is not None and not self._policy.may_prove_for_others(name.ancestor):
            raise RejectedIdentifier(  # RFC 9444: never the local suffix itself
                f"{name.ancestor} is not a device's name; it cannot vouch for {identifier}",
                identifier=identifier,
            )
        self._policy.check_identifier(proof)
        if not self._issuer.permits(identifier):
            raise RejectedIdentifier(
                f"{identifier} is outside what this home's root may sign; the owner makes a new "
                "root for the new domain: acmeiot rotate",
                identifier=identifier,
            )
        if not self._authorizations.provable(identifier):
            raise RejectedIdentifier(
                f"{identifier}: a wildcard can only be proved by dns-01, which .local has not",
                identifier=identifier,
            )
        self._ownership.check(proof, remote)
        self._devices.refuse_foreign([proof], account, remote)

    def _check_times(self, wanted: NewOrder, profile: Profile) -> None:
        """Honour notBefore and notAfter exactly, or refuse; never change them (R-21)."""
        now = self._clock.now()
        start = now - BACKDATE if wanted.not_before is None else wanted.not_before
        if not now - BACKDATE <= start <= now + _AHEAD:
            raise Malformed(f"notBefore {rfc3339(start)} is in the past, or over 30 days ahead")
        if wanted.not_after is None:
            return
        life = self._policy.life(profile) if profile.name == "shortlived" else MAX_LIFE
        latest = min(start + life, self._issuer.longest())
        if not max(start, now) < wanted.not_after <= latest:
            raise Malformed(
                f"notAfter {rfc3339(wanted.not_after)} must lie after notBefore and not after "
                f"{rfc3339(latest)} (draft-sweet-iot-acme 3.2.4: at most three months)"
            )

    def _check_replaces(self, wanted: NewOrder, account: Account) -> str | None:
        """Check the certificate that the order succeeds (RFC 9773 section 5)."""
        if wanted.replaces is None:
            return None
        ari_id = check_id(wanted.replaces)
        certificate = self._store.certificate_by_ari(ari_id)
        if certificate is None:
            raise Malformed("replaces names no certificate of this server")
        if certificate.account_id != account.id:
            raise Unauthorized("replaces names a certificate of another account")
        if not set(certificate.identifiers) & set(wanted.identifiers):
            raise Malformed("replaces names a certificate that shares no name with the order")
        if certificate.replaced or self._store.order_replacing(ari_id) is not None:
            raise AlreadyReplaced("another order replaces this certificate already")
        return ari_id

    def _check_room(self, account: Account, now: int) -> None:
        if self._store.count_open_orders(account.id, now) >= MAX_OPEN:
            raise RateLimited(
                f"this account has {MAX_OPEN} open orders; finish or let them expire",
                headers={"Retry-After": "3600"},
            )

    def _authorization(self, account: Account, name: WantedName, now: int) -> Authorization:
        """Return a valid authorization that can be used again (R-22), or a new one, stored."""
        proof, parent = name.ancestor or name.identifier, name.ancestor is not None
        if not proof.wildcard:
            usable = self._store.usable_authorization(account.id, proof, now, subdomains=parent)
            if usable is not None:
                return usable
        made = self._authorizations.make(account, proof, subdomains=parent)
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
        self._check_names((WantedName(identifier),), account, remote)
        with self._store.writing():
            usable = self._store.usable_authorization(
                account.id, identifier, self._clock.now(), subdomains=subdomains
            )
            if usable is not None:
                return usable
            made = self._authorizations.make(account, identifier, subdomains=subdomains)
            self._store.put_authorization(made)
        return made

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
        csr = self._checked_csr(account, order, csr_of(payload))
        with self._lock:
            if order_id in self._finishing:
                return replace(order, status=OrderStatus.PROCESSING)
            self._finishing.add(order_id)
        try:
            return self._finish(account, order, csr)
        finally:
            with self._lock:
                self._finishing.discard(order_id)

    def _checked_csr(self, account: Account, order: Order, der: bytes) -> Csr:
        try:
            csr = self._issuer.read_csr(der)
            self._policy.check_csr(csr, order, account.thumbprint)
            self._check_fresh_key(csr, account)
        except BadCsr as error:
            self._events.emit("refused", f"CSR for {_names(order.identifiers)}: {error.detail}")
            raise
        return csr

    def _check_fresh_key(self, csr: Csr, account: Account) -> None:
        """Refuse a key that somebody else already uses (decision 7)."""
        owner = self._store.spki_owner(csr.spki_sha256)
        if owner is not None and owner != account.id:
            raise BadCsr("the CSR's key is in another account's certificate; make a fresh key")
        if csr.jwk_thumbprint and self._store.account_by_thumbprint(csr.jwk_thumbprint):
            raise BadCsr("the CSR's key is an account key; make a separate key for the device")

    def _finish(self, account: Account, order: Order, csr: Csr) -> Order:
        self._check_still_allowed(account, order)
        leaf = self._issuer.issue(self._leaf_request(order, csr))
        certificate = self._certificate(account, order, csr, leaf)
        done = replace(
            order, status=step(ORDER, order.status, Event.ISSUE), certificate_id=certificate.id
        )
        with self._store.writing():
            self._store.put_certificate(certificate)
            self._store.put_order(done)
            self._mark_replaced(order)
            device = self._store.device_of(account.id)
            if device is not None:
                self._devices.tie_names(device, order.identifiers)
            self._store.append_audit(_issue_entry(certificate, order, self._clock.now()))
        self._events.emit(
            "issued",
            f"{_names(order.identifiers)} to {order.remote}, serial {leaf.serial}, "
            f"{csr.key_name}, {order.profile}, until {rfc3339(leaf.not_after)}",
        )
        return done

    def _check_still_allowed(self, account: Account, order: Order) -> None:
        now = self._clock.now()
        for authorization in self._store.authorizations(order.authorizations):
            valid = authorization.status is AuthorizationStatus.VALID
            if not valid or authorization.expires <= now:
                raise OrderNotReady(
                    f"the authorization for {authorization.identifier} is no longer valid; "
                    "make a new order"
                )
        device = self._store.device_of(account.id)
        if device is not None and device.status is not DeviceStatus.APPROVED:
            raise Unauthorized(f"the owner has {device.status.value} this device")

    def _leaf_request(self, order: Order, csr: Csr) -> LeafRequest:
        profile = PROFILES[order.profile]
        start = order.not_before or self._clock.now() - BACKDATE
        end = order.not_after or min(start + self._policy.life(profile), self._issuer.longest())
        return LeafRequest(
            spki=csr.spki,
            identifiers=order.identifiers,
            profile=order.profile,
            not_before=start,
            not_after=end,
            key_encipherment=csr.key_kind == "RSA",
        )

    def _certificate(self, account: Account, order: Order, csr: Csr, leaf: Leaf) -> Certificate:
        return Certificate(
            id=b64encode(self._random(12)),
            serial=leaf.serial,
            issuer_id=leaf.issuer_id,
            account_id=account.id,
            order_id=order.id,
            identifiers=order.identifiers,
            spki_sha256=csr.spki_sha256,
            profile=order.profile,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            der=leaf.der,
            ari_id=leaf.ari_id,
        )

    def _mark_replaced(self, order: Order) -> None:
        old = self._store.certificate_by_ari(order.replaces) if order.replaces else None
        if old is not None:
            self._store.put_certificate(replace(old, replaced=True))


def _first_status(authorizations: list[Authorization]) -> OrderStatus:
    valid = all(a.status is AuthorizationStatus.VALID for a in authorizations)
    return step(ORDER, OrderStatus.PENDING, Event.COMPLETE) if valid else OrderStatus.PENDING


def _names(identifiers: tuple[Identifier, ...]) -> str:
    return ", ".join(str(identifier) for identifier in identifiers)


def _issue_entry(certificate: Certificate, order: Order, now: int) -> AuditEntry:
    detail = {
        "names": [str(identifier) for identifier in certificate.identifiers],
        "account": certificate.account_id,
        "from": order.remote,
        "profile": certificate.profile,
        "not_after": certificate.not_after,
        "spki": certificate.spki_sha256,
    }
    return AuditEntry(now, "issue", certificate.serial, detail)

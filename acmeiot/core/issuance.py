"""The last step: from a ready order and a CSR to a certificate (RFC 8555 section 7.4).

A certificate costs two transactions: one for the order with its authorizations, and one for the
certificate with the finished order and the proofs. That one is the point of no return: the leaf is
signed before it and handed out after it, so a crash never loses an issued certificate (R-36). All
that the certificate rests on is looked at once more within it, so nothing is issued against a
decision that came while it was signed.
"""

from __future__ import annotations

from dataclasses import replace

from acmeiot.core.accounts import refuse_inactive
from acmeiot.core.devices import Devices
from acmeiot.core.policy import BACKDATE, P521_WARNING, PROFILES, Policy
from acmeiot.core.ports import Clock, Events, Issuer, Random, Store
from acmeiot.core.records import (
    Account,
    AuditEntry,
    Certificate,
    Csr,
    Device,
    Leaf,
    LeafRequest,
    Order,
)
from acmeiot.protocol.errors import BadCsr, NotFound, OrderNotReady
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.messages import rfc3339
from acmeiot.protocol.states import ORDER, AuthorizationStatus, Event, OrderStatus, step


class Issuance:
    """Judge CSRs and issue certificates; thread-safe. One call at a time for one order."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        events: Events,
        policy: Policy,
        devices: Devices,
        issuer: Issuer,
    ) -> None:
        self._store, self._clock, self._random, self._events = store, clock, random, events
        self._policy, self._devices, self._issuer = policy, devices, issuer

    def check_csr(self, account: Account, order: Order, der: bytes) -> Csr:
        """Return what the CSR says; raise BadCsr unless it is good for this order (R-23)."""
        try:
            csr = self._issuer.read_csr(der)
            self._policy.check_csr(csr, order, account.thumbprint)
            self._check_fresh_key(account, csr)
        except BadCsr as error:
            self._events.emit("refused", f"CSR for {order.names}: {error.detail}")
            raise
        return csr

    def _check_fresh_key(self, account: Account, csr: Csr) -> None:
        """Refuse a key that somebody else already uses (decision 7)."""
        owner = self._store.spki_owner(csr.spki_sha256)
        if owner is not None and owner != account.id:
            raise BadCsr("the CSR's key is in another account's certificate; make a fresh key")
        if csr.jwk_thumbprint and self._store.account_by_thumbprint(csr.jwk_thumbprint):
            raise BadCsr("the CSR's key is an account key; make a separate key for the device")

    def finish(self, account: Account, order_id: str, csr: Csr) -> Order:
        """Sign and store the certificate; return the order that has it.

        Raise OrderNotReady, Unauthorized, UserActionRequired or BadCsr for what has changed since
        the order became ready.
        """
        order = self._order(order_id)
        if order.status is OrderStatus.VALID:
            return order  # another request finished it while this one's CSR was read
        self._check(account, order)
        leaf = self._issuer.issue(self._leaf_request(order, csr))
        certificate = self._certificate(order, csr, leaf)
        with self._store.writing():
            device = self._check(account, self._order(order_id))
            self._check_fresh_key(account, csr)
            done = self._put(order, certificate)
            self._devices.tie_names(device, order.identifiers)
        self._tell(order, csr, leaf)
        return done

    def _order(self, order_id: str) -> Order:
        order = self._store.order(order_id)
        if order is None:
            raise NotFound("the order was deleted")
        return order

    def _check(self, account: Account, order: Order) -> Device:
        """Return the device that may have the certificate now; raise why none may."""
        if order.status is not OrderStatus.READY:
            raise OrderNotReady(f"the order is {order.status.value}, not ready")
        current = self._store.account(account.id)
        refuse_inactive(account if current is None else current)
        self._check_authorizations(order)
        return self._devices.check_issue(account, order.remote, order.identifiers)

    def _check_authorizations(self, order: Order) -> None:
        now = self._clock.now()
        found = self._store.authorizations(order.authorizations)
        lost = [
            str(authorization.identifier)
            for authorization in found
            if authorization.status is not AuthorizationStatus.VALID or authorization.expires <= now
        ]
        if lost or len(found) != len(order.authorizations):
            what = ", ".join(lost) or "one of its names"
            raise OrderNotReady(
                f"the authorization for {what} is no longer valid; make a new order"
            )

    def _leaf_request(self, order: Order, csr: Csr) -> LeafRequest:
        profile = PROFILES[order.profile]
        start = order.not_before or self._clock.now() - BACKDATE
        end = order.not_after or min(start + self._policy.life(profile), self._issuer.longest())
        return LeafRequest(
            spki=csr.spki,
            key=csr.key,
            identifiers=order.identifiers,
            profile=order.profile,
            not_before=start,
            not_after=end,
            key_encipherment=csr.key_kind == "RSA",
        )

    def _certificate(self, order: Order, csr: Csr, leaf: Leaf) -> Certificate:
        return Certificate(
            id=b64encode(self._random(12)),
            serial=leaf.serial,
            issuer_id=leaf.issuer_id,
            account_id=order.account_id,
            order_id=order.id,
            identifiers=order.identifiers,
            spki_sha256=csr.spki_sha256,
            profile=order.profile,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            der=leaf.der,
            ari_id=leaf.ari_id,
        )

    def _put(self, order: Order, certificate: Certificate) -> Order:
        status = step(ORDER, order.status, Event.ISSUE)
        done = replace(order, status=status, certificate_id=certificate.id)
        self._store.put_certificate(certificate)
        self._store.put_order(done)
        old = self._store.certificate_by_ari(order.replaces) if order.replaces else None
        if old is not None:
            self._store.put_certificate(replace(old, replaced=True))
        detail = {
            "names": [str(identifier) for identifier in certificate.identifiers],
            "account": certificate.account_id,
            "from": order.remote,
            "profile": certificate.profile,
            "not_after": certificate.not_after,
            "spki": certificate.spki_sha256,
        }
        self._store.append_audit(AuditEntry(self._clock.now(), "issue", certificate.serial, detail))
        return done

    def _tell(self, order: Order, csr: Csr, leaf: Leaf) -> None:
        p521 = csr.key_name == "EC P-521"
        self._events.emit(
            "issued",
            f"{order.names} to {order.remote}, serial {leaf.serial}, {csr.key_name}, "
            f"{order.profile}, until {rfc3339(leaf.not_after)}"
            + (f"; {P521_WARNING}" if p521 else ""),
            warning=p521,
        )

"""What is asked of a new order before anything is stored: its names, its times, what it replaces.

Every name is looked at before the client is answered, so that one refusal names all that is wrong
(RFC 8555 section 6.7.1).
"""

from __future__ import annotations

from typing import Final

from acmeiot.core.authorizations import Authorizations
from acmeiot.core.devices import Devices
from acmeiot.core.ownership import Ownership
from acmeiot.core.policy import BACKDATE, MAX_LIFE, SHORTLIVED, Policy, Profile
from acmeiot.core.ports import Clock, Events, Issuer, Store
from acmeiot.core.records import Account
from acmeiot.protocol.ari import check_id
from acmeiot.protocol.errors import (
    AcmeError,
    AlreadyReplaced,
    Malformed,
    RejectedIdentifier,
    Unauthorized,
)
from acmeiot.protocol.messages import NewOrder, WantedName, rfc3339, together
from acmeiot.protocol.names import Identifier

_AHEAD: Final = 30 * 86400  # notBefore may lie so far in the future


class OrderChecks:
    """The checks of newOrder and newAuthz; thread-safe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        events: Events,
        policy: Policy,
        ownership: Ownership,
        devices: Devices,
        authorizations: Authorizations,
        issuer: Issuer,
    ) -> None:
        self._store, self._clock, self._events, self._policy = store, clock, events, policy
        self._ownership, self._devices = ownership, devices
        self._authorizations, self._issuer = authorizations, issuer

    def names(self, wanted: tuple[WantedName, ...], account: Account, remote: str) -> None:
        """Raise RejectedIdentifier, with a subproblem for each name that cannot be had (R-19)."""
        problems: list[AcmeError] = []
        for name in wanted:
            try:
                self._name(name, account, remote)
            except RejectedIdentifier as error:
                problems.append(error)
        if problems:
            refusal = together(problems)
            self._events.emit("refused", f"{remote}: {refusal.detail}")
            raise refusal

    def _name(self, name: WantedName, account: Account, remote: str) -> None:
        identifier = name.identifier
        self._policy.check_identifier(identifier)
        if not self._issuer.permits(identifier):
            raise RejectedIdentifier(
                f"{identifier} is outside what this home's root may sign; the owner makes a new "
                "root for the new domain: acmeiot rotate",
                identifier=identifier,
            )
        if not self._authorizations.provable(name.ancestor or identifier):
            raise RejectedIdentifier(
                f"{identifier}: a wildcard can only be proved by dns-01, which .local has not",
                identifier=identifier,
            )
        self._devices.refuse_foreign(identifier, account, remote)
        if name.ancestor is None:
            self._ownership.check(identifier, remote)
        else:
            self._ancestor(name.ancestor, identifier, account, remote)

    def _ancestor(
        self, ancestor: Identifier, identifier: Identifier, account: Account, remote: str
    ) -> None:
        """Let a device's name vouch for names below it, a suffix never (RFC 9444)."""
        try:
            self._policy.check_identifier(ancestor)
            self._devices.refuse_foreign(ancestor, account, remote)
            self._ownership.check(ancestor, remote)
        except RejectedIdentifier as error:
            raise RejectedIdentifier(
                f"{ancestor} cannot vouch for {identifier}: {error.detail}", identifier=identifier
            ) from None

    def times(self, wanted: NewOrder, profile: Profile) -> None:
        """Honour notBefore and notAfter exactly, or raise Malformed; never change them (R-21)."""
        now = self._clock.now()
        start = now - BACKDATE if wanted.not_before is None else wanted.not_before
        if not now - BACKDATE <= start <= now + _AHEAD:
            raise Malformed(f"notBefore {rfc3339(start)} is in the past, or over 30 days ahead")
        if wanted.not_after is None:
            return
        life = self._policy.life(profile) if profile is SHORTLIVED else MAX_LIFE
        latest = min(start + life, self._issuer.longest())
        if not max(start, now) < wanted.not_after <= latest:
            raise Malformed(
                f"notAfter {rfc3339(wanted.not_after)} must lie after notBefore and not after "
                f"{rfc3339(latest)} (draft-sweet-iot-acme 3.2.4: at most three months)"
            )

    def replaces(self, wanted: NewOrder, account: Account) -> str | None:
        """Return the id of the certificate that the order succeeds (RFC 9773 section 5).

        Call it in the transaction that stores the order: of two successors one is refused.
        """
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
        other = self._store.order_replacing(ari_id)
        # An order that nobody finished must not stand in the way of the next one.
        if certificate.replaced or (other is not None and other.expires > self._clock.now()):
            raise AlreadyReplaced("another order replaces this certificate already")
        return ari_id

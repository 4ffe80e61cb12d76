"""Revocation: who may revoke, and what follows (RFC 8555 section 7.6, R-31); renewal windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from acmeiot.core.ports import Clock, Events, Issuer, Store
from acmeiot.core.records import Account, AuditEntry, Certificate
from acmeiot.protocol.ari import Window, check_id, window
from acmeiot.protocol.errors import AlreadyRevoked, BadRevocationReason, NotFound, Unauthorized
from acmeiot.protocol.jose import Jwk
from acmeiot.protocol.messages import Revocation

# RFC 5280 section 5.3.1. A device may not speak for the CA (2, 10), nor for holds (6, 8).
REASONS: Final = {
    0: "unspecified",
    1: "keyCompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    9: "privilegeWithdrawn",
}
BY_OWNER: Final = 9


@dataclass(frozen=True, slots=True)
class Revocations:
    """The revocation rules; thread-safe."""

    store: Store
    clock: Clock
    events: Events
    issuer: Issuer

    def by_account(self, account: Account, payload: bytes) -> None:
        """Revoke for the account that has the certificate, or now has all its names."""
        wanted, certificate = self._wanted(payload)
        if certificate.account_id != account.id and not self._has_all_names(account, certificate):
            raise Unauthorized(
                "the certificate is another account's, and this one has not proved all its names"
            )
        self._revoke(certificate, wanted.reason or 0, f"account {account.id}")

    def by_key(self, jwk: Jwk, payload: bytes) -> None:
        """Revoke for who holds the certificate's private key."""
        wanted, certificate = self._wanted(payload)
        if jwk.spki_sha256() != certificate.spki_sha256:
            raise Unauthorized("the request is not signed with the certificate's key")
        self._revoke(certificate, wanted.reason or 0, "the certificate's key")

    def by_owner(self, certificate: Certificate, reason: int = BY_OWNER) -> None:
        """Revoke for the owner of the home; raise AlreadyRevoked."""
        self._revoke(certificate, reason, "the owner")

    def all_of(self, account_id: str) -> int:
        """Revoke every living certificate of an account for the owner; return how many."""
        now = self.clock.now()
        living = [
            certificate
            for certificate in self.store.certificates_of(account_id)
            if certificate.revoked_at is None and certificate.not_after > now
        ]
        for certificate in living:
            self.by_owner(certificate)
        return len(living)

    def _wanted(self, payload: bytes) -> tuple[Revocation, Certificate]:
        wanted = Revocation.parse(payload)
        if wanted.reason is not None and wanted.reason not in REASONS:
            allowed = ", ".join(f"{number} {text}" for number, text in REASONS.items())
            raise BadRevocationReason(f"reason {wanted.reason} is not allowed; use {allowed}")
        serial = self.issuer.serial_of(wanted.certificate)
        certificate = self.store.certificate_by_serial(serial)
        if certificate is None or certificate.der != wanted.certificate:
            raise NotFound("this server did not issue the certificate")
        return wanted, certificate

    def _has_all_names(self, account: Account, certificate: Certificate) -> bool:
        held = {
            (a.identifier, a.wildcard)
            for a in self.store.valid_authorizations_of(account.id, self.clock.now())
        }
        return all((name.base, name.wildcard) in held for name in certificate.identifiers)

    def _revoke(self, certificate: Certificate, reason: int, by: str) -> None:
        now = self.clock.now()
        with self.store.writing():
            current = self.store.certificate(certificate.id)
            if current is None or current.revoked_at is not None:
                raise AlreadyRevoked("the certificate is revoked already")
            self.store.put_certificate(replace(current, revoked_at=now, reason=reason))
            detail = {"reason": REASONS[reason], "by": by}
            self.store.append_audit(AuditEntry(now, "revoke", certificate.serial, detail))
        names = ", ".join(str(name) for name in certificate.identifiers)
        self.events.emit(
            "revoked", f"{names}, serial {certificate.serial}, by {by}, {REASONS[reason]}"
        )

    def renewal(self, ari_id: str) -> Window:
        """Return when the certificate should be renewed (RFC 9773 section 4); raise NotFound."""
        certificate = self.store.certificate_by_ari(check_id(ari_id))
        if certificate is None:
            raise NotFound("no certificate of this server has this id")
        moved = not self.issuer.is_current(certificate.issuer_id)
        at_once = moved or certificate.revoked_at is not None
        now = self.clock.now()
        return window(certificate.not_before, certificate.not_after, now, at_once=at_once)

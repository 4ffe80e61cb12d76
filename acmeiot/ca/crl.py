"""Certificate revocation lists (RFC 5280 section 5): one for each intermediate and each root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.ca.index import Signer
from acmeiot.ca.keys import signature_hash
from acmeiot.ca.profiles import BACKDATE, DAY
from acmeiot.core.records import Certificate
from acmeiot.protocol.moments import utc

LIFE: Final = 7 * DAY  # seconds from thisUpdate's `now` to nextUpdate

# RFC 5280 section 5.3.1. Code 0 says nothing and must be left out; 7 is unused, 8 is for deltas.
REASONS: Final[Mapping[int, x509.ReasonFlags]] = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


def sign(signer: Signer, revoked: Iterable[Certificate], number: int, now: int) -> bytes:
    """Return the DER CRL of `signer`, good for 7 days.

    `number` must grow from list to list (RFC 5280 section 5.2.3); the caller remembers it. Records
    of other issuers and of certificates that are not revoked are left out.
    """
    authority_key = x509.AuthorityKeyIdentifier(signer.key_identifier, None, None)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=signer.certificate.subject,
        last_update=utc(max(now - BACKDATE, signer.not_before)),
        next_update=utc(now + LIFE),
        extensions=[
            x509.Extension(authority_key.oid, critical=False, value=authority_key),
            x509.Extension(x509.CRLNumber.oid, critical=False, value=x509.CRLNumber(number)),
        ],
        revoked_certificates=[
            _entry(one.serial, one.revoked_at, one.reason)
            for one in revoked
            if one.issuer_id == signer.id and one.revoked_at is not None
        ],
    )
    return builder.sign(signer.key, signature_hash(signer.key)).public_bytes(Encoding.DER)


def _entry(serial: str, at: int, reason: int | None) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(utc(at))
    )
    if reason is not None and reason in REASONS:
        builder = builder.add_extension(x509.CRLReason(REASONS[reason]), critical=False)
    return builder.build()

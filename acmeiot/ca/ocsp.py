"""The OCSP responder (RFC 6960, as RFC 5019 slims it): one question, one answer, no nonce.

Each answer is signed by the intermediate that issued the certificate, so there is no responder
certificate to renew. A question that is not for one of our intermediates costs no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from acmeiot.ca.crl import REASONS
from acmeiot.ca.index import Signer
from acmeiot.ca.keys import signature_hash
from acmeiot.core.records import Certificate
from acmeiot.protocol.moments import utc

MAX_REQUEST: Final = 2048  # octets; a question for one certificate has about 120
LIFE: Final = 24 * 3600  # seconds that a client may keep an answer
_SKEW: Final = 300  # seconds that a client's clock may be behind
_MAX_SERIAL: Final = 1 << 159

Lookup = Callable[[str], Certificate | None]  # by serial, lower-case hex without leading zeros


def answer(request: bytes, signers: Iterable[Signer], lookup: Lookup, now: int) -> bytes:
    """Return the DER answer to a DER question; never raises for what a stranger sends.

    Not a question, or too long: malformedRequest. About an issuer that is not one of `signers`,
    or a serial that no CA could have given: unauthorized (RFC 5019 section 2.2.3).
    """
    if len(request) > MAX_REQUEST:
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    try:
        question = ocsp.load_der_ocsp_request(request)
        algorithm = question.hash_algorithm
        serial = question.serial_number
        asked = question.issuer_name_hash, question.issuer_key_hash
    except UnsupportedAlgorithm:
        return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    except (ValueError, NotImplementedError):  # not DER, or more than one question in one request
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    signer = next((one for one in signers if _hashes(one, algorithm) == asked), None)
    if signer is None or not 0 < serial < _MAX_SERIAL:
        return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    record = lookup(f"{serial:x}")
    known = record if record is not None and record.issuer_id == signer.id else None
    return _signed(signer, serial, algorithm, known, now)


def _refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _hashes(signer: Signer, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """Return the hashes of name and key that a question names its issuer by (RFC 6960 4.1.1)."""
    form = (
        PublicFormat.UncompressedPoint
        if isinstance(signer.public_key, ec.EllipticCurvePublicKey)
        else PublicFormat.PKCS1
    )
    encoding = Encoding.X962 if form is PublicFormat.UncompressedPoint else Encoding.DER
    key = signer.public_key.public_bytes(encoding, form)
    name = signer.certificate.subject.public_bytes()
    return (
        hashlib.new(algorithm.name, name).digest(),
        hashlib.new(algorithm.name, key).digest(),
    )


def _signed(
    signer: Signer,
    serial: int,
    algorithm: hashes.HashAlgorithm,
    known: Certificate | None,
    now: int,
) -> bytes:
    revoked_at = known.revoked_at if known else None
    if known is None:
        status = ocsp.OCSPCertStatus.UNKNOWN
        subject = _stand_in(signer, serial)
    else:
        revoked = revoked_at is not None
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        subject = x509.load_der_x509_certificate(known.der)
    reason = known.reason if known and revoked_at is not None else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=subject,
        issuer=signer.certificate,
        algorithm=algorithm,
        cert_status=status,
        this_update=utc(now - _SKEW),
        next_update=utc(now + LIFE),
        revocation_time=utc(revoked_at) if revoked_at is not None else None,
        revocation_reason=REASONS.get(reason) if reason is not None else None,
    )
    return (
        builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        .sign(signer.key, signature_hash(signer.key))
        .public_bytes(Encoding.DER)
    )


def _stand_in(signer: Signer, serial: int) -> x509.Certificate:
    """Return a certificate that is good for nothing but its issuer's name and its serial.

    cryptography before 45 makes an answer only for a certificate, and for a serial that was never
    given there is none. Signed by a key made for it and thrown away.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder()
        .issuer_name(signer.certificate.subject)
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(utc(signer.not_before))
        .not_valid_after(utc(signer.not_after))
        .sign(key, hashes.SHA256())
    )

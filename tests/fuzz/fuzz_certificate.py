"""Certificates from outside: the one to be revoked (R-31), and tls-alpn-01's proof (R-29)."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz import runner
from tests.protocol.signing import KEYS

with runner.instrumented():
    from acmeiot.ca.issue import serial_of
    from acmeiot.protocol import names
    from acmeiot.protocol.challenges import ACME_IDENTIFIER_OID, tlsalpn01_fault
    from acmeiot.protocol.errors import Malformed
    from acmeiot.validate.tlsalpn01 import read_proof


def proof(data: bytes) -> None:
    """Read as a proof, and judge it."""
    with suppress(ValueError):
        tlsalpn01_fault(read_proof(data), names.dns("printer.lan"), "token.thumbprint")


def seed(alg: str, *subjects: x509.GeneralName) -> bytes:
    """Return a self-signed proof of RFC 8737."""
    key = KEYS[alg]
    digest = b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest()
    oid = x509.ObjectIdentifier(ACME_IDENTIFIER_OID)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=True)
    builder = builder.add_extension(x509.UnrecognizedExtension(oid, digest), critical=True)
    made = builder.sign(key, None if alg == "EdDSA" else hashes.SHA256())
    return made.public_bytes(Encoding.DER)


SEEDS = [seed(alg, x509.DNSName("printer.lan")) for alg in KEYS]
SEEDS += [seed("ES256", x509.RFC822Name("a@b"), x509.DirectoryName(x509.Name([])))]

runner.run(serial_of, proof, refusals=(Malformed,), seeds=SEEDS)

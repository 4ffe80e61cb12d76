"""OCSP questions: every one gets an answer, so nothing may be raised (RFC 6960)."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.fuzz import runner
from tests.fuzz.home import NOW, authority

with runner.instrumented():
    from acmeiot.ca.ocsp import answer

signers = authority()._view.state.intermediates
issuer = signers[0].certificate


def question(data: bytes) -> None:
    """The answer is one."""
    ocsp.load_der_ocsp_response(answer(data, signers, lambda _serial: None, NOW))


def seed(algorithm: hashes.HashAlgorithm, subject: x509.Certificate = issuer) -> bytes:
    """Return a question about a certificate of this authority."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(subject, issuer, algorithm)
    return builder.build().public_bytes(Encoding.DER)


ALGORITHMS = (hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())

runner.run(question, refusals=(), seeds=[seed(each) for each in ALGORITHMS])

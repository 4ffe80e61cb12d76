"""Requests that parse and then break who looks closer (specs 6: parser attacks)."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.ca.issue import read_csr
from acmeiot.protocol.errors import BadCsr

SUBJECT = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "printer.lan")])
UTF8_STRING, BIT_STRING = b"\x0c\x0b", b"\x03\x0b"


def test_bit_string_in_the_subject() -> None:
    """R-23: a common name that is no text is badCSR, not a fault of the server."""
    key = ec.generate_private_key(ec.SECP384R1())
    request = x509.CertificateSigningRequestBuilder(SUBJECT).sign(key, hashes.SHA256())
    der = request.public_bytes(Encoding.DER)
    assert UTF8_STRING + b"printer.lan" in der
    with pytest.raises(BadCsr, match="not a DER PKCS #10 request"):
        read_csr(der.replace(UTF8_STRING + b"printer", BIT_STRING + b"printer"))

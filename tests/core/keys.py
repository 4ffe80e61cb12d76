"""Keys of clients and what they sign: requests to the server and certificate signing requests."""

from __future__ import annotations

import hmac
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from acmeiot.protocol.jose import Jwk, b64encode

LeafKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def to_json(document: object) -> bytes:
    """Return the document as clients send it."""
    return json.dumps(document).encode()


def leaf_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Return a fresh key for a certificate, P-384 unless told otherwise."""
    return ec.generate_private_key(curve or ec.SECP384R1())


@dataclass(frozen=True)
class AccountKey:
    """A client's P-256 key."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def members(self) -> dict[str, str]:
        """Return the public JWK."""
        point = self.key.public_key().public_numbers()
        x, y = (b64encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    @property
    def jwk(self) -> Jwk:
        """Return the public key as the server sees it."""
        return Jwk.parse(self.members)

    def sign(self, payload: bytes, **header: Any) -> dict[str, str]:
        """Return the flattened JWS over the payload with this protected header."""
        header.setdefault("alg", "ES256")
        protected = b64encode(to_json(header))
        text = f"{protected}.{b64encode(payload)}".encode()
        r, s = utils.decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
        signature = b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return {"protected": protected, "payload": b64encode(payload), "signature": signature}


def mac(key: bytes, payload: bytes, **header: Any) -> dict[str, str]:
    """Return the HS256 JWS of an external account binding."""
    protected = b64encode(to_json({"alg": "HS256", **header}))
    text = f"{protected}.{b64encode(payload)}".encode()
    signature = b64encode(hmac.digest(key, text, "sha256"))
    return {"protected": protected, "payload": b64encode(payload), "signature": signature}


def csr(key: LeafKey, *names: str, common_name: str | None = None) -> bytes:
    """Return the DER of a request for these names and addresses."""
    subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    san = x509.SubjectAlternativeName([_general_name(name) for name in names])
    request = builder.add_extension(san, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

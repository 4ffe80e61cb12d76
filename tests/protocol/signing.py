"""A client's half of a JWS, written from RFC 7515 and RFC 7518 without the code under test."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

URL = "https://router.lan:8555/acme/new-account"
CURVES = {"ES256": ("P-256", 32), "ES384": ("P-384", 48), "ES512": ("P-521", 66)}
HASHES: dict[str, hashes.HashAlgorithm] = {
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
    "ES512": hashes.SHA512(),
    "RS256": hashes.SHA256(),
}


def fresh(alg: str) -> PrivateKey:
    """Return a new key for the algorithm."""
    if alg == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[alg])


KEYS = {alg: fresh(alg) for alg in (*HASHES, "EdDSA")}


def b64(data: bytes | int, size: int | None = None) -> str:
    """Return base64url without padding, of a number in `size` octets, or as few as it takes."""
    if isinstance(data, int):
        data = data.to_bytes(size or (data.bit_length() + 7) // 8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(alg: str, key: PrivateKey | None = None) -> dict[str, Any]:
    """Return the public JWK of the algorithm's key (RFC 7518 section 6, RFC 8037)."""
    key = key or KEYS[alg]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve, size = CURVES[alg]
        point = key.public_key().public_numbers()
        return {"kty": "EC", "crv": curve, "x": b64(point.x, size), "y": b64(point.y, size)}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": b64(numbers.n), "e": b64(numbers.e)}
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}


def signature(alg: str, data: bytes) -> bytes:
    """Sign as RFC 7518 section 3 and RFC 8037 section 3.1 have it."""
    key = KEYS[alg]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = CURVES[alg][1]
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[alg])))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), HASHES[alg])
    return key.sign(data)


def header(alg: str, /, **changes: Any) -> dict[str, Any]:
    """Return a good protected header; a change to None takes the member out."""
    members = {"alg": alg, "nonce": "bm9uY2U", "url": URL, "jwk": jwk(alg)} | changes
    return {name: value for name, value in members.items() if value is not None}


def sign(alg: str, payload: bytes = b"{}", protected: Any = None, **extra: Any) -> dict[str, Any]:
    """Return a flattened JWS (RFC 7515 section 7.2.2); `protected` is bytes, or JSON's content."""
    if not isinstance(protected, bytes):
        protected = json.dumps(header(alg) if protected is None else protected).encode()
    head, body = b64(protected), b64(payload)
    signed = signature(alg, f"{head}.{body}".encode())
    return {"protected": head, "payload": body, "signature": b64(signed), **extra}


def encoded(document: Mapping[str, Any]) -> bytes:
    """Return the request body."""
    return json.dumps(document).encode()

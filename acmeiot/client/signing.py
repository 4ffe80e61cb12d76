"""What a client signs: JWS by the account key, a certificate's key, or a pairing key."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from acmeiot.client.errors import AgentError
from acmeiot.protocol.errors import AcmeError
from acmeiot.protocol.jose import Jwk, b64decode, b64encode

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AccountKey:
    """An ECDSA key that signs requests; `jwk` is its public half."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    jwk: Jwk

    @classmethod
    def of(cls, private: ec.EllipticCurvePrivateKey) -> AccountKey:
        """Return the key as one that signs; raise AgentError for a curve that JWS has not."""
        numbers, size = private.public_key().public_numbers(), (private.key_size + 7) // 8
        x, y = (b64encode(one.to_bytes(size, "big")) for one in (numbers.x, numbers.y))
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        try:
            name = curve.get(private.curve.name, private.curve.name)
            return cls(private, Jwk.parse({"kty": "EC", "crv": name, "x": x, "y": y}))
        except AcmeError as error:
            raise AgentError(f"the key cannot sign requests: {error}") from None

    @classmethod
    def generate(cls) -> AccountKey:
        """Return a new P-256 key, which every server takes (RFC 8555 section 6.2)."""
        return cls.of(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def read(cls, pem: bytes) -> AccountKey:
        """Return the key of a PEM file; raise AgentError."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise AgentError("the account key's file holds no PEM private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AgentError("the account key is no elliptic curve key")
        return cls.of(key)

    @property
    def pem(self) -> bytes:
        """Return the private key as PEM, for a file that nobody else can read (A-4.3-1)."""
        return private_pem(self.private)

    @property
    def thumbprint(self) -> str:
        """Return the RFC 7638 thumbprint."""
        return self.jwk.thumbprint

    def sign(self, header: Mapping[str, Any], payload: bytes) -> dict[str, str]:
        """Return the flattened JWS of a payload; `alg` is added to the header."""
        return _jws({"alg": self.jwk.alg, **header}, payload, self._signature)

    def _signature(self, data: bytes) -> bytes:
        der = self.private.sign(data, ec.ECDSA(_HASHES[self.jwk.alg]))
        size = (self.private.key_size + 7) // 8
        return b"".join(one.to_bytes(size, "big") for one in utils.decode_dss_signature(der))


def request(
    key: AccountKey, account: str | None, url: str, nonce: str, payload: Mapping[str, Any] | None
) -> bytes:
    """Return the body of a POST, of a POST-as-GET without payload (RFC 8555 section 6.2, 6.3).

    `account` is its URL; without one the key itself stands in the header.
    """
    signer = {"kid": account} if account is not None else {"jwk": dict(key.jwk.members)}
    octets = b"" if payload is None else _json(payload)
    return _json(key.sign({**signer, "nonce": nonce, "url": url}, octets))


def binding(key: AccountKey, kid: str, secret: str, url: str) -> dict[str, str]:
    """Return the external account binding (RFC 8555 section 7.3.4); raise AgentError.

    `kid` and `secret` (base64url) are what the owner was shown as pairing key.
    """
    try:
        raw = b64decode(secret.rstrip("="), "the pairing key")
    except AcmeError as error:
        raise AgentError(f"the pairing key cannot be used: {error}") from None
    header = {"alg": "HS256", "kid": kid, "url": url}
    return _jws(header, _json(key.jwk.members), lambda data: hmac.digest(raw, data, "sha256"))


def key_change(old: AccountKey, new: AccountKey, account: str, url: str) -> dict[str, str]:
    """Return the inner JWS of a key change, by the new key (RFC 8555 section 7.3.5)."""
    payload = {"account": account, "oldKey": dict(old.jwk.members)}
    return new.sign({"jwk": dict(new.jwk.members), "url": url}, _json(payload))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _jws(
    header: Mapping[str, Any], payload: bytes, sign: Callable[[bytes], bytes]
) -> dict[str, str]:
    protected, body = b64encode(_json(header)), b64encode(payload)
    signature = b64encode(sign(f"{protected}.{body}".encode("ascii")))
    return {"protected": protected, "payload": body, "signature": signature}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(document), separators=(",", ":")).encode("ascii")

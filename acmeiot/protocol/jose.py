"""JSON Web Signatures as ACME uses them: flattened JSON only, five algorithms, strict base64url.

Everything here takes bytes from strangers. The order is always: size and shape first, arithmetic
last; a request that is refused for its shape costs no signature check (RFC 8555 section 6.2).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from acmeiot.protocol.errors import (
    BadPublicKey,
    BadSignatureAlgorithm,
    Malformed,
    SignatureInvalid,
    Unauthorized,
)

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "EdDSA", "RS256")

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_STANDARD_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# What the other alphabet has becomes what neither has, and is refused with the rest.
_URL_TO_STANDARD: Final = bytes.maketrans(b"-_+/", b"+/!!")
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# The last characters that leave no bits over, by the length of the text modulo 4.
_LAST: Final = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
_PADDING: Final = (b"", b"===", b"==", b"=")
_CURVES: Final[Mapping[str, tuple[type[ec.EllipticCurve], str, int]]] = {
    "P-256": (ec.SECP256R1, "ES256", 32),
    "P-384": (ec.SECP384R1, "ES384", 48),
    "P-521": (ec.SECP521R1, "ES512", 66),
}
_ECDSA: Final[Mapping[str, ec.ECDSA]] = {
    "ES256": ec.ECDSA(hashes.SHA256()),
    "ES384": ec.ECDSA(hashes.SHA384()),
    "ES512": ec.ECDSA(hashes.SHA512()),
}
_HALF: Final = {alg: size for _, alg, size in _CURVES.values()}
_MIN_RSA, _MAX_RSA = 2048, 8192  # the upper bound keeps one signature check cheap


def b64encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    encoded = binascii.b2a_base64(data, newline=False)
    return encoded.rstrip(b"=").translate(_STANDARD_TO_URL).decode("ascii")


def b64decode(text: str, what: str) -> bytes:
    """Return the bytes of unpadded base64url; raise Malformed naming `what` (R-5)."""
    try:
        raw = text.encode("ascii")
        # RFC 4648 section 3.5: bits left over are zero, or one signature had several spellings.
        if raw and raw[-1] not in _LAST[len(raw) % 4]:
            raise ValueError("bits are left over, or padded")
        padded = raw.translate(_URL_TO_STANDARD) + _PADDING[len(raw) % 4]
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeError are ValueErrors
        raise Malformed(f"{what} is not base64url without padding (RFC 7515 section 2)") from None


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; raise Malformed. Duplicate names are refused (R-5)."""
    try:
        text = data.decode("utf-8")
        document = _JSON.decode(text)
        if "\\u" in text:
            # RFC 7493 section 2.1: half a surrogate pair is no text; it could not be stored.
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Malformed(f"{what} is not valid JSON: {reason[:200]}") from None
    if not isinstance(document, dict):
        raise Malformed(f"{what} is not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _no(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no)


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key of an account: its JSON, its RFC 7638 thumbprint, its only algorithm."""

    members: Mapping[str, str]
    thumbprint: str
    alg: str
    key: PublicKey

    @classmethod
    def parse(cls, document: object) -> Jwk:
        """Return the key of a JWK; raise Malformed or BadPublicKey (R-7).

        Only the members that make the key are kept: what is stored is what was checked.
        """
        if not isinstance(document, dict):
            raise Malformed("jwk is not a JSON object")
        if "d" in document or "k" in document:
            raise Malformed("jwk holds a private or symmetric key; send the public key only")
        kind = document.get("kty")
        if kind == "EC":
            return _ec_jwk(document)
        if kind == "RSA":
            return _rsa_jwk(document)
        if kind == "OKP":
            return _okp_jwk(document)
        raise BadPublicKey(f"key type {_show(kind)} is not supported; use EC, RSA or OKP")

    def spki_sha256(self) -> str:
        """Return the SHA-256 of the key's SubjectPublicKeyInfo as hex, as certificates have it."""
        encoding = serialization.Encoding.DER
        spki = self.key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()

    def verify(self, jws: Jws) -> None:
        """Check the signature; raise BadPublicKey for the wrong algorithm, else Unauthorized."""
        if jws.alg != self.alg:
            raise BadPublicKey(f"a {self.alg} key cannot sign with {_show(jws.alg)}")
        try:
            _verify(self.key, self.alg, jws.signature, jws.signing_input)
        except InvalidSignature:
            raise SignatureInvalid("the JWS signature does not verify") from None


def _verify(key: PublicKey, alg: str, signature: bytes, data: bytes) -> None:
    """Verify; `alg` says what kind `key` is, which `isinstance` would find out far more slowly."""
    if alg in _ECDSA:
        half = _HALF[alg]
        if len(signature) != 2 * half:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        curve_key = cast("ec.EllipticCurvePublicKey", key)
        curve_key.verify(utils.encode_dss_signature(r, s), data, _ECDSA[alg])
    elif alg == "RS256":
        cast("rsa.RSAPublicKey", key).verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        cast("ed25519.Ed25519PublicKey", key).verify(signature, data)


def _ec_jwk(document: Mapping[str, Any]) -> Jwk:
    name = str(document.get("crv"))
    if name not in _CURVES:
        raise BadPublicKey(f"curve {_show(name)} is not supported; use P-256, P-384 or P-521")
    curve, alg, size = _CURVES[name]
    x, y = _member(document, "x"), _member(document, "y")
    if len(x) != size or len(y) != size:  # RFC 7518 section 6.2.1.2: fixed length
        raise BadPublicKey(f"x and y of a {name} key have {size} octets each")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve(), b"\x04" + x + y)
    except ValueError:
        raise BadPublicKey(f"x and y are not a point of {name}") from None
    return _jwk({"crv": name, "kty": "EC", "x": b64encode(x), "y": b64encode(y)}, alg, key)


def _rsa_jwk(document: Mapping[str, Any]) -> Jwk:
    n = int.from_bytes(_member(document, "n"), "big")
    e = int.from_bytes(_member(document, "e"), "big")
    bits = n.bit_length()
    if not _MIN_RSA <= bits <= _MAX_RSA:
        raise BadPublicKey(f"an RSA key has {_MIN_RSA} to {_MAX_RSA} bits, this one has {bits}")
    if e != 65537:
        raise BadPublicKey("an RSA key has the exponent 65537")
    if n % 2 == 0:
        raise BadPublicKey("an RSA modulus is odd: this one is no product of two primes")
    key = rsa.RSAPublicNumbers(e, n).public_key()
    n_text = b64encode(n.to_bytes((bits + 7) // 8, "big"))  # canonical: no leading zero octet
    return _jwk({"e": "AQAB", "kty": "RSA", "n": n_text}, "RS256", key)


def _okp_jwk(document: Mapping[str, Any]) -> Jwk:
    if document.get("crv") != "Ed25519":
        raise BadPublicKey(f"curve {_show(document.get('crv'))} is not supported; use Ed25519")
    x = _member(document, "x")
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(x)
    except ValueError:
        raise BadPublicKey("x of an Ed25519 key has 32 octets") from None
    return _jwk({"crv": "Ed25519", "kty": "OKP", "x": b64encode(x)}, "EdDSA", key)


def _jwk(members: dict[str, str], alg: str, key: PublicKey) -> Jwk:
    return Jwk(members, thumbprint(members), alg, key)


def thumbprint(members: Mapping[str, str]) -> str:
    """Return the RFC 7638 thumbprint of the required members of a JWK, which must be all."""
    canonical = json.dumps(dict(members), separators=(",", ":"), sort_keys=True).encode("ascii")
    return b64encode(hashlib.sha256(canonical).digest())


def _member(document: Mapping[str, Any], name: str) -> bytes:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"jwk has no {name}")
    return b64decode(value, f"jwk.{name}")


@dataclass(frozen=True, slots=True)
class Jws:
    """A flattened JWS, shape checked, signature not yet (RFC 8555 section 6.2).

    Exactly one of `jwk` (raw, unparsed) and `kid` is set.
    """

    alg: str
    nonce: str | None
    url: str
    jwk: object | None
    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes


def parse(body: bytes, algorithms: tuple[str, ...] = ALGORITHMS) -> Jws:
    """Return the JWS of a request body; raise Malformed or BadSignatureAlgorithm (R-5, R-6)."""
    return from_document(load_json(body, "the request body"), algorithms)


def from_document(document: object, algorithms: tuple[str, ...] = ALGORITHMS) -> Jws:
    """Return the JWS of a parsed flattened JSON object; same errors as `parse`."""
    if not isinstance(document, dict):
        raise Malformed("a JWS is a JSON object")
    if "signatures" in document:
        raise Malformed("use the flattened JWS serialization with one signature")
    if "header" in document:
        raise Malformed("a JWS here has no unprotected header")
    protected, payload, signature = (
        _text(document, name) for name in ("protected", "payload", "signature")
    )
    header = load_json(b64decode(protected, "protected"), "the protected header")
    return _with_header(header, protected, payload, b64decode(signature, "signature"), algorithms)


def _with_header(
    header: dict[str, Any],
    protected: str,
    payload: str,
    signature: bytes,
    algorithms: tuple[str, ...],
) -> Jws:
    if "crit" in header or "b64" in header:
        raise Malformed("the protected header's crit and b64 are not for ACME")
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms:
        raise BadSignatureAlgorithm(
            f"algorithm {_show(alg)} is not supported; use one of {', '.join(algorithms)}",
            extra={"algorithms": list(algorithms)},
        )
    jwk, kid = header.get("jwk"), header.get("kid")
    if (jwk is None) == (kid is None):
        raise Malformed("the protected header has exactly one of jwk and kid")
    if kid is not None and not isinstance(kid, str):
        raise Malformed("kid is not a string")
    nonce = header.get("nonce")
    if nonce is not None and not isinstance(nonce, str):
        raise Malformed("nonce is not a string")
    return Jws(
        alg=alg,
        nonce=nonce,
        url=_text(header, "url"),
        jwk=jwk,
        kid=kid,
        payload=b64decode(payload, "payload"),
        signing_input=f"{protected}.{payload}".encode("ascii"),
        signature=signature,
    )


def verify_mac(jws: Jws, key: bytes) -> None:
    """Check an HS256 JWS, the external account binding (R-18); raise Unauthorized."""
    expected = hmac.digest(key, jws.signing_input, "sha256")
    if not hmac.compare_digest(expected, jws.signature):
        raise Unauthorized("the external account binding's MAC is wrong: check the HMAC key")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is missing or not a string")
    return value


def _show(value: object) -> str:
    return ascii(value)[:80]

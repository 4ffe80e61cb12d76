"""A STAND-IN for what cryptography 38 lacks and 41, the oldest that acmeiot runs with, has.

Debian has nothing newer for mipsel, and nobody makes a wheel for it. The image puts this file into
the emulated router's Python, and calls it from the end of cryptography's own modules. So what is
seen on that router tells of our code on a 32-bit MIPS, not of the library that OpenWrt ships.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def types(module: dict[str, Any]) -> None:
    """Give cryptography.hazmat.primitives.asymmetric.types the names it has since 40."""
    module["CertificatePublicKeyTypes"] = module["CERTIFICATE_PUBLIC_KEY_TYPES"]
    module["PublicKeyTypes"] = module["PUBLIC_KEY_TYPES"]


def x509(module: dict[str, Any]) -> None:
    """Give cryptography.x509 what it has since 39 and 40, and public keys their ==."""
    load = module["load_pem_x509_certificate"]
    module["load_pem_x509_certificates"] = lambda data: _each(load, data)
    certificate: Any = import_module("cryptography.hazmat.bindings._rust").x509.Certificate
    certificate.verify_directly_issued_by = _verify
    backend = "cryptography.hazmat.backends.openssl"
    for kind in (
        import_module(f"{backend}.ec")._EllipticCurvePublicKey,
        import_module(f"{backend}.rsa")._RSAPublicKey,
    ):
        kind.__eq__ = _same
        kind.__hash__ = None


def _each(load: Callable[[bytes], Any], data: bytes) -> list[Any]:
    end = b"-----END CERTIFICATE-----"
    found = [load(part + end) for part in data.split(end)[:-1]]
    if not found:
        raise ValueError("Valid PEM but no BEGIN CERTIFICATE/END CERTIFICATE delimiters")
    return found


def _verify(self: Any, issuer: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if self.issuer != issuer.subject:
        raise ValueError("Issuer certificate subject does not match certificate issuer")
    key, hashed = issuer.public_key(), self.signature_hash_algorithm
    how: tuple[Any, ...] = ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        how = (ec.ECDSA(hashed),)
    elif isinstance(key, rsa.RSAPublicKey):
        how = (padding.PKCS1v15(), hashed)
    key.verify(self.signature, self.tbs_certificate_bytes, *how)


def _same(self: Any, other: Any) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if type(self) is not type(other):
        return False
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bool(self.public_bytes(*spki) == other.public_bytes(*spki))

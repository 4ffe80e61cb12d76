"""This device's own certificates: what they say, and whether one may still be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from acmeiot.client import csr, tls
from acmeiot.client.errors import AgentError
from acmeiot.client.tls import Root
from acmeiot.device.servers import Pair
from acmeiot.protocol.names import Identifier

SUPERSEDED: Final = 4  # why a certificate is revoked, RFC 5280 section 5.3.1
CESSATION: Final = 5
_ENCODING: Final = serialization.Encoding
_SKEW: Final = 3600  # seconds that this clock may be behind the server's


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate; `serial` is hex, times are epoch seconds."""

    der: bytes
    serial: str
    names: frozenset[Identifier]
    not_before: int
    not_after: int
    public_key: bytes


def read(chain_pem: bytes) -> Leaf:
    """Return the first certificate of a chain; raise AgentError if there is none.

    Also for a serial that is none (RFC 5280 section 4.1.2.2): it becomes a file's name.
    """
    certificate = _certificates(chain_pem)[0]
    if not 0 < certificate.serial_number < 1 << 160:
        raise AgentError("the certificate's serial is not a positive number of 20 octets or fewer")
    not_before, not_after = tls.validity(certificate)
    return Leaf(
        certificate.public_bytes(_ENCODING.DER),
        f"{certificate.serial_number:x}",
        csr.names_of(certificate),
        not_before,
        not_after,
        _public(certificate.public_key()),
    )


def fault(pair: Pair, wanted: Sequence[Identifier], root: Root, now: int) -> str | None:
    """Return why a pair cannot be used for these names under this root at `now`, or None."""
    try:
        leaf = read(pair.chain)
    except AgentError as error:
        return str(error)
    if pair.key is None or public_of(pair.key) != leaf.public_key:
        return "its key is not there"
    if leaf.names != frozenset(wanted):
        return f"it is for {listed(leaf.names)}, not for {listed(wanted)}"
    if not leaf.not_before - _SKEW <= now < leaf.not_after:
        return "it has expired" if now >= leaf.not_after else "it is not valid yet"
    if not _leads_to(_certificates(pair.chain), root):
        return f"it does not lead to the root sha256:{root.sha256}"
    return None


def private(key_pem: bytes | None) -> ec.EllipticCurvePrivateKey | None:
    """Return the private key, None for none or one of another kind."""
    try:
        key = serialization.load_pem_private_key(key_pem or b"", None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def public_of(key_pem: bytes) -> bytes | None:
    """Return the public half of a private key, DER; None for what is no key."""
    key = private(key_pem)
    return _public(key.public_key()) if key else None


def listed(names: Sequence[Identifier] | frozenset[Identifier]) -> str:
    """Return the names for people."""
    return " ".join(str(name) for name in sorted(names)) or "no name"


def _certificates(chain_pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(chain_pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise AgentError(f"the certificate chain cannot be read: {error}") from None


def _leads_to(chain: Sequence[x509.Certificate], root: Root) -> bool:
    """Tell whether each certificate is signed by the next, until one is signed by the root.

    The server orders its chains (RFC 8555 section 7.4.2), so there is nothing to search. What
    comes after is for those who trust an older root.
    """
    anchor = x509.load_der_x509_certificate(root.der)
    for at, certificate in enumerate(chain):
        if tls.signed(certificate, anchor):
            return True
        if at + 1 == len(chain) or not tls.signed(certificate, chain[at + 1]):
            break
    return False


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(_ENCODING.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

"""Leaves to try: good ones from the authority, and ones that only a thief of its key would make."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.ca import keys, profiles
from acmeiot.ca.roots import Authority
from acmeiot.core.records import Leaf, LeafRequest
from acmeiot.protocol import names
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import Identifier
from tests.ca.peers import Case, is_address

DAY = 86400
NAMES = ("printer.lan", "printer.local", "192.168.1.20")
LEAF_KEY = keys.make("p384")


def identifier(name: str) -> Identifier:
    """Return a name or an address as an identifier."""
    return names.ip(name) if is_address(name) else names.dns(name)


def request(
    at: int,
    wanted: Sequence[str] = NAMES,
    life: int = 30 * DAY,
    key: keys.PrivateKey = LEAF_KEY,
) -> LeafRequest:
    """Return what the rules ask the authority for, at this time."""
    start = at - profiles.BACKDATE
    return LeafRequest(
        spki=keys.spki(key.public_key()),
        identifiers=tuple(identifier(name) for name in wanted),
        profile="strict",
        not_before=start,
        not_after=start + life,
        key_encipherment=not isinstance(key, ec.EllipticCurvePrivateKey),
    )


def load(der: bytes) -> x509.Certificate:
    """Return the certificate in DER."""
    return x509.load_der_x509_certificate(der)


def ders(chain: bytes) -> list[bytes]:
    """Return the certificates of a PEM text."""
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(chain)]


def case(
    leaf: Leaf | bytes,
    above: Sequence[bytes],
    trusted: Sequence[bytes],
    name: str,
    where: Path,
    at: int,
    key: keys.PrivateKey = LEAF_KEY,
) -> Case:
    """Return the question to a peer."""
    der = leaf if isinstance(leaf, bytes) else leaf.der
    return Case((der, *above), keys.encode(key), trusted, name, where, at)


def stolen(authority: Authority, name: str, at: int) -> bytes:
    """Return a leaf for any name, as a thief of the intermediate's key could make it (A-1-1)."""
    signer = authority._view.state.intermediate
    issuer = profiles.Issuer(signer.id, signer.certificate, profiles.Urls("http://router.lan:8556"))
    san: x509.GeneralName = (
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
    )
    public = LEAF_KEY.public_key()
    return (
        profiles.leaf(issuer, key_encipherment=False)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc(at - profiles.BACKDATE))
        .not_valid_after(utc(at + 30 * DAY))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.SubjectAlternativeName([san]), critical=True)
        .sign(signer.key, keys.signature_hash(signer.key))
        .public_bytes(Encoding.DER)
    )

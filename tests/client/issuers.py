"""Certificates as a test words them, good and bad, and contexts of servers that show them."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.client import signing

NAMES = ("router.lan", "router.local", "127.0.0.2", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """Return the certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)


def make(
    name: str,
    by: Holder | None = None,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    ca: bool = True,
    room: int | None = None,
    signs: bool | None = None,
    above: bool = False,
    names: Sequence[str] = (),
    signed_with: ec.EllipticCurvePrivateKey | None = None,
) -> Holder:
    """Return a certificate for `name`, its own issuer if there is no `by`.

    `room` is its path length, `signs` a key usage that is not as `ca` says, `signed_with` a key
    that is not the issuer's; with `above` it names its issuer's key.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = by or Holder(None, key)  # type: ignore[arg-type]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(by.certificate.subject if by else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca, room if ca else None), critical=True)
        .add_extension(_usage(signs=ca if signs is None else signs), critical=True)
    )
    if above:
        public = issuer.key.public_key()
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
        builder = builder.add_extension(named, critical=False)
    if names:
        builder = builder.add_extension(_alternatives(names), critical=False)
    return Holder(builder.sign(signed_with or issuer.key, hashes.SHA256()), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def server(root: Holder, names: Sequence[str] = NAMES) -> Holder:
    """Return a server's certificate."""
    return make("server", root, ca=False, names=names)


def context(work: Path, holder: Holder, *above: Holder) -> ssl.SSLContext:
    """Return a server's context that shows this chain."""
    file = work / f"{holder.certificate.serial_number}.pem"
    chain = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (holder, *above))
    file.write_bytes(signing.private_pem(holder.key) + chain)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(file)
    return made

"""Roots to believe or not: those of the project's own authority, and each with one thing wrong."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.client.tls import Root
from acmeiot.protocol.moments import utc

DAY = 86400
NOW = 1_790_000_000
LAN = ("local", "lan")
PRIVATE = ("10.0.0.0/8", "192.168.0.0/16", "fc00::/7")


def authority(where: Path, now: int = NOW, **settings: Any) -> Authority:
    """Make a home's authority, as the server has it."""
    config = AuthorityConfig(**settings)
    return Authority.open(where, config, now=now, record=lambda _: None)


@cache
def home_root(number: int = 0) -> Root:
    """Return the root of a home of this number."""
    return Root.of(authority(Path(mkdtemp(prefix=f"home-{number}-")) / "ca").root_der)


@cache
def key(kind: str = "p384") -> Any:
    """Return a key of this kind, always the same one."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key({"p256": ec.SECP256R1, "p384": ec.SECP384R1}[kind]())


@dataclass
class Made:
    """A root to be signed; change a field to make it wrong."""

    kind: str = "p384"
    digest: hashes.HashAlgorithm | None = field(default_factory=hashes.SHA384)
    days: int = 3650
    starts: int = NOW - DAY
    ca: x509.BasicConstraints | None = field(
        default_factory=lambda: x509.BasicConstraints(ca=True, path_length=1)
    )
    ca_critical: bool = True
    signs: bool = True
    names: tuple[str, ...] = LAN
    networks: tuple[str, ...] = PRIVATE
    critical: bool = True
    constrained: bool = True
    excluded: tuple[str, ...] = ()
    signed_by: str | None = None

    @property
    def der(self) -> bytes:
        """Return the certificate."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Home CA")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .serial_number(7)
            .public_key(key(self.kind).public_key())
            .not_valid_before(utc(self.starts))
            .not_valid_after(utc(self.starts + self.days * DAY))
            .add_extension(_usage(self.signs), critical=True)
        )
        if self.ca is not None:
            builder = builder.add_extension(self.ca, critical=self.ca_critical)
        if self.constrained:
            builder = builder.add_extension(self._constraints(), critical=self.critical)
        return builder.sign(key(self.signed_by or self.kind), self.digest).public_bytes(  # type: ignore[arg-type]
            Encoding.DER
        )

    @property
    def root(self) -> Root:
        """Return it as the client's code would, which does not look as closely."""
        return Root(self.der, "00" * 32, "Home CA", self.starts, self.starts + self.days * DAY)

    def _constraints(self) -> x509.NameConstraints:
        permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in self.names]
        permitted += [x509.IPAddress(ipaddress.ip_network(net)) for net in self.networks]
        excluded = [x509.DNSName(name) for name in self.excluded]
        return x509.NameConstraints(permitted or None, excluded or None)


def _usage(signs: bool) -> x509.KeyUsage:
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

"""Certificates as a client shows them for tls-alpn-01, good ones and each kind of bad one."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
NOW = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # expired: nobody may mind


@dataclass(frozen=True)
class Shown:
    """What to put into a certificate; `value` is the acmeIdentifier extension's DER."""

    subjects: tuple[x509.GeneralName, ...] = ()
    value: bytes | None = None
    critical: bool = True
    issued_by_another: bool = False
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def sign(self) -> x509.Certificate:
        """Return the certificate."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + datetime.timedelta(days=7))
        )
        signer = ec.generate_private_key(ec.SECP256R1()) if self.issued_by_another else self.key
        return self.extensions(builder).sign(signer, hashes.SHA256())

    def extensions(self, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        """Add the extensions."""
        if self.subjects:
            builder = builder.add_extension(x509.SubjectAlternativeName(self.subjects), False)
        if self.value is not None:
            extension = x509.UnrecognizedExtension(ACME_IDENTIFIER, self.value)
            builder = builder.add_extension(extension, self.critical)
        return builder

    def context(self, folder: Path, *protocols: str) -> ssl.SSLContext:
        """Return a server's TLS context with this certificate and these ALPN protocols."""
        file = folder / "shown.pem"
        file.write_bytes(
            self.sign().public_bytes(serialization.Encoding.PEM)
            + self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def subject(text: str) -> x509.GeneralName:
    """Return the SAN for a name or an address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    """Return the TLS context of an ordinary web server with a certificate nobody trusts."""
    return Shown((subject(name),)).context(folder)

"""Keys and requests of devices."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def certificate_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key that every profile takes."""
    return ec.generate_private_key(ec.SECP384R1())


def names_of(order: dict[str, Any]) -> list[str]:
    """Return the names and addresses of an order."""
    return [str(one["value"]) for one in order["identifiers"]]


def subject_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """Return the extension with these names and addresses."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def request(key: Private, names: Sequence[str], common_name: str | None = None) -> bytes:
    """Return the DER of a CSR."""
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(subject_names(names), critical=False)
    kind = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, kind).public_bytes(serialization.Encoding.DER)


def sha1_request(names: Sequence[str], work: Path) -> bytes:
    """Return a CSR signed with SHA-1, which cryptography would not make (A-3.2.3-1)."""
    wanted = ",".join(f"DNS:{name}" for name in names)
    out = work / "sha1.der"
    subprocess.run(
        ["openssl", "req", "-new", "-sha1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384",
         "-nodes", "-subj", "/", "-addext", f"subjectAltName={wanted}", "-outform", "DER",
         "-keyout", work / "sha1.key", "-out", out],
        check=True, capture_output=True,
    )  # fmt: skip
    return out.read_bytes()

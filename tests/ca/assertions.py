"""The X.509 profile, said once for the tests, in the words of the standards and not of the code."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
)

from acmeiot.ca.profiles import validity

Extension = TypeVar("Extension", bound=x509.ExtensionType)

DAY = 86400
HTTP = "http://router.lan:8556"
RANGES = [
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8",
    "fc00::/7", "fe80::/10", "::1/128",
]  # fmt: skip


CA_EXTENSIONS = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}
WHERE_TO_ASK = {ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.AUTHORITY_INFORMATION_ACCESS}
CRITICAL_FOR_CAS = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
}


def assert_is_root(
    certificate: x509.Certificate, domains: Sequence[str], server_names: Sequence[str],
    organization: str = "acmeiot lan",
) -> None:  # fmt: skip
    """Assert the root's profile: specs 5.1, A-3.2.1-1 to A-3.2.1-5."""
    assert certificate.issuer == certificate.subject
    assert_signed_by(certificate, certificate)
    assert_is_ca(certificate, domains, pathlen=4, more={ExtensionOID.SUBJECT_ALTERNATIVE_NAME})
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == (
        f"Home CA {spki_sha256(certificate)[:6]}"
    )
    (own_organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert own_organization.value == organization
    own_names = value(certificate, x509.SubjectAlternativeName)
    assert own_names.get_values_for_type(x509.DNSName) == list(server_names)
    assert len(own_names) == len(server_names)


def assert_is_intermediate(
    certificate: x509.Certificate, root: x509.Certificate, domains: Sequence[str]
) -> None:
    """Assert the intermediate's profile, below this root."""
    assert certificate.subject != root.subject
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.key_size == 384
    assert_is_ca(certificate, domains, pathlen=0, more=WHERE_TO_ASK)
    assert_is_below(certificate, root)


def assert_is_cross(
    certificate: x509.Certificate, subject: x509.Certificate, issuer: x509.Certificate,
    domains: Sequence[str],
) -> None:  # fmt: skip
    """Assert the profile of one root's name and key, signed by another root."""
    assert certificate.subject == subject.subject
    assert spki_sha256(certificate) == spki_sha256(subject)
    assert_is_ca(certificate, domains, pathlen=4, more=WHERE_TO_ASK)
    assert_is_below(certificate, issuer)
    assert validity(certificate)[0] >= validity(subject)[0]
    assert validity(certificate)[1] <= validity(subject)[1]


def assert_is_leaf(
    certificate: x509.Certificate, issuer: x509.Certificate, identifiers: Iterable[str],
    *, key_encipherment: bool = False, ocsp: bool = True,
) -> None:  # fmt: skip
    """Assert the leaf's profile, below this intermediate, with exactly these names."""
    assert_common(certificate)
    assert_is_below(certificate, issuer)
    assert set(critical(certificate)) == {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
    assert set(oids(certificate)) == {
        *critical(certificate),
        *WHERE_TO_ASK,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
    assert value(certificate, x509.BasicConstraints).ca is False
    assert usages(certificate) == {
        "digital_signature", *(["key_encipherment"] if key_encipherment else [])
    }  # fmt: skip
    assert list(value(certificate, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert len(certificate.subject) == 0
    names = value(certificate, x509.SubjectAlternativeName)
    assert [str(name.value) for name in names] == list(identifiers)
    access = value(certificate, x509.AuthorityInformationAccess)
    responders = [
        where.access_location.value
        for where in access
        if where.access_method == AuthorityInformationAccessOID.OCSP
    ]
    assert responders == ([f"{HTTP}/ocsp"] if ocsp else [])
    first, last = validity(certificate)
    assert last - first <= 89 * DAY  # A-3.2.4-1


def assert_is_ca(
    certificate: x509.Certificate, domains: Sequence[str], pathlen: int,
    more: set[x509.ObjectIdentifier],
) -> None:  # fmt: skip
    """Assert what root, cross-certificate and intermediate have in common."""
    assert_common(certificate)
    assert set(oids(certificate)) == CA_EXTENSIONS | more
    assert set(critical(certificate)) == CRITICAL_FOR_CAS
    constraints = value(certificate, x509.BasicConstraints)
    assert (constraints.ca, constraints.path_length) == (True, pathlen)
    assert usages(certificate) == {"key_cert_sign", "crl_sign"}
    assert value(certificate, x509.NameConstraints) == x509.NameConstraints(
        [
            *(x509.DNSName(domain) for domain in domains),
            *(x509.IPAddress(ipaddress.ip_network(text)) for text in RANGES),
        ],
        None,
    )


def assert_is_below(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Assert name, key, signature, time and places to ask of an issuer and what it issued."""
    assert certificate.issuer == issuer.subject
    assert_signed_by(certificate, issuer)
    own, above = validity(certificate), validity(issuer)
    assert above[0] <= own[0] < own[1] <= above[1], "it outlives its issuer"
    short = spki_sha256(issuer)[:16]
    (point,) = value(certificate, x509.CRLDistributionPoints)
    assert point.full_name is not None
    assert [name.value for name in point.full_name] == [f"{HTTP}/crl/{short}.crl"]
    access = value(certificate, x509.AuthorityInformationAccess)
    assert f"{HTTP}/issuer/{short}.crt" in {where.access_location.value for where in access}


def assert_common(certificate: x509.Certificate) -> None:
    """Assert what every certificate has: version, serial, hash, key identifiers."""
    assert certificate.version is x509.Version.v3
    assert 0 < certificate.serial_number < 1 << 159
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name in ("sha256", "sha384", "sha512")
    key = certificate.public_key()
    own = value(certificate, x509.SubjectKeyIdentifier)
    assert own == x509.SubjectKeyIdentifier.from_public_key(key)


def assert_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Assert that the issuer's key signed it, and that it says so (ARI and OpenSSL need that)."""
    certificate.verify_directly_issued_by(issuer)
    authority_key = value(certificate, x509.AuthorityKeyIdentifier)
    assert authority_key.key_identifier == value(issuer, x509.SubjectKeyIdentifier).digest
    assert authority_key.authority_cert_issuer is None


def value(certificate: x509.Certificate, kind: type[Extension]) -> Extension:
    """Return the value of an extension that must be there."""
    return certificate.extensions.get_extension_for_class(kind).value


def oids(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    """Return the extensions that are there."""
    return [extension.oid for extension in certificate.extensions]


def critical(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    """Return the extensions that are critical."""
    return [extension.oid for extension in certificate.extensions if extension.critical]


def usages(certificate: x509.Certificate) -> set[str]:
    """Return the key usages that are set."""
    usage = value(certificate, x509.KeyUsage)
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign",
    )  # fmt: skip
    return {name for name in names if getattr(usage, name)}


def spki_sha256(certificate: x509.Certificate) -> str:
    """Return the hex fingerprint of the key."""
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()

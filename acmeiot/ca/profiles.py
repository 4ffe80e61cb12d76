"""Every certificate that this CA makes, extension by extension, with its critical flag.

This page is the profile: what is not here is in no certificate.

    field              root                intermediate        cross-certificate   leaf
    key                P-384 (or P-521,    P-384               the other root's    the device's
                       RSA-3072/4096)
    serial             159 random bits     the same            the same            the same
    subject            CN, O               CN, O               the other root's    empty
    basicConstraints * CA, pathlen 4       CA, pathlen 0       CA, pathlen 4       not CA
    keyUsage *         keyCertSign,        the same            the same            digitalSignature,
                       cRLSign                                                     keyEncipherment
                                                                                   (RSA only)
    nameConstraints *  names, ranges       the root's          the other root's    -
    SKI, AKI           both                both                both                both
    extKeyUsage        -                   -                   -                   serverAuth
    subjectAltName     server's names      -                   -                   names, IPs *
    CDP, caIssuers     -                   http                http                http
    OCSP               -                   -                   -                   http **

    *  critical, always; nothing else is.
    ** but for the server's own leaf: no record is kept of it, so the responder would not know it,
       and a browser that hears "unknown" refuses the page (Firefox). Its issuer replaces it at
       any time.

Name constraints stand on the root, because ten of eleven verifiers obey them there, and again on
the intermediate for the eleventh (Java). No leading dot: RFC 5280 gives it no meaning for DNS
names, and some verifiers refuse it. A cross-certificate carries no names of the server, because
the other root's constraints would apply to them.

The root's pathlen is 1 for the intermediate and one for each older root that still lives and
vouches for a newer one. With 1 a root could never be succeeded: whoever trusts only the old root
sees two CAs below it (RFC 5280 section 4.2.1.9), and most verifiers count them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from acmeiot.ca import keys
from acmeiot.core.ports import Random
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import LAN_NETWORKS, Identifier, IPNetwork

DAY: Final = 86400
BACKDATE: Final = 3600  # seconds that a leaf's notBefore lies in the past: clocks at home are late
# A little more for a CA: a leaf whose times were fixed just before a rotation still fits below it.
CA_BACKDATE: Final = BACKDATE + 300
LONGEST_LEAF: Final = 89 * DAY  # A-3.2.4-1; the last gate behind the policy's own
SERVER_LIFE: Final = 30 * DAY  # of the server's own leaf
SERVER_PROFILE: Final = "server"  # its name in a request, which no client can ask for
OLD_ROOTS: Final = 3  # at most so many superseded roots are carried along

_ROOT_PATHLEN: Final = 1 + OLD_ROOTS
_CA_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_SERVER_AUTH: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a certificate says that its issuer's CRL, OCSP responder and certificate are.

    Plain HTTP on purpose (RFC 5280 section 8): who checks TLS must not need TLS for it.
    """

    base: str  # "http://router.lan:8556"

    def crl(self, issuer_id: str) -> str:
        """Return where the CRL of this issuer is."""
        return f"{self.base}/crl/{issuer_id}.crl"

    def certificate(self, issuer_id: str) -> str:
        """Return where the certificate (DER) of this issuer is."""
        return f"{self.base}/issuer/{issuer_id}.crt"

    @property
    def ocsp(self) -> str:
        """Return where the OCSP responder is; one for all issuers."""
        return f"{self.base}/ocsp"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a new certificate takes from the one that signs it."""

    id: str
    certificate: x509.Certificate
    urls: Urls


@dataclass(frozen=True, slots=True)
class Constraints:
    """The names and addresses below a CA certificate (RFC 5280 section 4.2.1.10)."""

    domains: tuple[str, ...]
    networks: tuple[IPNetwork, ...]

    @classmethod
    def of_home(cls, domains: Iterable[str]) -> Constraints:
        """Return the constraints for `local`, these domains and the home's address ranges."""
        return cls(tuple(dict.fromkeys(("local", *domains))), LAN_NETWORKS)

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Constraints:
        """Return the constraints in a CA certificate of ours."""
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        trees = found.permitted_subtrees or ()
        networks = (tree.value for tree in trees if isinstance(tree, x509.IPAddress))
        return cls(
            tuple(tree.value for tree in trees if isinstance(tree, x509.DNSName)),
            tuple(net for net in networks if isinstance(net, IPv4Network | IPv6Network)),
        )

    @property
    def extension(self) -> x509.NameConstraints:
        """Return the extension; it is critical wherever it stands."""
        names = [x509.DNSName(domain) for domain in self.domains]
        ranges = [x509.IPAddress(network) for network in self.networks]
        return x509.NameConstraints([*names, *ranges], excluded_subtrees=None)

    def permit(self, identifier: Identifier) -> bool:
        """Tell whether a verifier would accept this name in a leaf."""
        if identifier.type == "ip":
            address = identifier.address
            return any(net.version == address.version and address in net for net in self.networks)
        name = "." + identifier.base.value
        return any(name.endswith("." + domain) for domain in self.domains)


def root(
    key: keys.PublicKey,
    domains: Sequence[str],
    server_names: Sequence[str],
    not_before: int,
    not_after: int,
    random: Random,
) -> x509.CertificateBuilder:
    """Return the root: self-signed, with the server's names as its own (A-3.2.1-1, A-3.2.1-5)."""
    name = ca_name("Home CA", key, domains)
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    return (
        _dated(name, name, key, not_before, not_after, random)
        .add_extension(x509.BasicConstraints(ca=True, path_length=_ROOT_PATHLEN), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(Constraints.of_home(domains).extension, critical=True)
        .add_extension(own, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(server) for server in server_names]),
            critical=False,
        )
    )


def intermediate(
    key: keys.PublicKey,
    issuer: Issuer,
    domains: Sequence[str],
    not_before: int,
    not_after: int,
    random: Random,
) -> x509.CertificateBuilder:
    """Return an intermediate below the root `issuer`, with the constraints of that root."""
    return (
        _dated(
            issuer.certificate.subject,
            ca_name("Home CA intermediate", key, domains),
            key,
            not_before,
            not_after,
            random,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(Constraints.of(issuer.certificate).extension, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
        .add_extension(_distribution_points(issuer), critical=False)
        .add_extension(_information_access(issuer, ocsp=False), critical=False)
    )


def cross(
    root_certificate: x509.Certificate,
    issuer: Issuer,
    not_before: int,
    not_after: int,
    random: Random,
) -> x509.CertificateBuilder:
    """Return another root's name and key, vouched for by the root `issuer`."""
    key = root_certificate.public_key()
    if not isinstance(key, keys.PublicKey):
        raise TypeError("a root has an EC or RSA key")
    return (
        _dated(
            issuer.certificate.subject, root_certificate.subject, key, not_before, not_after, random
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=_ROOT_PATHLEN), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(Constraints.of(root_certificate).extension, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
        .add_extension(_distribution_points(issuer), critical=False)
        .add_extension(_information_access(issuer, ocsp=False), critical=False)
    )


def leaf(issuer: Issuer, *, key_encipherment: bool, ocsp: bool = True) -> x509.CertificateBuilder:
    """Return all of a leaf that is the same for every leaf of an issuer.

    Key, serial, validity, SKI and the critical subjectAltName are what `issue` adds. The subject
    is empty (RFC 5280 section 4.1.2.6). RSA keys take `key_encipherment`; the server's own leaf is
    made without `ocsp`.
    """
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer.certificate.subject)
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_SERVER_AUTH, critical=False)
        .add_extension(_authority_key(issuer), critical=False)
        .add_extension(_distribution_points(issuer), critical=False)
        .add_extension(_information_access(issuer, ocsp=ocsp), critical=False)
    )


def ca_name(title: str, key: keys.PublicKey, domains: Sequence[str]) -> x509.Name:
    """Return a CA's name, different in every home: two must not collide in one trust store."""
    domain = next((domain for domain in domains if domain != "local"), "local")
    return x509.Name(
        [
            # RFC 5280 appendix A: an organization name has at most 64 characters.
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"acmeiot {domain}"[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{title} {keys.fingerprint(key)[:6]}"),
        ]
    )


def serial_number(random: Random) -> int:
    """Return 159 random bits: positive, and never more than 20 octets (RFC 5280 4.1.2.2)."""
    return int.from_bytes(random(20), "big") >> 1 or 1


def validity(certificate: x509.Certificate) -> tuple[int, int]:
    """Return notBefore and notAfter in epoch seconds, with an old or a new cryptography."""
    if hasattr(certificate, "not_valid_before_utc"):  # since cryptography 42
        ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    else:
        ends = (
            certificate.not_valid_before.replace(tzinfo=UTC),
            certificate.not_valid_after.replace(tzinfo=UTC),
        )
    return int(ends[0].timestamp()), int(ends[1].timestamp())


def names_responder(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate says where its OCSP responder is."""
    return any(
        access.access_method == AuthorityInformationAccessOID.OCSP
        for extension in certificate.extensions
        if isinstance(extension.value, x509.AuthorityInformationAccess)
        for access in extension.value
    )


def key_identifier(certificate: x509.Certificate) -> bytes:
    """Return the subject key identifier of a CA certificate."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _dated(
    issuer: x509.Name,
    subject: x509.Name,
    key: keys.PublicKey,
    not_before: int,
    not_after: int,
    random: Random,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(serial_number(random))
        .not_valid_before(utc(not_before))
        .not_valid_after(utc(not_after))
    )


def _authority_key(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier(key_identifier(issuer.certificate), None, None)


def _distribution_points(issuer: Issuer) -> x509.CRLDistributionPoints:
    url = x509.UniformResourceIdentifier(issuer.urls.crl(issuer.id))
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([url], relative_name=None, reasons=None, crl_issuer=None)]
    )


def _information_access(issuer: Issuer, *, ocsp: bool) -> x509.AuthorityInformationAccess:
    where = [
        (AuthorityInformationAccessOID.CA_ISSUERS, issuer.urls.certificate(issuer.id)),
        *([(AuthorityInformationAccessOID.OCSP, issuer.urls.ocsp)] if ocsp else []),
    ]
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in where
        ]
    )

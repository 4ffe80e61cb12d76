"""From a certificate signing request to a leaf: reading what strangers send, signing what is due.

Nothing of a request goes into a certificate but its public key and, by way of the order, its
names: extensions a client asks for are read for their names and otherwise dropped.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from cryptography.x509.oid import NameOID

from acmeiot.ca import profiles
from acmeiot.ca.index import Signer
from acmeiot.ca.keys import signature_hash
from acmeiot.core.ports import Random
from acmeiot.core.records import Csr, Leaf, LeafRequest
from acmeiot.protocol import names
from acmeiot.protocol.ari import certificate_id
from acmeiot.protocol.errors import BadCsr, Malformed
from acmeiot.protocol.jose import b64encode, thumbprint
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import Identifier

MAX_CSR: Final = 16 * 1024  # octets; an RSA-8192 request with a hundred names is a third of it
MAX_CERTIFICATE: Final = 16 * 1024
MAX_RSA: Final = 8192  # bits; beyond, one request would cost a router seconds
MIN_EXPONENT, MAX_EXPONENT = 65537, 2**32

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
# The library does not verify these at all, and would call the signature wrong (A-3.2.3-1).
_BROKEN_HASHES: Final = ("md5", "sha1")
_OTHER_NAMES: Final = {
    x509.RFC822Name: "an e-mail address",
    x509.UniformResourceIdentifier: "a URI",
    x509.DirectoryName: "a directory name",
    x509.RegisteredID: "a registered id",
    x509.OtherName: "an otherName",
}


def read_csr(der: bytes) -> Csr:
    """Return what a CSR says of itself, after checking its signature (R-23, A-3.2.3-1).

    Raise BadCsr with what is wrong and what would be right. Size and shape are looked at first,
    the signature last.
    """
    if len(der) > MAX_CSR:
        raise BadCsr(f"the CSR has {len(der)} octets, at most {MAX_CSR} are read")
    try:
        request = x509.load_der_x509_csr(der)
        public_key = request.public_key()
        spki, key = _facts(public_key)
        identifiers = names_in(request)
        common_name = _common_name(request)
        hash_name = _hash_name(request)
        verified = request.is_signature_valid
    except UnsupportedAlgorithm as error:
        raise BadCsr(f"the CSR's key or signature is of a kind not known here: {error}") from None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion) as error:
        # TypeError: a BIT STRING in the subject, where the library looks for text.
        raise BadCsr(f"the CSR is not a DER PKCS #10 request: {str(error)[:200]}") from None
    if not verified:
        raise BadCsr("the CSR's signature is not by the key in it")
    return Csr(
        der=der,
        identifiers=identifiers,
        common_name=common_name,
        key_kind=key.kind,
        key_name=key.name,
        key_bits=key.bits,
        hash_name=hash_name,
        spki=spki,
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        jwk_thumbprint=key.thumbprint,
        key=public_key,
    )


def serial_of(der: bytes) -> str:
    """Return a certificate's serial, lower-case hex; raise Malformed if this is none (R-31)."""
    if len(der) > MAX_CERTIFICATE:
        raise Malformed(f"a certificate has at most {MAX_CERTIFICATE} octets, not {len(der)}")
    try:
        return f"{x509.load_der_x509_certificate(der).serial_number:x}"
    except (ValueError, x509.InvalidVersion) as error:
        raise Malformed(f"not a DER certificate: {str(error)[:200]}") from None


@dataclass(frozen=True, slots=True)
class _Key:
    kind: str
    name: str
    bits: int
    thumbprint: str | None


def _facts(key: CertificatePublicKeyTypes) -> tuple[bytes, _Key]:
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, ec.EllipticCurvePublicKey):
        facts = _ec_key(key, spki)
    elif isinstance(key, rsa.RSAPublicKey):
        facts = _rsa_key(key)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64encode(raw)}
        facts = _Key("Ed25519", "Ed25519", 256, thumbprint(jwk))
    elif isinstance(key, dsa.DSAPublicKey):
        raise BadCsr("DSA keys are not accepted; use P-384 or RSA of at least 3072 bits")
    else:
        kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
        facts = _Key(kind, kind, 0, None)
    return spki, facts


def _ec_key(key: ec.EllipticCurvePublicKey, spki: bytes) -> _Key:
    curve = _CURVES.get(key.curve.name, key.curve.name)
    point = _point(key, spki)
    x, y = point[: len(point) // 2], point[len(point) // 2 :]
    jwk = {"kty": "EC", "crv": curve, "x": b64encode(x), "y": b64encode(y)}
    known = thumbprint(jwk) if key.curve.name in _CURVES else None
    return _Key("EC", f"EC {curve}", key.curve.key_size, known)


def _point(key: ec.EllipticCurvePublicKey, spki: bytes) -> bytes:
    """Return x and y, which end an SPKI, uncompressed (RFC 5480 section 2.2)."""
    return spki[-2 * ((key.curve.key_size + 7) // 8) :]


def _rsa_key(key: rsa.RSAPublicKey) -> _Key:
    if key.key_size > MAX_RSA:
        raise BadCsr(f"an RSA key here has at most {MAX_RSA} bits, this one has {key.key_size}")
    numbers = key.public_numbers()
    if not MIN_EXPONENT <= numbers.e < MAX_EXPONENT or numbers.e % 2 == 0:
        raise BadCsr(f"the RSA key's exponent is {str(numbers.e)[:20]}; make a key with 65537")
    modulus = numbers.n.to_bytes((key.key_size + 7) // 8, "big")
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    jwk = {"kty": "RSA", "n": b64encode(modulus), "e": b64encode(exponent)}
    return _Key("RSA", f"RSA {key.key_size}", key.key_size, thumbprint(jwk))


def _hash_name(request: x509.CertificateSigningRequest) -> str:
    algorithm = request.signature_hash_algorithm
    name = algorithm.name if algorithm is not None else ""
    if name in _BROKEN_HASHES:
        raise BadCsr(f"the CSR is signed with {name}; sign it with SHA-256 or better")
    return name


def _common_name(request: x509.CertificateSigningRequest) -> str | None:
    values = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(values) > 1:
        raise BadCsr("the CSR's subject has more than one common name; leave one or none")
    return str(values[0].value) if values else None


def names_in(subject: x509.CertificateSigningRequest | x509.Certificate) -> tuple[Identifier, ...]:
    """Return the alternative names; raise BadCsr for what is no DNS name or address."""
    try:
        san = subject.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except x509.UnsupportedGeneralNameType as error:
        raise BadCsr(f"subjectAltName: {error}; only DNS names and IP addresses go here") from None
    found = tuple(_identifier(name) for name in san)
    if len(set(found)) != len(found):
        raise BadCsr(f"subjectAltName names {_twice(found)} twice; leave one of them out")
    return found


def _identifier(name: x509.GeneralName) -> Identifier:
    if isinstance(name, x509.DNSName):
        return _dns(name.value)
    if isinstance(name, x509.IPAddress):
        if isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return names.ip(str(name.value))
        raise BadCsr("subjectAltName: an IP address has 4 or 16 octets; a range is no address")
    kind = _OTHER_NAMES.get(type(name), type(name).__name__)
    raise BadCsr(
        f"subjectAltName holds {kind}, {str(name.value)[:80]!a}; only DNS names and IP addresses "
        "go here"
    )


def _dns(text: str) -> Identifier:
    if _is_address(text):
        raise BadCsr(
            f"subjectAltName holds the address {text[:60]!a} as a DNS name, which no client would "
            f'accept; put it in as an IP address (OpenSSL: "IP:{text[:60]}" instead of "DNS:...")'
        )
    try:
        return names.dns(text)
    except names.BadName as error:
        raise BadCsr(f"subjectAltName: {error}") from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _twice(found: Iterable[Identifier]) -> str:
    seen: set[Identifier] = set()
    for identifier in found:
        if identifier in seen:
            return str(identifier)
        seen.add(identifier)
    return ""


class LeafSigner:
    """Signs leaves with one intermediate; all that every leaf shares is made once."""

    def __init__(self, signer: Signer, urls: profiles.Urls) -> None:
        issuer = profiles.Issuer(signer.id, signer.certificate, urls)
        self._signer = signer
        self._constraints = profiles.Constraints.of(signer.certificate)
        self._hash = signature_hash(signer.key)
        self._plain = profiles.leaf(issuer, key_encipherment=False)
        self._with_encipherment = profiles.leaf(issuer, key_encipherment=True)
        self._server = profiles.leaf(issuer, key_encipherment=False, ocsp=False)

    def sign(self, request: LeafRequest, random: Random) -> Leaf:
        """Sign a leaf; raise ValueError for what the policy should never have let through.

        The leaf lies within its issuer's validity and is at most 89 days long (A-3.2.4-1), and
        its names lie within the constraints above it.
        """
        self._check_times(request)
        self._check_names(request.identifiers)
        key = _leaf_key(request)
        serial = profiles.serial_number(random)
        certificate = (
            self._start(request)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(utc(request.not_before))
            .not_valid_after(utc(request.not_after))
            .add_extension(_key_identifier(key, request.spki), critical=False)
            .add_extension(_alternative_names(request.identifiers), critical=True)
            .sign(self._signer.key, self._hash)
        )
        return Leaf(
            serial=f"{serial:x}",
            issuer_id=self._signer.id,
            not_before=request.not_before,
            not_after=request.not_after,
            der=certificate.public_bytes(Encoding.DER),
            ari_id=certificate_id(self._signer.key_identifier, serial),
        )

    def _start(self, request: LeafRequest) -> x509.CertificateBuilder:
        if request.profile == profiles.SERVER_PROFILE:
            return self._server
        return self._with_encipherment if request.key_encipherment else self._plain

    def _check_times(self, request: LeafRequest) -> None:
        first, last = self._signer.validity
        if not first <= request.not_before < request.not_after <= last:
            raise ValueError("a leaf must lie within the validity of its issuer")
        if request.not_after - request.not_before > profiles.LONGEST_LEAF:
            raise ValueError("a leaf is good for 89 days at most, back-dating included")

    def _check_names(self, identifiers: tuple[Identifier, ...]) -> None:
        if not identifiers:
            raise ValueError("a leaf needs at least one name")
        for identifier in identifiers:
            if not self._constraints.permit(identifier):
                raise ValueError(f"{identifier} is outside the name constraints of its issuer")


def _leaf_key(request: LeafRequest) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    key = request.key or load_der_public_key(request.spki)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("a leaf has an EC or RSA key")  # the profile has no other
    return key


def _key_identifier(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, spki: bytes
) -> x509.SubjectKeyIdentifier:
    """Return the SHA-1 of the key itself (RFC 5280 section 4.2.1.2, method 1)."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return x509.SubjectKeyIdentifier.from_public_key(key)
    # The library would encode the key once more, for an eighth of a signature's time.
    bits = b"\x04" + _point(key, spki)
    return x509.SubjectKeyIdentifier(hashlib.sha1(bits, usedforsecurity=False).digest())


def _alternative_names(identifiers: Iterable[Identifier]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.IPAddress(one.address) if one.type == "ip" else x509.DNSName(one.value)
            for one in identifiers
        ]
    )

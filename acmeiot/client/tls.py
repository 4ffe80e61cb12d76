"""Roots as a client meets them: in the server's handshake, pinned, and succeeded by another.

The draft defines no URL for the root (section 3.3): the chain in the TLS handshake is where it
comes from, before anything is trusted (A-3.3-2). Its identity is its key, whatever names it bears
(A-3.3-6). Everything here takes bytes from strangers: few certificates, and names are compared
before any signature is checked.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import islice
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acmeiot.client.dial import connect, over_tls
from acmeiot.client.errors import AgentError
from acmeiot.lan.deadline import Deadline
from acmeiot.protocol import fingerprint

MAX_CHAIN: Final = 16  # a leaf, an intermediate, three old roots' crosses, a root: six are usual
MAX_PEM: Final = 256 * 1024
_MAX_NAME: Final = 80
# What the readers of old and new versions of cryptography raise for bytes that make no sense.
_UNREADABLE: Final = (
    ValueError, TypeError, LookupError, OverflowError, UnsupportedAlgorithm,
    x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip

Extension = TypeVar("Extension", bound=x509.ExtensionType)
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\r?\n?"
)


@dataclass(frozen=True, slots=True)
class Root:
    """A self-signed CA certificate; `sha256` is that of its SubjectPublicKeyInfo, in hex.

    `name` is made printable for people, `not_before` and `not_after` are epoch seconds.
    """

    der: bytes
    sha256: str
    name: str
    not_before: int
    not_after: int

    @classmethod
    def of(cls, der: bytes) -> Root:
        """Return the root in DER; raise AgentError unless it is a CA that signed itself."""
        (certificate,) = _parsed([der])
        if not signed(certificate, certificate):
            raise AgentError(f"{_name(certificate)} is no root: it did not sign itself")
        if not _may_sign(certificate):
            raise AgentError(f"{_name(certificate)} is no root: it may not sign certificates")
        not_before, not_after = validity(certificate)
        return cls(der, _spki_sha256(certificate), _name(certificate), not_before, not_after)

    @property
    def pem(self) -> bytes:
        """Return the certificate as PEM."""
        return pem(self.der)

    @property
    def words(self) -> str:
        """Return the fingerprint as words that can be read aloud."""
        return fingerprint.words(bytes.fromhex(self.sha256))


def presented_chain(address: str, port: int, host: str, timeout: float) -> tuple[bytes, ...]:
    """Return the chain that a server shows in its TLS handshake, leaf first, DER, nothing trusted.

    Raise Unreachable, or AgentError for an address outside the LAN or too long a chain.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    deadline = Deadline(timeout)
    with over_tls(connect([address], port, deadline), context, host, deadline) as tls:
        return tuple(_bounded(_shown(tls)))


def _shown(tls: ssl.SSLSocket) -> list[bytes]:
    if hasattr(tls, "get_unverified_chain"):  # since CPython 3.13
        return list(tls.get_unverified_chain())
    # Before, only ssl's inside has it, as certificates that write themselves as PEM or DER.
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain()]


def root_of(chain: Sequence[bytes]) -> Root:
    """Return the self-signed end of a chain (DER, leaf first) that every signature leads to.

    Cross-certificates and other roots may stand in between; the nearest root counts, which is the
    server's own. Raise AgentError when there is none, or when it signed nothing of the chain.
    """
    certificates = _parsed(chain)
    if not certificates:
        raise AgentError("the server showed no certificate")
    ends = []
    leaf, issuers = certificates[0], [one for one in certificates[1:] if _may_sign(one)]
    for one in _follow(leaf, issuers, signed):
        if signed(one, one):
            return Root.of(one.public_bytes(Encoding.DER))
        ends.append(one)
    raise AgentError(_rootless(certificates, ends))


def _rootless(certificates: Sequence[x509.Certificate], ends: Sequence[x509.Certificate]) -> str:
    """Return what is wrong with a chain that leads to no root."""
    if certificates[0].subject == certificates[0].issuer:
        return f"the server's certificate {_name(certificates[0])} is signed by itself, by no CA"
    loose = next((one for one in certificates if one.subject == one.issuer), None)
    if loose is not None:
        return f"the root {_name(loose)} that the server shows did not sign its certificate"
    last = ends[-1] if ends else certificates[0]
    return (
        f"the server does not show its root: its chain ends below {_text(last.issuer)}; "
        "it must send the whole chain, root included"
    )


def vouched(old: Root, new: Root, certificates: Iterable[bytes]) -> bool:
    """Tell whether `old` vouches for `new`, over cross-certificates among these (DER).

    Several successions may lie between them. Only a certificate that lets its holder have CAs
    below it hands a root's place on: an intermediate's key must not become a root (A-4.7-2).
    Raise AgentError for what are no certificates, or too many.
    """
    if old.sha256 == new.sha256:
        return True  # the same key under a new certificate
    anchor, target = (load(root.der) for root in (old, new))
    heirs = [one for one in _parsed(certificates) if _may_sign(one, below=1)]
    return any(
        _spki_sha256(one) == new.sha256 and one.subject == target.subject
        for one in _follow(anchor, heirs, _signs)
    )


def pem(der: bytes) -> bytes:
    """Return a certificate as PEM."""
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def split_pem(text: bytes) -> tuple[bytes, ...]:
    """Return the DER certificates of a PEM text that has nothing else; raise AgentError.

    A private key in what a server sent would be a trap (RFC 8555 section 9.1).
    """
    blocks = _PEM.findall(text[: MAX_PEM + 1])
    if len(text) > MAX_PEM or not blocks or _PEM.sub(b"", text).strip():
        raise AgentError("certificates in PEM, and nothing else, were expected")
    try:
        ders = [ssl.PEM_cert_to_DER_cert(one.decode("ascii").strip()) for one in blocks]
    except ValueError:
        raise AgentError("a certificate in PEM cannot be read") from None
    return tuple(one.public_bytes(Encoding.DER) for one in _parsed(ders))


def trusting(*roots: Root) -> ssl.SSLContext:
    """Return a context for clients: TLS 1.2 or later, names checked, these roots and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An end without TLS's own goodbye may be an attacker's. Older Pythons let it pass by default.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    for root in roots:
        context.load_verify_locations(cadata=root.der)
    return context


def validity(certificate: x509.Certificate) -> tuple[int, int]:
    """Return notBefore and notAfter in epoch seconds, with an old or a new cryptography."""
    if hasattr(certificate, "not_valid_before_utc"):  # since cryptography 42
        ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    else:
        ends = certificate.not_valid_before, certificate.not_valid_after
    start, end = (int(one.replace(tzinfo=UTC).timestamp()) for one in ends)
    return start, end


def _follow(
    start: x509.Certificate,
    others: Sequence[x509.Certificate],
    leads: Callable[[x509.Certificate, x509.Certificate], bool],
) -> Iterator[x509.Certificate]:
    """Yield those of `others` that `leads` joins to `start`, nearest first, each once."""
    reached, waiting = [start], list(others)
    for here in reached:  # grows
        for one in [one for one in waiting if leads(here, one)]:
            waiting.remove(one)
            reached.append(one)
            yield one


def signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Tell whether the issuer's name is that of `by` and the signature its key's."""
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signs(by: x509.Certificate, certificate: x509.Certificate) -> bool:
    return signed(certificate, by)


def _may_sign(certificate: x509.Certificate, below: int = 0) -> bool:
    """Tell whether it is a CA's, with room for `below` CAs under it (RFC 5280 section 4.2.1.9)."""
    basic = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        return False
    return basic.path_length is None or basic.path_length >= below


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Return an extension's value, None if it is not there or cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (*_UNREADABLE, x509.ExtensionNotFound):
        return None


def _parsed(ders: Iterable[bytes]) -> list[x509.Certificate]:
    """Return the certificates, each once; raise AgentError for too many or one that is none."""
    return list(dict.fromkeys(load(der) for der in _bounded(ders)))


def _bounded(ders: Iterable[bytes]) -> list[bytes]:
    some = list(islice(ders, MAX_CHAIN + 1))
    if len(some) > MAX_CHAIN:
        raise AgentError(f"more than {MAX_CHAIN} certificates in one chain")
    return some


def load(der: bytes) -> x509.Certificate:
    """Return the certificate in DER; raise AgentError. What is parsed late is parsed now."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        validity(certificate)
        hash((certificate.subject, certificate.issuer))
    except _UNREADABLE as error:
        raise AgentError(f"a certificate cannot be read: {_text(error)}") from None
    return certificate


def _spki_sha256(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def _name(certificate: x509.Certificate) -> str:
    """Return the common name, or all of a subject that has none."""
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return _text(common[0].value if common else certificate.subject.rfc4514_string())


def _text(value: object) -> str:
    """Return what strangers wrote, for a message: bounded, without control characters."""
    text = "".join(one if one.isprintable() else "." for one in str(value)[: _MAX_NAME + 1])
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 3] + "..."

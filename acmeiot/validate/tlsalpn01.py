"""tls-alpn-01: a certificate that the device shows for `acme-tls/1` (R-29, RFC 8737, RFC 8738).

The certificate proves by what it says, not by who signed it: it is self-signed, has exactly one
name, and holds the digest of the key authorization.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from acmeiot.lan.deadline import Deadline
from acmeiot.protocol.challenges import (
    ACME_IDENTIFIER_OID,
    ALPN,
    ProofCertificate,
    tlsalpn01_fault,
    tlsalpn01_sni,
)
from acmeiot.protocol.errors import TlsFailed, Unauthorized
from acmeiot.protocol.names import Identifier, IPAddress
from acmeiot.validate.dial import LIMIT, Dialler, quote, tls_reason, where

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_CERTIFICATE: Final = 16384  # bytes of DER
MAX_SUBJECTS: Final = 64


class TlsAlpn01:
    """Validates tls-alpn-01 challenges. `port` differs from 443 in tests."""

    def __init__(
        self,
        dialler: Dialler,
        *,
        port: int = 443,
        limit: float = LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialler = dialler
        self._port = port
        self._limit = limit
        self._monotonic = monotonic

    def validate(
        self, identifier: Identifier, key_authorization: str, addresses: Sequence[IPAddress]
    ) -> str:
        """Return the address that showed the right certificate.

        Raise ConnectionFailed, TlsFailed, or Unauthorized for a certificate that proves nothing.
        """
        deadline = Deadline(self._limit, self._monotonic)
        der, address = self._fetch(identifier, addresses, deadline)
        there = where(identifier, address, self._port)
        try:
            proof = read_proof(der)
        except ValueError as error:
            raise Unauthorized(
                f"{there}: its certificate cannot be read: {error}", identifier=identifier
            ) from None
        fault = tlsalpn01_fault(proof, identifier, key_authorization)
        if fault is not None:
            raise Unauthorized(
                f"{there}: its certificate for {ALPN} proves nothing: {fault}",
                identifier=identifier,
            )
        return str(address)

    def _fetch(
        self, identifier: Identifier, addresses: Sequence[IPAddress], deadline: Deadline
    ) -> tuple[bytes, IPAddress]:
        """Return the DER of the certificate shown, and the address that showed it."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        raw, address = self._dialler.connect(identifier, addresses, self._port, deadline)
        there = where(identifier, address, self._port)
        try:
            with raw:
                raw.settimeout(deadline.left())
                with context.wrap_socket(raw, server_hostname=tlsalpn01_sni(identifier)) as tls:
                    spoken = tls.selected_alpn_protocol()
                    der = tls.getpeercert(binary_form=True)
        except OSError as error:  # SSLError and TimeoutError are OSErrors
            raise TlsFailed(
                f"{there}: the TLS handshake for {ALPN} failed: {tls_reason(error)}; does the "
                "client answer tls-alpn-01 there?",
                identifier=identifier,
            ) from None
        if spoken != ALPN or der is None:
            raise TlsFailed(
                f"{there}: speaks TLS, but not {ALPN}; is the device's own web server answering "
                "instead of the client?",
                identifier=identifier,
            )
        return der, address


def read_proof(der: bytes) -> ProofCertificate:
    """Return what the certificate says; raise ValueError for one that cannot be read."""
    from cryptography import x509

    if len(der) > MAX_CERTIFICATE:
        raise ValueError(f"it is longer than {MAX_CERTIFICATE} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = list(certificate.extensions)
    except (
        ValueError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise ValueError(quote(str(error))) from None
    subjects: tuple[Identifier | str, ...] = ()
    acme_identifier, critical = None, False
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            subjects = tuple(_subject(name) for name in list(extension.value)[:MAX_SUBJECTS])
        elif extension.oid.dotted_string == ACME_IDENTIFIER_OID:
            critical = extension.critical
            if isinstance(extension.value, x509.UnrecognizedExtension):
                acme_identifier = extension.value.value
    return ProofCertificate(subjects, _self_signed(certificate), acme_identifier, critical)


def _subject(name: object) -> Identifier | str:
    from cryptography import x509

    if isinstance(name, x509.DNSName):
        return Identifier("dns", name.value.lower())
    if isinstance(name, x509.IPAddress):
        return Identifier("ip", str(name.value))
    return f"another kind of name ({type(name).__name__})"


def _self_signed(certificate: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True

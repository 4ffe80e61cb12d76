"""What proves a name: the exact values, paths and records of the three challenges.

RFC 8555 section 8 (http-01, dns-01), RFC 8737 (tls-alpn-01), RFC 8738 (IP addresses). Nothing
here connects to anybody; `acmeiot.validate` fetches, this module says what must be found.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from acmeiot.protocol import names
from acmeiot.protocol.names import Identifier

WELL_KNOWN: Final = "/.well-known/acme-challenge/"
DNS_LABEL: Final = "_acme-challenge."
ALPN: Final = "acme-tls/1"
ACME_IDENTIFIER_OID: Final = "1.3.6.1.5.5.7.1.31"

_OCTET_STRING_32: Final = b"\x04\x20"  # DER: the tag, and the length of a SHA-256 digest


def key_authorization(token: str, thumbprint: str) -> str:
    """Return the token and the account key's thumbprint, joined (RFC 8555 section 8.1)."""
    return f"{token}.{thumbprint}"


def http01_path(token: str) -> str:
    """Return the path to GET (R-27, RFC 8555 section 8.3)."""
    return WELL_KNOWN + token


def http01_matches(body: bytes, key_authorization: str) -> bool:
    """Tell whether the body is the key authorization; trailing whitespace may follow (R-27)."""
    return hmac.compare_digest(body.rstrip(b" \t\r\n"), key_authorization.encode())


def dns01_name(identifier: Identifier) -> str:
    """Return the name of the TXT record; a wildcard's is that of its base (R-28, 8555 8.4)."""
    return DNS_LABEL + identifier.base.value


def dns01_value(key_authorization: str) -> str:
    """Return what the TXT record must hold: 43 characters of base64url (R-28)."""
    digest = tlsalpn01_digest(key_authorization)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def dns01_matches(values: Iterable[str], key_authorization: str) -> bool:
    """Tell whether any of the TXT values is the right one (R-28, RFC 8555 section 8.4)."""
    wanted = dns01_value(key_authorization).encode()
    return any(hmac.compare_digest(value.encode(), wanted) for value in values)


def tlsalpn01_digest(key_authorization: str) -> bytes:
    """Return the 32 bytes that the acmeIdentifier extension must hold (R-29, RFC 8737 3)."""
    return hashlib.sha256(key_authorization.encode()).digest()


def tlsalpn01_sni(identifier: Identifier) -> str:
    """Return the server name to ask for: for an address its reverse name (RFC 8738 section 6)."""
    if identifier.type == "ip":
        return names.reverse_name(identifier.address)
    return identifier.base.value


@dataclass(frozen=True, slots=True)
class ProofCertificate:
    """What a certificate shown for tls-alpn-01 says.

    `subjects` is every subjectAltName in order; one that is neither a DNS name nor an address
    stands there as its kind and value in words. `acme_identifier` is the extension's DER.
    """

    subjects: tuple[Identifier | str, ...]
    self_signed: bool
    acme_identifier: bytes | None
    critical: bool


def tlsalpn01_fault(
    proof: ProofCertificate, identifier: Identifier, key_authorization: str
) -> str | None:
    """Return what is wrong with the certificate, for a person, or None (R-29, RFC 8737 3)."""
    if proof.subjects != (identifier.base,):
        found = ", ".join(str(subject) for subject in proof.subjects[:5]) or "none"
        more = f" and {len(proof.subjects) - 5} more" if len(proof.subjects) > 5 else ""
        return f"its names must be exactly {identifier.base}, they are {found}{more}"
    if not proof.self_signed:
        return "it is not self-signed"
    if proof.acme_identifier is None:
        return f"it has no acmeIdentifier extension ({ACME_IDENTIFIER_OID})"
    if not proof.critical:
        return "its acmeIdentifier extension is not critical"
    wanted = _OCTET_STRING_32 + tlsalpn01_digest(key_authorization)
    if len(proof.acme_identifier) != len(wanted) or proof.acme_identifier[:2] != wanted[:2]:
        return "its acmeIdentifier extension is not an OCTET STRING of 32 bytes"
    if not hmac.compare_digest(proof.acme_identifier, wanted):
        return "its acmeIdentifier extension is for another token or account key"
    return None

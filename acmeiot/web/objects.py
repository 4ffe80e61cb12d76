"""What clients see: the core's records as the JSON objects of RFC 8555 section 7.1."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from acmeiot.core.records import Account, Authorization, Certificate, Challenge, Order
from acmeiot.protocol.ari import Window
from acmeiot.protocol.messages import rfc3339
from acmeiot.protocol.states import AuthorizationStatus

Json = dict[str, object]

DIRECTORY: Final = "/acme/directory"
WELL_KNOWN: Final = "/.well-known/acme"
NEW_NONCE: Final = "/acme/new-nonce"
NEW_ACCOUNT: Final = "/acme/new-account"
NEW_ORDER: Final = "/acme/new-order"
NEW_AUTHZ: Final = "/acme/new-authz"
REVOKE_CERT: Final = "/acme/revoke-cert"
KEY_CHANGE: Final = "/acme/key-change"
RENEWAL_INFO: Final = "/acme/renewal-info"
ACCOUNT: Final = "/acme/account/"
ORDER: Final = "/acme/order/"
AUTHZ: Final = "/acme/authz/"
CHALLENGE: Final = "/acme/challenge/"
CERTIFICATE: Final = "/acme/cert/"


@dataclass(frozen=True, slots=True)
class Meta:
    """The directory's meta object; empty texts are left out (R-2)."""

    terms: str
    website: str
    caa_identities: tuple[str, ...]
    eab_required: bool
    profiles: dict[str, str]


def directory(base: str, meta: Meta) -> Json:
    """Return the directory object (RFC 8555 section 7.1.1, RFC 9773, profiles, RFC 9444)."""
    about: Json = {
        "externalAccountRequired": meta.eab_required,
        "profiles": meta.profiles,
        "subdomainAuthAllowed": True,
    }
    if meta.terms:
        about["termsOfService"] = meta.terms
    if meta.website:
        about["website"] = meta.website
    if meta.caa_identities:
        about["caaIdentities"] = list(meta.caa_identities)
    return {
        "newNonce": base + NEW_NONCE,
        "newAccount": base + NEW_ACCOUNT,
        "newOrder": base + NEW_ORDER,
        "newAuthz": base + NEW_AUTHZ,
        "revokeCert": base + REVOKE_CERT,
        "keyChange": base + KEY_CHANGE,
        "renewalInfo": base + RENEWAL_INFO,
        "meta": about,
    }


def account(base: str, record: Account) -> Json:
    """Return the account object (RFC 8555 section 7.1.2)."""
    document: Json = {
        "status": record.status.value,
        "contact": list(record.contact),
        "orders": f"{base}{ACCOUNT}{record.id}/orders",
    }
    if record.eab is not None:
        document["externalAccountBinding"] = dict(record.eab)
    return document


def order(base: str, record: Order) -> Json:
    """Return the order object (RFC 8555 section 7.1.3)."""
    document: Json = {
        "status": record.status.value,
        "expires": rfc3339(record.expires),
        "identifiers": [identifier.as_json() for identifier in record.identifiers],
        "profile": record.profile,
        "authorizations": [f"{base}{AUTHZ}{one}" for one in record.authorizations],
        "finalize": f"{base}{ORDER}{record.id}/finalize",
    }
    if record.not_before is not None:
        document["notBefore"] = rfc3339(record.not_before)
    if record.not_after is not None:
        document["notAfter"] = rfc3339(record.not_after)
    if record.replaces is not None:
        document["replaces"] = record.replaces
    if record.error is not None:
        document["error"] = dict(record.error)
    if record.certificate_id is not None:
        document["certificate"] = f"{base}{CERTIFICATE}{record.certificate_id}"
    return document


def authorization(base: str, record: Authorization) -> Json:
    """Return the authorization object (RFC 8555 section 7.1.4, R-24)."""
    document: Json = {
        "identifier": record.identifier.as_json(),
        "status": record.status.value,
        "challenges": [challenge(base, record, one) for one in record.challenges],
    }
    if record.status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
        document["expires"] = rfc3339(record.expires)
    if record.wildcard:
        document["wildcard"] = True
    if record.subdomains:
        document["subdomainAuthAllowed"] = True
    return document


def challenge_url(base: str, record: Authorization, one: Challenge) -> str:
    """Return the URL of a challenge."""
    return f"{base}{CHALLENGE}{record.id}/{one.type.value}"


def challenge(base: str, record: Authorization, one: Challenge) -> Json:
    """Return the challenge object (RFC 8555 section 7.1.5)."""
    document: Json = {
        "type": one.type.value,
        "url": challenge_url(base, record, one),
        "status": one.status.value,
        "token": one.token,
    }
    if one.validated is not None:
        document["validated"] = rfc3339(one.validated)
    if one.error is not None:
        document["error"] = dict(one.error)
    return document


def renewal(record: Window) -> Json:
    """Return the renewal information object (RFC 9773 section 4.2)."""
    return {"suggestedWindow": {"start": rfc3339(record.start), "end": rfc3339(record.end)}}


def certificate_alternates(base: str, record: Certificate, chains: int, shown: int) -> list[str]:
    """Return the Link values of the other chains of a certificate (R-30)."""
    url = f"{base}{CERTIFICATE}{record.id}"
    urls = [url, *(f"{url}/{number}" for number in range(1, chains))]
    return [f'<{other}>;rel="alternate"' for other in urls if other != urls[shown]]


def pem_chain(leaf: bytes, issuers: Sequence[bytes]) -> str:
    """Return a leaf and the certificates above it as PEM."""
    return "".join((ssl.DER_cert_to_PEM_cert(leaf), *map(pem, issuers)))


@lru_cache(maxsize=16)
def pem(der: bytes) -> str:
    """Return an issuer's certificate as PEM; the few are asked for again and again."""
    return ssl.DER_cert_to_PEM_cert(der)

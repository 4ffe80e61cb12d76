"""Request payloads as frozen objects: what a client may send, checked where it is built.

Unknown members are ignored, as RFC 8555 asks; known ones of the wrong type are refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from acmeiot.protocol import names
from acmeiot.protocol.errors import (
    AcmeError,
    Compound,
    InvalidContact,
    Malformed,
    RejectedIdentifier,
    UnsupportedContact,
    UnsupportedIdentifier,
)
from acmeiot.protocol.jose import b64decode, load_json
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import BadName, Identifier

MAX_CONTACTS: Final = 10
MAX_CONTACT: Final = 300

# RFC 3339 section 5.6. ISO 8601 has more forms, and each Python takes a few more of them.
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


@lru_cache(maxsize=256)
def rfc3339(seconds: int) -> str:
    """Return the time as RFC 3339 has it, in UTC, whole seconds."""
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: object, what: str) -> int:
    """Return the seconds since 1970 of an RFC 3339 time; raise Malformed naming `what`."""
    try:
        if not isinstance(text, str) or not _RFC3339.fullmatch(text.upper()):
            raise ValueError("not the form of section 5.6")
        return int(datetime.fromisoformat(text.upper()).timestamp())
    except ValueError:
        raise Malformed(f"{what} is not an RFC 3339 time such as 2030-01-31T12:00:00Z") from None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The payload of newAccount (RFC 8555 section 7.3)."""

    contact: tuple[str, ...]
    agreed: bool
    only_existing: bool
    eab: dict[str, Any] | None

    @classmethod
    def parse(cls, payload: bytes) -> NewAccount:
        """Build from the payload; raise Malformed, InvalidContact or UnsupportedContact."""
        document = load_json(payload, "the payload")
        eab = document.get("externalAccountBinding")
        if eab is not None and not isinstance(eab, dict):
            raise Malformed("externalAccountBinding is not a JSON object")
        return cls(
            contact=contacts(document.get("contact", [])),
            agreed=_flag(document, "termsOfServiceAgreed"),
            only_existing=_flag(document, "onlyReturnExisting"),
            eab=eab,
        )


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """A POST to an account (RFC 8555 sections 7.3.2 and 7.3.6). None leaves a member as it is."""

    contact: tuple[str, ...] | None
    deactivate: bool

    @classmethod
    def parse(cls, payload: bytes) -> AccountUpdate:
        """Build from the payload; errors as NewAccount."""
        document = load_json(payload, "the payload")
        contact = contacts(document["contact"]) if "contact" in document else None
        return cls(contact, _deactivates(document))


def contacts(value: object) -> tuple[str, ...]:
    """Return the contact URLs: `https:` (A-3.2.2-1) or a plain `mailto:` (R-14).

    Whether an https contact's host is of this home is policy.
    """
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise Malformed("contact is not an array of strings")
    if len(value) > MAX_CONTACTS:
        raise InvalidContact(f"at most {MAX_CONTACTS} contacts")
    for url in value:
        _check_contact(url)
    return tuple(value)


def _check_contact(url: str) -> None:
    scheme, _, rest = url.partition(":")
    if scheme.lower() not in ("mailto", "https"):
        raise UnsupportedContact(f"contact {url[:80]!a}: use https:, one per name, or mailto:")
    if len(url) > MAX_CONTACT or not url.isascii() or not url.isprintable():
        raise InvalidContact(f"a contact is printable ASCII of at most {MAX_CONTACT} characters")
    if scheme.lower() == "mailto":
        # RFC 8555 section 7.3: no hfields, a single addr-spec.
        local, _, domain = rest.partition("@")
        if not local or not domain or any(c in rest for c in "?,; <>") or "@" in domain:
            raise InvalidContact(f"contact {url[:80]!a} is not mailto: with one plain address")


def contact_host(url: str) -> str | None:
    """Return the host of an `https:` contact, None for another scheme; raise InvalidContact."""
    from urllib.parse import urlsplit

    if not url.lower().startswith("https:"):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - reading it is the check; it raises ValueError
    except ValueError:
        host = None
    if not host or parts.username is not None:
        raise InvalidContact(f"contact {url[:80]!a} is not https:// with a host name")
    return host


@dataclass(frozen=True, slots=True)
class WantedName:
    """An identifier of newOrder, and the ancestor that the client offers to prove (RFC 9444)."""

    identifier: Identifier
    ancestor: Identifier | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """The payload of newOrder (RFC 8555 section 7.4, RFC 9773, RFC 9444, profiles)."""

    wanted: tuple[WantedName, ...]
    not_before: int | None
    not_after: int | None
    profile: str | None
    replaces: str | None

    @classmethod
    def parse(cls, payload: bytes, max_names: int) -> NewOrder:
        """Build from the payload; raise Malformed, or a refusal with subproblems (R-19, R-20)."""
        document = load_json(payload, "the payload")
        return cls(
            wanted=_wanted(document.get("identifiers"), max_names),
            not_before=_time(document, "notBefore"),
            not_after=_time(document, "notAfter"),
            profile=_optional_text(document, "profile"),
            replaces=_optional_text(document, "replaces"),
        )

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """Return the identifiers, each once."""
        return tuple(name.identifier for name in self.wanted)


def _wanted(value: object, max_names: int) -> tuple[WantedName, ...]:
    if not isinstance(value, list) or not value:
        raise Malformed("identifiers is not a non-empty array")
    if len(value) > max_names:
        raise RejectedIdentifier(f"at most {max_names} identifiers in one order")
    found: dict[Identifier, WantedName] = {}
    problems: list[AcmeError] = []
    for item in value:
        try:
            name = _wanted_name(item)
        except (Malformed, UnsupportedIdentifier) as error:
            problems.append(error)
        else:
            found.setdefault(name.identifier, name)
    if problems:
        raise together(problems)
    return tuple(found.values())


def _wanted_name(item: object) -> WantedName:
    if not isinstance(item, dict):
        raise Malformed("an identifier is a JSON object")
    identifier = parse_identifier(item)
    ancestor = item.get("ancestorDomain")
    if ancestor is None:
        return WantedName(identifier)
    if identifier.type != "dns" or not isinstance(ancestor, str):
        raise Malformed("ancestorDomain is a string beside a dns identifier")
    parent = parse_identifier({"type": "dns", "value": ancestor})
    if not names.under(identifier.base.value, parent.value):
        raise Malformed(f"ancestorDomain {parent} is not above {identifier}")
    return WantedName(identifier, parent)


def load_identifier(payload: bytes) -> tuple[Identifier, bool]:
    """Return newAuthz's identifier and `subdomainAuthAllowed` (R-25, RFC 9444 section 4.2)."""
    document = load_json(payload, "the payload")
    item = document.get("identifier")
    if not isinstance(item, dict):
        raise Malformed("identifier is missing or not a JSON object")
    return parse_identifier(item), _flag(item, "subdomainAuthAllowed")


def parse_identifier(item: dict[str, Any]) -> Identifier:
    """Return the identifier object's identifier; raise Malformed or UnsupportedIdentifier."""
    try:
        return names.parse(item)
    except BadName as error:
        raise Malformed(str(error)) from None
    except KeyError:
        raise UnsupportedIdentifier(
            f"identifier type {str(item.get('type'))[:40]!a} is not supported; use dns or ip"
        ) from None


def together(problems: list[AcmeError]) -> AcmeError:
    """Return one error for all: the only one, their common type, or compound (RFC 8555 6.7.1)."""
    first = problems[0]
    if len(problems) == 1 and first.identifier is None:
        return first
    detail = "; ".join(problem.detail for problem in problems)
    if all(type(problem) is type(first) for problem in problems):
        return type(first)(detail, subproblems=problems)
    return Compound(detail, subproblems=problems)


@dataclass(frozen=True, slots=True)
class Revocation:
    """The payload of revokeCert (RFC 8555 section 7.6)."""

    certificate: bytes
    reason: int | None

    @classmethod
    def parse(cls, payload: bytes) -> Revocation:
        """Build from the payload; raise Malformed."""
        document = load_json(payload, "the payload")
        reason = document.get("reason")
        if reason is not None and (not isinstance(reason, int) or isinstance(reason, bool)):
            raise Malformed("reason is not an integer")
        return cls(_der(document, "certificate"), reason)


def csr_of(payload: bytes) -> bytes:
    """Return the DER of finalize's CSR (RFC 8555 section 7.4); raise Malformed."""
    return _der(load_json(payload, "the payload"), "csr")


def deactivation(payload: bytes) -> bool:
    """Tell whether a POST to an authorization gives it up (R-24); raise Malformed."""
    return _deactivates(load_json(payload, "the payload"))


def _deactivates(document: dict[str, Any]) -> bool:
    status = document.get("status")
    if status not in (None, "deactivated", "valid"):
        raise Malformed(f"status can only be changed to deactivated, not to {str(status)[:40]!a}")
    return status == "deactivated"


def _der(document: dict[str, Any], name: str) -> bytes:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is missing or not a string")
    if value.startswith("-----"):
        raise Malformed(f"{name} is base64url of the DER, not PEM")
    return b64decode(value, name)


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is not true or false")
    return value


def _time(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    return None if value is None else parse_rfc3339(value, name)


def _optional_text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    return value

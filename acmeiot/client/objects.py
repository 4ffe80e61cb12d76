"""What an ACME server shows, checked where it is read (RFC 8555 section 7.1).

Each `of` raises Garbled for what is no such object. Unknown members are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from acmeiot.client.http import Garbled, Response
from acmeiot.client.problem import Problem, printable, retry_after
from acmeiot.protocol import names
from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.messages import parse_rfc3339
from acmeiot.protocol.names import BadName, Identifier

MAX_PARTS: Final = 100  # authorizations of an order, challenges of an authorization
# It becomes a path and a file's name: nothing but base64url (RFC 8555 section 8.3).
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ARI_PATIENCE: Final = (60, 86400)  # RFC 9773 section 4.3.2: a minute to a day


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a server's resources are; empty for one it has not (RFC 8555 section 7.1.1)."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str
    key_change: str
    renewal_info: str
    terms: str
    profiles: Mapping[str, str]
    eab_required: bool

    @classmethod
    def of(cls, response: Response) -> Directory:
        """Return the directory in an answer."""
        document = response.document()
        for name in ("newNonce", "newAccount", "newOrder"):
            if name not in document:
                raise Garbled(f"{response.url} is no ACME directory: it has no {name}")

        def url(name: str) -> str:
            return response.resolve(document[name], name) if name in document else ""

        meta = _mapping(document.get("meta"))
        profiles = _mapping(meta.get("profiles"))
        return cls(
            new_nonce=url("newNonce"),
            new_account=url("newAccount"),
            new_order=url("newOrder"),
            revoke_cert=url("revokeCert"),
            key_change=url("keyChange"),
            renewal_info=url("renewalInfo"),
            terms=printable(meta.get("termsOfService")),
            profiles={printable(name): printable(text) for name, text in profiles.items()},
            eab_required=meta.get("externalAccountRequired") is True,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """An account; `url` is what names it in requests (RFC 8555 section 7.1.2)."""

    url: str
    status: str
    contacts: tuple[str, ...]
    created: bool

    @classmethod
    def of(cls, response: Response) -> Account:
        """Return the account in an answer to newAccount."""
        document = response.document()
        contacts = document.get("contact")
        some = contacts[:MAX_PARTS] if isinstance(contacts, list) else ()
        return cls(
            response.resolve(response.headers.get("Location"), "Location"),
            printable(document.get("status")),
            tuple(printable(one) for one in some),
            response.status == 201,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """An order (RFC 8555 section 7.1.3); `retry_after` is when to look again, seconds."""

    url: str
    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    error: Problem | None
    retry_after: int | None

    @classmethod
    def of(cls, response: Response, url: str, now: int) -> Order:
        """Return the order in an answer; `url` is its own."""
        document = response.document()
        certificate = document.get("certificate")
        return cls(
            url=url,
            status=_status(response, document),
            identifiers=tuple(map(_identifier, _list(document, "identifiers"))),
            authorizations=tuple(
                response.resolve(one, "authorizations") for one in _list(document, "authorizations")
            ),
            finalize=response.resolve(document.get("finalize"), "finalize"),
            certificate=response.resolve(certificate, "certificate") if certificate else "",
            error=_error(document),
            retry_after=retry_after(response, now),
        )


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge (RFC 8555 section 7.1.5), and for which name or address it is.

    While it is `processing`, `error` says what the server waits for.
    """

    type: str
    url: str
    status: str
    token: str
    identifier: Identifier
    error: Problem | None

    @classmethod
    def of(cls, response: Response, document: object, identifier: Identifier) -> Challenge:
        """Return a challenge in an answer."""
        members = _mapping(document)
        token = members.get("token", "")
        if not isinstance(token, str) or (token and not _TOKEN.fullmatch(token)):
            raise Garbled(f"a challenge's token is not base64url: {str(token)[:40]!a}")
        return cls(
            type=printable(members.get("type"), 40),
            url=response.resolve(members.get("url"), "a challenge's url"),
            status=_status(response, members),
            token=token,
            identifier=identifier,
            error=_error(members),
        )


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization (RFC 8555 section 7.1.4)."""

    url: str
    status: str
    identifier: Identifier
    challenges: tuple[Challenge, ...]
    retry_after: int | None

    @classmethod
    def of(cls, response: Response, url: str, now: int) -> Authorization:
        """Return the authorization in an answer; `url` is its own."""
        document = response.document()
        identifier = _identifier(document.get("identifier"))
        challenges = _list(document, "challenges")
        return cls(
            url=url,
            status=_status(response, document),
            identifier=identifier,
            challenges=tuple(Challenge.of(response, one, identifier) for one in challenges),
            retry_after=retry_after(response, now),
        )

    @property
    def problem(self) -> Problem | None:
        """Return why it failed, or what it waits for."""
        return next((one.error for one in self.challenges if one.error is not None), None)


@dataclass(frozen=True, slots=True)
class Renewal:
    """When to renew, epoch seconds, and in how many seconds to ask again (RFC 9773)."""

    start: int
    end: int
    retry_after: int
    explanation: str

    @classmethod
    def of(cls, response: Response, now: int, default: int) -> Renewal:
        """Return the renewal information in an answer."""
        document = response.document()
        window = _mapping(document.get("suggestedWindow"))
        try:
            start, end = (parse_rfc3339(window.get(one), one) for one in ("start", "end"))
        except (Malformed, OverflowError) as error:
            raise Garbled(f"{response.url}: {error}") from None
        if end <= start:
            raise Garbled(f"{response.url}: the suggested window ends before it starts")
        least, most = _ARI_PATIENCE
        again = retry_after(response, now)
        return cls(
            start,
            end,
            max(least, min(default if again is None else again, most)),
            printable(document.get("explanationURL"), 300),
        )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list) or len(value) > MAX_PARTS:
        raise Garbled(f"{name} is not an array of at most {MAX_PARTS}")
    return value


def _status(response: Response, document: Mapping[str, Any]) -> str:
    status = document.get("status")
    if not isinstance(status, str):
        raise Garbled(f"{response.url}: an object without status")
    return printable(status, 40)


def _identifier(value: object) -> Identifier:
    try:
        return names.parse(_mapping(value))
    except (BadName, KeyError) as error:
        raise Garbled(f"the server names what is no name: {error}") from None


def _error(document: Mapping[str, Any]) -> Problem | None:
    error = document.get("error")
    return Problem.of(error) if isinstance(error, dict) else None

"""Which redirects of an http-01 answer may be followed: those that stay on the same device.

A redirect is a request that a stranger words and this server makes. So a target is followed only
to ports 80 and 443 of an address that the validation began with; everything else is refused, with
the rule in the error (R-27, specs 6 "SSRF").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from acmeiot.core.records import Resolution
from acmeiot.protocol import names
from acmeiot.protocol.errors import ConnectionFailed, DnsFailed
from acmeiot.protocol.names import Identifier, IPAddress
from acmeiot.validate.dial import quote

STATUSES: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
MAX_URL: Final = 2048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next request goes: `path` holds the query too."""

    scheme: str
    target: Identifier
    port: int
    path: str
    addresses: tuple[IPAddress, ...]

    @property
    def host_header(self) -> str:
        """Return the Host header's value: the port only where it is not the scheme's own."""
        host = self.target.value
        if self.target.type == "ip" and self.target.address.version == 6:
            host = f"[{host}]"
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the place as a URL."""
        return f"{self.scheme}://{self.host_header}{self.path}"


class _RefusedError(Exception):
    """A redirect that breaks the rule in the message."""


def follow(
    identifier: Identifier,
    here: Place,
    location: str | None,
    allowed: Sequence[IPAddress],
    ports: Iterable[int],
    resolve: Callable[[str], Resolution],
) -> Place:
    """Return the redirect's target; raise ConnectionFailed naming it and the rule it breaks.

    `allowed` are the addresses that the validation began with.
    """
    try:
        scheme, target, port, path = _read(here, location, ports)
        addresses = _same_device(identifier, target, allowed, resolve)
        if not addresses:
            raise _RefusedError("its host is another device than the one being validated")
    except _RefusedError as rule:
        raise ConnectionFailed(
            f"{identifier} redirects to {quote(location or '')}, which is not followed: {rule}",
            identifier=identifier,
        ) from None
    return Place(scheme, target, port, path, addresses)


def _read(
    here: Place, location: str | None, ports: Iterable[int]
) -> tuple[str, Identifier, int, str]:
    """Return scheme, host, port and path with query, where the URL alone breaks no rule."""
    from urllib.parse import urljoin, urlsplit

    if not location:
        raise _RefusedError("it has no Location")
    if len(location) > MAX_URL or not all("!" <= one <= "~" for one in location):
        # urlsplit would drop line ends silently, and the request line must not have any.
        raise _RefusedError(f"a URL has at most {MAX_URL} characters, all printable ASCII")
    try:
        parts = urlsplit(urljoin(here.url, location))
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise _RefusedError("it is not a URL") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise _RefusedError("only http and https are allowed")
    if "@" in parts.netloc or "\\" in location:
        raise _RefusedError("a URL here has no user, password or backslash")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if port not in ports:
        listed = " and ".join(str(one) for one in sorted(ports))
        raise _RefusedError(f"only the ports {listed} are allowed")
    query = f"?{parts.query}" if parts.query else ""
    return parts.scheme, _identifier(host), port, (parts.path or "/") + query


def _identifier(host: str) -> Identifier:
    try:
        return Identifier("ip", str(ipaddress.ip_address(host)))
    except ValueError:
        try:
            return names.dns(host)
        except names.BadName as error:
            raise _RefusedError(str(error)) from None


def _same_device(
    identifier: Identifier,
    target: Identifier,
    allowed: Sequence[IPAddress],
    resolve: Callable[[str], Resolution],
) -> tuple[IPAddress, ...]:
    """Return those of the allowed addresses that the target has."""
    if target == identifier:
        return tuple(allowed)  # never looked up again: a second answer could differ
    if target.type == "ip":
        return tuple(one for one in allowed if one == target.address)
    try:
        there = resolve(target.value).addresses
    except DnsFailed:
        return ()
    return tuple(one for one in allowed if str(one) in there)

"""HTTPS to the server that was found: pinned roots, known LAN addresses, everything bounded.

The standard library's `http.client` reads and writes the messages; what it reads from counts the
bytes and the seconds of each answer. Nothing here asks DNS, and no redirect leads off the host.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

from acmeiot import __version__
from acmeiot.client.dial import Unreachable, connect, over_tls, tls_reason
from acmeiot.client.errors import AgentError
from acmeiot.lan.deadline import Deadline
from acmeiot.protocol import names
from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.jose import load_json

TIMEOUT: Final = 30.0
MAX_BODY: Final = 256 * 1024
MAX_ANSWER: Final = MAX_BODY + 64 * 1024  # status line, header fields and framing, too
MAX_URL: Final = 2000
MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = (301, 302, 303, 307, 308)

Place = tuple[str, int]  # host and port
Lookup = Callable[[str, int], Sequence[str]]


class Garbled(AgentError):
    """The server answers what is no HTTP, or no ACME, or more than anybody needs."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `url` is where it came from, after redirects. Header names have no case."""

    status: int
    headers: http.client.HTTPMessage = field(repr=False)
    body: bytes = field(repr=False)
    url: str

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object; raise Garbled."""
        try:
            return load_json(self.body, f"the answer of {self.url}")
        except Malformed as error:
            raise Garbled(str(error)) from None

    def resolve(self, reference: object, what: str) -> str:
        """Return the absolute https URL that this answer's `what` means; raise Garbled."""
        try:
            if not isinstance(reference, str) or not reference:
                raise ValueError(f"it is {ascii(reference)[:40]}")
            url = urljoin(self.url, reference)
            split(url)
        except (ValueError, AgentError) as error:
            raise Garbled(f"{what} in the answer of {self.url} is no https URL: {error}") from None
        return url


def split(url: str) -> tuple[Place, str]:
    """Return host and port, and the path to ask for; raise AgentError for no https URL."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise AgentError(f"{url[:80]!a} is no URL")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme != "https" or parts.username is not None or port == 0:
            raise ValueError(url)
        host = _host(host)
    except ValueError:
        raise AgentError(f"{url[:80]!a} is not https://HOST[:PORT]/PATH") from None
    query = f"?{parts.query}" if parts.query else ""
    return (host, port or 443), (parts.path or "/") + query


def _host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return names.dns(host).value  # BadName is a ValueError


class Http:
    """A client of one server at a time, whose connection is kept while it is used. One thread.

    `addresses` is what was resolved before, by host and port, or what resolves them; `timeout` is
    for each request as a whole, seconds.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        addresses: Mapping[Place, Sequence[str]] | Lookup,
        timeout: float = TIMEOUT,
        user_agent: str = f"acmeiot/{__version__}",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._addresses = addresses
        self._timeout = timeout
        self._user_agent = user_agent
        self._monotonic = monotonic
        self._kept: _Kept | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._kept is not None:
            self._kept.stream.hang_up()
        self._kept = None

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the answer, of any status.

        Raise Unreachable, Untrusted, Garbled, or AgentError for a URL or redirect not followed.
        """
        deadline = Deadline(self._timeout, self._monotonic)
        (home, _), _ = split(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._exchange(method, url, body, headers or {}, deadline)
            if response.status not in _REDIRECTS:
                return response
            # What is signed is signed for its URL: only what was read can be read elsewhere.
            if method not in ("GET", "HEAD"):
                raise AgentError(f"{url} redirects a {method}, which is not followed")
            url = response.resolve(response.headers.get("Location"), "Location")
            if split(url)[0][0] != home:
                raise AgentError(f"{response.url} redirects to another host, {url}; not followed")
        raise AgentError(f"{url}: more than {MAX_REDIRECTS} redirects")

    def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> Response:
        place, path = split(url)
        fields = {"User-Agent": self._user_agent, **headers}
        while True:
            kept = self._kept is not None and self._kept.place == place
            connection = self._connection(place, deadline)
            try:
                connection.request(method, path, body, fields)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not _broke_off(error):
                    raise _failure(url, error) from None
                if not kept:  # a server may close what was idle, at any moment
                    raise Unreachable(f"{url}: the server broke off: {tls_reason(error)}") from None
            else:
                return self._read(url, answer)

    def _connection(self, place: Place, deadline: Deadline) -> http.client.HTTPSConnection:
        """Return the kept connection if it leads there, else a new one."""
        if self._kept is None or self._kept.place != place:
            self.close()
            self._kept = self._connect(place, deadline)
        self._kept.stream.begin(deadline)
        return self._kept.connection

    def _connect(self, place: Place, deadline: Deadline) -> _Kept:
        host, port = place
        raw = connect(self._resolved(place), port, deadline)
        stream = _Stream(over_tls(raw, self._context, host, deadline))
        connection = http.client.HTTPSConnection(host, port, context=self._context)
        connection.auto_open = 0  # it would resolve the name anew
        connection.sock = stream
        return _Kept(place, connection, stream)

    def _resolved(self, place: Place) -> Sequence[str]:
        host, port = place
        if callable(self._addresses):
            found: Sequence[str] = self._addresses(host, port)
        else:
            found = self._addresses.get(place, ())
        if not found:
            raise Unreachable(f"no address is known for {host} port {port}")
        return found

    def _read(self, url: str, answer: http.client.HTTPResponse) -> Response:
        whole = False
        try:
            if (answer.length or 0) > MAX_BODY:
                raise _TooMuchError
            body = answer.read(MAX_BODY + 1)
            if len(body) > MAX_BODY:
                raise _TooMuchError
            if answer.length:
                raise Unreachable(f"{url}: the server broke off in the middle of its answer")
            whole = True
            return Response(answer.status, answer.msg, body, url)
        except (OSError, http.client.HTTPException) as error:
            raise _failure(url, error) from None
        finally:
            if not whole or answer.will_close:
                answer.close()
                self.close()


class _TooMuchError(http.client.HTTPException):
    """The answer is longer than what is read."""


@dataclass(frozen=True, slots=True)
class _Kept:
    place: Place
    connection: http.client.HTTPSConnection
    stream: _Stream


def _broke_off(error: Exception) -> bool:
    """Tell whether the server ended the connection; older Pythons have no class for it."""
    ends = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
    unexpected = getattr(error, "reason", None) == "UNEXPECTED_EOF_WHILE_READING"
    return isinstance(error, ends) or unexpected


def _failure(url: str, error: Exception) -> AgentError:
    if isinstance(error, _TooMuchError):
        return Garbled(f"{url}: the answer is longer than {MAX_BODY} bytes")
    if isinstance(error, OSError | http.client.IncompleteRead):
        return Unreachable(f"{url}: {tls_reason(error)}")
    why = ascii(str(error) or type(error).__name__)[:100]
    return Garbled(f"{url}: the answer is no HTTP: {why}")


class _Stream:
    """The TLS socket as `http.client` uses one, with an end to each answer's bytes and seconds."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._deadline = Deadline(0)

    def begin(self, deadline: Deadline) -> None:
        """Let the next request and its answer take until `deadline`."""
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send; the deadline is for all of it."""
        self._tls.settimeout(self._deadline.left())
        self._tls.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file of one answer."""
        return io.BufferedReader(_Answer(self._tls, self._deadline))

    def close(self) -> None:
        """Do nothing: `http.client` closes before it reads the last answer of a connection."""

    def hang_up(self) -> None:
        """Close the socket."""
        self._tls.close()


class _Answer(io.RawIOBase):
    """One answer as it arrives, cut off at the deadline and at MAX_ANSWER bytes."""

    def __init__(self, tls: ssl.SSLSocket, deadline: Deadline) -> None:
        super().__init__()
        self._tls, self._deadline, self._bytes_left = tls, deadline, MAX_ANSWER

    def readable(self) -> bool:
        """Tell BufferedReader that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Receive into `buffer`; the time left shrinks however few bytes each read brings."""
        if self._bytes_left <= 0:
            raise _TooMuchError
        self._tls.settimeout(self._deadline.left())
        count = self._tls.recv_into(buffer)
        self._bytes_left -= count
        return count

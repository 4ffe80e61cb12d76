"""http-01: GET the key authorization from the device itself (R-27, RFC 8555 section 8.3).

Everything is bounded: ten seconds for all of it however slowly bytes drip, 4 KiB of body, 32 KiB
of answer, five redirects that stay on the device. A TLS certificate met on a redirect is not
checked: it is what the device is here to get.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from acmeiot.core.records import Resolution
from acmeiot.lan.deadline import Deadline
from acmeiot.protocol.challenges import http01_matches, http01_path
from acmeiot.protocol.errors import ConnectionFailed, IncorrectResponse, TlsFailed
from acmeiot.protocol.names import Identifier, IPAddress
from acmeiot.validate.dial import LIMIT, Dialler, quote, tls_reason, where
from acmeiot.validate.redirect import MAX_REDIRECTS, STATUSES, Place, follow

if TYPE_CHECKING:
    from http.client import HTTPResponse

MAX_BODY: Final = 4096
MAX_ANSWER: Final = 32768  # status line, header fields and body together


class Http01:
    """Validates http-01 challenges. `port` and `tls_port` differ from 80 and 443 in tests."""

    def __init__(
        self,
        dialler: Dialler,
        resolve: Callable[[str], Resolution],
        *,
        port: int = 80,
        tls_port: int = 443,
        limit: float = LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialler = dialler
        self._resolve = resolve
        self._port = port
        self._ports = frozenset({80, 443, port, tls_port})
        self._limit = limit
        self._monotonic = monotonic

    def validate(
        self,
        token: str,
        identifier: Identifier,
        key_authorization: str,
        addresses: Sequence[IPAddress],
    ) -> str:
        """Return the address that answered rightly.

        Raise ConnectionFailed, IncorrectResponse, or TlsFailed for a redirect to https.
        """
        deadline = Deadline(self._limit, self._monotonic)
        self._dialler.check(identifier, addresses)
        allowed = tuple(addresses)
        place = Place("http", identifier, self._port, http01_path(token), allowed)
        for _ in range(MAX_REDIRECTS + 1):
            status, body, location, address = self._get(identifier, place, deadline)
            if status not in STATUSES:
                _judge(identifier, place, address, status, body, key_authorization)
                return str(address)
            place = follow(identifier, place, location, allowed, self._ports, self._resolve)
        raise ConnectionFailed(
            f"{identifier} redirects more than {MAX_REDIRECTS} times, the last time to "
            f"{quote(place.url)}",
            identifier=identifier,
        )

    def _get(
        self, identifier: Identifier, place: Place, deadline: Deadline
    ) -> tuple[int, bytes, str | None, IPAddress]:
        from http.client import HTTPException

        raw, address = self._dialler.connect(identifier, place.addresses, place.port, deadline)
        there = where(identifier, address, place.port)
        with raw:
            if place.scheme == "https":
                raw = _over_tls(raw, identifier, place, there, deadline)
            try:
                answer = _request(raw, place, deadline)
                with answer:
                    return answer.status, answer.read(MAX_BODY + 1), _location(answer), address
            except TimeoutError:
                raise ConnectionFailed(
                    f"{there}: took the connection, but its answer was not complete after "
                    f"{self._limit:g} s",
                    identifier=identifier,
                ) from None
            except (HTTPException, _TooMuchError) as error:
                raise IncorrectResponse(
                    f"{there}: the answer is not HTTP as expected: {_why(error)}",
                    identifier=identifier,
                ) from None
            except OSError as error:
                raise ConnectionFailed(
                    f"{there}: took the connection and broke it off: {error.strerror or error}",
                    identifier=identifier,
                ) from None
            finally:
                raw.close()


def _judge(
    identifier: Identifier,
    place: Place,
    address: IPAddress,
    status: int,
    body: bytes,
    key_authorization: str,
) -> None:
    """Raise IncorrectResponse unless this is the key authorization (R-27)."""
    there = f"{place.url} at {address}"
    if status != 200:
        hint = "; did the client put the file there?" if status == 404 else ""
        raise IncorrectResponse(
            f"{there} answers with HTTP status {status}, 200 was expected{hint}",
            identifier=identifier,
        )
    if len(body) > MAX_BODY:
        raise IncorrectResponse(
            f"{there} answers with more than {MAX_BODY} bytes: {quote(body)}",
            identifier=identifier,
        )
    if not http01_matches(body, key_authorization):
        raise IncorrectResponse(
            f"{there} answers {quote(body)}, the key authorization was expected; is another "
            "program answering on this port?",
            identifier=identifier,
        )


def _request(raw: socket.socket, place: Place, deadline: Deadline) -> HTTPResponse:
    """Send the GET and read the answer's head."""
    from http.client import HTTPResponse

    raw.settimeout(deadline.left())
    # Host and path are ASCII without blanks or line ends: names, addresses, a checked URL.
    raw.sendall(
        f"GET {place.path} HTTP/1.1\r\nHost: {place.host_header}\r\nUser-Agent: acmeiot\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    answer = HTTPResponse(cast(socket.socket, _Answer(raw, deadline)), method="GET")
    try:
        answer.begin()
    except BaseException:
        answer.close()
        raise
    return answer


class _TooMuchError(Exception):
    """The answer is longer than MAX_ANSWER."""


class _Answer(io.RawIOBase):
    """The answering side of a socket, cut off at the deadline and at MAX_ANSWER bytes."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._deadline = deadline
        self._bytes_left = MAX_ANSWER

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that `http.client` asks a socket for."""
        return io.BufferedReader(self, 2048)

    def readable(self) -> bool:
        """Tell BufferedReader that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Receive into `buffer`; the time left shrinks however few bytes each read brings."""
        if self._bytes_left <= 0:
            raise _TooMuchError(f"it is longer than {MAX_ANSWER} bytes")
        self._raw.settimeout(self._deadline.left())
        count = self._raw.recv_into(buffer)
        self._bytes_left -= count
        return count


def _location(answer: HTTPResponse) -> str | None:
    return answer.getheader("Location") if answer.status in STATUSES else None


def _why(error: Exception) -> str:
    return quote(str(error) or type(error).__name__)


def _over_tls(
    raw: socket.socket, identifier: Identifier, place: Place, there: str, deadline: Deadline
) -> socket.socket:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    name = place.target.value if place.target.type == "dns" else None
    try:
        raw.settimeout(deadline.left())
        return context.wrap_socket(raw, server_hostname=name)
    except OSError as error:  # SSLError and TimeoutError are OSErrors
        raise TlsFailed(
            f"{there}: the TLS handshake failed: {tls_reason(error)}",
            identifier=identifier,
        ) from None

"""What a device answers to http-01, redirects included (R-27)."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, cast

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.core.records import Resolution
    from acmeiot.protocol import names
    from acmeiot.protocol.errors import ConnectionFailed, DnsFailed, IncorrectResponse, TlsFailed
    from acmeiot.validate.dial import Dialler
    from acmeiot.validate.http01 import Http01

PRINTER = names.dns("printer.lan")
ADDRESS = ipaddress.ip_address("192.168.1.20")


class Device:
    """A socket whose other end sends the same bytes on each connection, and speaks no TLS."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connect(self, address: tuple[Any, ...]) -> None:
        assert ipaddress.ip_address(address[0]) == ADDRESS  # to this device, to no other
        assert address[1] in (80, 443)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        head = data.decode("ascii")
        assert head.startswith("GET /")
        assert head.count("\n") == 6  # nothing of a redirect's URL can add a line

    def recv_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._answer))
        buffer[:count], self._answer = self._answer[:count], self._answer[count:]
        return count

    def getsockopt(self, *_: int) -> int:
        raise OSError("no TLS here")

    def close(self) -> None:
        pass

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def resolve(name: str) -> Resolution:
    """One more name of the printer; others are not known."""
    if name == "copier.lan":
        return Resolution((str(ADDRESS),), "hosts file")
    raise DnsFailed("no such name")


def answer(data: bytes) -> None:
    """One validation."""

    def open_socket(_family: int, _kind: int) -> socket.socket:
        return cast(socket.socket, Device(data))

    scopes: Sequence[int] = ()
    dialler = Dialler(lambda: scopes, open_socket=open_socket, sleep=lambda _: None)
    proved = Http01(dialler, resolve).validate("token", PRINTER, "token.thumb", [ADDRESS])
    assert proved == str(ADDRESS)


SEEDS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\ntoken.thumb",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\ntoken.thumb\r\n0\r\n\r\n",
    b"HTTP/1.0 301 Moved\r\nLocation: http://copier.lan:80/x?y#z\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: /elsewhere\r\n\r\n",
    b"HTTP/1.0 307 Found\r\nLocation: https://192.168.1.20/\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
)

runner.run(answer, refusals=(ConnectionFailed, IncorrectResponse, TlsFailed), seeds=SEEDS)

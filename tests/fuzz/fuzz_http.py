"""What a client sends before any of it is a request: HTTP as the listeners read it (R-8)."""

import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.web import connection
    from acmeiot.web.connection import Connection
    from acmeiot.web.listener import Limits, Listener


class Client:
    """A socket whose other end sends these octets, some at a time, and takes every answer."""

    family = socket.AF_INET

    def __init__(self, sends: bytes, at_once: int) -> None:
        self._sends, self._at_once = sends, at_once
        self.heard = b""

    def recv(self, size: int) -> bytes:
        size = min(size, self._at_once)
        part, self._sends = self._sends[:size], self._sends[size:]
        return part

    def send(self, data: bytes | memoryview) -> int:
        self.heard += data
        return len(data)

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 8555

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


def application(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """Give the body back; it fits into the limit, or the request never came here."""
    body = environ["wsgi.input"].read()
    assert len(body) <= Limits().body_bytes
    start("200 OK", [("Content-Type", "text/plain")])
    return [body]


class Faults(logging.Handler):
    """An application that falls is logged; this one must not."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


logger = connection.logger
logger.handlers, logger.propagate = [Faults()], False
endpoint = Listener(socket.socket(), application, Limits(), None)


def client(data: bytes) -> None:
    """The first octet says how many octets come at a time."""
    sock = Client(data[1:], 1 + data[0] if data and data[0] else 1 << 16)
    talk = Connection(endpoint, cast(socket.socket, sock), "192.168.1.20", 4)
    for _ in range(len(data) + 100):
        if talk.advance() == connection.CLOSE:
            break
    else:
        raise AssertionError("the connection never ends")
    talk.close()
    assert not sock.heard or sock.heard.startswith(b"HTTP/1.")


SEEDS = (
    b"\0GET /acme/directory HTTP/1.1\r\nHost: router.lan:8555\r\n\r\n",
    b"\7POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.0\r\n\r\n",
    b"\0POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nA: b\r\n\r\n",
    b"\1POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"\0HEAD http://[/ HTTP/1.1\r\nConnection: close\r\nX: y\r\n z\r\n\r\n",
)

runner.run(client, refusals=(), seeds=SEEDS)

"""A server that talks as a test says, behind TLS, and a client that trusts it."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from acmeiot.client import http
from acmeiot.client.http import Http
from acmeiot.client.tls import Root, trusting
from tests.client.issuers import make
from tests.validate.device import Device

HOST = "127.0.0.2"
ROOT = make("root")
Talk = Callable[[ssl.SSLSocket], object]
Serve = Callable[[Talk], "Peer"]


class Peer:
    """A server that talks as the test says, and a client that trusts it."""

    def __init__(self, device: Device, timeout: float = 5) -> None:
        self.device = device
        self.base = f"https://router.lan:{device.port}"
        self.addresses = {("router.lan", device.port): [HOST]}
        self.client = Http(trusting(Root.of(ROOT.der)), self.addresses, timeout)

    def get(self, path: str = "/") -> http.Response:
        """Send a GET."""
        return self.client.request("GET", self.base + path)


def read(stream: ssl.SSLSocket) -> bytes:
    """Return one request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = stream.recv(4096)
        if not part:
            raise OSError
        head += part
    return head


def always(answer: bytes, *, close: bool = False) -> Talk:
    """Give the same answer to every request, or to the first only."""

    def talk(stream: ssl.SSLSocket) -> None:
        while True:
            read(stream)
            stream.sendall(answer)
            if close:
                return

    return talk


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """Return an answer that keeps the connection."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body

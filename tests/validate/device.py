"""Devices that answer as a test words it: TCP servers on loopback, one address a device."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from acmeiot.core.records import Resolution
from acmeiot.protocol.errors import DnsFailed

Talk = Callable[[socket.socket], None]


class Device:
    """Listens on an address and talks to each connection as `talk` says, in its own thread.

    With a TLS context it talks behind a handshake. `peers` counts the connections.
    """

    def __init__(
        self,
        talk: Talk,
        host: str = "127.0.0.2",
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._talk = talk
        self._context = context
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._threads = [self._thread]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._meet, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _meet(self, stream: socket.socket) -> None:
        # The other side hangs up when it has seen enough.
        with stream, suppress(OSError):
            stream.settimeout(5)
            if self._context is None:
                self._talk(stream)
            else:
                with self._context.wrap_socket(stream, server_side=True) as tls:
                    self._talk(tls)


class Website:
    """Answers every path with a fixed answer: `pages` by path; `requests` is all that came."""

    def __init__(self, **pages: bytes) -> None:
        self.pages = pages
        self.requests: list[str] = []
        self.default = page(b"", status="404 Not Found")

    def __call__(self, stream: socket.socket) -> None:
        """Read one request and answer it."""
        request = b""
        while b"\r\n\r\n" not in request:
            part = stream.recv(4096)
            request += part
            if not part or not request.startswith(b"GET"):
                stream.sendall(page(b"", status="400 Bad Request"))
                return
        self.requests.append(request.decode())
        stream.sendall(self.pages.get(request.split(b" ")[1].decode(), self.default))


def page(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """Return an HTTP answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """Return an HTTP answer that leads elsewhere."""
    return page(b"", f"Location: {location}", status=status)


class Names:
    """What the LAN says, of the test's making: each name's answers, one after the other."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.texts: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.scopes: list[int] = []

    def resolve(self, name: str) -> Resolution:
        """Return the next answer for the name; the last one stays."""
        self.asked.append(name)
        if name not in self.answers:
            raise DnsFailed(f"{name}: the resolver 192.168.1.1 says no such name")
        return Resolution(tuple(self.answers[name]), "test")

    def txt(self, name: str) -> list[str]:
        """Return the name's TXT records."""
        if name not in self.texts:
            raise DnsFailed(f"{name}: the resolver 192.168.1.1 says no such name")
        return self.texts[name]

    def link_scopes(self) -> list[int]:
        """Return the test's interfaces."""
        return self.scopes

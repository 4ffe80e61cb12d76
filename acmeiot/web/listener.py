"""Where clients come in: bound sockets, and what a client may use up once inside."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waitress.adjustments import Adjustments

from acmeiot.web import unixsocket
from acmeiot.web.connection import Connection, Stage, plain_address

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication as WSGIApp

BACKLOG: Final = 256
# How long a client that was refused may go on sending.
LINGER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use; sizes in bytes, times in seconds.

    `connections` and `per_address` count open TCP connections; the unix socket has its own
    `per_address` share. `request_seconds` spans first byte to last of header and body, and again
    the sending of the answer. `idle_seconds` is the wait for the next request.
    """

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    connections: int = 200
    per_address: int = 50
    handshake_seconds: float = 10.0
    request_seconds: float = 20.0
    idle_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"limit {name} must be positive, not {getattr(self, name)}")

    def seconds(self, stage: Stage) -> float:
        """Return how long a connection may stay in `stage`."""
        return {
            Stage.LINGER: LINGER_SECONDS,
            Stage.OPENING: self.handshake_seconds,
            Stage.REQUEST: self.request_seconds,
            Stage.IDLE: self.idle_seconds,
            Stage.ANSWER: self.request_seconds,
        }[stage]


class Listener:
    """One bound socket and the application behind it (the `Endpoint` of its connections)."""

    def __init__(
        self,
        sock: socket.socket,
        app: WSGIApp,
        limits: Limits,
        context: ssl.SSLContext | None,
    ) -> None:
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self.sock = sock
        self.context = context
        self.application = app
        self.closing = False
        self.is_unix = sock.family == socket.AF_UNIX
        self.address = ("", 0) if self.is_unix else sock.getsockname()[:2]
        self.environ = {
            "SERVER_NAME": "localhost",
            "SERVER_PORT": str(self.address[1]),
            "wsgi.url_scheme": "https" if context else "http",
        }
        self.adj = Adjustments(
            listen="127.0.0.1:0",  # never bound: only the parser's settings are used
            # Its limits are the first size refused.
            max_request_header_size=limits.header_bytes + 1,
            max_request_body_size=limits.body_bytes + 1,
            inbuf_overflow=limits.body_bytes + 1,  # bodies stay in memory
        )

    def accept(self) -> Connection | None:
        """Take one waiting client, or return None; raise OSError when descriptors run out."""
        try:
            sock, peer = self.sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        if self.is_unix:
            return Connection(self, sock, "", 0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(self, sock, plain_address(peer[0]), peer[1])


def require_modern(context: ssl.SSLContext) -> None:
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ValueError("the TLS context must have minimum_version TLSv1_2 or later (R-1)")


def bind_tcp(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )
    except socket.gaierror as fault:
        raise ValueError(f"{host!r} is not an IPv4 or IPv6 address to listen on") from fault
    family, kind, _, _, address = found[0]
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as fault:
        sock.close()
        raise OSError(
            fault.errno, f"cannot listen on {host} port {port}: {fault.strerror}"
        ) from fault
    return sock


def bind_unix(path: Path, mode: int) -> socket.socket:
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Without rights from the first instant; chmod then gives what was asked for.
    before = os.umask(0o777)
    try:
        with unixsocket.address(path) as address:
            sock.bind(address)
    except OSError as fault:
        sock.close()
        raise OSError(fault.errno, f"cannot listen on {path}: {fault}") from fault
    finally:
        os.umask(before)
    path.chmod(mode)
    return sock


def _clear_stale(path: Path) -> None:
    """Remove the socket of a server that is gone; raise OSError for anything else in the way."""
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found):
        raise FileExistsError(errno.EEXIST, f"{path} is in the way: it is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with unixsocket.address(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, f"another server is listening on {path}")

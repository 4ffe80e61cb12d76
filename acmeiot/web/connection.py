"""One client's connection: bytes in, requests through the application, bytes out, never waiting.

`Connection.advance` does what can be done at once and says what to wait for; whoever calls it
(`acmeiot.web.serve`) does the waiting. So a client that says nothing, or says it slowly, costs a
socket and a few hundred bytes, not a thread. Parsing is waitress's.
"""

from __future__ import annotations

import enum
import logging
import select
import socket
import ssl
import threading
import time
from typing import Any, Final, Protocol

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest, InternalServerError

from acmeiot.web import wsgi

logger = logging.getLogger("acmeiot.web")

CLOSE: Final = 0
READ: Final = select.EPOLLIN | select.EPOLLONESHOT
WRITE: Final = select.EPOLLOUT | select.EPOLLONESHOT

# One whole TLS record (RFC 8446 section 5.1): nothing decrypted stays behind in OpenSSL, where
# epoll would not see it.
RECEIVE_BYTES: Final = 16384
# What a refused client may still send before it hears no more of us.
LINGER_BYTES: Final = 1 << 20
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def plain_address(address: str) -> str:
    """Return an IPv4 address that arrived on an IPv6 socket as IPv4 (RFC 4291 section 2.5.5.2)."""
    return address.removeprefix("::ffff:") if "." in address else address


class Stage(enum.IntEnum):
    """What a connection waits for; the lower, the sooner it gives way to a new one."""

    LINGER = 0
    OPENING = 1
    REQUEST = 2
    IDLE = 3
    ANSWER = 4


class Endpoint(Protocol):
    """What a connection needs of its listener. `environ` is the same for all its requests."""

    adj: Adjustments
    application: Any
    environ: wsgi.Environ
    context: ssl.SSLContext | None
    closing: bool


class Connection:
    """A client and what it has said so far.

    `lock` is held by whoever advances or drops it. `since` is when the present stage began
    (monotonic seconds), `addr` the client's address and port.
    """

    __slots__ = (
        "_closing", "_drained", "_endpoint", "_local", "_out", "_request", "_sock", "_unread",
        "_waved_on", "addr", "closed", "fileno", "lock", "since", "stage",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, sock: socket.socket, peer: str, port: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._request: HTTPRequestParser | None = None
        self._unread = b""
        self._out: list[bytes | memoryview] = []
        self._closing = False
        self._waved_on = False
        self._drained = 0
        self._endpoint = endpoint
        self.addr = (peer, port)
        self.fileno = sock.fileno()
        self._local = "" if sock.family == socket.AF_UNIX else plain_address(sock.getsockname()[0])
        self.lock = threading.Lock()
        self.closed = False
        self.stage = Stage.OPENING
        self.since = time.monotonic()

    def advance(self) -> int:
        """Do what can be done without waiting; return READ, WRITE or CLOSE."""
        try:
            return self._advance()
        except ssl.SSLWantReadError:
            return READ
        except ssl.SSLWantWriteError:
            return WRITE
        except BlockingIOError:
            return WRITE if self._out else READ
        except OSError as fault:
            # Clients vanish and fail handshakes every day; `-v` shows why (an untrusted root).
            logger.debug("connection of %s ended: %s", self.addr[0] or "unix", fault)
            return CLOSE

    def close(self) -> None:
        """Close the socket; nothing may be asked of the connection afterwards."""
        self.closed = True
        if self._request is not None:
            self._request.close()
        self._sock.close()

    def _advance(self) -> int:
        if self.stage is Stage.OPENING and self._endpoint.context is not None:
            return self._shake_hands(self._endpoint.context)
        if self.stage is Stage.LINGER:
            return self._drain()
        if self._out:
            self._flush()
        else:
            self._unread = self._sock.recv(RECEIVE_BYTES)
            if not self._unread:
                return CLOSE
        while self._unread and not self._closing:
            self._take_in()
            self._flush()
            if self._request is not None and not self._unread:
                # Head and body usually come one right after the other: look before waiting.
                self._unread = self._sock.recv(RECEIVE_BYTES)
                if not self._unread:
                    return CLOSE
        return self._hang_up() if self._closing else READ

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = time.monotonic()

    def _shake_hands(self, context: ssl.SSLContext) -> int:
        if not isinstance(self._sock, ssl.SSLSocket):
            # Only now that the client spoke: who merely connects gets no TLS state of ours.
            self._sock = context.wrap_socket(
                self._sock, server_side=True, do_handshake_on_connect=False
            )
        self._sock.do_handshake()
        self._enter(Stage.IDLE)
        return READ

    def _take_in(self) -> None:
        """Feed the parser; serve the request when it is whole."""
        if self._request is None:
            self._request = HTTPRequestParser(self._endpoint.adj)
            self._enter(Stage.REQUEST)
        request = self._request
        try:
            used = request.received(self._unread)
        except ValueError as fault:
            # Not all of waitress's parsing is guarded: `http://[/`, a length of 5000 digits.
            request.error = BadRequest(str(fault))
            request.completed, used = True, len(self._unread)
        self._unread = self._unread[used:]
        if request.completed:
            self._request, self._waved_on = None, False
            self._serve(request)
        elif request.expect_continue and request.headers_finished and not self._waved_on:
            self._waved_on = True
            self._out.append(CONTINUE)

    def _serve(self, request: HTTPRequestParser) -> None:
        if not request.empty:
            self._out.append(self._answer(request))
        request.close()
        self._enter(Stage.ANSWER if self._out else Stage.IDLE)

    def _answer(self, request: HTTPRequestParser) -> bytes:
        """Return the application's answer, or a refusal in place of what it left unfinished."""
        if request.error is None:
            self._closing = self._endpoint.closing or request.connection_close
            ends = {"REMOTE_ADDR": self.addr[0], "acmeiot.local_address": self._local}
            environ = wsgi.environ_of(request, {**self._endpoint.environ, **ends})
            try:
                return wsgi.answer(self._endpoint.application, environ, request, last=self._closing)
            except Exception as fault:  # whatever the application raised
                logger.error(
                    "%s %s failed: %s: %s",
                    request.command, request.path, type(fault).__name__, fault,
                    exc_info=fault if logger.isEnabledFor(logging.DEBUG) else None,
                )  # fmt: skip
                request.error = InternalServerError("the server failed; its log says why")
        self._closing = True
        return wsgi.refusal(request)

    def _flush(self) -> None:
        """Send the answer in one piece; raise what says that the client is slow."""
        if len(self._out) > 1:
            self._out = [b"".join(self._out)]
        while self._out:
            sent = self._sock.send(self._out[0])
            rest = memoryview(self._out[0])[sent:]
            self._out = [rest] if rest else []
        if self.stage is Stage.ANSWER:
            self._enter(Stage.IDLE)

    def _hang_up(self) -> int:
        """Say goodbye, then wait for the client's: closing over unread bytes loses the answer."""
        self._enter(Stage.LINGER)
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.unwrap()
            except ssl.SSLError as fault:
                # The usual one is "want read": our close_notify is out, theirs is not here yet.
                logger.debug("closing TLS with %s: %s", self.addr[0], fault)
        self._sock.shutdown(socket.SHUT_WR)
        return READ

    def _drain(self) -> int:
        data = self._sock.recv(1 << 16)
        self._drained += len(data)
        return READ if data and self._drained <= LINGER_BYTES else CLOSE

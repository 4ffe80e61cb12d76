"""One client's connection: bytes in, requests through the WSGI task, bytes out, never waiting.

`Connection.advance` does what can be done at once and says what to wait for; whoever calls it
(`acmeiot.web.serve`) does the waiting. So a client that says nothing, or says it slowly, costs a
socket and a few hundred bytes, not a thread. Parsing and the WSGI protocol are waitress's.
"""

from __future__ import annotations

import enum
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest, InternalServerError, build_http_date

from acmeiot.protocol.errors import URN

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


SERVER: Final = "Server: acmeiot"


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """Return the time as HTTP writes it; asked for many times in a second."""
    return str(build_http_date(seconds))


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
    """What a connection needs of its listener; the first four names are waitress's."""

    adj: Adjustments
    application: Any
    server_name: str
    effective_port: int
    context: ssl.SSLContext | None
    step_aside: Callable[[], None]
    closing: bool


class RequestTask(WSGITask):  # type: ignore[misc]  # waitress is untyped
    """A request on its way through the application."""

    logger = logger

    def build_response_header(self) -> bytes:
        """Return the head of the answer.

        waitress's own would close the connection after every answer without a body, such as a
        nonce's 204, and takes a third of a small request's time.
        """
        wish = self.request.headers.get("CONNECTION", "").lower()
        endless = self.has_body and self.content_length is None
        if endless or wish == "close" or (self.version == "1.0" and wish != "keep-alive"):
            self.set_close_on_finish()
        elif self.version == "1.0":
            self.response_headers.append(("Connection", "keep-alive"))
        names = {name.lower() for name, _ in self.response_headers}
        if self.has_body and not endless and "content-length" not in names:
            self.response_headers.append(("Content-Length", str(self.content_length)))
        lines = [f"{name}: {value}" for name, value in self.response_headers]
        date = http_date(int(self.start_time))
        head = [f"HTTP/{self.version} {self.status}", *lines, f"Date: {date}", SERVER]
        return "\r\n".join([*head, "", ""]).encode("latin-1")

    def get_environment(self) -> dict[str, Any]:
        """Return waitress's environ with our two keys, without its file wrapper."""
        environ: dict[str, Any] = super().get_environment()
        environ["acmeiot.local_address"] = self.channel.local
        environ["acmeiot.step_aside"] = self.channel.server.step_aside
        # Answers are bytes here; a file would need its own path to the socket.
        environ.pop("wsgi.file_wrapper", None)
        return environ


class RefusalTask(ErrorTask):  # type: ignore[misc]  # waitress is untyped
    """The answer to what never reaches the application, or fell there (RFC 7807)."""

    logger = logger

    def execute(self) -> None:
        """Write the problem document and close (R-8: an oversized body is 413 malformed)."""
        error = self.request.error
        kind = "malformed" if error.code < 500 else "serverInternal"
        body = json.dumps({"type": URN + kind, "detail": error.body, "status": error.code}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/problem+json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection:
    """A client and what it has said so far.

    `lock` is held by whoever advances or drops it. `since` is when the present stage began
    (monotonic seconds). `adj`, `server`, `addr` and `write_soon` are what waitress's tasks ask for.
    """

    __slots__ = (
        "_closing", "_drained", "_out", "_request", "_sock", "_unread", "_waved_on", "addr", "adj",
        "closed", "fileno", "local", "lock", "server", "since", "stage",
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
        self.adj = endpoint.adj
        self.server = endpoint
        self.addr = (peer, port)
        self.fileno = sock.fileno()
        self.local = "" if sock.family == socket.AF_UNIX else plain_address(sock.getsockname()[0])
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

    def write_soon(self, data: bytes) -> int:
        """Keep a part of the answer; it leaves when the application is done."""
        if data:
            self._out.append(data)
        return len(data)

    def check_client_disconnected(self) -> bool:
        """Say no: while the application works nobody reads the socket."""
        return False

    def _advance(self) -> int:
        if self.stage is Stage.OPENING and self.server.context is not None:
            return self._shake_hands(self.server.context)
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
            self._request = HTTPRequestParser(self.adj)
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
            task = (RefusalTask if request.error else RequestTask)(self, request)
            if self.server.closing:
                task.set_close_on_finish()
            try:
                task.service()
            except Exception as fault:  # noqa: BLE001  # whatever the application raised
                task = self._fail(request, fault)
            self._closing = task.close_on_finish
        request.close()
        self._enter(Stage.ANSWER if self._out else Stage.IDLE)

    def _fail(self, request: HTTPRequestParser, fault: Exception) -> RefusalTask:
        """Answer 500 in place of what the application left unfinished; nothing was sent yet."""
        logger.error(
            "%s %s failed: %s: %s",
            request.command, request.path, type(fault).__name__, fault,
            exc_info=fault if logger.isEnabledFor(logging.DEBUG) else None,
        )  # fmt: skip
        self._out.clear()
        request.error = InternalServerError("the server failed; its log says why")
        refusal = RefusalTask(self, request)
        refusal.service()
        return refusal

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

"""Answers to the CA's challenges, from this device: on port 80, on port 443, or in a web root.

Nothing listens but while a certificate is being ordered, on this network's addresses only. What
connects is a stranger: one request or handshake each, a few seconds, a few at a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from acmeiot.client.errors import AgentError
from acmeiot.device import files
from acmeiot.protocol import challenges
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import Identifier

Kind = Literal["http-01", "tls-alpn-01"]

WORKERS: Final = 8  # strangers served at the same time
_SECONDS: Final = 3.0  # for each of them, from first to last byte
_MAX_HEAD: Final = 4096
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")  # R-27; nothing that leads out of a folder
_GET: Final = re.compile(rb"GET (\S{1,400}) HTTP/1\.[01]\r?\n")
_IPV6_FREEBIND: Final = 78  # linux/in6.h; the socket module does not name it


class Responder(ABC):
    """Shows key authorizations while they are wanted. Enter it to begin to listen."""

    kind: ClassVar[Kind]

    @abstractmethod
    def __enter__(self) -> Self:
        """Begin; raise AgentError if the place is taken."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End, and leave nothing behind."""

    @abstractmethod
    def show(
        self, identifier: Identifier, token: str, key_authorization: str
    ) -> contextlib.AbstractContextManager[None]:
        """Show one proof for the length of a `with` block; raise AgentError."""


class Webroot(Responder):
    """Leaves the proofs where the device's own web server shows them (http-01)."""

    kind = "http-01"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / challenges.WELL_KNOWN.strip("/")

    def __enter__(self) -> Self:
        try:
            files.make_open(self._folder)
            self._folder.mkdir(exist_ok=True)  # not a file
        except OSError as error:
            raise AgentError(f"the web root {self._folder}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the folders are the web server's."""

    @contextlib.contextmanager
    def show(self, _identifier: Identifier, token: str, key_authorization: str) -> Iterator[None]:
        """Write the file, and remove it afterwards."""
        path = self._folder / _checked(token)
        try:
            # No link: the web server's users may write here, too.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o644), "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o644)  # the web server runs as somebody else
                file.write(key_authorization)
        except OSError as error:
            raise AgentError(f"cannot write {path}: {error.strerror}") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@dataclass
class _Listening(Responder):
    """Accepts connections at this network's addresses, in a few threads."""

    addresses: Sequence[str]
    port: int
    _listeners: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._over.clear()
        try:
            for address in self.addresses:
                self._listeners.append(_listen(address, self.port))
        except OSError as error:
            self.__exit__()
            raise AgentError(
                f"cannot answer {self.kind} at {address} port {self.port}: {error.strerror}; "
                "another program may have the port: use --webroot with a web server on port 80, "
                "or the other --challenge"
            ) from None
        for listener in self._listeners:
            for _ in range(WORKERS):
                thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
                thread.start()
                self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # not every system has it for listeners
                listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        for thread in self._threads:
            thread.join(_SECONDS + 1)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._threads.clear()

    def _serve(self, listener: socket.socket) -> None:
        while not self._over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._over.wait(0.1):  # out of descriptors, perhaps: not in a tight loop
                    return
                continue
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue  # a stranger's broken connection is nobody's concern

    @abstractmethod
    def _answer(self, connection: socket.socket) -> None:
        """Serve one stranger; OSError is nothing unusual."""


@dataclass
class Http01(_Listening):
    """Answers http-01 (RFC 8555 section 8.3, R-27); everything else is not found."""

    kind = "http-01"
    _bodies: dict[bytes, bytes] = field(default_factory=dict)

    @contextlib.contextmanager
    def show(self, _identifier: Identifier, token: str, key_authorization: str) -> Iterator[None]:
        """Answer for one token."""
        path = challenges.http01_path(_checked(token)).encode()
        self._bodies[path] = key_authorization.encode()
        try:
            yield
        finally:
            del self._bodies[path]

    def _answer(self, connection: socket.socket) -> None:
        asked = _GET.match(_head(connection))
        body = self._bodies.get(asked[1]) if asked else None
        status = b"404 Not Found" if body is None else b"200 OK"
        body = body or b""
        connection.sendall(
            b"HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (status, len(body), body)
        )


@dataclass
class TlsAlpn01(_Listening):
    """Answers tls-alpn-01 (RFC 8737, R-29): a handshake with the proof, and good-bye.

    `clock` dates the certificates; nobody looks at their dates.
    """

    kind = "tls-alpn-01"
    clock: Callable[[], float] = time.time
    _proofs: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._base = _alpn_context()
        self._base.sni_callback = self._choose
        return super().__enter__()

    @contextlib.contextmanager
    def show(self, identifier: Identifier, token: str, key_authorization: str) -> Iterator[None]:
        """Show the certificate for one identifier."""
        _checked(token)
        sni = challenges.tlsalpn01_sni(identifier)
        context = _alpn_context()
        _load_proof(context, _proof(identifier, key_authorization, self.clock()))
        self._proofs[sni] = context
        try:
            yield
        finally:
            del self._proofs[sni]

    def _choose(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        context = self._proofs.get((name or "").lower())
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        tls.context = context
        return None

    def _answer(self, connection: socket.socket) -> None:
        ends = time.monotonic() + _SECONDS
        connection.setblocking(False)
        with self._base.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ) as tls:
            _in_time(tls.do_handshake, tls, ends)
            if tls.selected_alpn_protocol() == challenges.ALPN:
                _in_time(tls.unwrap, tls, ends)


def _listen(address: str, port: int) -> socket.socket:
    family, _, _, _, where = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Just after joining, the kernel still asks whether somebody else has the address.
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        listener.bind(where)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    listener.settimeout(1.0)
    return listener


def _in_time(step: Callable[[], object], tls: ssl.SSLSocket, ends: float) -> None:
    """Take a step of TLS, however few octets come at a time; raise OSError if it takes too long."""
    while True:
        left = max(0.0, ends - time.monotonic())
        try:
            step()
        except ssl.SSLWantReadError:
            ready = select.select([tls], [], [], left)[0]
        except ssl.SSLWantWriteError:
            ready = select.select([], [tls], [], left)[1]
        else:
            return
        if not ready:
            raise TimeoutError


def _head(connection: socket.socket) -> bytes:
    """Return the request up to its empty line, or as much as there is in the time."""
    ends = time.monotonic() + _SECONDS
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
        left = ends - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left)
        data = connection.recv(_MAX_HEAD)
        if not data:
            break
        head += data
    return head


def _checked(token: str) -> str:
    """Return a token that may stand in a path; raise AgentError for the server's other ideas."""
    if not _TOKEN.fullmatch(token):
        raise AgentError(f"the server's challenge has no proper token: {token[:40]!a}")
    return token


def _alpn_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([challenges.ALPN])
    return context


def _load_proof(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:  # ssl reads files only; this one is ours alone
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _proof(identifier: Identifier, key_authorization: str, now: float) -> bytes:
    """Return key and self-signed certificate, PEM, with this one name (RFC 8737 section 3)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme challenge")])
    subject: Any = (
        x509.IPAddress(identifier.address)
        if identifier.type == "ip"
        else x509.DNSName(identifier.base.value)
    )
    value = b"\x04\x20" + challenges.tlsalpn01_digest(key_authorization)
    extension = x509.ObjectIdentifier(challenges.ACME_IDENTIFIER_OID)
    start = utc(int(now)) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=8))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.UnrecognizedExtension(extension, value), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)

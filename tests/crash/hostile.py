"""Clients that mean harm, or are broken: each kind is a thread that goes on until it is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException

from acmeiot.web.objects import DIRECTORY, NEW_ACCOUNT, NEW_NONCE, NEW_ORDER
from tests.crash.server import LOCALHOST, Server
from tests.web.client import JOSE, Answer, Client, jws

HALF_OPEN = 200  # as many as the server holds in all, so that every newcomer needs another to go
ADDRESSES = 4  # that they come from, or it would not hold so many of them
SLOW = 40  # of each kind
PAUSE = 0.005  # seconds between two requests of a flood: the machine has other work too
DRIP = 0.2  # seconds between two bytes of a slow client
BODY = 64 * 1024  # octets, as large as the server takes
HOST = "Host: router.lan\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # and no more of it
GARBAGE = bytes(range(256)) * 64 + b"\r\n\r\n"
# What being thrown out looks like.
THROWN_OUT = (OSError, HTTPException)


def post(*fields: str) -> bytes:
    """Return the head of a request to newOrder."""
    lines = (f"POST {NEW_ORDER} HTTP/1.1", "Host: router.lan", f"Content-Type: {JOSE}", *fields)
    return "\r\n".join((*lines, "", "")).encode()


class Hostile:
    """All of them at once; `seen` counts what each kind did and was answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._context = ssl.create_default_context(cafile=str(server.root))
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.refusals: list[Answer] = []  # of newAccount
        self._threads = [
            threading.Thread(target=self._go_on, args=(act, f"127.0.0.{number}"))
            for number, act in enumerate(self._acts(), 2)
        ]

    def _acts(self) -> list[Callable[[str], None]]:
        return [
            self.new_accounts, self.bad_signatures, self.new_nonces, self.garbage,
            self.slow_headers, self.slow_bodies, self.huge_headers, self.huge_bodies,
            self.endless_bodies, *[self.half_open] * ADDRESSES,
        ]  # fmt: skip

    def __enter__(self) -> Hostile:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _go_on(self, act: Callable[[str], None], source: str) -> None:
        while not self._over.wait(PAUSE):
            try:
                act(source)
            except THROWN_OUT:
                self.seen[f"{act.__name__}: thrown out"] += 1
            except AssertionError as error:
                self.wrong.append(f"{act.__name__}: {error}")
                return

    def _connect(self, source: str, listener: int = 0) -> socket.socket:
        address = (LOCALHOST, self._server.ports[listener])
        return socket.create_connection(address, 20, source_address=(source, 0))

    def _over_tls(self, source: str) -> ssl.SSLSocket:
        return self._context.wrap_socket(self._connect(source), server_hostname="router.lan")

    # -- those that wait

    def half_open(self, source: str) -> None:
        """Begin TLS handshakes and say no more."""
        with ExitStack() as stack:
            for _ in range(HALF_OPEN // ADDRESSES):
                one = stack.enter_context(self._connect(source))
                one.sendall(CLIENT_HELLO)
                self.seen["half open"] += 1
            self._over.wait(8)

    def slow_headers(self, source: str) -> None:
        """Send a head that never ends."""
        head = f"POST {NEW_ORDER} HTTP/1.1\r\n{HOST}X-Slow: "
        self._drip(source, head.encode(), "slow header")

    def slow_bodies(self, source: str) -> None:
        """Send almost all of a large body at once, and the rest never."""
        head = post(f"Content-Length: {BODY}")
        self._drip(source, head + b"x" * (BODY - 1000), "slow body")

    def _drip(self, source: str, start: bytes, kind: str) -> None:
        with ExitStack() as stack:
            some = []
            for _ in range(SLOW):
                some.append(stack.enter_context(self._over_tls(source)))
                some[-1].sendall(start)
                self.seen[kind] += 1
            while not self._over.wait(DRIP):
                for one in some:
                    one.sendall(b"x")

    # -- those that send too much

    def huge_headers(self, source: str) -> None:
        """Send 350 KB of header fields."""
        head = f"GET {DIRECTORY} HTTP/1.1\r\n{HOST}" + "X-A: b\r\n" * 50_000
        self._too_much(source, head.encode(), b"431")

    def huge_bodies(self, source: str) -> None:
        """Announce 10 MB and begin to send them."""
        self._too_much(source, post("Content-Length: 10000000") + bytes(200_000), b"413")

    def endless_bodies(self, source: str) -> None:
        """Send a chunk larger than a body may be, as one of many."""
        start = post("Transfer-Encoding: chunked") + b"40000\r\n"
        self._too_much(source, start + bytes(200_000), b"413")

    def _too_much(self, source: str, data: bytes, status: bytes) -> None:
        with self._over_tls(source) as tls:
            with suppress(OSError):  # it does not have to listen to all of it
                tls.sendall(data)
            answer = tls.recv(4096)
        assert answer.split(b" ")[1:2] == [status], answer
        self.seen[f"answered {status.decode()}"] += 1

    # -- those that flood

    @contextmanager
    def _flooding(self, source: str) -> Iterator[Client]:
        client = self._server.client(source)
        try:
            yield client
        finally:
            client.wire.close()

    def new_accounts(self, source: str) -> None:
        """Ask for one account after the other."""
        url = self._server.url(NEW_ACCOUNT)
        with self._flooding(source) as client:
            while not self._over.wait(PAUSE):
                client.key = type(client.key)()
                answer = client.post(url, {})
                self.seen[f"newAccount {answer.status}"] += 1
                if answer.status != 201:
                    self.refusals.append(answer)

    def bad_signatures(self, source: str) -> None:
        """Send signatures that are none of the key in their header."""
        url = self._server.url(NEW_ACCOUNT)
        with self._flooding(source) as client:
            while not self._over.wait(PAUSE):
                document = jws(client.header(url), {}, lambda _: bytes(range(64)))
                answer = client.send(url, json.dumps(document).encode())
                self.seen[f"bad signature {answer.status}"] += 1

    def new_nonces(self, source: str) -> None:
        """Ask for nonces and use none."""
        with self._flooding(source) as client:
            while not self._over.wait(PAUSE):
                assert client.get(self._server.url(NEW_NONCE), "HEAD").status == 200
                self.seen["newNonce"] += 1
                client.nonces.clear()

    def garbage(self, source: str) -> None:
        """Send to the plain listener what is not HTTP."""
        with self._connect(source, 1) as raw:
            raw.sendall(GARBAGE)
            answer = raw.recv(4096)
        assert answer.split(b" ")[1:2] in ([b"400"], [b"431"]), answer
        self.seen["garbage"] += 1

"""An ACME server that follows a script: what it answers to each path, and what it was sent."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from acmeiot.client.acme import Client
from acmeiot.client.signing import AccountKey
from tests.client.peer import Peer, answer, read

Json = dict[str, Any]
Say = Callable[[Json], bytes]


class Watch:
    """A clock whose time passes only where somebody waits; `waits` is how long each time."""

    def __init__(self, now: int = 1_795_348_259) -> None:
        self.time = float(now)
        self.waits: list[float] = []

    def now(self) -> int:
        """Return the seconds since 1970."""
        return int(self.time)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.time += seconds


@dataclass
class Script:
    """Answers by path; each is JSON, octets, or what makes octets of the JWS that came."""

    pages: dict[str, Json | bytes | Say] = field(default_factory=dict)
    sent: list[tuple[str, Json]] = field(default_factory=list)  # path, and what was signed
    numbers: Iterator[int] = field(default_factory=count)
    peer: Peer | None = None

    def __post_init__(self) -> None:
        usual: dict[str, Json | bytes | Say] = {
            "/dir": {"newNonce": "/nonce", "newAccount": "/account", "newOrder": "/order"},
            "/nonce": b"",
            "/account": lambda _: answer(b'{"status":"valid"}', "Location: /me", self.nonce()),
        }
        self.pages = usual | self.pages

    def nonce(self) -> str:
        """Return a header field with a new nonce."""
        return f"Replay-Nonce: n{next(self.numbers)}"

    def talk(self, stream: ssl.SSLSocket) -> None:
        """Answer until the client hangs up."""
        while True:
            head = read(stream)
            method, path = head.decode().split(" ")[:2]
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body, rest = b"", int(length or b"0")
            while len(body) < rest:
                body += stream.recv(rest - len(body))
            jws = json.loads(body) if body else {}
            self.sent.append(
                (path, {name: _part(jws[name]) for name in ("protected", "payload") if jws})
            )
            said = self._say(path, self.sent[-1][1])
            stream.sendall(
                said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else said
            )

    def _say(self, path: str, signed: Json) -> bytes:
        page = self.pages.get(path)
        if page is None:
            return answer(b'{"type":"x","detail":"nothing here"}', status="404 Not Found")
        if callable(page):
            return page(signed)
        body = page if isinstance(page, bytes) else json.dumps(page).encode()
        return answer(body, *([self.nonce()] if signed or path == "/nonce" else ()))

    def client(self, clock: Watch | None = None) -> Client:
        """Return a client of it."""
        assert self.peer is not None
        http, url = self.peer.client, self.peer.base + "/dir"
        return Client(http, url, AccountKey.generate(), clock or Watch())


def _part(text: str) -> Any:
    raw = base64.urlsafe_b64decode(text + "==")
    return json.loads(raw) if raw else None


def problem(code: str, status: str = "400 Bad Request", *fields: str, **more: object) -> bytes:
    """Return an answer that refuses."""
    document = {"type": f"urn:ietf:params:acme:error:{code}", "detail": f"{code}!", **more}
    return answer(json.dumps(document).encode(), *fields, status=status)

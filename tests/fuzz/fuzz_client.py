"""What an ACME server shows a client: its chain, its answers, its objects."""

from __future__ import annotations

import io
import json
from http.client import HTTPMessage
from unittest import mock

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.client import http, tls
    from acmeiot.client.acme import alternates
    from acmeiot.client.errors import AgentError
    from acmeiot.client.objects import Authorization, Directory, Order, Renewal
    from acmeiot.client.problem import MAX_RETRY_AFTER, refusal, retry_after
    from tests.client import issuers
    from tests.client.test_objects import AUTHORIZATION, DIRECTORY, ORDER, RENEWAL

NOW = 1_795_348_259
URL = "https://router.lan/acme"
GOOD = issuers.make("root")
LEAF = issuers.server(GOOD)
ROOT, OTHER = tls.Root.of(GOOD.der), tls.Root.of(issuers.make("other").der)


def chain(data: bytes) -> None:
    """One certificate of the chain is anything: no other root comes out, and nobody vouches."""
    for shown in ([data], [LEAF.der, data], [data, GOOD.der]):
        try:
            root = tls.root_of(shown)
        except AgentError:
            continue
        assert root.sha256 == ROOT.sha256
        assert len(shown) == 2
    assert not tls.vouched(ROOT, OTHER, [data])


def pem(data: bytes) -> None:
    """Certificates only."""
    for der in tls.split_pem(data):
        assert der[:1] == b"\x30"


def response(body: bytes, **headers: str) -> http.Response:
    """Return an answer."""
    fields = HTTPMessage()
    for name, value in headers.items():
        fields[name.replace("_", "-")] = value
    return http.Response(400, fields, body, URL)


def objects(data: bytes) -> None:
    """Every object, and every refusal."""
    said = response(data)
    assert str(refusal(said, NOW)).isprintable()
    for read in (
        lambda: Directory.of(said),
        lambda: Order.of(said, URL, NOW),
        lambda: Authorization.of(said, URL, NOW),
        lambda: Renewal.of(said, NOW, 3600),
    ):
        try:
            read()
        except AgentError as error:
            words = str(error)
            assert words.isprintable()


def headers(data: bytes) -> None:
    """Retry-After, Link, Location, and any URL."""
    text = data.decode("latin-1").replace("\r", "").replace("\n", "")
    seconds = retry_after(response(b"", Retry_After=text), NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER
    try:
        found = [*alternates(response(b"", Link=text)), response(b"").resolve(text, "Location")]
    except AgentError:
        return
    for url in found:
        (host, port), path = http.split(url)
        assert host.isascii()
        assert 0 < port < 65536
        assert path.startswith("/")


class Stream:
    """A connection whose other end sends the same bytes after each request."""

    def __init__(self, said: bytes) -> None:
        self._said = io.BytesIO(said)

    def settimeout(self, seconds: float) -> None:
        """Take a bound that is one."""
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        """Take a request to this host only."""
        assert b"\r\nHost: router.lan\r\n" in data

    def recv_into(self, buffer: memoryview) -> int:
        """Give the next bytes."""
        return self._said.readinto(buffer)

    def close(self) -> None:
        """Hang up."""


def exchange(data: bytes) -> None:
    """One answer, redirects included."""
    where = {("router.lan", 443): ["127.0.0.1"]}
    with (
        mock.patch.multiple(http, connect=mock.Mock(), over_tls=lambda *_: Stream(data)),
        http.Http(CONTEXT, where) as client,
    ):
        answer = client.request("GET", URL)
        assert len(answer.body) <= http.MAX_BODY
        answer.document()


CONTEXT = tls.trusting(ROOT)
PEM = ROOT.pem
SEEDS = (
    GOOD.der, LEAF.der, PEM, PEM + PEM, b"x",
    *(json.dumps(one).encode() for one in (DIRECTORY, ORDER, AUTHORIZATION, RENEWAL)),
    b'{"type":"urn:x","subproblems":[{"detail":"y","identifier":{"value":"printer.lan"}}]}',
    b"Fri, 31 Dec 2026 23:59:59 GMT", b"120", b'</c/1>;rel="alternate", <https://r.lan/>;rel=up',
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
    b"HTTP/1.0 301 Moved\r\nLocation: https://evil.lan/\r\nConnection: close\r\n\r\n",
)  # fmt: skip

runner.run(chain, pem, objects, headers, exchange, refusals=(AgentError,), seeds=SEEDS)

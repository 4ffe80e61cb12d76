"""HTTPS with a server that does its worst: each answer is bounded in bytes, seconds and place."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acmeiot.client import http
from acmeiot.client.dial import Unreachable, Untrusted
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled, Http
from acmeiot.client.tls import Root, trusting
from acmeiot.protocol.names import BadName
from tests.client.issuers import make
from tests.client.peer import HOST, ROOT, Peer, Serve, Talk, always, answer, read


def test_one_connection_for_all(serve: Serve) -> None:
    """The connection is kept, and the request is what HTTP/1.1 wants."""
    heads: list[bytes] = []

    def talk(stream: ssl.SSLSocket) -> None:
        while True:
            heads.append(read(stream))
            stream.sendall(answer(b"{}", "Retry-After: 3"))

    peer = serve(talk)
    for _ in range(3):
        response = peer.get("/a?b=c")
        assert (response.status, response.body) == (200, b"{}")
        assert response.headers["retry-after"] == "3"
        assert response.url == peer.base + "/a?b=c"
    assert peer.device.connections == 1
    assert heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: router.lan:{peer.device.port}\r\n".encode() in heads[0]
    assert b"User-Agent: acmeiot/" in heads[0]


def test_another_port_is_another_connection(serve: Serve) -> None:
    """Two places do not share a connection."""
    one, two = serve(always(answer(b"1"))), serve(always(answer(b"2")))
    one.addresses.update(two.addresses)
    assert [one.get().body, one.client.request("GET", two.base + "/").body] == [b"1", b"2"]
    assert one.get().body == b"1"
    assert (one.device.connections, two.device.connections) == (2, 1)


@pytest.mark.parametrize("goodbye", ["tls", "rude", "announced", "http10"])
def test_a_server_that_closes_what_was_kept(serve: Serve, goodbye: str) -> None:
    """An idle connection that is gone is made anew, and nobody notices."""

    def talk(stream: ssl.SSLSocket) -> None:
        read(stream)
        if goodbye == "http10":
            stream.sendall(b"HTTP/1.0 200 OK\r\n\r\nyes")
        else:
            fields = ["Connection: close"] if goodbye == "announced" else []
            stream.sendall(answer(b"yes", *fields))
        if goodbye != "rude":
            stream.unwrap()

    peer = serve(talk)
    for _ in range(3):
        assert peer.get().body == b"yes"
    assert peer.device.connections == 3


def test_a_server_that_never_answers(serve: Serve) -> None:
    """A new connection that breaks off is not tried for ever."""
    peer = serve(lambda stream: read(stream))
    with pytest.raises(Unreachable, match="broke off"):
        peer.get()
    assert peer.device.connections == 1


def test_a_body_without_end(serve: Serve) -> None:
    """However it is framed."""

    def chunked(stream: ssl.SSLSocket) -> None:
        read(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            stream.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    def bare(stream: ssl.SSLSocket) -> None:
        read(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            stream.sendall(b"x" * 4096)

    told = always(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    for talk in (chunked, bare, told):
        with pytest.raises(Garbled, match="longer than 262144 bytes"):
            serve(talk).get()
    exact = serve(always(answer(b"x" * http.MAX_BODY)))
    assert len(exact.get().body) == http.MAX_BODY


def test_a_head_without_end(serve: Serve) -> None:
    """Status lines, header fields, informational answers: all count."""

    def endless(start: bytes, more: bytes) -> Talk:
        def talk(stream: ssl.SSLSocket) -> None:
            read(stream)
            stream.sendall(start)
            while True:
                stream.sendall(more)

        return talk

    for start, more in (
        (b"HTTP/1.1 200 ", b"OK"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ):
        with pytest.raises(Garbled):
            serve(endless(start, more)).get()


def test_drops_of_an_answer(serve: Callable[..., Peer]) -> None:
    """Each byte may come in time; the whole must, too."""

    def drip(stream: ssl.SSLSocket) -> None:
        read(stream)
        for one in answer(b"x" * 100):
            stream.sendall(bytes([one]))
            time.sleep(0.05)

    start = time.monotonic()
    with pytest.raises(Unreachable, match="not complete in time"):
        serve(drip, 0.5).get()
    assert time.monotonic() - start < 4


def test_truncated_answers(serve: Serve) -> None:
    """Less than announced, or an end that TLS does not vouch for, is no answer."""

    for talk in (
        always(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", close=True),
        always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", close=True),
    ):
        with pytest.raises(Unreachable):
            serve(talk).get()
    with pytest.raises(Unreachable):
        serve(always(b"HTTP/1.1 200 OK\r\n\r\nhalf of a chain", close=True)).get()

    def polite(stream: ssl.SSLSocket) -> None:
        read(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        stream.unwrap()

    with pytest.raises(Unreachable, match="in the middle of its answer"):
        serve(polite).get()


@pytest.mark.parametrize(
    "junk", [b"SSH-2.0-hello\r\n", b"HTTP/9 x\r\n\r\n", b"\0" * 100 + b"\r\n", b"HTTP/1.1 999999 x"]
)
def test_no_http(serve: Serve, junk: bytes) -> None:
    """Another program on the port is said to be none."""
    with pytest.raises((Garbled, Unreachable)):
        serve(always(junk, close=True)).get()


def test_redirects_on_the_host(serve: Serve) -> None:
    """What is only read may be elsewhere on the same host."""

    def talk(stream: ssl.SSLSocket) -> None:
        while True:
            path = read(stream).split(b" ")[1]
            if path == b"/dir":
                stream.sendall(answer(b"here"))
            else:
                stream.sendall(answer(b"", "Location: /dir", status="308 Permanent Redirect"))

    there = serve(talk)
    response = there.get("/.well-known/acme")
    assert (response.body, response.url) == (b"here", there.base + "/dir")
    # To another port of it, too.
    here = serve(always(answer(b"", f"Location: {there.base}/dir", status="302 Found")))
    here.addresses.update(there.addresses)
    assert here.get().body == b"here"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://evil.lan/dir", "another host"),
        ("https://evil.example/dir", "another host"),
        ("http://router.lan/dir", "no https URL"),
        ("https://router.lan@evil.lan/", "no https URL"),
        ("//evil.lan/", "another host"),
        ("javascript:alert(1)", "no https URL"),
        ("/a b", "no https URL"),
        ("/", "more than 3 redirects"),
        (None, "no https URL"),
    ],
)
def test_redirects_elsewhere(serve: Serve, location: str | None, said: str) -> None:
    """No redirect leads off the host, nor off TLS, nor round in circles."""
    fields = [f"Location: {location}"] if location is not None else []
    peer = serve(always(answer(b"", *fields, status="302 Found")))
    with pytest.raises(AgentError, match=said):
        peer.get()


def test_a_post_is_not_redirected(serve: Serve) -> None:
    """What was signed was signed for its URL."""
    peer = serve(always(answer(b"", "Location: /other", status="307 Temporary Redirect")))
    with pytest.raises(AgentError, match="redirects a POST"):
        peer.client.request("POST", peer.base + "/", b"{}")


def test_addresses_in_turn(serve: Serve) -> None:
    """A dead address does not hide a living one; each that failed is named."""
    peer = serve(always(answer(b"yes")))
    peer.addresses["router.lan", peer.device.port] = ["127.0.0.77", HOST]
    assert peer.get().body == b"yes"
    peer.client.close()
    peer.addresses["router.lan", peer.device.port] = ["127.0.0.77", "127.0.0.78"]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.77 port .*refused.*127\.0\.0\.78 port"):
        peer.get()


def test_addresses_from_outside_are_not_used(serve: Serve) -> None:
    """Not even beside a good one (specs 6: DNS rebinding)."""
    peer = serve(always(answer(b"yes")))
    peer.addresses["router.lan", peer.device.port] = [HOST, "203.0.113.7"]
    with pytest.raises(AgentError, match=r"203\.0\.113\.7 is not an address of a local network"):
        peer.get()
    assert peer.device.connections == 0


def test_a_name_without_address(serve: Serve) -> None:
    """Nothing is resolved here."""
    peer = serve(always(answer(b"yes")))
    with pytest.raises(Unreachable, match=r"no address is known for localhost port 443"):
        peer.client.request("GET", "https://localhost/")
    asked: list[object] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [HOST]

    with Http(trusting(Root.of(ROOT.der)), lookup) as client:
        assert client.request("GET", peer.base.upper().replace("HTTPS", "https")).body == b"yes"
    assert asked == [("router.lan", peer.device.port)]


@pytest.mark.parametrize(
    "url",
    [
        "http://router.lan/", "https:///x", "https://", "https://router.lan:0/", "router.lan",
        "https://router.lan:99999/", "https://u:p@router.lan/", "https://rou ter.lan/",
        "https://router.lan/\r\nX: y", "https://drücker.lan/", "https://router_x.lan/",
        "https://[::1/", "https://router.lan/" + "x" * 2000, "https://[fe80::1%25a/b]/",
    ],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    """A URL that could mean something else is no URL."""
    with pytest.raises(AgentError, match=r"is no URL|is not https"):
        http.split(url)


def test_urls() -> None:
    """Host, port, path."""
    assert http.split("https://Router.LAN") == (("router.lan", 443), "/")
    assert http.split("https://[fd00::1]:8555/a?b") == (("fd00::1", 8555), "/a?b")
    assert issubclass(BadName, ValueError)


def test_json_objects(serve: Serve) -> None:
    """What is no JSON object is told with its URL."""
    peer = serve(always(answer(b'{"a": 1}')))
    assert peer.get().document() == {"a": 1}
    for body in (b"", b"[]", b"<html>", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}'):
        with pytest.raises(Garbled, match=re.escape("the answer of https://router.lan")):
            serve(always(answer(body))).get().document()


def test_another_root(serve: Serve, tmp_path: Path) -> None:
    """The pin holds for each connection."""
    peer = serve(always(answer(b"yes")))
    with (
        Http(trusting(Root.of(make("root").der)), peer.addresses) as client,
        pytest.raises(Untrusted),
    ):
        client.request("GET", peer.base + "/")

"""The server's side of WSGI, beyond what `test_serve` sees from outside (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from acmeiot.web import wsgi

MORE = {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def parsed(text: str, body: bytes = b"") -> HTTPRequestParser:
    request = HTTPRequestParser(Adjustments(listen="127.0.0.1:0"))
    head = text.replace("\n", "\r\n").encode() + b"\r\n\r\n"
    assert request.received(head) == len(head)
    if body:
        request.received(body)
    return request


def answered(app: App, text: str = "GET /x HTTP/1.1", *, last: bool = False) -> tuple[str, bytes]:
    """Return head (without date) and body."""
    request = parsed(text)
    octets = wsgi.answer(app, wsgi.environ_of(request, MORE), request, last=last)
    head, _, body = octets.partition(b"\r\n\r\n")
    lines = [line for line in head.decode("latin-1").split("\r\n") if line[:5] != "Date:"]
    return "\n".join(lines), body


def saying(*chunks: bytes, status: str = "200 OK", headers: Any = ()) -> App:
    def app(_environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start(status, list(headers))
        return chunks

    return app


def test_the_environ() -> None:
    request = parsed(
        "POST //a%20b?q=1 HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 3\nX-Y: z",
        b"abc",
    )
    environ = wsgi.environ_of(request, MORE)
    assert environ.pop("wsgi.input").read() == b"abc"
    assert {name: value for name, value in environ.items() if name[:4] != "wsgi"} == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "q=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "x",
        "HTTP_X_Y": "z",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
    }


def test_an_answer_has_its_length() -> None:
    head = "HTTP/1.1 200 OK\nContent-Length: 5\nServer: acmeiot"
    assert answered(saying(b"he", b"", b"llo")) == (head, b"hello")
    assert answered(saying(b"hello", headers=[("content-length", "5")])) == (
        "HTTP/1.1 200 OK\ncontent-length: 5\nServer: acmeiot",
        b"hello",
    )


def test_an_answer_to_head_keeps_its_length_only() -> None:
    head = "HTTP/1.1 200 OK\nContent-Length: 5\nServer: acmeiot"
    assert answered(saying(b"hello"), "HEAD /x HTTP/1.1") == (head, b"")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_answers_have_no_body(status: str) -> None:
    assert answered(saying(b"lost", status=status)) == (f"HTTP/1.1 {status}\nServer: acmeiot", b"")


@pytest.mark.parametrize(
    ("version", "last", "said"),
    [
        ("1.1", False, ""),
        ("1.1", True, "Connection: close\n"),
        ("1.0", False, "Connection: keep-alive\n"),
        ("1.0", True, "Connection: close\n"),
    ],
)
def test_the_client_is_told_whether_more_may_follow(version: str, last: bool, said: str) -> None:
    head, _ = answered(saying(), f"GET /x HTTP/{version}", last=last)
    assert head == f"HTTP/{version} 200 OK\n{said}Content-Length: 0\nServer: acmeiot"


@pytest.mark.parametrize(
    "app",
    [
        saying(status="200 OK\r\nSet-Cookie: a=b"),
        saying(headers=[("Location", "x\r\nSet-Cookie: a=b")]),
        saying(headers=[("X\nY", "z")]),
        saying(headers=[("X", "y\rz")]),
        saying(headers=[("X", "\u20ac")]),
        lambda _environ, _start: [b"no status"],
    ],
)
def test_what_cannot_be_sent_is_an_error(app: App) -> None:
    """A name in a header must not become a header of its own."""
    with pytest.raises(ValueError, match=r"more than one line|latin-1|no status"):
        answered(app)


def test_an_application_may_begin_again_only_for_an_error() -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("X", "y")])
        start("500 Oh", [], environ.get("HTTP_FAULT"))
        return ()

    assert answered(app, "GET / HTTP/1.1\nFault: yes")[0].startswith("HTTP/1.1 500 Oh\nContent")
    with pytest.raises(ValueError, match="began its answer twice"):
        answered(app)


def test_an_iterable_is_closed_whatever_comes() -> None:
    closed = []

    class Chunks:
        def __iter__(self) -> Any:
            yield b"half"
            raise KeyError

        def close(self) -> None:
            closed.append(1)

    def app(_environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [])(b"written, then ")
        return Chunks()

    with pytest.raises(KeyError):
        answered(app)
    assert closed == [1]

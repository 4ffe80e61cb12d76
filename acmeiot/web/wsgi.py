"""From a parsed request to its answer as bytes: the server's side of WSGI (PEP 3333).

The applications are this program's own and their answers small, so an answer is whole before a byte
of it leaves: its length is always known, and an application that fails half way is a clean 500.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from waitress.parser import HTTPRequestParser
from waitress.utilities import build_http_date

from acmeiot.protocol.errors import URN

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication as WSGIApp

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

_WITHOUT_BODY: Final = ("1", "204", "304")  # how such a status begins (RFC 9110 section 6.4.1)
_AS_IT_IS: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")  # headers without HTTP_ before their names


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """Return the time as HTTP writes it; asked for many times in a second."""
    return str(build_http_date(seconds))


def environ_of(request: HTTPRequestParser, more: Environ) -> Environ:
    """Return the environ of a request; `more` is what its connection and listener know."""
    path = request.path
    environ: Environ = {
        "REQUEST_METHOD": request.command.upper(),
        "SCRIPT_NAME": "",
        # `//x` is the same resource as `/x`
        "PATH_INFO": "/" + path.lstrip("/") if path.startswith("//") else path,
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": f"HTTP/{_version(request)}",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": request.get_body_stream(),
        "wsgi.input_terminated": True,
        **more,
    }
    for name, value in request.headers.items():
        environ[name if name in _AS_IT_IS else f"HTTP_{name}"] = value
    return environ


def answer(app: WSGIApp, environ: Environ, request: HTTPRequestParser, *, last: bool) -> bytes:
    """Return what the application answers; with `last` the client is told that no more follows.

    Raises what the application raises, and ValueError for an answer that cannot be sent.
    """
    start: list[tuple[str, Headers]] = []
    parts: list[bytes] = []

    def start_response(status: str, headers: Headers, fault: Any = None) -> Callable[[bytes], Any]:
        if start and fault is None:
            raise ValueError("the application began its answer twice")
        start[:] = [(status, headers)]
        return parts.append

    chunks = app(environ, start_response)
    try:
        parts.extend(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    if not start:
        raise ValueError("the application gave no status")
    status, headers = start[0]
    body = b"".join(parts)
    head = _head(_version(request), status, headers, len(body), last=last)
    return head if request.command == "HEAD" or status.startswith(_WITHOUT_BODY) else head + body


def refusal(request: HTTPRequestParser) -> bytes:
    """Return the answer to what never reached the application, or fell there (RFC 7807).

    It is the last one (R-8: an oversized body is 413 malformed).
    """
    error = request.error
    kind = "malformed" if error.code < 500 else "serverInternal"
    problem = {"type": URN + kind, "detail": error.body, "status": error.code}
    body = json.dumps(problem).encode()
    headers = [("Content-Type", "application/problem+json")]
    status = f"{error.code} {error.reason}"
    return _head(_version(request), status, headers, len(body), last=True) + body


def _version(request: HTTPRequestParser) -> str:
    return "1.1" if request.version == "1.1" else "1.0"


def _head(version: str, status: str, headers: Headers, length: int, *, last: bool) -> bytes:
    lines = [f"HTTP/{version} {status}", *[f"{name}: {value}" for name, value in headers]]
    if last:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    named = {name.lower() for name, _ in headers}
    if "content-length" not in named and not status.startswith(_WITHOUT_BODY):
        lines.append(f"Content-Length: {length}")
    lines += [f"Date: {http_date(int(time.time()))}", "Server: acmeiot", "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") >= len(lines) or head.count("\r") >= len(lines):
        raise ValueError("a header of the answer has more than one line")
    return head.encode("latin-1")

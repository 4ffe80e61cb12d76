"""From WSGI to a handler and back: bottle finds the route, a `Reply` goes out as it stands.

bottle's own request and response objects are left aside: they cost more than an ACME request's
whole JSON, and nothing here needs cookies, plugins or templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import bottle

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
Headers = tuple[tuple[str, str], ...]

_JSON: Final = json.JSONEncoder(separators=(",", ":"))
_STATUS: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is HTTP; a dict becomes JSON."""

    body: dict[str, object] | str | bytes = b""
    status: int = 200
    headers: Headers = ()
    content_type: str = "application/json"

    def octets(self) -> bytes:
        """Return the body as it goes out."""
        body = _JSON.encode(self.body) if isinstance(self.body, dict) else self.body
        return body.encode() if isinstance(body, str) else body


Handler = Callable[..., Reply]  # (environ, **parts of the path)
Miss = Callable[[Environ, int], Reply]  # (environ, 404 or 405)


class Router:
    """A WSGI application of routes; `miss` answers what no route takes."""

    def __init__(self, miss: Miss) -> None:
        self._routes = bottle.Bottle()
        self._miss = miss

    def add(self, path: str, methods: str | list[str], handler: Handler) -> None:
        """Add a route, in bottle's notation."""
        self._routes.route(path, methods, handler)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            route, parts = self._routes.match(environ)
        except bottle.HTTPError as error:
            reply = self._miss(environ, error.status_code)
            allow = error.get_header("Allow")  # RFC 9110 section 15.5.6
            extra = (("Allow", allow),) if allow else ()
        else:
            reply, extra = route.callback(environ, **parts), ()
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.octets()
        headers = [*reply.headers, *extra]
        if body:
            headers.append(("Content-Type", reply.content_type))
        if reply.status != HTTPStatus.NO_CONTENT:  # RFC 9110 section 8.6
            headers.append(("Content-Length", str(len(body))))
        start_response(_STATUS[reply.status], headers)
        return (body,)

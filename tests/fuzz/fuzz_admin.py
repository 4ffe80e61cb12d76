"""Calls on the admin socket: an answer, or a refusal with 400 or 409; never a fault."""

import io
import os
from collections.abc import Callable
from typing import Any

from tests.fuzz import runner
from tests.lan.fakes import FakeClock, FakeEvents

with runner.instrumented():
    from acmeiot.config import Config
    from acmeiot.core.ports import Issuer
    from acmeiot.identity import Names
    from acmeiot.runner import ThreadRunner
    from acmeiot.store.sqlite import SqliteStore
    from acmeiot.web.admin import AdminRoutes, Json
    from acmeiot.wiring import Outside, core, lan_facts

PATHS = ("/approve", "/block", "/forget", "/pair", "/window", "/revoke", "/rotate", "/backup", "/x")


class Steward:
    """The server as a whole, which has nothing to parse."""

    def status(self) -> Json:
        return {}

    def rotate(self) -> Json:
        return {}

    def backup(self, passphrase: str) -> bytes:
        return passphrase.encode()


class Faults(FakeEvents):
    """A fault of the server is what is looked for."""

    def fault(self, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        """Keep nothing: the run is long."""


def application() -> Callable[..., Any]:
    """Return the admin routes over an empty home."""
    config = Config(lease_files=(), hosts_files=(), mdns=False)
    clock, events = FakeClock(), Faults()
    store = SqliteStore(runner.folder(f"admin-{os.getpid()}"))
    issuer: Issuer = None  # type: ignore[assignment]  # nothing is signed here
    lan = lan_facts(config, clock, events)
    names = Names(("router.lan",), (), "router.lan")
    made = core(config, names, Outside(store, clock, events, issuer, lan, ThreadRunner()))
    app: Callable[..., Any] = AdminRoutes(made.owner, Steward(), events).app
    return app


app = application()


def call(data: bytes) -> None:
    """The first octet is the path, the others the body."""
    path, body = PATHS[data[0] % len(PATHS)] if data else "/pair", data[1:]
    answers: list[str] = []

    def start(status: str, _headers: object, _info: object = None) -> Callable[[bytes], object]:
        answers.append(status)
        return len

    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "SCRIPT_NAME": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(), "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    list(app(environ, start))
    assert answers[0].split()[0] in ("200", "400", "404", "409"), answers


SEEDS = (
    b'\0{"device":"printer.lan"}',
    b'\1{"device":"192.168.1.20"}',
    b'\3{"seconds":60,"note":"the grey one"}',
    b'\3{"note":"\\ud800"}',
    b'\4{"seconds":0}',
    b'\5{"cert":"0a:ff","reason":4}',
    b'\7{"passphrase":"correct horse"}',
)

runner.run(call, refusals=(), seeds=SEEDS)

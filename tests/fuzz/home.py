"""An empty home for targets that need the rules and the store, and a way to post to it."""

import io
import json
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fuzz import runner
from tests.lan.fakes import FakeClock, FakeEvents, table_of

with runner.instrumented():
    from acmeiot.ca.roots import Authority, AuthorityConfig
    from acmeiot.config import Config
    from acmeiot.identity import Names
    from acmeiot.lan.resolve import LanFacts
    from acmeiot.lan.unicast import UnicastDns
    from acmeiot.runner import ThreadRunner
    from acmeiot.store.sqlite import SqliteStore
    from acmeiot.wiring import Core, Outside, core

NOW = 1_800_000_000
App = Callable[..., Any]


class Faults(FakeEvents):
    """A fault of the server is what is looked for; all else is let go, as the run is long."""

    def fault(self, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        pass

    def debug(self, kind: str, message: str) -> None:
        pass


class Idle(ThreadRunner):
    """Takes every proof and seeks none: nothing is sent anywhere."""

    def start(self, job: Callable[[], None], wait: float) -> bool:
        return True


def authority() -> Authority:
    """Return the home's authority, made once for each target."""
    folder = runner.folder(f"{runner.TARGET}-authority")
    return Authority.open(folder, AuthorityConfig(), now=NOW, record=lambda _: None)


def open_home() -> Core:
    """Return the rules over a new store; one printer is known, and no resolver is."""
    state = runner.folder(f"{runner.TARGET}-state")
    shutil.rmtree(state)
    config = Config(lease_files=(), hosts_files=(), limits="off", approval="auto")
    lan = LanFacts(table_of("192.168.1.20 printer"), UnicastDns([]), None, forced=False)
    names = Names(("router.lan",), (), "router.lan")
    store, clock = SqliteStore(state), FakeClock(NOW)
    return core(config, names, Outside(store, clock, Faults(), authority(), lan, Idle()))


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body's content."""
        return json.loads(self.body)


def post(app: App, path: str, body: bytes, **environ: str) -> Answer:
    """Post the body to a WSGI application."""
    began: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None) -> App:
        began.append((status, headers))
        return len

    given = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "SCRIPT_NAME": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(), "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "192.168.1.20", "HTTP_HOST": "router.lan:8555",
    }  # fmt: skip
    answer = b"".join(app({**given, **environ}, start))
    return Answer(int(began[0][0].split()[0]), dict(began[0][1]), answer)

"""Calls on the admin socket: an answer, or a refusal with 400 or 409; never a fault."""

from tests.fuzz import runner
from tests.fuzz.home import Faults, open_home, post

with runner.instrumented():
    from acmeiot.web.admin import AdminRoutes, Json

PATHS = (
    "/approve",
    "/block",
    "/forget",
    "/pair",
    "/window",
    "/revoke",
    "/rotate",
    "/backup",
    "/announced",
    "/x",
)


class Steward:
    """The server as a whole, which has nothing to parse."""

    def status(self) -> Json:
        return {}

    def rotate(self) -> Json:
        return {}

    def backup(self, passphrase: str) -> bytes:
        return passphrase.encode()


app = AdminRoutes(open_home().owner, Steward(), Faults()).app


def call(data: bytes) -> None:
    """The first octet is the path, the others the body."""
    path, body = PATHS[data[0] % len(PATHS)] if data else "/pair", data[1:]
    assert post(app, path, body).status in (200, 400, 404, 409)


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

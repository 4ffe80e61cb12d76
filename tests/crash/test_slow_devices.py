"""Devices that take a connection and never answer hold up nobody but themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.crash.conftest import MakeServer
from tests.crash.server import Server
from tests.crash.stubborn import Stubborn, ids
from tests.web.house import House

SLOW = 20
SILENT = "127.0.0.3"  # where the slow devices are


@pytest.fixture
def silence(house: House) -> Iterator[list[socket.socket]]:
    """A device at the house's port that accepts everybody and says nothing; who was accepted."""
    accepted: list[socket.socket] = []
    with ExitStack() as stack:
        listener = socket.create_server((SILENT, house.http_port), backlog=SLOW)

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        house.records += [f"slow-{number}.lan A {SILENT}" for number in range(SLOW)]
        yield accepted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        stack.callback(listener.close)
        for one in accepted:
            stack.callback(one.close)


def begin(client: Stubborn, name: str) -> str:
    """Order a name and answer its challenge; return the authorization's URL."""
    made = client.post(client.client.directory["newOrder"], {"identifiers": ids(name)})
    (url,) = made.ok(201)["authorizations"]
    challenge = client.house.answer(client.client, client.post(url).ok())
    client.post(challenge["url"], {}).ok()
    return str(url)


def test_slow_devices_and_a_quick_one(
    house: House, make_server: MakeServer, silence: list[socket.socket]
) -> None:
    server = make_server("--limits", "off")
    server.start()
    slow = [registered(server, house) for _ in range(SLOW)]
    quick = registered(server, house)
    names = [f"slow-{number}.lan" for number in range(SLOW)]
    with ThreadPoolExecutor(SLOW) as pool:
        waiting = [*pool.map(begin, slow, names)]
    quick.issue("quick.lan")
    states = [client.post(url).ok() for client, url in zip(slow, waiting, strict=True)]
    assert {one["challenges"][0]["status"] for one in states} == {"processing"}
    assert len(silence) == SLOW
    for client, url in zip(slow, waiting, strict=True):
        ended = client.client.poll(url, 60).ok()
        assert ended["status"] == "invalid"
        (error,) = [one["error"] for one in ended["challenges"] if "error" in one]
        assert error["type"] == "urn:ietf:params:acme:error:connection"
        assert f"({SILENT}) port {house.http_port}: took the connection" in error["detail"]
    quick.issue("quick.lan")
    assert "Traceback" not in server.log.read_text()


def registered(server: Server, house: House) -> Stubborn:
    """Return a client with an account."""
    client = Stubborn(server.client(), house)
    client.register()
    return client

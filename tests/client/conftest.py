"""Servers for the ACME client: this project's own, and Pebble as one that owes it nothing."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acmeiot.client.acme import Client
from acmeiot.client.http import Http
from acmeiot.client.signing import AccountKey
from acmeiot.client.tls import Root, split_pem, trusting
from tests.client import issuers
from tests.client.peer import HOST, ROOT, Peer, Serve
from tests.ports import free_ports
from tests.validate.device import Device
from tests.web.house import House
from tests.web.running import NAMES, Running

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, the root that its TLS has, and the connections made to it."""

    directory: str
    root: Root
    opened: ExitStack

    def client(self, key: AccountKey | None = None, account: str | None = None) -> Client:
        """Return a client whose connection ends with the test."""
        http = self.opened.enter_context(Http(trusting(self.root), lambda _host, _port: [LOOPBACK]))
        return Client(http, self.directory, key or AccountKey.generate(), account=account)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Hold what ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """Return the devices and the DNS of the home."""
    with House() as house:
        yield house


@pytest.fixture(scope="session")
def start(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Running]]:
    """Start this project's server, with these options more."""
    with ExitStack() as stack:

        def started(*more: str, toml: str = "") -> Running:
            work = tmp_path_factory.mktemp("server")
            (work / "acmeiot.toml").write_text(toml)
            options = (
                *NAMES, "--resolver", f"{LOOPBACK}:{house.dns_port}", "--allow-loopback",
                "--http01-port", f"{house.http_port}", "--tlsalpn01-port", f"{house.tls_port}",
                "--limits", "off", "--config", str(work / "acmeiot.toml"), *more,
            )  # fmt: skip
            running = Running(work / "state", options)
            stack.callback(lambda: running.process and running.stop())
            return running.start()

        yield started


@pytest.fixture(scope="session")
def home_server(start: Callable[..., Running]) -> Running:
    """Return this project's server, which allows every device."""
    return start("--approval", "auto")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side of TLS."""
    return issuers.context(tmp_path_factory.mktemp("tls"), issuers.server(ROOT), ROOT)


@pytest.fixture
def serve(shown: ssl.SSLContext) -> Iterator[Serve]:
    """Start servers that end with the test."""
    peers: list[Peer] = []

    def start(talk: Any, timeout: float = 5) -> Peer:
        device = Device(talk, HOST, context=shown).__enter__()
        peers.append(Peer(device, timeout))
        return peers[-1]

    yield start
    for peer in peers:
        peer.client.close()
    for peer in peers:
        peer.device.__exit__(None, None, None)


def place(running: Running, opened: ExitStack) -> Place:
    """Return where a server of this project is."""
    return Place(running.directory, Root.of(split_pem(running.root.read_bytes())[0]), opened)


@pytest.fixture
def home(home_server: Running, opened: ExitStack) -> Place:
    """Return where this project's server is."""
    return place(home_server, opened)


@pytest.fixture(scope="session")
def pebble_server(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Root]]:
    """Start Pebble, which refuses some good nonces, reuses no authorization, and knows EAB."""
    work = tmp_path_factory.mktemp("pebble")
    root = issuers.make("pebble's root")
    issuers.context(work, issuers.server(root, [LOOPBACK, "pebble.lan"]))
    (pem,) = work.glob("*.pem")
    port, manage = free_ports()
    config = {
        "listenAddress": f"{LOOPBACK}:{port}",
        "managementListenAddress": f"{LOOPBACK}:{manage}",
        "certificate": str(pem),
        "privateKey": str(pem),
        "httpPort": house.http_port,
        "tlsPort": house.tls_port,
        "externalAccountMACKeys": {
            "printer": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
        },
    }
    (work / "pebble.json").write_text(json.dumps({"pebble": config}))
    environment = {
        **os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5",
        "PEBBLE_AUTHZREUSE": "0", "PEBBLE_ALTERNATE_ROOTS": "2",
    }  # fmt: skip
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "pebble", "-config", work / "pebble.json",
             "-dnsserver", f"{LOOPBACK}:{house.dns_port}"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for(port, work / "log")
        yield f"https://{LOOPBACK}:{port}/dir", Root.of(root.der)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, log: Path) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((LOOPBACK, port), 1).close()
        except OSError:
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def pebble(pebble_server: tuple[str, Root], opened: ExitStack) -> Place:
    """Return where Pebble is."""
    return Place(*pebble_server, opened)


@pytest.fixture(params=["home", "pebble"])
def either(request: pytest.FixtureRequest) -> Place:
    """Return where this project's server is, and where Pebble is."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    return found

"""How a server ends, and what keeps another one from starting."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.crash.conftest import MakeServer
from tests.crash.server import Server
from tests.crash.stubborn import Downloaded, Stubborn
from tests.crash.whole import assert_whole, authority_files
from tests.web.house import House

CLIENTS = 4
EACH = 8
STOPS = 3


def test_sigterm_during_load(house: House, make_server: MakeServer) -> None:
    """Each end is a clean one, and the clients finish with the next server."""
    server = make_server("--limits", "off")
    server.start()
    authority = authority_files(server.state)
    clients = [Stubborn(server.client(), house) for _ in range(CLIENTS)]
    downloaded: list[Downloaded] = []

    def work(client: Stubborn, number: int) -> None:
        client.register()
        for n in range(EACH):
            downloaded.append(client.issue(f"d{number}-{n}.lan"))

    with ThreadPoolExecutor(CLIENTS) as pool:
        done = [pool.submit(work, client, number) for number, client in enumerate(clients)]
        for number in range(1, STOPS + 1):
            while len(downloaded) < number * CLIENTS * EACH / (STOPS + 1):
                assert not any(one.done() and one.exception() for one in done)
                time.sleep(0.005)
            assert server.terminate() == 0, server.log.read_text()
            assert not (server.state / "admin.sock").exists()
            assert not list(server.state.glob("*-wal")), "a clean end folds the log in"
            server.start()
    for one in done:
        one.result()
    assert all(client.alone for client in clients), "not all were at work when it ended"
    assert len(downloaded) == CLIENTS * EACH
    assert server.terminate() == 0
    assert_whole(server.state, downloaded)
    assert authority_files(server.state) == authority
    assert len(server.roots) == 1
    assert "Traceback" not in server.log.read_text()


def test_second_start_on_the_same_state(house: House, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    second = Server(server.state, server.options, server.work)
    assert second.refused() == f"another acmeiot serve uses {server.state}; stop it first"
    client = Stubborn(server.client(), house)
    client.register()
    client.issue("printer.lan")
    assert server.terminate() == 0
    second.start()
    assert second.roots == server.roots
    assert second.terminate() == 0


def test_port_in_use(make_server: MakeServer) -> None:
    first, other = make_server(name="first"), make_server(name="other")
    first.start()
    free = other.ports
    for taken in ([first.ports[0], free[1]], [free[0], first.ports[1]]):
        other.ports = taken
        (port,) = {*taken} & {*first.ports}
        assert other.refused() == f"cannot listen on 127.0.0.1 port {port}: Address already in use"
    other.ports = free
    other.start()
    assert other.terminate() == 0
    assert first.status()["audit_broken_at"] is None

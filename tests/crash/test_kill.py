"""kill -9 at any moment: no issued certificate is lost, no serial comes twice (R-36)."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

import pytest

from acmeiot.web.objects import CERTIFICATE
from tests.crash.conftest import MakeServer
from tests.crash.server import LOCALHOST, Server
from tests.crash.stubborn import Downloaded, Stubborn
from tests.crash.whole import assert_server_key, assert_whole, authority_files
from tests.web.client import Answer, Wire
from tests.web.house import House

CLIENTS = 4
EACH = 50  # issuances of one client
EVERY = (20, 70)  # requests between two kills
IN_FLIGHT = 0.010  # seconds after a request at which the server is killed, at most
AGAIN = 0.25  # how likely a restart is killed too
FIRST_STARTS = 20


def seed() -> int:
    """Return the seed of this run; a failed test shows it. CRASH_SEED=N repeats its choices."""
    number = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"repeat with CRASH_SEED={number}")
    return number


class Moment(Enum):
    """When the power goes."""

    WORKING = "while a request is on its way"
    ANSWERED = "the moment an answer arrives"
    FINALIZED = "the moment finalize's answer arrives"
    DOWNLOADED = "the moment a certificate arrives"

    def fits(self, url: str) -> bool:
        """Tell whether a request to this URL brings the moment."""
        if self is Moment.FINALIZED:
            return url.endswith("/finalize")
        return self is not Moment.DOWNLOADED or CERTIFICATE in url


class Killer:
    """Kills the server at seeded requests of its clients; the main thread starts it again."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server, self._chance = server, chance
        self._lock = threading.Lock()
        self._left = chance.randint(*EVERY)
        self._coming: list[Moment] = []
        self._armed: Moment | None = None
        self.kills: list[Moment] = []
        self.truce = False

    def due(self, url: str) -> Moment | None:
        """Tell at what moment of this request the server is to die, if at all."""
        with self._lock:
            self._left -= not self.truce
            if self._left == 0:
                self._left = self._chance.randint(*EVERY)
                self._coming = self._coming or self._chance.sample([*Moment], len(Moment))
                self._armed = self._coming.pop()
            if self.truce or self._armed is None or not self._armed.fits(url):
                return None
            moment, self._armed = self._armed, None
            self.kills.append(moment)
            return moment

    def kill(self) -> None:
        """Kill the server now."""
        self._server.running.kill()

    def kill_soon(self) -> None:
        """Kill the server while it works on what it is sent now."""
        threading.Timer(self._chance.uniform(0, IN_FLIGHT), self.kill).start()


class DeadlyWire(Wire):
    """A connection whose requests may be the server's last."""

    def __init__(self, address: tuple[str, int], root: Path, killer: Killer) -> None:
        super().__init__(address, root)
        self._killer = killer

    def send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send one request, and kill the server before or after its answer."""
        moment = self._killer.due(url)
        if moment is Moment.WORKING:
            self._killer.kill_soon()
        answer = super().send(method, url, body, headers)
        if moment is not None:
            self._killer.kill()
        return answer


def restart(server: Server, chance: random.Random) -> None:
    """Start a killed server again, as often as it is killed on the way, which is now and then."""
    while True:
        server.kill()
        assert server.running.returncode == -signal.SIGKILL, server.log.read_text()
        server.launch()
        if chance.random() < AGAIN:
            time.sleep(chance.uniform(0, 0.5))
        elif server.hear():
            return


# Python itself forgets a TLS socket whose peer dies between connect and handshake.
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
def test_200_issuances_under_kill_9(house: House, make_server: MakeServer) -> None:
    chance = random.Random(seed())
    server = make_server("--limits", "off")
    server.start()
    authority = authority_files(server.state)
    killer = Killer(server, random.Random(chance.random()))
    address = (LOCALHOST, server.ports[0])
    wires = [DeadlyWire(address, server.root, killer) for _ in range(CLIENTS)]
    clients = [Stubborn(server.client_over(wire), house) for wire in wires]
    found = issue_under_siege(server, clients, killer, chance)
    print(f"{len(killer.kills)} kills: {', '.join(moment.name for moment in killer.kills)}")
    print(f"{sum(client.lost for client in clients)} connections lost,"
          f" {sum(client.refused for client in clients)} nonces refused")  # fmt: skip
    assert len(killer.kills) >= 10  # a slow machine comes by fewer of the chosen moments
    assert sum(client.refused for client in clients)
    killer.truce = True
    for client, downloaded in zip(clients, found, strict=True):
        for one in downloaded:
            assert client.download(one.url) == one.pem
    assert server.status()["audit_broken_at"] is None
    server.kill()
    assert_whole(server.state, [one for downloaded in found for one in downloaded])
    assert authority_files(server.state) == authority
    assert len(server.roots) == 1
    assert "Traceback" not in server.log.read_text()


def issue_under_siege(
    server: Server, clients: list[Stubborn], killer: Killer, chance: random.Random
) -> list[list[Downloaded]]:
    """Let all clients work while the server dies and comes back; return what each got."""
    with ThreadPoolExecutor(len(clients)) as pool:
        work = [pool.submit(issue_all, client, number) for number, client in enumerate(clients)]
        while not all(one.done() for one in work) or server.running.poll() is not None:
            if server.running.poll() is None:
                time.sleep(0.01)
                continue
            killer.truce = True
            restart(server, chance)
            killer.truce = False
    return [one.result() for one in work]


def issue_all(client: Stubborn, number: int) -> list[Downloaded]:
    """Get one client's certificates, one after the other."""
    client.register()
    return [client.issue(f"d{number}-{n}.lan") for n in range(EACH)]


def test_first_start_under_kill_9(make_server: MakeServer) -> None:
    """Whatever the first start left behind, the next one makes one whole home of it."""
    chance = random.Random(seed())
    whole = make_server(name="whole")
    seconds = until_ready(whole)
    whole.kill()
    files = {path.name for path in whole.state.rglob("*") if path.suffix != ".key"}
    ready = 0
    for number in range(FIRST_STARTS):
        server = make_server(name=f"first-{number}")
        server.launch()
        wait_for(server.state)
        time.sleep(chance.uniform(0, seconds))
        server.kill()
        ready += len(server.roots)
        server.start()
        server.kill()
        assert len(server.roots) == 1, number
        assert_server_key(server.state)
        assert len(authority_files(server.state)) == len(authority_files(whole.state))
        assert {p.name for p in server.state.rglob("*") if p.suffix != ".key"} == files
        assert "Traceback" not in server.log.read_text()
    assert ready < FIRST_STARTS / 2, "most were to die before they were ready"


def until_ready(server: Server) -> float:
    """Start a server; return how long it took since it touched the disk."""
    server.launch()
    wait_for(server.state)
    began = time.monotonic()
    assert server.hear()
    return time.monotonic() - began


def wait_for(path: Path) -> None:
    """Wait until there is something at the path."""
    ends = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.0005)

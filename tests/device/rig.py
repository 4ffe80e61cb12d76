"""A device under test: the agent as it is, a real server, and networks that a test makes up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from acmeiot.client import locate
from acmeiot.client.discover import Candidate, Search
from acmeiot.client.errors import AgentError
from acmeiot.client.http import split
from acmeiot.client.locate import Server
from acmeiot.client.network import Network, Survey
from acmeiot.device import state as states
from acmeiot.device.agent import Agent
from acmeiot.device.install import Installer, Proof, Targets
from acmeiot.device.responders import Http01, Responder
from acmeiot.device.settings import Settings
from acmeiot.device.state import State
from acmeiot.device.status import Outcome
from acmeiot.device.visit import Tools
from acmeiot.lan import unicast
from acmeiot.protocol import names
from tests.web.running import Running

LOOPBACK = "127.0.0.1"
HOME = Network("eth0", "52:54:00:00:00:01", gateway="192.168.1.1")
ELSEWHERE = Network("eth0", "52:54:00:00:00:02", gateway="10.0.0.1")
WIFI = Network("wlan0", "52:54:00:00:00:01", ssid="home", gateway="192.168.1.1")
LABEL = "printer-12cd56"
NAMES = {f"{LABEL}.lan", f"{LABEL}.local"}


@dataclass
class FakeClock:
    """The system's time and `ahead` seconds; a wait takes no time, but moves the clock.

    `asleep` seconds pass on the wall during the next wait, while the device sleeps.
    """

    ahead: float = 0.0
    waited: float = 0.0
    asleep: float = 0.0

    def now(self) -> int:
        """Return the time that this device believes it is."""
        import time

        return int(time.time() + self.ahead + self.waited)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        import time

        return time.monotonic() + self.waited

    def sleep(self, seconds: float) -> None:
        """Wait for the server, in real time: it is really at work."""
        import time

        time.sleep(seconds)


@dataclass
class FakeWatch:
    """A link on which nothing happens, but what a test says: `changes` at a waiting's number."""

    clock: FakeClock
    changes: set[int] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)

    def wait(self, timeout: float) -> bool:
        """Let the time pass."""
        self.waits.append(timeout)
        self.clock.waited += timeout
        self.clock.ahead += self.clock.asleep
        self.clock.asleep = 0
        return len(self.waits) in self.changes


@dataclass
class FakeLan:
    """Networks as a test has them: `servers` by network key; one that is not there is silent."""

    dns_port: int
    servers: dict[str, str] = field(default_factory=dict)  # directory URLs
    joined: tuple[Network, ...] = (HOME,)
    unknown: tuple[str, ...] = ()
    told: tuple[str, ...] = ()  # local domains
    hosts: dict[str, str] = field(default_factory=dict)  # other names, by the server's
    asked: list[str] = field(default_factory=list)  # keys of the networks that were searched

    def survey(self) -> Survey:
        """Return the networks joined now."""
        return Survey(self.joined, self.unknown)

    def find(self, network: Network, _known: str | None) -> Server:
        """Locate the network's server as the agent really does."""
        self.asked.append(network.key)
        if network.key not in self.servers:
            raise AgentError("this network names no ACME server: nobody was asked")
        return self._at(self.servers[network.key], None)

    def again(self, url: str, root: str) -> Server:
        """Locate a server of before."""
        return self._at(url, root)

    def _at(self, url: str, root: str | None) -> Server:
        (host, port), path = split(url)
        resolver = unicast.Server(names.ip(LOOPBACK).address, self.dns_port)
        where = self.hosts.get(host, host)
        candidate = Candidate(where, port, path, root, "dhcp", "a test", None, (resolver,))
        return locate.locate(candidate)

    def domains(self, _network: Network) -> tuple[str, ...]:
        """Return what DHCP told."""
        return self.told

    def addresses(self, _network: Network) -> tuple[str, ...]:
        """Return this device's addresses."""
        return (LOOPBACK,)


@dataclass
class Rig:
    """An agent on a directory; `settings` and the rest may be changed before `agent`."""

    folder: Path
    lan: FakeLan
    port: int
    clock: FakeClock = field(default_factory=FakeClock)
    settings: dict[str, Any] = field(default_factory=lambda: {"name": LABEL})
    reload: Any = None
    proof: Proof | None = None
    responder: type[Any] = Http01
    starts: int = 0

    @property
    def state(self) -> State:
        """Return the state as it lies on the disk."""
        return states.make(self.folder / "state")

    @property
    def targets(self) -> Targets:
        """Return where a service would read its files."""
        ssl = self.folder / "ssl"
        ssl.mkdir(exist_ok=True)
        return Targets(ssl / "key.pem", ssl / "cert.pem")

    def agent(self) -> Agent:
        """Return an agent as a start of the program makes one."""

        def responder(addresses: Sequence[str]) -> Responder:
            made: Responder = self.responder(addresses, self.port)
            return made

        def installer(_: Sequence[str]) -> Installer:
            return Installer(settings.targets, self.reload, self.proof)

        settings = Settings(state=self.folder / "state", search=Search(), **self.settings)
        self.state.tidy()
        self.starts += 1
        return Agent(
            Tools(
                self.state,
                settings,
                self.lan,
                self.clock,
                random.Random(self.starts),
                responder,
                installer,
            ),
            host=lambda: "printer",
        )

    def visit(self, **how: bool) -> Outcome:
        """Start an agent for one round on one network; return how that went."""
        (outcome,) = self.agent().round(**how)
        return outcome

    def good(self, **how: bool) -> Outcome:
        """Visit, and see that it went well."""
        outcome = self.visit(**how)
        assert outcome.good, outcome
        return outcome

    def chain(self, network: Network = HOME) -> bytes:
        """Return the chain in use on a network."""
        return (self.state.folder / "networks" / network.key / "chain.pem").read_bytes()

    def leaf(self, network: Network = HOME) -> x509.Certificate:
        """Return the certificate in use on a network."""
        return x509.load_pem_x509_certificate(self.chain(network))

    def certs(self) -> list[str]:
        """Return the serials of all that is kept."""
        return sorted(f.name for f in self.state.folder.glob("servers/*/certs/*"))


def subject_names(leaf: x509.Certificate) -> set[str]:
    """Return the names in a certificate."""
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = found.get_values_for_type(x509.DNSName)
    return {*dns, *map(str, found.get_values_for_type(x509.IPAddress))}


def certs(server: Running) -> dict[str, dict[str, Any]]:
    """Return what a server issued, by serial."""
    return {one["serial"]: one for one in server.ask("certs")["certs"]}

"""From a server's bare name to its directory URL and its root.

Neither the DHCP option nor the SRV record says a URL (draft 3.1, 5.1), and no URL says where the
root is. So: the name is resolved at this network's own resolver, and leads to LAN addresses or
nowhere; the ports and paths that such servers use are tried in a fixed order; the root is the one
that the TLS handshake shows (A-3.3-2), and the directory is then fetched over a connection that
trusts this root alone, names checked. What this gives is a root to be pinned or compared, not yet
one to be trusted.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from acmeiot.client import tls
from acmeiot.client.dial import MAX_ADDRESSES, Unreachable
from acmeiot.client.discover import Candidate, Discovery
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Http, Response, split
from acmeiot.client.tls import Root
from acmeiot.lan import dnswire, interfaces
from acmeiot.lan.multicast import Heard, MulticastDns
from acmeiot.lan.unicast import Reply, UnicastDns
from acmeiot.protocol import dhcp, names

PORTS: Final = (443, 8555)
PATHS: Final = ("/.well-known/acme", "/acme/directory", "/directory")
NEEDED: Final = ("newNonce", "newAccount", "newOrder")  # RFC 8555 section 7.1.1
_HANDSHAKE: Final = 4.0  # seconds
_FETCH: Final = 5.0
_ALL: Final = 25.0  # seconds for all ports and addresses of one name


@dataclass(frozen=True, slots=True)
class Found:
    """Where a host is on this LAN; `note` is what a person should know of how it was found."""

    addresses: tuple[str, ...]
    note: str | None = None


# Finds a candidate's host; raises AgentError when it is nowhere on this LAN.
Lookup = Callable[[Candidate], Found]
Handshake = Callable[[str, int, str, float], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Server:
    """An ACME server that answered: its directory, and the chain and root that it showed.

    `addresses` starts with the one that answered, `chain` is DER, leaf first.
    """

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]
    chain: tuple[bytes, ...]
    root: Root
    candidate: Candidate
    note: str | None = None


def first(discovery: Discovery, lookup: Lookup | None = None) -> Server:
    """Return the discovery's winner, located.

    Where a service has several SRV records, the next one is tried when one is not there (RFC
    2782); no other source takes the place of a silent server. Raise AgentError as `locate` does.
    """
    winner = discovery.winner
    equals = [
        one
        for one in discovery.candidates
        if (one.kind, one.interface) == (winner.kind, winner.interface)
    ]
    failures = []
    for candidate in equals:
        try:
            return locate(candidate, lookup)
        except AgentError as error:
            failures.append(str(error))
    raise AgentError("; ".join(failures))


def locate(
    candidate: Candidate,
    lookup: Lookup | None = None,
    *,
    handshake: Handshake = tls.presented_chain,
    monotonic: Callable[[], float] = time.monotonic,
) -> Server:
    """Return the directory and the root of a server that this network names.

    Ports: the one that was told, 443, 8555. Paths: the one that was told, then PATHS. Raise
    AgentError with everything that was tried; Unreachable if nobody answered at all.
    """
    found = (lookup or look_up)(candidate)
    search = _Search(candidate, found, handshake, monotonic() + _ALL, monotonic)
    for port in dict.fromkeys((candidate.port or PORTS[0], *PORTS)):
        server = search.at(port)
        if server is not None:
            return server
    where = f"{candidate.source} names {candidate.host} as this network's ACME server"
    kind = AgentError if search.answered else Unreachable
    raise kind(f"{where}, but no directory is found there: {'; '.join(search.tried)}")


@dataclass(slots=True)
class _Search:
    """One server's ports being tried, and what each said."""

    candidate: Candidate
    found: Found
    handshake: Handshake
    ends: float
    monotonic: Callable[[], float]
    tried: list[str] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    answered: bool = False

    def at(self, port: int, *, pointed: bool = False) -> Server | None:
        """Return the server at one port, or at the port that the directory there points to.

        What was `pointed` to points no further: a hostile server has 65535 ports to send us to.
        """
        if port in self.seen:
            return None
        self.seen.add(port)
        for address in self.found.addresses:
            if address in self.silent:
                continue
            if self.monotonic() >= self.ends:
                self.tried.append(f"port {port}: no time left")
                return None
            try:
                chain, root = self._shown(address, port)
                return self._directory(address, port, tuple(chain), root, pointed=pointed)
            except AgentError as error:
                self.tried.append(f"port {port}: {error}")
        return None

    def _shown(self, address: str, port: int) -> tuple[Sequence[bytes], Root]:
        """Return the chain and its root; raise AgentError, also for another root than was told."""
        started = self.monotonic()
        try:
            chain = self.handshake(address, port, self.candidate.host, _HANDSHAKE)
        except Unreachable:
            if self.monotonic() - started > _HANDSHAKE / 2:
                self.silent.add(address)  # a port that is closed says so at once
            raise
        self.answered = True
        root = tls.root_of(chain)
        told = self.candidate.root
        if told is not None and root.sha256 != told.lower():
            raise AgentError(
                f"refused: {self.candidate.source} says that the root is sha256:{told}, "
                f"but {address} shows sha256:{root.sha256}"
            )
        return chain, root

    def _directory(
        self, address: str, port: int, chain: tuple[bytes, ...], root: Root, *, pointed: bool
    ) -> Server | None:
        """Return the server if one of the paths is an ACME directory; raise AgentError."""
        host = self.candidate.host
        failures = []
        with Http(tls.trusting(root), _only(host, address), _FETCH) as http:
            for path in _paths(self.candidate):
                response = http.request("GET", _url(host, port, path))
                try:
                    there = _acme_port(response, host)
                except AgentError as error:
                    failures.append(f"{path} {error}")
                    continue
                if there != port and pointed:
                    raise AgentError(f"its directory points on to port {there}; not followed")
                if there != port:
                    # A static object on the router's own web server points to the real one, whose
                    # chain is the one that counts.
                    self.tried.append(f"port {port}: its directory points to port {there}")
                    return self.at(there, pointed=True)
                rest = [one for one in self.found.addresses if one != address]
                where = (address, *rest)
                return Server(
                    response.url, host, port, where, chain, root, self.candidate, self.found.note
                )
        raise AgentError(f"{address} has no ACME directory: {', '.join(failures)}")


def _only(host: str, address: str) -> Callable[[str, int], Sequence[str]]:
    """Return a lookup for the address that showed its chain, and no other."""
    return lambda asked, _port: (address,) if asked == host else ()


def _paths(candidate: Candidate) -> Iterator[str]:
    told = candidate.path if candidate.path and dhcp.is_path(candidate.path) else PATHS[0]
    yield from dict.fromkeys((told, *PATHS))


def _url(host: str, port: int, path: str) -> str:
    return f"https://{host}{'' if port == 443 else f':{port}'}{path}"


def _acme_port(response: Response, host: str) -> int:
    """Return the port that a directory's resources are at; raise AgentError if it is none."""
    if response.status != 200:
        raise AgentError(f"answers {response.status}")
    document: dict[str, Any] = response.document()
    places = set()
    for name in NEEDED:
        if name not in document:
            raise AgentError(f"is no ACME directory, it has no {name}")
        places.add(split(response.resolve(document[name], name))[0])
    if {place[0] for place in places} != {host} or len(places) != 1:
        others = ", ".join(sorted(f"{name}:{port}" for name, port in places))
        raise AgentError(f"is a directory of another server, {others}")
    return places.pop()[1]


# -- where the host is


def look_up(candidate: Candidate) -> Found:
    """Return where the candidate's host is, as this network's own resolver says.

    A `.local` name that it does not know is asked for by multicast DNS, as the draft allows for
    the host, though never for the service (A-4.5-1, A-3.1-4). An IP address is itself. Raise
    AgentError.
    """
    try:
        return Found(_on_lan(candidate, [str(ipaddress.ip_address(candidate.host))], "itself"))
    except ValueError:
        pass  # a name
    return resolve(candidate, UnicastDns(candidate.resolvers, timeout=1.0), _multicast(candidate))


class Unicast(Protocol):
    """What asks the resolvers: `lan.unicast.UnicastDns`."""

    def ask(self, name: str, kinds: Sequence[int]) -> Reply | str:
        """Return their answer; or, as text for a person, why there is none at all."""
        ...


class Multicast(Protocol):
    """What asks this link: `lan.multicast.MulticastDns`."""

    def ask(self, name: str) -> Heard:
        """Return who answered for the name."""
        ...


def resolve(candidate: Candidate, unicast: Unicast, multicast: Multicast) -> Found:
    """Return the host's LAN addresses, at most 16; raise AgentError, also when all are public."""
    reply = unicast.ask(candidate.host, (dnswire.A, dnswire.AAAA))
    if isinstance(reply, Reply):
        said = [
            address
            for kind in (dnswire.A, dnswire.AAAA)
            for address in dnswire.find(reply.records, candidate.host, kind)
        ]
        if said:
            return Found(_on_lan(candidate, said, reply.said))
    why = reply if isinstance(reply, str) else reply.said
    if not names.under(candidate.host, "local"):
        if isinstance(reply, str):
            raise Unreachable(f"{candidate.host}: {why}")
        none = " knows no address" if reply.exists else ""
        raise AgentError(f"{candidate.host}: {why}{none}")
    return _by_multicast(candidate, multicast.ask(candidate.host), why)


def _by_multicast(candidate: Candidate, heard: Heard, why: str) -> Found:
    addresses = list(dict.fromkeys(one for given in heard.answers.values() for one in given))
    if not addresses:
        silence = ", ".join(heard.problems) or "nobody answers for it by multicast DNS"
        raise AgentError(f"{candidate.host}: {why}; {silence}")
    if _rivals(heard):
        said = "; ".join(f"{who} says {', '.join(where)}" for who, where in heard.answers.items())
        raise AgentError(f"{candidate.host}: devices disagree by multicast DNS: {said[:400]}")
    note = (
        f"{candidate.host} was found by multicast DNS, where any device may answer for any name "
        f"(here {', '.join(heard.answers)}): compare the root's fingerprint"
    )
    return Found(_on_lan(candidate, addresses, "multicast DNS"), note)


def _rivals(heard: Heard) -> bool:
    """Tell whether devices name different addresses; each may answer once by each IP version."""
    for version in (4, 6):
        given = [
            {one for one in where if ipaddress.ip_address(one).version == version}
            for where in heard.answers.values()
        ]
        given = [where for where in given if where]
        if given and not set.intersection(*given):
            return True
    return False


def _on_lan(candidate: Candidate, addresses: Sequence[str], said: str) -> tuple[str, ...]:
    """Return the LAN's own addresses among those of a host; raise AgentError without any."""
    found = []
    for text in addresses[:MAX_ADDRESSES]:
        address = ipaddress.ip_address(text)
        linked = address.version == 6 and address.is_link_local
        if linked and candidate.interface is None:
            continue  # on which link?
        if names.is_lan(address):
            found.append(f"{text}%{candidate.interface}" if linked else text)
    if not found:
        raise AgentError(
            f"{candidate.host} leads to {', '.join(addresses[:4])}, says {said}: that is not on "
            "this LAN, and nothing was sent there"
        )
    return tuple(found)


def _multicast(candidate: Candidate) -> MulticastDns:
    def links() -> Sequence[interfaces.Interface]:
        every = interfaces.lan_interfaces()
        return [one for one in every if candidate.interface in (None, one.name)]

    return MulticastDns(interfaces=links)

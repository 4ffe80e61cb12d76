"""Which ACME server this network names: what DHCP said first, then DNS-SD at the LAN's resolver.

The order is that of the draft, section 3.1: the DHCP option, the SRV record, and then the PTR
records that lead to named instances. The questions of DNS-SD go to configured resolvers on this
LAN only, never to multicast DNS, and never for `.local`, which a resolver on this machine would
pass on to it (A-3.1-4). Two DHCP answers that disagree are an attack or a mistake: then nobody is
believed, DNS-SD no more than they (specs 6, rogue DHCP server).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from acmeiot.client import sightings
from acmeiot.client.errors import AgentError
from acmeiot.client.services import MAX_DOMAIN, Asker, Place, Service, services
from acmeiot.client.sightings import Sighting
from acmeiot.lan import unicast
from acmeiot.lan.unicast import UnicastDns
from acmeiot.protocol import dhcp, names

MAX_DOMAINS: Final = 8
RESOLV_CONF: Final = Path("/etc/resolv.conf")
# A home's resolver answers at once or not at all: seconds a try, and tries.
_PATIENCE: Final = 1.0
_TRIES: Final = 2

Kind = Literal["dhcp", "srv", "ptr"]
Seen = tuple[tuple[Sighting, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that this network names, and who said so.

    `root` is the SHA-256 of the root's SPKI in hex, where it was told. `source` is for people.
    `resolvers` are those that may be asked where the host is.
    """

    host: str
    port: int | None
    path: str | None
    root: str | None
    kind: Kind
    source: str
    interface: str | None = None
    resolvers: tuple[unicast.Server, ...] = ()

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        root = f" root sha256:{self.root}" if self.root else ""
        path = f" path {self.path}" if self.path else ""
        return f"{self.host}{port}{path}{root}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, the winner first, and what each place that was asked said.

    With a `conflict`, the DHCP answers that disagree are the `rivals`, and no candidates.
    """

    candidates: tuple[Candidate, ...]
    tried: tuple[str, ...]
    conflict: str | None = None
    rivals: tuple[Candidate, ...] = ()

    @property
    def winner(self) -> Candidate:
        """Return the server to use; raise AgentError saying why there is none."""
        if self.conflict:
            raise AgentError(self.conflict)
        if not self.candidates:
            raise AgentError(f"this network names no ACME server: {'; '.join(self.tried)}")
        return self.candidates[0]


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look.

    `interface` None is every interface; `resolvers` and `domains` take the place of the system's.
    `numbers` are DHCP options that carry the plain name: the assigned one, or private ones. With
    `every_source`, DNS-SD is asked even where DHCP has told all that is needed.
    """

    interface: str | None = None
    sightings: Path = sightings.DIRECTORY
    resolvers: tuple[unicast.Server, ...] = ()
    domains: tuple[str, ...] = ()
    probe: bool = False
    numbers: tuple[int, ...] = ()
    every_source: bool = False


class Probe(Protocol):
    """Asks the DHCP servers itself: `client/probe.py`."""

    def __call__(self, interface: str | None, numbers: Sequence[int]) -> Seen:
        """Return what they said, and what went wrong, for people."""
        ...


def _probe(interface: str | None, numbers: Sequence[int]) -> Seen:
    from acmeiot.client import probe

    return probe.ask(interface, numbers)


def _dns(servers: Sequence[unicast.Server]) -> Asker:
    return UnicastDns(servers, timeout=_PATIENCE, attempts=_TRIES)


def discover(
    search: Search,
    *,
    dns: Callable[[Sequence[unicast.Server]], Asker] = _dns,
    probe: Probe = _probe,
    resolv_conf: Path = RESOLV_CONF,
) -> Discovery:
    """Return which servers this network names, in the order DHCP, SRV, PTR (A-3.1-1, A-3.1-3)."""
    tried: list[str] = []
    seen = _seen(search, probe, tried)
    told = [candidate for one in seen for candidate in _told(one, search.numbers, tried)]
    places = _places(search, seen, resolv_conf, tried)
    if not places:
        tried.append("DNS-SD: no resolver on this LAN is known (--resolver names one)")
    elif not any(place.domains for place in places):
        tried.append("DNS-SD: no domain to ask for is known (--domain names one)")
    told = [_resolved_at(candidate, places) for candidate in told]
    conflict, rivals = _conflict(told)
    if conflict:
        return Discovery((), tuple(dict.fromkeys(tried)), conflict, rivals)
    told = _merged(told)
    if told and not search.every_source and all(one.port for one in told):
        return Discovery(tuple(told), tuple(dict.fromkeys(tried)))
    offered = _by_dns(places, dns, tried, every_source=search.every_source)
    # A plain name says no port; the SRV record of the same host does.
    told = [_merge([one, *(o for o in offered if o.host == one.host)]) for one in told]
    return Discovery((*told, *offered), tuple(dict.fromkeys(tried)))


def _seen(search: Search, probe: Probe, tried: list[str]) -> tuple[Sighting, ...]:
    """Return what the hooks of DHCP clients left, and what our own questions brought."""
    found, complaints = sightings.read(search.sightings, search.interface)
    tried += complaints
    if search.probe:
        more, troubles = probe(search.interface, search.numbers)
        tried += troubles
        found += more
    if not found:
        where = f" on {search.interface}" if search.interface else ""
        hint = "" if search.probe else " (--probe asks the DHCP server itself)"
        tried.append(f"DHCP: no answer seen{where} in {search.sightings}{hint}")
    return found


def _told(seen: Sighting, numbers: Sequence[int], tried: list[str]) -> list[Candidate]:
    """Return the servers that one client's DHCP answers name (A-3.1-1, A-3.1-2)."""
    found = []
    server = f" from {seen.server}" if seen.server else ""
    where = f"{server} ({seen.client} on {seen.interface})"
    for family, options in (("DHCP", seen.v4), ("DHCPv6", seen.v6)):
        if not options:
            continue
        reading = dhcp.read4(options, numbers) if family == "DHCP" else dhcp.read6(options)
        tried += [f"{family}{where}: {why}" for why in reading.ignored]
        if reading.found is None:
            tried.append(f"{family}{where}: no option names an ACME server")
            continue
        ad = reading.found
        root = ad.root.hex() if ad.root else None
        source = f"{family} option {reading.option}{where}"
        found.append(Candidate(ad.fqdn, ad.port, ad.path, root, "dhcp", source, seen.interface))
    if seen.fqdn and not found:
        try:
            host = dhcp.server_name(seen.fqdn)
        except dhcp.BadOption as error:
            tried.append(f"DHCP{where}: {error}")
        else:
            source = f"DHCP option{where}"
            found.append(Candidate(host, None, None, None, "dhcp", source, seen.interface))
    tried += [f"{one.source}: {one}" for one in found]
    return found


def _conflict(told: Sequence[Candidate]) -> tuple[str | None, tuple[Candidate, ...]]:
    """Return the first two DHCP answers on one interface that disagree, and how."""
    for at, one in enumerate(told):
        for other in told[at + 1 :]:
            if one.interface == other.interface and _differ(one, other):
                text = (
                    f"two DHCP answers on {one.interface} name different servers: {one.source} "
                    f"says {one}, {other.source} says {other}; neither is used, a second DHCP "
                    "server may be on this network"
                )
                return text, (one, other)
    return None, ()


def _differ(one: Candidate, other: Candidate) -> bool:
    pairs = ((one.port, other.port), (one.path, other.path), (one.root, other.root))
    return one.host != other.host or any(a and b and a != b for a, b in pairs)


def _merged(told: Iterable[Candidate]) -> list[Candidate]:
    """Return one candidate for each interface; they agree there."""
    by_interface: dict[str | None, list[Candidate]] = {}
    for one in told:
        by_interface.setdefault(one.interface, []).append(one)
    return [_merge(same) for same in by_interface.values()]


def _merge(same: Sequence[Candidate]) -> Candidate:
    """Return the first of some candidates for one host, with what only the others say."""
    return replace(
        same[0],
        port=next((one.port for one in same if one.port), None),
        path=next((one.path for one in same if one.path), None),
        root=next((one.root for one in same if one.root), None),
    )


def _places(
    search: Search, seen: Sequence[Sighting], resolv_conf: Path, tried: list[str]
) -> tuple[Place, ...]:
    """Return the resolvers to ask, each with the domains to ask it for."""
    system = _search_list(resolv_conf)
    if search.resolvers:
        told = [domain for one in seen for domain in one.domains]
        domains = _domains(search.domains or (*told, *system), tried)
        return (Place(search.interface, search.resolvers, domains),)
    places = []
    for interface in dict.fromkeys(one.interface for one in seen):
        here = [one for one in seen if one.interface == interface]
        servers = _servers(here, tried)
        told = [domain for one in here for domain in one.domains]
        if servers:
            domains = _domains(search.domains or told or system, tried)
            places.append(Place(interface, servers, domains))
    known = {server for place in places for server in place.servers}
    rest = tuple(one for one in unicast.system_servers(resolv_conf) if one not in known)
    if rest and not (places and search.interface):
        domains = _domains(search.domains or system, tried)
        places.append(Place(search.interface, rest, domains))
    return tuple(places)


def _servers(here: Sequence[Sighting], tried: list[str]) -> tuple[unicast.Server, ...]:
    """Return the LAN's own among the resolvers that DHCP named; without any, the DHCP server.

    A home whose devices are told of a public resolver mostly has one on its router all the same.
    """
    named = _on_lan([(one, text) for one in here for text in one.resolvers], tried)
    return named or _on_lan([(one, one.server) for one in here if one.server], tried)


def _on_lan(given: Iterable[tuple[Sighting, str]], tried: list[str]) -> tuple[unicast.Server, ...]:
    found = []
    for one, text in given:
        # A link-local address means nothing without its link.
        scope = f"%{one.interface}" if text.startswith("fe80:") and "%" not in text else ""
        try:
            found.append(unicast.Server(ipaddress.ip_address(text + scope)))
        except ValueError as error:
            tried.append(f"DNS-SD: {error}")
    return tuple(dict.fromkeys(found))[: unicast.MAX_SERVERS]


def _search_list(resolv_conf: Path) -> tuple[str, ...]:
    """Return the domains of resolv.conf; the last `search` or `domain` line counts."""
    try:
        with resolv_conf.open("rb") as file:
            text = file.read(65536).decode("ascii", "replace")
    except FileNotFoundError:
        return ()
    found: tuple[str, ...] = ()
    for line in text.split("\n"):
        fields = line.split()
        if fields[:1] in (["search"], ["domain"]):
            found = tuple(fields[1:])
    return found


def _domains(given: Iterable[str], tried: list[str]) -> tuple[str, ...]:
    """Return the domains to ask for, spelled the one way, at most 8."""
    found = []
    for text in given:
        if text == ".":
            continue
        try:
            domain = names.dns(text).base.value
        except names.BadName as error:
            tried.append(f"DNS-SD: {error}")
            continue
        if domain == "local" or names.under(domain, "local"):
            # A-3.1-4: a resolver may pass these questions on to multicast DNS.
            tried.append(f"DNS-SD: {domain} is multicast DNS's, nobody is asked for it")
            continue
        if len(domain) <= MAX_DOMAIN:
            found.append(domain)
    return tuple(dict.fromkeys(found))[:MAX_DOMAINS]


def _resolved_at(told: Candidate, places: Sequence[Place]) -> Candidate:
    """Return the candidate with the resolvers of its own network."""
    own = [place for place in places if place.interface == told.interface] or places
    return replace(told, resolvers=own[0].servers if own else ())


def _by_dns(
    places: Iterable[Place],
    dns: Callable[[Sequence[unicast.Server]], Asker],
    tried: list[str],
    *,
    every_source: bool,
) -> list[Candidate]:
    """Return the servers of every place's SRV records; without any, those of named instances."""
    found: list[Candidate] = []
    alive = [(place, dns(place.servers)) for place in places]
    kinds: tuple[Kind, ...] = ("srv", "ptr")
    for kind in kinds:
        for place, asker in tuple(alive):
            for domain in place.domains:
                said = services(asker, domain, tried, instances=kind == "ptr")
                found += [_candidate(service, kind, place) for service in said or ()]
                if said is None:
                    # Nobody answers here: each further question would wait as long.
                    alive.remove((place, asker))
                    break
        if found and not every_source:
            break
    return found


def _candidate(service: Service, kind: Kind, place: Place) -> Candidate:
    return Candidate(
        service.host,
        service.port,
        service.path,
        service.root,
        kind,
        service.source,
        place.interface,
        place.servers,
    )

"""What the agent sees of the networks it is on: who is there, and where their servers are."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Protocol

from acmeiot.client import discover, locate, sightings
from acmeiot.client.discover import Candidate, Discovery, Search
from acmeiot.client.errors import AgentError
from acmeiot.client.http import split
from acmeiot.client.locate import Server
from acmeiot.client.network import Network, Survey, survey
from acmeiot.lan import interfaces, unicast
from acmeiot.protocol import names


class Surroundings(Protocol):
    """The LAN as an argument."""

    def survey(self) -> Survey:
        """Return the networks joined now."""
        ...

    def find(self, network: Network, known: str | None) -> Server:
        """Return the network's server; raise AgentError.

        `known` is the pinned root's SHA-256, if this is no stranger.
        """
        ...

    def again(self, url: str, root: str) -> Server:
        """Return a server whose directory and root are known from before; raise AgentError."""
        ...

    def domains(self, network: Network) -> tuple[str, ...]:
        """Return the local domains that the network told."""
        ...

    def addresses(self, network: Network) -> tuple[str, ...]:
        """Return this device's LAN addresses there, link-local ones with their interface."""
        ...


@dataclass(frozen=True, slots=True)
class Lan:
    """The real one. `directory` is a URL that takes the place of discovery."""

    search: Search
    directory: str | None = None

    def survey(self) -> Survey:
        """Return the networks joined now."""
        seen, _ = sightings.read(self.search.sightings, self.search.interface)
        servers = {one.interface: one.server for one in seen if one.server}
        return survey(self.search.interface, servers=servers)

    def find(self, network: Network, known: str | None) -> Server:
        """Discover the server on this network's interface, and look who answers (A-3.4-1)."""
        if self.directory is not None:
            return locate.locate(self._remembered(self.directory, None, "--directory", network))
        found = discover.discover(replace(self.search, interface=network.interface))
        if found.conflict and known:
            return _the_known(found, known)
        return locate.first(found)

    def again(self, url: str, root: str) -> Server:
        """Look for a server where it was."""
        return locate.locate(self._remembered(url, root, "the last time", None))

    def _remembered(
        self, url: str, root: str | None, source: str, network: Network | None
    ) -> Candidate:
        (host, port), path = split(url)
        resolvers = self.search.resolvers or unicast.system_servers()
        interface = network.interface if network else None
        return Candidate(host, port, path, root, "dhcp", source, interface, resolvers)

    def domains(self, network: Network) -> tuple[str, ...]:
        """Return the domains that DHCP told on this network's interface."""
        seen, _ = sightings.read(self.search.sightings, network.interface)
        return tuple(dict.fromkeys(domain for one in seen for domain in one.domains))

    def addresses(self, network: Network) -> tuple[str, ...]:
        """Return the private addresses of this network's interface."""
        found = []
        for each in interfaces.interfaces():
            for own in each.addresses if each.name == network.interface else ():
                linked = own.version == 6 and own.ip.is_link_local
                if names.is_lan(own.ip):
                    found.append(f"{own.ip}%{each.name}" if linked else str(own.ip))
        return tuple(found)


def nameable(addresses: tuple[str, ...]) -> tuple[names.IPAddress, ...]:
    """Return those addresses that a certificate can name: not the link-local ones."""
    found = (ipaddress.ip_address(one.partition("%")[0]) for one in addresses)
    return tuple(one for one in found if not one.is_link_local)


def _the_known(found: Discovery, known: str) -> Server:
    """Return the one of two rivals that has the pinned root; raise AgentError if neither has.

    Another DHCP server may be an attacker's, or the neighbour's box plugged in the wrong way; with
    a pin there is no need to guess, and nobody can keep this device from its server by that.
    """
    failures = []
    for rival in found.rivals:
        try:
            server = locate.locate(rival)
        except AgentError as error:
            failures.append(str(error))
            continue
        if server.root.sha256 == known:
            return replace(server, note=f"{found.conflict}; kept to the one with the pinned root")
        failures.append(f"{rival.host} shows another root, sha256:{server.root.sha256}")
    raise AgentError(f"{found.conflict} ({'; '.join(failures)})")

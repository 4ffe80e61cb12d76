"""The server and the root of one network, by the LAN's own discovery (A-3.3-1, A-3.3-2)."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from acmeiot.client import locate, tls
from acmeiot.client.discover import RESOLV_CONF, Candidate, Discovery, Search, discover
from acmeiot.client.errors import UsageError
from acmeiot.client.locate import Lookup, Server
from acmeiot.client.tls import Root
from acmeiot.lan import unicast
from acmeiot.trust.agent import Found
from acmeiot.trust.decide import Shown
from acmeiot.trust.networks import KnownRoot

if TYPE_CHECKING:
    from acmeiot.client.network import Network

_LOG: Final = logging.getLogger("acmeiot.trust")


@dataclass(frozen=True, slots=True)
class Finder:
    """Discovery as the agent wants it. `directory` is a URL that takes its place."""

    search: Search
    directory: str | None = None
    discover: Callable[[Search], Discovery] = discover
    lookup: Lookup | None = None

    def __call__(self, network: Network) -> Found:
        """Find the network's server; AgentError if one is named but cannot be used."""
        discovery = self._discovery(network)
        for line in discovery.tried:
            _LOG.debug("discover: %s", line)
        if discovery.conflict is not None:
            return Found(conflict=discovery.conflict)
        if not discovery.candidates:
            return Found()
        # What root was told is for `decide` to compare: a difference is no dead server.
        told = {replace(one, root=None): one.root for one in discovery.candidates}
        untold = replace(discovery, candidates=tuple(told))
        server = locate.first(untold, self.lookup or _look_up)
        return _found(server, told[server.candidate])

    def _discovery(self, network: Network) -> Discovery:
        if self.directory is None:
            return self.discover(replace(self.search, interface=network.interface))
        resolvers = self.search.resolvers or unicast.system_servers(RESOLV_CONF)
        candidate = named(self.directory, network.interface)
        return Discovery((replace(candidate, resolvers=resolvers),), ())


def named(url: str, interface: str | None = None) -> Candidate:
    """Return the server that a directory URL names; raise UsageError for what is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or 443
    except ValueError as error:
        raise UsageError(f"--directory {url}: {error}") from None
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"--directory is like https://router.lan:8555/acme/directory, not {url}")
    path = parts.path or None
    return Candidate(parts.hostname, port, path, None, "srv", f"--directory {url}", interface)


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _look_up(candidate: Candidate) -> locate.Found:
    address = _address(candidate.host)
    return locate.look_up(candidate) if address is None else locate.Found((address,))


def _found(server: Server, told: str | None) -> Found:
    def vouches(old: KnownRoot) -> bool:
        before = Root.of(ssl.PEM_cert_to_DER_cert(old.pem))
        return tls.vouched(before, server.root, server.chain)

    shown = Shown(server.root, server.url, server.candidate.source, told, vouches)
    notes = [note for note in (server.note, _other_names(server)) if note is not None]
    return Found(shown, note="; ".join(notes) or None)


def _other_names(server: Server) -> str | None:
    """Return that the root is of another name than the server; it is known by its key (A-3.3-6)."""
    from cryptography import x509

    extensions = x509.load_der_x509_certificate(server.root.der).extensions
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    names = found.get_values_for_type(x509.DNSName)
    if not names or server.host in names or _address(server.host) is not None:
        return None
    return f"the network calls its server {server.host}, its root says {', '.join(names[:4])}"

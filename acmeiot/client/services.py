"""DNS-SD as the draft wants it: SRV, PTR and TXT records, asked of the resolvers of this LAN.

RFC 6763 over unicast DNS, and nothing else: this module is handed what asks the resolvers, and
knows no other way to ask (A-3.1-4). The draft puts the SRV record at the service's own name; who
follows RFC 6763 to the letter puts a PTR there, which leads to named instances. No TXT record and
no key in one is needed (A-5.2-1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from acmeiot.lan import dnswire, unicast
from acmeiot.lan.unicast import Reply
from acmeiot.protocol import dhcp, dnssd, names

MAX_SERVICES: Final = 8  # of one name
MAX_INSTANCES: Final = 8  # of one domain
# With the service before it, a longer one is no name any more.
MAX_DOMAIN: Final = names.MAX_NAME - len(dnssd.SERVICE) - 1


class Asker(Protocol):
    """What asks the resolvers: `lan.unicast.UnicastDns`."""

    def ask(self, name: str, kinds: Sequence[int]) -> Reply | str:
        """Return their answer; or, as text for a person, why there is none at all."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The resolvers of one network, and the domains to ask them for."""

    interface: str | None
    servers: tuple[unicast.Server, ...]
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record, with what the TXT record beside it adds; `root` is a SHA-256 in hex."""

    host: str
    port: int
    path: str | None
    root: str | None
    source: str


def services(
    asker: Asker, domain: str, tried: list[str], *, instances: bool
) -> list[Service] | None:
    """Return the ACME servers of a domain, the preferred first (A-3.1-3).

    They come from the SRV records of the service's name, or else from those of the `instances`
    that its PTR records name. What was asked and answered is added to `tried`. None when no
    resolver answers at all.
    """
    name = f"{dnssd.SERVICE}.{domain}"
    if not instances:
        return _at(asker, name, tried)
    reply = asker.ask(name, (dnswire.PTR,))
    if not isinstance(reply, Reply):
        tried.append(f"PTR {name}: {reply}")
        return None
    found = dnswire.find(reply.records, name, dnswire.PTR)
    tried.append(f"PTR {name}: {_said(reply, found)}")
    known: list[Service] = []
    for instance in found[:MAX_INSTANCES]:
        # An instance of something else, or in a domain that was not asked about, is no answer.
        if not names.under(instance, name):
            tried.append(f"PTR {name}: {instance} is no instance of it")
            continue
        said = _at(asker, instance, tried)
        if said is None:
            break
        known += said
    return known


def _at(asker: Asker, name: str, tried: list[str]) -> list[Service] | None:
    """Return the services whose SRV records have this name."""
    reply = asker.ask(name, (dnswire.SRV, dnswire.TXT))
    if not isinstance(reply, Reply):
        tried.append(f"SRV {name}: {reply}")
        return None
    records = sorted(_records(reply, name))[:MAX_SERVICES]
    tried.append(f"SRV {name}: {_said(reply, [f'{r[3]} port {r[2]}' for r in records])}")
    strings = next(
        (r.strings for r in reply.records if (r.name, r.type) == (name, dnswire.TXT)), ()
    )
    txt = dnssd.read_txt(strings)
    source = f"SRV record {name} ({reply.said})"
    found = []
    for _priority, _weight, port, target in records:
        try:
            host = dhcp.server_name(target)
        except dhcp.BadOption as error:
            tried.append(f"SRV {name}: {error}")
        else:
            found.append(Service(host, port, txt.path, txt.root, source))
    return found


def _records(reply: Reply, name: str) -> Iterator[tuple[int, int, int, str]]:
    """Yield priority, weight (negative: the heavier first), port and target (RFC 2782).

    The target `.` says that there is decidedly no such service.
    """
    for value in dnswire.find(reply.records, name, dnswire.SRV):
        priority, weight, port, target = value.split(" ", 3)
        if target != "." and port != "0":
            yield int(priority), -int(weight), int(port), target


def _said(reply: Reply, found: Sequence[str]) -> str:
    if found:
        return f"{reply.said} says {', '.join(found[:MAX_SERVICES])}"
    return f"{reply.said} has none" if reply.exists else reply.said

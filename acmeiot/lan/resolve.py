"""Where a name of this home leads: tables first, then the LAN's resolver, multicast DNS last.

The router's own tables are the best word on who a host is; its resolver is the second best; an
answer by multicast DNS is anybody's. So a `.local` name that a table knows goes where the table
says, and multicast DNS is asked only whether somebody else claims it too (specs 6, "proving a
`.local` name"). Nothing is ever asked beyond the LAN.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from acmeiot.core.records import Host, Resolution
from acmeiot.lan import dnswire, interfaces
from acmeiot.lan.multicast import Heard, MulticastDns
from acmeiot.lan.neighbours import Tables
from acmeiot.lan.unicast import Reply, UnicastDns
from acmeiot.protocol import names
from acmeiot.protocol.errors import DnsFailed
from acmeiot.protocol.names import Identifier, IPAddress

MAX_ADDRESSES: Final = 16
MAX_TXT: Final = 32


class LanFacts:
    """What this network says of its hosts: implements `core.ports.Lan`, and TXT for dns-01.

    With `forced` the resolver was named for a test: it is asked for every name, `.local` too, and
    `resolve` asks nothing else. `multicast` is None where multicast DNS is switched off.
    """

    def __init__(
        self,
        tables: Tables,
        unicast: UnicastDns,
        multicast: MulticastDns | None,
        *,
        forced: bool = False,
    ) -> None:
        self._tables = tables
        self._unicast = unicast
        self._multicast = multicast
        self._forced = forced

    def resolve(self, name: str) -> Resolution:
        """Return where a DNS name leads, at most 16 addresses, whatever network they are in.

        Raise DnsFailed saying each place asked and what it answered.
        """
        if self._forced:
            return self._by_resolver(name, [])
        local = names.under(name, "local")
        hosts = self._tables.named(name)
        if hosts:
            return self._by_tables(name, hosts, ask_others=local)
        sources = self._tables.sources()
        tried = []
        if sources:
            tried.append(f"no lease or hosts entry has this name (asked {', '.join(sources)})")
        return self._by_multicast(name, tried) if local else self._by_resolver(name, tried)

    def txt(self, name: str) -> list[str]:
        """Return the TXT records of a name, the strings of each joined; at most 32.

        Only the LAN's resolver is asked, and never for `.local`, which has no zone (R-28). A
        name without TXT records gives []; raise DnsFailed where there is no such name.
        """
        if names.under(name, "local") and not self._forced:
            raise DnsFailed(
                f"{name}: a .local name is in no DNS zone, so dns-01 cannot prove it; use http-01 "
                "or tls-alpn-01"
            )
        reply = self._unicast.ask(name, (dnswire.TXT,))
        if not isinstance(reply, Reply):
            raise DnsFailed(f"{name}: {reply}")
        values = dnswire.find(reply.records, name, dnswire.TXT)
        if not values and not reply.exists:
            raise DnsFailed(f"{name}: {reply.said}")
        return list(values[:MAX_TXT])

    def caa(self, name: str) -> list[str]:
        """Return the issuers that the nearest CAA `issue` records name; [] where there are none.

        Nearest is the name itself or the first above it that has CAA records (RFC 8659 section
        3). A record that allows nobody gives "". No resolver or no answer is no record.
        """
        if names.under(name, "local") and not self._forced:
            return []
        while name:
            reply = self._unicast.ask(name, (dnswire.CAA,))
            if not isinstance(reply, Reply):
                return []
            values = dnswire.find(reply.records, name, dnswire.CAA)
            if values:
                return [_issuer(value) for value in values if value.startswith("issue ")]
            name = name.partition(".")[2]
        return []

    def hosts_at(self, address: str) -> list[Host]:
        """Return the entries of the lease and static tables for this address."""
        return self._tables.at(address)

    def hosts_named(self, name: str) -> list[Host]:
        """Return the entries of the lease and static tables for this full name."""
        return self._tables.named(name)

    def mac_of(self, address: str) -> str | None:
        """Return the MAC that has this address, lower case with colons, if a table knows it."""
        return self._tables.mac_of(address)

    def is_own(self, address: IPAddress) -> bool:
        """Tell whether the address is one of this machine's own."""
        return interfaces.is_own(address)

    def link_scopes(self) -> list[int]:
        """Return the indexes of the LAN's interfaces, where link-local addresses may live."""
        return [interface.index for interface in interfaces.lan_interfaces()]

    def _by_tables(self, name: str, hosts: Sequence[Host], *, ask_others: bool) -> Resolution:
        addresses = tuple(dict.fromkeys(host.address for host in hosts))[:MAX_ADDRESSES]
        source = ", ".join(dict.fromkeys(host.source for host in hosts))
        rivals = self._tables.rivals(name)
        conflict = _two_leases(name, rivals) if rivals else None
        if not rivals and ask_others and self._multicast is not None:
            # Silence is the usual answer here, and nobody should wait twice for it.
            heard = self._multicast.ask(name, insist=False)
            others = _strangers(addresses, heard.answers)
            if others:
                conflict = (
                    f"two answers for {name}: the {source} says {_list(addresses)}, but by "
                    f"multicast DNS {_say(others)}"
                )
        return Resolution(addresses, source, conflict)

    def _by_resolver(self, name: str, tried: list[str]) -> Resolution:
        reply = self._unicast.ask(name, (dnswire.A, dnswire.AAAA))
        if not isinstance(reply, Reply):
            raise _failed(name, [*tried, reply])
        found = [
            address
            for kind in (dnswire.AAAA, dnswire.A)
            for address in dnswire.find(reply.records, name, kind)
        ]
        if not found:
            said = f"{reply.said} has no address for this name" if reply.exists else reply.said
            raise _failed(name, [*tried, said])
        return Resolution(tuple(dict.fromkeys(found))[:MAX_ADDRESSES], reply.said)

    def _by_multicast(self, name: str, tried: list[str]) -> Resolution:
        if self._multicast is None:
            raise _failed(name, [*tried, "multicast DNS is switched off"])
        heard = self._multicast.ask(name)
        found = dict.fromkeys(one for given in heard.answers.values() for one in given)
        if not found:
            raise _failed(name, [*tried, *_silence(heard)])
        # A link-local address says nothing about which link; it comes last.
        addresses = sorted(found, key=lambda text: ipaddress.ip_address(text).is_link_local)
        rivals = _rivals(heard.answers)
        conflict = f"two devices answer for {name} by multicast DNS: {_say(rivals)}"
        return Resolution(
            tuple(addresses)[:MAX_ADDRESSES], "multicast DNS", conflict if rivals else None
        )


def _two_leases(name: str, rivals: Sequence[Host]) -> str:
    whose = " and ".join(f"{host.address} ({host.source})" for host in rivals[:4])
    return (
        f"{len(rivals)} devices call themselves {name}: {whose}; give one of them another name, or "
        "add a static entry on the router for the one that shall have it"
    )


def _issuer(value: str) -> str:
    """Return the issuer's domain of a CAA `issue` value, without parameters (RFC 8659 4.2)."""
    return value.removeprefix("issue ").partition(";")[0].strip().lower()


def _failed(name: str, tried: Iterable[str]) -> DnsFailed:
    identifier = Identifier("dns", name)
    return DnsFailed(f"{name}: {', '.join(tried)}", identifier=identifier)


def _silence(heard: Heard) -> list[str]:
    said = list(heard.problems)
    if heard.asked:
        said.append(f"nobody answered by multicast DNS on {', '.join(heard.asked)}")
    elif not said:
        said.append("this machine has no LAN interface to ask by multicast DNS")
    return said


def _strangers(
    known: Iterable[str], answers: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the answers that come from no device that the tables mean.

    A device has more addresses than its lease: IPv6 ones it made itself, from which it answers
    too. So what a known address answers becomes known, until no more is added. Left over are
    strangers. One that names only addresses of a family that the tables know nothing of disagrees
    with nobody, nor does one that only repeats what is known, as reflectors and sleep proxies do;
    that makes its own address no better.
    """
    trusted = set(known)
    families = {_version(address) for address in trusted}
    left = dict(answers)
    growing = True
    while growing:
        joined = [source for source, given in left.items() if _same(trusted, source, given)]
        for source in joined:
            trusted |= {source, *left.pop(source)}
        growing = bool(joined)
    return {
        source: given
        for source, given in left.items()
        if families & {_version(address) for address in given} and not trusted.issuperset(given)
    }


def _same(trusted: set[str], source: str, given: Iterable[str]) -> bool:
    if source in trusted:
        return True
    # No table knows link-local sources, so one is taken at its word when it names a known
    # address. An IPv4 source is not: a rival would only have to add the right address to its own.
    sender = ipaddress.ip_address(source)
    return sender.version == 6 and sender.is_link_local and not trusted.isdisjoint(given)


def _rivals(answers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the first two answers that share no address of a family in which both have one."""
    sources = list(answers)
    for position, first in enumerate(sources):
        for second in sources[position + 1 :]:
            for version in (4, 6):
                ours = {one for one in answers[first] if _version(one) == version}
                theirs = {one for one in answers[second] if _version(one) == version}
                if ours and theirs and not ours & theirs:
                    return {first: answers[first], second: answers[second]}
    return {}


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _say(answers: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(
        f"the device {source} answers {_list(given)}" for source, given in list(answers.items())[:4]
    )


def _list(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
    return " and ".join(addresses[:4]) + more

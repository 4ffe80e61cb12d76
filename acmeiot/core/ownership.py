"""Whose name is it? The lease policy of design decision 5, and the addresses a proof may use.

Under `lease` a name needs an entry in this LAN's tables, and the request must come from the very
device that has it: the same address, or the same MAC (a device has IPv4 and IPv6 addresses). Which
entries have it, the tables say: static ones before what devices call themselves. A router keeps
its leases in memory and its devices ask again hours after it started; until then the MAC that a
name is tied to stands in for the entry. Who forges a MAC gets its lease as well.
Under `challenge` the ACME challenge alone proves it. In both, a proof is only ever sought at an
address of this LAN that is not this server itself (specs 6: SSRF), and under no name is a public
resolver asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from acmeiot.core.ports import Lan
from acmeiot.core.records import Host, NameTie
from acmeiot.protocol.errors import ConnectionFailed, DnsFailed, RejectedIdentifier
from acmeiot.protocol.names import Identifier, IPAddress, is_lan

_MAX_ADDRESSES: Final = 8

OwnershipRule = Literal["lease", "challenge"]


class NameConflict(Exception):
    """Two sources of this LAN disagree on a name; the text says which and what they answered."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Decide whether a requester may prove a name, and where the proof may be sought.

    `tie` returns to whom a full name was last issued, None if to nobody.
    """

    rule: OwnershipRule
    lan: Lan
    tie: Callable[[str], NameTie | None]
    allow_loopback: bool = False

    def check(self, identifier: Identifier, remote: str) -> None:
        """Raise RejectedIdentifier if the tables do not give the name to the requester."""
        if self.rule == "challenge":
            return
        if identifier.type == "ip":
            if not self._same_device(identifier.value, remote):
                raise RejectedIdentifier(
                    f"{identifier} is not the address of the device that asks ({remote}); "
                    "a device may only have its own address certified",
                    identifier=identifier,
                )
            return
        hosts = self.lan.hosts_named(identifier.base.value)
        if not hosts:
            if not self._tied_to(identifier, remote):
                raise self._unknown(identifier)
        elif not any(self._same_device(host.address, remote) for host in hosts):
            raise self._of_another(identifier, hosts, remote)

    def _same_device(self, address: str, remote: str) -> bool:
        if address == remote:
            return True
        mac = self.lan.mac_of(address)
        return mac is not None and mac == self.lan.mac_of(remote)

    def _tied_to(self, identifier: Identifier, remote: str) -> bool:
        """Tell whether the requester's MAC had the name already; asked where no table knows it."""
        if self.rule != "lease":
            return False
        tie = self.tie(identifier.base.value)
        return tie is not None and tie.mac is not None and tie.mac == self.lan.mac_of(remote)

    def _unknown(self, identifier: Identifier) -> RejectedIdentifier:
        label = identifier.base.value.partition(".")[0]
        return RejectedIdentifier(
            f"no device of this network has the name {identifier}: no lease and no hosts entry. "
            f"Let the device get its address by DHCP with the host name {label!r}, or add a static "
            "entry for it on the router",
            identifier=identifier,
        )

    def _of_another(
        self, identifier: Identifier, hosts: list[Host], remote: str
    ) -> RejectedIdentifier:
        owners = ", ".join(f"{host.address} ({host.source})" for host in hosts[:4])
        return RejectedIdentifier(
            f"{identifier} belongs to {owners}, but the request came from {remote}; "
            "run the ACME client on the device that has the name",
            identifier=identifier,
        )

    def addresses(self, identifier: Identifier, remote: str) -> tuple[IPAddress, ...]:
        """Return where the proof may be sought, looked up once, IPv6 first (R-27).

        Raise NameConflict when two sources disagree, DnsFailed when nobody knows the name,
        ConnectionFailed when it leads somewhere that is not a device of this LAN.
        """
        try:
            found = self._lookup(identifier)
        except DnsFailed:
            if not self._tied_to(identifier, remote):
                raise
            found = [ipaddress.ip_address(remote)]
        allowed = [address for address in found if self._refusal(address) is None]
        if self.rule == "lease":
            allowed = [a for a in allowed if self._same_device(str(a), remote)]
        if not allowed:
            reasons = ", ".join(
                f"{address} ({self._refusal(address) or 'not the requester'})" for address in found
            )
            raise ConnectionFailed(
                f"{identifier} leads to no address where a device of this network may be asked: "
                f"{reasons}",
                identifier=identifier,
            )
        return tuple(sorted(allowed, key=lambda address: -address.version)[:_MAX_ADDRESSES])

    def _lookup(self, identifier: Identifier) -> list[IPAddress]:
        if identifier.type == "ip":
            return [identifier.address]
        resolution = self.lan.resolve(identifier.value)
        if resolution.conflict is not None:
            raise NameConflict(resolution.conflict)
        return [ipaddress.ip_address(text) for text in resolution.addresses]

    def _refusal(self, address: IPAddress) -> str | None:
        """Return why no proof is sought at the address, or None."""
        if not is_lan(address):
            return "not an address of a local network"
        if self.allow_loopback:
            return None
        if address.is_loopback:
            return "a loopback address"
        return "this server's own address" if self.lan.is_own(address) else None

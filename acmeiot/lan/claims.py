"""Whose a name is where several entries have it: the owner's word before a device's own.

What a device calls itself in DHCP is its own word. dnsmasq leaves a name to the latest of its IPv4
leases and to one DUID, but lets a device take by IPv6 the name that another has by IPv4, and writes
a lease under a name that a hosts file gives to somebody else; odhcpd compares no names at all.

One device has several entries: of IPv4 and IPv6, and of each of its interfaces. They are known for
one by a MAC, by a DUID, which both servers take for the device, or by the address. Who forges those
gets the lease as well. Behind a repeater that hides MACs, devices cannot be told apart by IPv6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from acmeiot.core.records import Host
from acmeiot.lan.hostfiles import Entry

MacsOf = Callable[[str], frozenset[str]]


@dataclass(slots=True, eq=False)
class _Device:
    entries: list[Entry] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)  # its addresses, DUIDs and MACs
    has_mac: bool = False

    def absorb(self, other: _Device) -> None:
        self.entries += other.entries
        self.keys |= other.keys
        self.has_mac |= other.has_mac


def valid(entries: Sequence[Entry], macs_of: MacsOf) -> list[Entry]:
    """Return the entries that have the name: beside static ones only those of the same device.

    `macs_of` returns every MAC that an address is known by.
    """
    if len({entry.static for entry in entries}) < 2:
        return list(entries)
    believed = {
        entry
        for device in _devices(entries, macs_of)
        if any(each.static for each in device.entries)
        for entry in device.entries
    }
    return [entry for entry in entries if entry in believed]


def rivals(entries: Sequence[Entry], macs_of: MacsOf) -> list[Host]:
    """Return a host of each device where several gave themselves the name, else [].

    A device without a MAC may be any of the others. An owner who wrote several addresses down
    means them all.
    """
    if len(entries) < 2 or any(entry.static for entry in entries):
        return []
    known = [device for device in _devices(entries, macs_of) if device.has_mac]
    return [device.entries[0].host for device in known] if len(known) > 1 else []


def _devices(entries: Sequence[Entry], macs_of: MacsOf) -> list[_Device]:
    """Put together what shares a key.

    The smaller part moves to the larger: a device may have leases by the thousand.
    """
    by_key: dict[str, _Device] = {}
    for entry in entries:
        macs = macs_of(entry.host.address)
        keys = ({entry.host.address, entry.duid} - {""}) | macs
        parts = {by_key[key] for key in keys if key in by_key}
        device = max(parts, key=lambda each: len(each.keys), default=_Device())
        for part in (*(parts - {device}), _Device([entry], keys, bool(macs))):
            device.absorb(part)
            by_key.update(dict.fromkeys(part.keys, device))
    return list(dict.fromkeys(by_key.values()))

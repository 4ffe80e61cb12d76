"""This machine's own interfaces and addresses, as the kernel says by netlink.

Dumps of rtnetlink, which also answer where /proc/net is stripped, as OpenWrt's is.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Final

from acmeiot.lan import netlink
from acmeiot.protocol import names
from acmeiot.protocol.names import IPAddress

MAX_INTERFACES: Final = 16

_IFLA_IFNAME: Final = 3
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_UP: Final = 0x1
_LOOPBACK: Final = 0x8
_POINT_TO_POINT: Final = 0x10
_MULTICAST: Final = 0x1000

Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface, with its addresses and the networks they are in."""

    index: int
    name: str
    flags: int
    addresses: tuple[Network, ...]

    @property
    def on_lan(self) -> bool:
        """Tell whether a LAN is behind it: up, multicast, and a private address of its own.

        A link-local address alone does not make one: the uplink has that too.
        """
        unwanted = _LOOPBACK | _POINT_TO_POINT
        return self.flags & (_UP | _MULTICAST | unwanted) == _UP | _MULTICAST and any(
            names.is_lan(own.ip) and not (own.version == 6 and own.ip.is_link_local)
            for own in self.addresses
        )

    @property
    def tunnel(self) -> bool:
        """Tell whether there is one other end instead of a network: a VPN, PPP."""
        return self.flags & _POINT_TO_POINT != 0

    def reaches(self, address: IPAddress) -> bool:
        """Tell whether the address is on this interface's link."""
        if address.version == 6 and address.is_link_local:
            return True
        return any(
            address.version == own.version and address in own.network for own in self.addresses
        )


def interfaces() -> tuple[Interface, ...]:
    """Return all interfaces; raise OSError where there is no netlink."""
    addresses: dict[int, list[Network]] = {}
    for body in netlink.dump(netlink.GET_ADDRESS, 8):
        _family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", body)
        attributes = dict(netlink.attributes(body, 8))
        raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if raw is not None and len(raw) in (4, 16):
            own = ipaddress.ip_interface((raw, prefix))
            addresses.setdefault(index, []).append(own)
    found = []
    for body in netlink.dump(netlink.GET_LINK, 16):
        index, flags = struct.unpack_from("=4xiI", body)
        name = dict(netlink.attributes(body, 16)).get(_IFLA_IFNAME, b"").rstrip(b"\0")
        own_addresses = tuple(addresses.get(index, ()))
        found.append(Interface(index, name.decode("ascii", "replace"), flags, own_addresses))
    return tuple(found)


def lan_interfaces() -> tuple[Interface, ...]:
    """Return the interfaces that have a LAN behind them, at most 16."""
    return tuple(each for each in interfaces() if each.on_lan)[:MAX_INTERFACES]


def own_addresses() -> tuple[IPAddress, ...]:
    """Return this machine's LAN addresses, loopback and link-local IPv6 left out.

    These are what the server's own certificate can name.
    """
    ours = (own.ip for each in interfaces() for own in each.addresses)
    return tuple(
        address
        for address in ours
        if names.is_lan(address)
        and not address.is_loopback
        and not (address.version == 6 and address.is_link_local)
    )


def is_own(address: IPAddress) -> bool:
    """Tell whether the address is one of this machine's own; loopback always is."""
    if address.is_loopback or address.is_unspecified:
        return True
    if address.version == 4 and not _may_bind(address):
        return False
    # Binding also works for addresses of others where ip_nonlocal_bind is set, as failover
    # daemons do; and an IPv6 link-local address cannot be bound without its interface.
    return any(own.ip == address for each in interfaces() for own in each.addresses)


def _may_bind(address: IPAddress) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True

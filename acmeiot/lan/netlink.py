"""rtnetlink in the little that the server needs: dumps, read with `struct`.

Nothing to import, and it works where /proc/net is stripped, as OpenWrt's is. pyroute2 could say
the same, but adds 10 MiB to a server that has 38; the agents, which also change and watch, use it
in lan.router.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GET_LINK: Final = 18
GET_ADDRESS: Final = 22
GET_NEIGHBOUR: Final = 30

_REQUEST_DUMP: Final = 0x301
_DONE: Final = 3
_ERROR: Final = 2

_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
# Reachable, stale, delay, probe, permanent: the kernel has a MAC that was right once. Not:
# incomplete, failed, and noarp, which is for addresses that need no asking (multicast, loopback).
_NUD_KNOWN: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80

# Multicast groups of rtnetlink: links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes.
_GROUPS: Final = 0x1 | 0x10 | 0x100 | 0x40 | 0x400


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address on the link of an interface, and the MAC that answered for it."""

    index: int
    address: str
    mac: str


def dump(request: int, header: int) -> Iterator[bytes]:
    """Yield the body of each message of one rtnetlink dump; `header` is the fixed part's size.

    Raise OSError where there is no netlink, or the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.settimeout(2.0)
        length = 16 + header
        netlink.send(struct.pack("=IHHII", length, request, _REQUEST_DUMP, 1, 0) + bytes(header))
        while True:
            for kind, body in _messages(netlink.recv(1 << 16)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "rtnetlink refused")
                yield body


def attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes that follow a message's fixed part of `offset` octets."""
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            return
        yield kind, body[offset + 4 : offset + length]
        offset += _aligned(length)


def neighbours() -> Iterator[Neighbour]:
    """Yield the kernel's ARP and NDP entries that have a MAC; raise OSError as `dump` does."""
    for body in dump(GET_NEIGHBOUR, 12):
        index, state = struct.unpack_from("=4xiH", body)
        found = dict(attributes(body, 12))
        address, mac = found.get(_NDA_DST, b""), found.get(_NDA_LLADDR, b"")
        if state & _NUD_KNOWN and len(address) in (4, 16) and len(mac) == 6 and any(mac):
            yield Neighbour(index, str(ipaddress.ip_address(address)), mac.hex(":"))


def changes() -> socket.socket:
    """Return a socket that becomes readable when a link, an address or a route changes.

    What it receives need not be understood; raise OSError where there is no netlink.
    """
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        netlink.bind((0, _GROUPS))
    except BaseException:
        netlink.close()
        raise
    return netlink


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if not 16 <= length <= len(data):
            raise OSError(errno.EBADMSG, "rtnetlink sent half a message")
        yield kind, data[16:length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3

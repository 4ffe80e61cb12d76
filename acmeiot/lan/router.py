"""The default routers of this machine's networks, their MACs, and the Wi-Fi it is in.

This is what tells one network from another (draft 4.7). It asks the kernel through pyroute2 when
called, not before: the import costs 0.1 s and 20 MiB that only the agents spend.

Routes and neighbours are tested in network namespaces. Wi-Fi is not: nl80211 needs a radio, so
its tests read messages built by hand, and no card was ever asked.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from acmeiot.protocol.names import IPAddress

# Three questions to the router that was here, a second apart, then the one to all.
PATIENCE: Final = 5.0

_MAIN_TABLE: Final = 254
_UNICAST: Final = 1
_INCOMPLETE: Final = 0x01
_REACHABLE: Final = 0x02
_AGEING: Final = 0x04 | 0x08 | 0x10  # stale, delay, probe: was right once
_PERMANENT: Final = 0x80
_DISCARD: Final = 9  # the port of RFC 863: nobody listens, and nothing is meant
_IP_PKTINFO: Final = 8
_FIRST_POLL: Final = 0.005
_LONGEST_POLL: Final = 0.1
_PRIVACY: Final = 0x10  # IEEE 802.11-2020 9.4.1.4: the Privacy bit of the capabilities
# RFC 8110: encrypts, but lets everybody in. 00-0F-AC:18 is not in pyroute2's list yet.
_LIKE_OPEN: Final = {"OWE", "00-0f-ac-12"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A default router, and the interface whose link it is on."""

    index: int
    address: IPAddress
    metric: int


@dataclass(frozen=True, slots=True)
class Wireless:
    """The Wi-Fi an interface is associated with; `open` is None where the driver does not say."""

    ssid: str
    open: bool | None


def gateways() -> tuple[Gateway, ...]:
    """Return the default routers of the main table, the preferred first: IPv4, then by metric.

    Raise OSError where the kernel does not answer, ModuleNotFoundError without pyroute2.
    """
    with _rtnetlink() as kernel:
        found = [
            gateway
            for family in (socket.AF_INET, socket.AF_INET6)
            for route in kernel.get_routes(family=family, table=_MAIN_TABLE)
            for gateway in _of_route(route)
        ]
    # The address decides last, so that two routers that are equals do not take turns.
    return tuple(sorted(found, key=lambda g: (g.address.version, g.metric, int(g.address))))


def _of_route(route: Any) -> Iterator[Gateway]:
    if route["dst_len"] != 0 or route["type"] != _UNICAST:
        return
    metric = route.get_attr("RTA_PRIORITY") or 0
    hops = route.get_attr("RTA_MULTIPATH")
    for hop in hops or [route]:
        index = hop["oif"] if hops else route.get_attr("RTA_OIF")
        # An IPv4 route may lead over an IPv6 neighbour (RFC 8950): RTA_VIA.
        address = hop.get_attr("RTA_GATEWAY") or (hop.get_attr("RTA_VIA") or {}).get("addr")
        if index and address:
            yield Gateway(index, ipaddress.ip_address(address), metric)


def mac_of(index: int, address: IPAddress, patience: float = PATIENCE) -> str | None:
    """Return the MAC of a neighbour, lower case with colons; None if it does not answer.

    One datagram to the discard port makes the kernel look for a neighbour it does not know. An
    entry that is there may be of a router that is gone, even if it was confirmed seconds ago, so
    the kernel is asked to confirm it again; without the right to ask (CAP_NET_ADMIN) it is taken
    as it is. Wait `patience` seconds at most.

    Raise OSError and ModuleNotFoundError as `gateways` does.
    """
    deadline = time.monotonic() + patience
    pause, asked = _FIRST_POLL, False
    with _rtnetlink() as kernel:
        while True:
            state, mac = _neighbour(kernel, index, address)
            if mac and (state & _PERMANENT or (asked and state & _REACHABLE)):
                return mac
            if mac and not asked:
                if not _ask_again(kernel, index, address, mac):
                    return mac
                asked = True
            elif not mac and not state & _INCOMPLETE:
                _nudge(index, address)
                asked = True
            if time.monotonic() >= deadline:
                return None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_POLL)


def _neighbour(kernel: Any, index: int, address: IPAddress) -> tuple[int, str | None]:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    for entry in kernel.get_neighbours(family=family, ifindex=index):
        # The kernel filters by interface since 4.6 only.
        if entry["ifindex"] == index and entry.get_attr("NDA_DST") == str(address):
            known = entry["state"] & (_REACHABLE | _PERMANENT | _AGEING)
            return entry["state"], entry.get_attr("NDA_LLADDR") if known else None
    return 0, None


def _ask_again(kernel: Any, index: int, address: IPAddress, mac: str) -> bool:
    """Have the kernel confirm an entry; tell whether it will."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        kernel.neigh("change", dst=str(address), lladdr=mac, ifindex=index, state="probe")
    except NetlinkError as error:
        if error.code not in (errno.EPERM, errno.ENOENT):
            raise
        return bool(error.code == errno.ENOENT)  # it has just gone: look again
    return True


def _nudge(index: int, address: IPAddress) -> None:
    """Send an empty datagram to a neighbour over the given interface, whatever the routes say."""
    packed = address.packed
    if address.version == 4:
        family, level, kind = socket.AF_INET, socket.IPPROTO_IP, _IP_PKTINFO
        info = struct.pack("=I8x", index)
    else:
        family, level, kind = socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
        info = struct.pack("=16xI", index)
    target: tuple[Any, ...] = (socket.inet_ntop(family, packed), _DISCARD)
    if family == socket.AF_INET6:
        target = (*target, 0, index if address.is_link_local else 0)
    # While this machine's own address is tentative, or its link down, nothing can be sent; the
    # caller tries again until its patience ends.
    with socket.socket(family, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.sendmsg([b""], [(level, kind, info)], 0, target)


@contextlib.contextmanager
def _rtnetlink() -> Iterator[Any]:
    """Open the kernel's routing tables; pyroute2's errors come out as OSError."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as kernel:
            yield kernel
    except NetlinkError as error:
        raise OSError(error.code, f"the kernel's routing tables: {error.args[-1]}") from None


def wireless(name: str, index: int, devices: Path = Path("/sys/class/net")) -> Wireless | None:
    """Return the Wi-Fi that an interface is associated with, None for one without a radio.

    Raise OSError if the driver does not answer, ModuleNotFoundError without pyroute2.
    """
    if not (devices / name / "phy80211").exists():
        return None
    from pyroute2 import IW
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IW() as radio:
            return read_wireless(
                radio.get_interface_by_ifindex(index), radio.get_associated_bss(index)
            )
    except NetlinkError as error:
        raise OSError(error.code, f"nl80211 of {name}: {error.args[-1]}") from None


def read_wireless(interface: Iterable[Any], bss: Any | None) -> Wireless | None:
    """Return what nl80211's messages on an interface and on its access point say.

    None where they name no network.
    """
    named = next((message.get_attr("NL80211_ATTR_SSID") for message in interface), None)
    details = bss.get_attr("NL80211_ATTR_BSS") if bss is not None else None
    elements: dict[str, Any] = {}
    is_open = None
    if details is not None:
        elements = details.get_attr("NL80211_BSS_INFORMATION_ELEMENTS") or {}
        capabilities = details.get_attr("NL80211_BSS_CAPABILITY")
        if capabilities is not None:
            private = bool(capabilities["VALUE"] & _PRIVACY)
            keys = set((elements.get("RSN") or {}).get("auth_suites") or ())
            is_open = not private or (bool(keys) and keys <= _LIKE_OPEN)
    ssid = named or elements.get("SSID")
    return Wireless(_text(ssid), is_open) if ssid else None


def _text(ssid: str | bytes) -> str:
    """Return a network's name, which is any 32 octets, as text that can be printed and stored."""
    if isinstance(ssid, str):
        return ssid
    try:
        return ssid.decode("utf-8")
    except UnicodeDecodeError:
        return ssid.decode("latin-1")

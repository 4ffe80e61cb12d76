"""Ask the DHCP servers themselves: DHCPINFORM, and INFORMATION-REQUEST for DHCPv6.

For a machine whose DHCP client shows nothing of what we look for. The messages are made and read
by scapy, which is an extra and is imported here and nowhere else. DHCPINFORM (RFC 2131 section
4.4.3) needs no rights: dnsmasq answers to the port that it was asked from. Servers that answer to
port 68 only are not heard. A DHCPv6 server answers to port 546 (RFC 8415 section 7.2), which only
root may take. All servers that answer in time are heard, for two that disagree must be seen.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from acmeiot.client.errors import AgentError
from acmeiot.client.sightings import Sighting
from acmeiot.lan.interfaces import Interface, lan_interfaces
from acmeiot.protocol import dhcp, names
from acmeiot.protocol.names import IPAddress

WINDOW: Final = 2.0  # seconds for the first answer, two tries together
LINGER: Final = 0.4  # and for others after it
MAX_ANSWERS: Final = 8
_MAX_DOMAINS: Final = 8
_SIOCGIFHWADDR: Final = 0x8927
_POINTER: Final = 0xC0
_MAX_PACKETS: Final = 64  # read on one interface
_MAX_PACKET: Final = 4096
_TRIES: Final = 2
_ROOM: Final = 1400  # octets that a reply may have
_PORT_4, _PORT_6, _PORT_6_CLIENT = 67, 547, 546
_ALL_SERVERS: Final = "ff02::1:2"
_HEADER_4: Final = 240  # octets of a BOOTP message up to the options, RFC 1533's cookie included
_HEADER_6: Final = 4
_ACK: Final = 5
_REPLY_6: Final = 7
# What is asked for: domain, resolvers, search list; and the forms of the server's name.
_WANTED_4: Final = (15, 6, 119, 60, 124, 125, 43)
_WANTED_6: Final = (17, 23, 24)
_SERVER_ID, _DOMAIN, _RESOLVERS, _SEARCH, _OVERLOAD, _TYPE = 54, 15, 6, 119, 52, 53
_RESOLVERS_6, _DOMAINS_6 = 23, 24

Options = tuple[tuple[int, bytes], ...]
Monotonic = Callable[[], float]


def ask(
    interface: str | None, numbers: Sequence[int] = (), monotonic: Monotonic = time.monotonic
) -> tuple[tuple[Sighting, ...], tuple[str, ...]]:
    """Return what the DHCP servers of one or all LAN interfaces say, and what went wrong.

    It takes 2 seconds an interface and IP version where nobody answers. Raise AgentError without
    scapy, or for an interface that has no LAN behind it.
    """
    layers = _scapy()
    links = [each for each in lan_interfaces() if interface in (None, each.name)]
    if not links:
        where = f"{interface} is no interface with" if interface else "no interface has"
        raise AgentError(f"{where} a LAN behind it to ask for a DHCP server")
    found: list[Sighting] = []
    problems: list[str] = []
    for link in links:
        for name, asking in (("DHCP", _ask4), ("DHCPv6", _ask6)):
            try:
                heard = asking(layers, link, numbers, monotonic)
            except OSError as error:
                problems.append(f"{name} probe on {link.name}: {_reason(error, name)}")
                continue
            if heard is not None and not heard:
                problems.append(f"{name} probe on {link.name}: no DHCP server answered")
            found += heard or ()
    return tuple(found), tuple(problems)


def _scapy() -> Any:
    """Return scapy's DHCP layers; raise AgentError that says what to install."""
    import logging

    # It warns of networks it will not be asked to use.
    logging.getLogger("scapy").setLevel(logging.ERROR)
    try:
        from scapy.layers import dhcp as v4
        from scapy.layers import dhcp6 as v6
    except ModuleNotFoundError:
        raise AgentError("--probe needs scapy: pip install 'acmeiot[probe]'") from None
    return v4, v6


def _reason(error: OSError, name: str) -> str:
    if name == "DHCPv6" and isinstance(error, PermissionError):
        return "needs root, for answers come to port 546 only"
    if name == "DHCPv6" and error.errno == errno.EADDRINUSE:
        return "another program, its DHCP client, holds port 546"
    return error.strerror or str(error)


# -- DHCPv4


def _ask4(
    layers: Any, link: Interface, numbers: Sequence[int], monotonic: Monotonic
) -> list[Sighting] | None:
    """Return what is heard on an interface; None if it has no IPv4 address to ask from."""
    own = [each for each in link.addresses if each.version == 4 and names.is_lan(each.ip)]
    if not own:
        return None
    transaction = secrets.randbits(32)
    # The subnet's own broadcast address: the route to 255.255.255.255 would be the default one.
    targets = [*_gateways(link), str(own[0].network.broadcast_address)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.bind((str(own[0].ip), 0))
        question = _inform(layers, own[0].ip, _hardware(udp, link), transaction, numbers)

        def send() -> None:
            for target in dict.fromkeys(targets):
                udp.sendto(question, (target, _PORT_4))

        found = []
        for wire, (sender, _port) in _heard(udp, send, monotonic):
            options = _read4(layers, wire, transaction)
            if options is not None and names.is_lan(ipaddress.ip_address(sender)):
                found.append(_sighting4(link, sender, options))
        return _once(found)


def _hardware(udp: socket.socket, link: Interface) -> bytes:
    """Return the interface's MAC."""
    asked = struct.pack("256s", link.name.encode()[:15])
    return fcntl.ioctl(udp, _SIOCGIFHWADDR, asked)[18:24]


def _inform(
    layers: Any, own: IPAddress, hardware: bytes, transaction: int, numbers: Sequence[int]
) -> bytes:
    """Return a DHCPINFORM: the address is ours already, only the options are wanted."""
    v4, _ = layers
    message = v4.BOOTP(op=1, xid=transaction, ciaddr=str(own), chaddr=hardware) / v4.DHCP(
        options=[
            ("message-type", "inform"),
            ("vendor_class_id", dhcp.CLIENT_CLASS),
            ("max_dhcp_size", _ROOM),
            ("param_req_list", [*_WANTED_4, *numbers]),
            "end",
        ]
    )
    return bytes(message)


def _gateways(link: Interface) -> Iterator[str]:
    """Yield the default routers on a link, which may know of a server elsewhere."""
    from scapy.config import conf

    for net, mask, gateway, name, *_ in conf.route.routes:
        if (net, mask, name) == (0, 0, link.name) and gateway != "0.0.0.0":  # noqa: S104
            yield gateway


def _read4(layers: Any, wire: bytes, transaction: int) -> Options | None:
    """Return the options of a DHCPACK to this question; None for any other message."""
    v4, _ = layers
    if len(wire) < _HEADER_4:
        return None
    message = v4.BOOTP(wire)
    if message.op != 2 or message.xid != transaction or v4.DHCP not in message:
        return None
    codec = v4.DHCPOptionsField("options", b"")
    options = tuple(_raw(codec, message[v4.DHCP].options))
    overload = dict(options).get(_OVERLOAD, b"\0")[-1:]
    # RFC 2132 section 9.3: what did not fit lies in two fields of the old header.
    for bit, area in ((1, message.file), (2, message.sname)):
        if overload and overload[0] & bit:
            options += tuple(_raw(codec, codec.m2i(message, area)))
    return options if dict(options).get(_TYPE) == bytes([_ACK]) else None


def _raw(codec: Any, options: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    """Yield code and data as they came: scapy knows the meaning of many, ours it cannot know."""
    for option in options:
        if isinstance(option, tuple):
            wire = codec.i2m(None, [option])
            if wire:  # an option without data is nothing to an older scapy
                yield wire[0], wire[2:]


def _sighting4(link: Interface, sender: str, options: Options) -> Sighting:
    whole: dict[int, bytes] = {}
    for code, data in options:
        whole[code] = whole.get(code, b"") + data
    server = whole.get(_SERVER_ID, b"")
    resolvers = whole.get(_RESOLVERS, b"")
    domain = whole.get(_DOMAIN, b"").rstrip(b"\0").decode("ascii", "replace")
    return Sighting(
        client="probe",
        interface=link.name,
        server=socket.inet_ntoa(server) if len(server) == 4 else sender,
        domains=tuple(dict.fromkeys(filter(None, (domain, *_names(whole.get(_SEARCH, b"")))))),
        resolvers=tuple(
            socket.inet_ntoa(resolvers[at : at + 4]) for at in range(0, len(resolvers) - 3, 4)
        ),
        v4=options,
        v6=(),
        fqdn=None,
    )


# -- DHCPv6


def _ask6(
    layers: Any, link: Interface, _numbers: Sequence[int], monotonic: Monotonic
) -> list[Sighting] | None:
    """Return what is heard on an interface; None if it has no link-local address to ask from."""
    own = [each for each in link.addresses if each.version == 6 and each.ip.is_link_local]
    if not own:
        return None
    transaction = secrets.randbits(24)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind((str(own[0].ip), _PORT_6_CLIENT, 0, link.index))
        question = _request(layers, transaction)

        def send() -> None:
            udp.sendto(question, (_ALL_SERVERS, _PORT_6, 0, link.index))

        found = []
        for wire, (sender, *_) in _heard(udp, send, monotonic):
            options = _read6(layers, wire, transaction)
            if options is not None:
                found.append(_sighting6(link, sender.partition("%")[0], options))
        return _once(found)


def _request(layers: Any, transaction: int) -> bytes:
    """Return an INFORMATION-REQUEST; it needs no client id (RFC 8415 section 18.2.6)."""
    _, v6 = layers
    message = (
        v6.DHCP6_InfoRequest(trid=transaction)
        / v6.DHCP6OptElapsedTime()
        / v6.DHCP6OptOptReq(reqopts=list(_WANTED_6))
    )
    return bytes(message)


def _read6(layers: Any, wire: bytes, transaction: int) -> Options | None:
    """Return the options of a Reply to this question; None for any other message."""
    _, v6 = layers
    if len(wire) < _HEADER_6:
        return None
    message = v6.DHCP6_Reply(wire)
    if message.msgtype != _REPLY_6 or message.trid != transaction:
        return None
    found, rest = [], wire[_HEADER_6:]
    while len(rest) >= 4:
        code, length = struct.unpack_from("!HH", rest)
        if len(rest) < 4 + length:
            return None
        found.append((code, rest[4 : 4 + length]))
        rest = rest[4 + length :]
    return tuple(found)


def _sighting6(link: Interface, sender: str, options: Options) -> Sighting:
    resolvers = b"".join(data for code, data in options if code == _RESOLVERS_6)
    domains = b"".join(data for code, data in options if code == _DOMAINS_6)
    return Sighting(
        client="probe",
        interface=link.name,
        server=sender,
        domains=_names(domains),
        resolvers=tuple(
            socket.inet_ntop(socket.AF_INET6, resolvers[at : at + 16])
            for at in range(0, len(resolvers) - 15, 16)
        ),
        v4=(),
        v6=options,
        fqdn=None,
    )


# -- both


def _heard(
    udp: socket.socket, send: Callable[[], None], monotonic: Monotonic
) -> Iterator[tuple[bytes, Any]]:
    """Send, and yield the packets that come in time; silence is asked once more.

    The first answer leaves others a little time more.
    """
    packets = 0
    for _ in range(_TRIES):
        send()
        ends = monotonic() + WINDOW / _TRIES
        while packets < _MAX_PACKETS and (left := ends - monotonic()) > 0:
            udp.settimeout(left)
            try:
                heard = udp.recvfrom(_MAX_PACKET)
            except TimeoutError:
                break
            packets += 1
            yield heard
            ends = min(ends, monotonic() + LINGER)
        if packets:
            return


def _once(found: Sequence[Sighting]) -> list[Sighting]:
    """Return each answer once: the gateway was asked twice, alone and as one of all."""
    return list(dict.fromkeys(found))[:MAX_ANSWERS]


def _names(data: bytes) -> tuple[str, ...]:
    """Return the domains of a search list, as far as it is whole (RFC 3397, RFC 8415 10)."""
    found: list[str] = []
    at = 0
    while at < len(data) and len(found) < _MAX_DOMAINS:
        labels, after = _labels(data, at)
        if after is None:
            break
        found.append(b".".join(labels).decode("ascii", "replace"))
        at = after
    return tuple(found)


def _labels(data: bytes, at: int) -> tuple[list[bytes], int | None]:
    """Return the labels of the name at an offset, and where the next one starts; None if broken.

    A pointer leads backwards only (RFC 1035 section 4.1.4), so that it leads to an end.
    """
    labels: list[bytes] = []
    after, limit = None, at
    while at < len(data):
        length = data[at]
        if length == 0:
            return labels, at + 1 if after is None else after
        if length >= _POINTER:
            target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            after = at + 2 if after is None else after
            if target >= limit:
                break
            at = limit = target
            continue
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return labels, None

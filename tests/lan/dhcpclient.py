"""A DHCP client that wants no address: it asks, and returns the options as they came.

Its functions are run on a host of a test's network. IPv4 answers are taken from the wire by a
packet socket, since a host without an address gets no datagrams.
"""

import os
import socket
import struct
import time

Option = tuple[int, bytes]

DISCOVER, OFFER, REQUEST, ACK, INFORM = 1, 2, 3, 5, 8
INFORMATION_REQUEST, REPLY = 11, 7
_COOKIE = bytes.fromhex("63825363")
_WAIT = 10.0
_SOL_SOCKET_BINDTODEVICE = 25


def join(asked: tuple[int, ...], vendor_class: bytes = b"", mac: bytes = b"") -> list[list[Option]]:
    """Discover and request an address; return the options of OFFER and ACK, in their order."""
    mac = mac or b"\2" + os.urandom(5)
    wanted = [(55, bytes(asked)), *([(60, vendor_class)] if vendor_class else [])]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as wire:
        wire.bind(("eth0", 0x0800))
        offer, address = _exchange(wire, mac, OFFER, [(53, bytes([DISCOVER])), *wanted])
        server = dict(offer)[54]
        ask = [(53, bytes([REQUEST])), (50, address), (54, server), *wanted]
        ack, _ = _exchange(wire, mac, ACK, ask)
    return [offer, ack]


def _exchange(
    wire: socket.socket, mac: bytes, answer: int, options: list[Option]
) -> tuple[list[Option], bytes]:
    """Broadcast one message; return the options of its answer and the address that it gives."""
    xid = os.urandom(4)
    head = b"\1\1\6\0" + xid + b"\0\0\x80\0" + bytes(16) + mac.ljust(16, b"\0") + bytes(192)
    body = b"".join(bytes([code, len(data)]) + data for code, data in options)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        out.setsockopt(socket.SOL_SOCKET, _SOL_SOCKET_BINDTODEVICE, b"eth0")
        out.bind(("0.0.0.0", 68))
        out.sendto(head + _COOKIE + body + b"\xff", ("255.255.255.255", 67))
        end = time.monotonic() + _WAIT
        while (left := end - time.monotonic()) > 0:
            wire.settimeout(left)
            packet = wire.recv(4096)
            datagram = packet[(packet[0] & 15) * 4 :]
            message = datagram[8 : struct.unpack_from("!H", datagram, 4)[0]]
            if packet[9] == 17 and message[:1] == b"\2" and message[4:8] == xid:
                found = _options4(message[240:])
                if dict(found)[53] == bytes([answer]):
                    return found, message[16:20]
    raise AssertionError(f"no DHCP message of type {answer}")


def _options4(data: bytes) -> list[Option]:
    found = []
    while data and data[0] != 255:
        if data[0]:
            found.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :] if data[0] else data[1:]
    return found


def inform6(asked: tuple[int, ...]) -> list[Option]:
    """Send a DHCPv6 INFORMATION-REQUEST; return the options of the REPLY, in their order."""
    xid = os.urandom(3)
    body = struct.pack("!HHH", 8, 2, 0)
    if asked:
        body += struct.pack(f"!HH{len(asked)}H", 6, 2 * len(asked), *asked)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_WAIT)
        index = socket.if_nametoindex("eth0")
        udp.bind(("::", 546, 0, index))
        udp.sendto(bytes([INFORMATION_REQUEST]) + xid + body, ("ff02::1:2", 547, 0, index))
        while True:
            message = udp.recv(4096)
            if message[0] == REPLY and message[1:4] == xid:
                return _options6(message[4:])


def _options6(data: bytes) -> list[Option]:
    found = []
    while data:
        code, length = struct.unpack_from("!HH", data)
        found.append((code, data[4 : 4 + length]))
        data = data[4 + length :]
    return found

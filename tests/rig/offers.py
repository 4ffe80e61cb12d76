"""What DHCP servers send on a machine's cable, one line for each packet: 4 or 6, and its octets.

usage: python -m tests.rig.offers
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from tests.client.sniffer import ports

_ETH_P_ALL: Final = 3
_CLIENTS: Final = {68: 4, 546: 6}


def main() -> None:
    """Print until killed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as every:
        print("listening", flush=True)
        while True:
            packet, _ = every.recvfrom(65536)
            found = ports(packet)
            if found is not None and found[1] in _CLIENTS:
                header = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
                print(_CLIENTS[found[1]], packet[header + 8 :].hex(), flush=True)


def options4(message: bytes) -> dict[int, bytes]:
    """Return the options of a DHCPv4 message (RFC 2131 3); parts of one are joined (RFC 3396)."""
    found: dict[int, bytes] = {}
    at = 240
    while message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        code, length = message[at], message[at + 1]
        found[code] = found.get(code, b"") + message[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def options6(message: bytes) -> dict[int, bytes]:
    """Return the options of a DHCPv6 message (RFC 8415 8)."""
    found = {}
    at = 4
    while at < len(message):
        code, length = struct.unpack_from("!2H", message, at)
        found[int(code)] = message[at + 4 : at + 4 + length]
        at += 4 + length
    return found


if __name__ == "__main__":
    main()

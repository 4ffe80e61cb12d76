"""Every packet of multicast DNS that a host sends or receives, one line of text each.

usage: python -m tests.client.sniffer
"""

import socket
import struct

MDNS = 5353
_ETH_P_ALL = 3
_UDP = 17


def ports(packet: bytes) -> tuple[int, int] | None:
    """Return the UDP ports of an IPv4 or IPv6 packet, None for anything else."""
    if packet[:1] and packet[0] >> 4 == 4 and packet[9] == _UDP:
        at = (packet[0] & 15) * 4
    elif packet[:1] and packet[0] >> 4 == 6 and packet[6] == _UDP:
        at = 40
    else:
        return None
    source, target = struct.unpack_from("!2H", packet, at)
    return int(source), int(target)


def main() -> None:
    """Print until killed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as every:
        print("sniffing", flush=True)
        while True:
            packet, where = every.recvfrom(65536)
            found = ports(packet)
            if found is not None and MDNS in found:
                sent = "sent" if where[2] == 4 else "heard"
                print(f"mdns {sent} {found[0]} to {found[1]} {packet.hex()}", flush=True)
            elif found is not None:
                print(f"udp {found[0]} to {found[1]}", flush=True)


if __name__ == "__main__":
    main()

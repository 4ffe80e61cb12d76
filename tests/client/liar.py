"""Somebody on the link who offers an ACME server by multicast DNS, asked or not.

Answers every question with SRV and PTR records for `_acme-server._tcp.local` that lead to
`evil.local`, and says the same to everybody five times a second.

usage: python -m tests.client.liar ADDRESS
"""

import contextlib
import socket
import struct
import sys

import dns.flags
import dns.message
import dns.rrset

GROUP = ("224.0.0.251", 5353)
SERVICE = "_acme-server._tcp.local."


def lie(address: str, message_id: int = 0) -> bytes:
    """Return the answer that nobody may believe (A-3.1-4)."""
    reply = dns.message.Message(id=message_id)
    reply.flags |= dns.flags.QR | dns.flags.AA
    for name, kind, value in (
        (SERVICE, "SRV", "0 0 443 evil.local."),
        (SERVICE, "PTR", f"Evil.{SERVICE}"),
        (f"Evil.{SERVICE}", "SRV", "0 0 443 evil.local."),
        ("evil.local.", "A", address),
    ):
        reply.answer.append(dns.rrset.from_text(name, 120, "IN", kind, value))
    return reply.to_wire()


def main(address: str) -> None:
    """Lie until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("", GROUP[1]))
        member = struct.pack("=4s4s", socket.inet_aton(GROUP[0]), socket.inet_aton(address))
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        udp.settimeout(0.2)
        print("lying", flush=True)
        while True:
            udp.sendto(lie(address), GROUP)
            with contextlib.suppress(TimeoutError):
                wire, sender = udp.recvfrom(9000)
                if sender[0] != address:
                    udp.sendto(lie(address, int.from_bytes(wire[:2], "big")), sender)


if __name__ == "__main__":
    main(*sys.argv[1:])

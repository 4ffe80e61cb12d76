"""A small multicast DNS responder, made with dnspython: NAME ADDRESS..., on every interface.

usage: python -m tests.lan.responder NAME ADDRESS...
"""

import ipaddress
import socket
import struct
import sys

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset


def answer(wire: bytes, name: str, addresses: list[str]) -> bytes | None:
    """Return the answer to a question for the name, or None; RFC 6762 sections 6.7 and 10.2."""
    # dnspython reads the QU bit as a part of the class: fold it away first.
    end = len(wire) - 2
    (question_class,) = struct.unpack_from("!H", wire, end)
    assert question_class == 0x8001, "the question does not ask for a unicast reply"
    question = dns.message.from_wire(wire[:end] + b"\0\1")
    (asked,) = question.question
    if asked.name.to_text(omit_final_dot=True) != name:
        return None
    reply = dns.message.make_response(question)
    reply.flags |= dns.flags.AA
    for address in addresses:
        kind = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
        if dns.rdatatype.from_text(kind) == asked.rdtype:
            reply.answer.append(dns.rrset.from_text(asked.name, 10, "IN", kind, address))
    return reply.to_wire() if reply.answer else None


def main(name: str, *addresses: str) -> None:
    """Answer until killed; IPv4 and IPv6."""
    receivers = []
    for family, level, join, group in (
        (socket.AF_INET, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, "224.0.0.251"),
        (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, "ff02::fb"),
    ):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        receiver.bind(("", 5353))
        for index, link in socket.if_nameindex():
            if link == "lo":
                continue
            packed = socket.inet_pton(family, group)
            member = struct.pack("=4s4si", packed, bytes(4), index)
            if family == socket.AF_INET6:
                member = packed + struct.pack("=i", index)
            receiver.setsockopt(level, join, member)
        receivers.append(receiver)
    print("ready", flush=True)
    import selectors

    with selectors.DefaultSelector() as selector:
        for receiver in receivers:
            selector.register(receiver, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                wire, sender = key.fileobj.recvfrom(9000)
                reply = answer(wire, name, list(addresses))
                if reply is not None:
                    key.fileobj.sendto(reply, sender)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A name server whose answers a test words itself: UDP and TCP on loopback, in threads."""

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dns.message
import dns.rrset

Answer = Callable[[dns.message.Message], bytes | None]


def records(question: dns.message.Message, *values: str) -> dns.message.Message:
    """Answer the question with those records, each `NAME TYPE VALUE`, that are of its type."""
    reply = dns.message.make_response(question)
    for value in values:
        name, kind, rest = value.split(" ", 2)
        rrset = dns.rrset.from_text(name + ".", 60, "IN", kind, rest)
        if rrset.rdtype == question.question[0].rdtype or kind == "CNAME":
            reply.answer.append(rrset)
    return reply


class NameServer:
    """Answers with what `udp` and `tcp` return; None is silence. `asked` holds the questions."""

    def __init__(self, udp: Answer, tcp: Answer | None = None, host: str = "127.0.0.1") -> None:
        self._udp, self._tcp = udp, tcp
        self.asked: list[str] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # TCP first: its free ports are the scarcer ones on a busy machine.
        self._streams = socket.create_server((host, 0), family=family)
        self.port: int = self._streams.getsockname()[1]
        self._datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self._datagrams.bind((host, self.port))
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._serve_udp, self._serve_tcp)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for listener in (self._datagrams, self._streams):
            # What wakes a thread that waits in a system call.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                assert listener is self._datagrams
            listener.close()
        for thread in self._threads:
            thread.join(5)

    def _note(self, wire: bytes, by: str) -> dns.message.Message:
        message = dns.message.from_wire(wire)
        self.asked.append(f"{by} {message.question[0].to_text()}")
        return message

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, sender = self._datagrams.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            reply = self._udp(self._note(wire, "udp"))
            if reply is not None:
                self._datagrams.sendto(reply, sender)

    def _serve_tcp(self) -> None:
        while True:
            try:
                stream, _ = self._streams.accept()
            except OSError:
                return
            with stream:
                (length,) = struct.unpack("!H", stream.recv(2))
                question = self._note(stream.recv(length), "tcp")
                reply = self._tcp(question) if self._tcp else None
                if reply is not None:
                    stream.sendall(struct.pack("!H", len(reply)) + reply)

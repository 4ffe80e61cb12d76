"""One-shot multicast DNS (RFC 6762 section 5.1): who on this link calls itself `printer.local`?

Anybody may answer, so an answer is a rumour: it says where to look, or that two devices disagree,
and never proves anything. The question goes out from a port of its own and asks for unicast
replies; no other traffic of the link is heard.
"""

from __future__ import annotations

import ipaddress
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from acmeiot.lan import dnswire
from acmeiot.lan.interfaces import Interface, lan_interfaces
from acmeiot.protocol import names

PORT: Final = 5353
GROUP_4: Final = "224.0.0.251"
GROUP_6: Final = "ff02::fb"
MAX_DATAGRAM: Final = 9000  # RFC 6762 section 17
MAX_PACKETS: Final = 64
MAX_SOURCES: Final = 16
MAX_ADDRESSES: Final = 16  # of one source

OpenSocket = Callable[[int, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Heard:
    """Which device, by its own address, said which LAN addresses; and what went wrong.

    `asked` are the interfaces' names.
    """

    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class MulticastDns:
    """Asks on each LAN interface and listens for `window` seconds."""

    def __init__(
        self,
        *,
        window: float = 0.5,
        interfaces: Callable[[], Sequence[Interface]] = lan_interfaces,
        open_socket: OpenSocket = socket.socket,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = window
        self._interfaces = interfaces
        self._open = open_socket
        self._monotonic = monotonic

    def ask(self, name: str, *, insist: bool = True) -> Heard:
        """Return who answered for the name. Raises nothing: what failed stands in `problems`.

        With `insist`, silence is answered by a second question and as long a wait again.
        """
        question = _Question(name)
        asked: list[str] = []
        problems: list[str] = []
        with selectors.DefaultSelector() as selector:
            try:
                for interface in self._interfaces():
                    self._join(selector, interface, question, asked, problems)
                self._listen(selector, question, insist)
            except OSError as error:
                problems.append(f"multicast DNS is not possible ({_reason(error)})")
            finally:
                for key in list(selector.get_map().values()):
                    key.data.socket.close()
        answers = {source: tuple(found) for source, found in question.answers.items()}
        return Heard(answers, tuple(dict.fromkeys(asked)), tuple(problems))

    def _join(
        self,
        selector: selectors.BaseSelector,
        interface: Interface,
        question: _Question,
        asked: list[str],
        problems: list[str],
    ) -> None:
        """Open a socket for each address family of the interface and send the question."""
        for version in sorted({own.version for own in interface.addresses}):
            link: _Link | None = None
            try:
                link = self._link(interface, version)
                link.send(question)
            except OSError as error:
                if link is not None:
                    link.socket.close()
                where = f"{interface.name} with IPv{version}"
                problems.append(f"multicast DNS is not possible on {where} ({_reason(error)})")
                continue
            selector.register(link.socket, selectors.EVENT_READ, link)
            asked.append(interface.name)

    def _link(self, interface: Interface, version: int) -> _Link:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        link = _Link(self._open(family, socket.SOCK_DGRAM), interface, version)
        try:
            link.prepare()
        except OSError:
            link.socket.close()
            raise
        return link

    def _listen(self, selector: selectors.BaseSelector, question: _Question, again: bool) -> None:
        ends = self._monotonic() + self._window
        packets = 0
        while selector.get_map() and packets < MAX_PACKETS:
            left = ends - self._monotonic()
            if left <= 0:
                if question.answers or not again:
                    return
                # Wi-Fi loses multicast easily: once more (RFC 6762 section 5.2).
                again, ends = False, ends + self._window
                for key in list(selector.get_map().values()):
                    key.data.send(question)
                continue
            for key, _ in selector.select(left):
                packets += 1
                key.data.receive(question)


class _Question:
    """What is asked, and who has answered so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = secrets.randbits(16)
        self.answers: dict[str, dict[str, None]] = {}

    def hear(self, source: str, wire: bytes) -> None:
        """Keep the LAN addresses that `source` gives for the name; other messages are dropped."""
        try:
            message = dnswire.read(wire)
        except dnswire.BadMessage:
            return
        # RFC 6762 section 18.1: an answer made for everybody has the id 0.
        if not message.response or message.id not in (self.id, 0) or message.rcode:
            return
        found = [
            address
            for kind in (dnswire.A, dnswire.AAAA)
            for address in dnswire.find(message.records, self.name, kind)
            if names.is_lan(ip := ipaddress.ip_address(address)) and not ip.is_loopback
        ]
        if not found or (source not in self.answers and len(self.answers) >= MAX_SOURCES):
            return
        known = self.answers.setdefault(source, {})
        for address in found[: MAX_ADDRESSES - len(known)]:
            known[address] = None


@dataclass(frozen=True, slots=True)
class _Link:
    """One socket on one interface."""

    socket: socket.socket
    interface: Interface
    version: int

    def prepare(self) -> None:
        """Tie the socket's multicast to the interface, hop limit 255 (RFC 6762 section 11)."""
        self.socket.setblocking(False)
        if self.version == 4:
            index = struct.pack("=4s4si", bytes(4), bytes(4), self.interface.index)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            return
        option = struct.pack("=i", self.interface.index)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, option)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)

    def send(self, question: _Question) -> None:
        """Send the two questions, one a packet: not every small responder reads a second one."""
        for kind in (dnswire.A, dnswire.AAAA):
            wire = dnswire.query(question.name, kind, question.id, unicast_reply=True)
            if self.version == 4:
                self.socket.sendto(wire, (GROUP_4, PORT))
            else:
                self.socket.sendto(wire, (GROUP_6, PORT, 0, self.interface.index))

    def receive(self, question: _Question) -> None:
        """Read one packet; one from outside this link is dropped (RFC 6762 section 11)."""
        try:
            wire, sender = self.socket.recvfrom(MAX_DATAGRAM)
        except (BlockingIOError, ConnectionError):
            return
        source = ipaddress.ip_address(sender[0].partition("%")[0])
        if names.is_lan(source) and self.interface.reaches(source):
            question.hear(str(source), wire)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

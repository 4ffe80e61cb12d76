"""Questions to the LAN's own resolver, and to no other: a public address is never accepted."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acmeiot.lan import dnswire
from acmeiot.lan.dnswire import BadMessage, Message, Record
from acmeiot.protocol import names
from acmeiot.protocol.names import IPAddress

PORT: Final = 53
MAX_SERVERS: Final = 3
MAX_DATAGRAM: Final = 4096
MAX_STREAM: Final = 16384
MAX_STRAY: Final = 64  # datagrams that answer something else

OpenSocket = Callable[[int, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Server:
    """A resolver on this LAN; another address raises ValueError."""

    address: IPAddress
    port: int = PORT

    def __post_init__(self) -> None:
        if not names.is_lan(self.address):
            raise ValueError(
                f"the resolver {self.address} is not on this LAN; names of a home are never "
                "looked up elsewhere. Give a private, link-local or loopback address"
            )

    def __str__(self) -> str:
        if self.port == PORT:
            return str(self.address)
        return f"{self.address} port {self.port}"

    @property
    def family(self) -> int:
        """Return the socket family of the address."""
        return socket.AF_INET if self.address.version == 4 else socket.AF_INET6


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[Server, ...]:
    """Return the nameservers of resolv.conf that are LAN addresses; the others are passed by."""
    try:
        with path.open("rb") as file:
            text = file.read(65536).decode("ascii", "replace")
    except FileNotFoundError:
        return ()
    found: list[Server] = []
    for line in text.split("\n"):
        fields = line.split()
        if len(fields) < 2 or fields[0] != "nameserver":
            continue
        try:
            found.append(Server(ipaddress.ip_address(fields[1])))
        except ValueError:
            continue  # no address, or a public one: not ours to ask
    return tuple(dict.fromkeys(found))[:MAX_SERVERS]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the resolvers said: records, or for a person why there are none.

    `exists` is False where a resolver said that there is no such name.
    """

    records: tuple[Record, ...]
    said: str
    exists: bool = True


class UnicastDns:
    """Asks the resolvers one after the other until one of them answers.

    `timeout` is seconds a try; each resolver gets `attempts` of them.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        timeout: float = 2.0,
        attempts: int = 2,
        open_socket: OpenSocket = socket.socket,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = tuple(servers)[:MAX_SERVERS]
        self._timeout = timeout
        self._attempts = attempts
        self._open = open_socket
        self._monotonic = monotonic

    def ask(self, name: str, kinds: Sequence[int]) -> Reply | str:
        """Return the resolvers' answer; or, as text for a person, why there is none at all."""
        if not self.servers:
            return "no resolver on this LAN is known"
        failures = []
        for server in self.servers:
            answer = self._ask_one(server, name, kinds)
            if isinstance(answer, Reply):
                return answer
            failures.append(f"the resolver {server} {answer}")
        return ", ".join(failures)

    def _ask_one(self, server: Server, name: str, kinds: Sequence[int]) -> Reply | str:
        messages: dict[int, Message] = {}
        for _ in range(self._attempts):
            missing = [kind for kind in kinds if kind not in messages]
            try:
                messages.update(self._exchange(server, name, missing))
            except OSError as error:
                return f"cannot be asked ({error.strerror or error})"
            # One of two types is enough where it has records: some small resolvers never answer
            # about IPv6. "None of this type" alone is not: the other answer may have been lost.
            if len(messages) == len(kinds) or any(one.records for one in messages.values()):
                break
        if not messages:
            return f"did not answer within {self._attempts * self._timeout:g} s"
        return _judge(server, messages.values())

    def _exchange(self, server: Server, name: str, kinds: Iterable[int]) -> dict[int, Message]:
        """Ask for all types at once; return the answers that came in time."""
        ends = self._monotonic() + self._timeout
        waiting = {secrets.randbits(16): kind for kind in kinds}
        found: dict[int, Message] = {}
        with self._open(server.family, socket.SOCK_DGRAM) as udp:
            udp.connect((str(server.address), server.port))
            for message_id, kind in waiting.items():
                udp.send(dnswire.query(name, kind, message_id))
            for _ in range(MAX_STRAY):
                left = ends - self._monotonic()
                if not waiting or left <= 0:
                    break
                udp.settimeout(left)
                try:
                    message = dnswire.read(udp.recv(MAX_DATAGRAM))
                except (TimeoutError, BadMessage):
                    continue
                if not _answers(message, name, waiting.get(message.id)):
                    continue
                kind = waiting.pop(message.id)
                found[kind] = self._whole(server, name, kind, message)
        return found

    def _whole(self, server: Server, name: str, kind: int, message: Message) -> Message:
        """Return the message, fetched again by TCP where it did not fit into a datagram."""
        if not message.truncated:
            return message
        message_id = secrets.randbits(16)
        question = dnswire.query(name, kind, message_id)
        ends = self._monotonic() + self._timeout
        with self._open(server.family, socket.SOCK_STREAM) as tcp:
            tcp.settimeout(self._timeout)
            tcp.connect((str(server.address), server.port))
            tcp.sendall(struct.pack("!H", len(question)) + question)
            (length,) = struct.unpack("!H", self._exactly(tcp, 2, ends))
            wire = self._exactly(tcp, min(length, MAX_STREAM), ends)
        try:
            answer = dnswire.read(wire)
        except BadMessage as error:
            raise ConnectionError(str(error)) from None
        if answer.id != message_id or not _answers(answer, name, kind):
            raise ConnectionError("answered another question")
        return answer

    def _exactly(self, tcp: socket.socket, size: int, ends: float) -> bytes:
        data = b""
        while len(data) < size:
            tcp.settimeout(max(0.001, ends - self._monotonic()))
            part = tcp.recv(size - len(data))
            if not part:
                raise ConnectionError("closed the connection before its answer was whole")
            data += part
        return data


def _answers(message: Message, name: str, kind: int | None) -> bool:
    return message.response and kind is not None and message.questions == ((name, kind),)


def _judge(server: Server, messages: Iterable[Message]) -> Reply | str:
    """Return the reply of one resolver; or why another one should be asked."""
    codes = {message.rcode for message in messages}
    records = tuple(record for message in messages for record in message.records)
    if dnswire.NXDOMAIN in codes:
        return Reply(records, f"the resolver {server} says no such name", exists=False)
    if dnswire.NOERROR in codes:
        return Reply(records, f"the resolver {server}")
    code = min(codes)
    return f"would not answer ({dnswire.RCODES.get(code, f'rcode {code}')})"

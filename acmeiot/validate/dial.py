"""Connections to a device's own addresses, and to no others (R-27, specs 6 "SSRF").

The rules resolved and checked the addresses once. They are checked again here, and the socket is
connected to that very address: no second lookup exists that could answer differently.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from acmeiot.lan.deadline import Deadline
from acmeiot.protocol import names
from acmeiot.protocol.errors import ConnectionFailed
from acmeiot.protocol.names import Identifier, IPAddress

LIMIT: Final = 10.0  # seconds for one validation, everything in it
CONNECT: Final = 3.0  # seconds for one address, so that another one gets its turn
RETRY_AFTER: Final = 0.5  # seconds until a refused connection is tried once more
MAX_TARGETS: Final = 16

OpenSocket = Callable[[int, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Target:
    """An address to connect to, `scope` being the interface of a link-local one."""

    address: IPAddress
    scope: int = 0


class Dialler:
    """Connects to the first of a device's addresses that takes it, IPv6 before IPv4.

    `link_scopes` returns the interfaces on which a link-local IPv6 address is looked for.
    """

    def __init__(
        self,
        link_scopes: Callable[[], Sequence[int]],
        *,
        allow_loopback: bool = False,
        open_socket: OpenSocket = socket.socket,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._link_scopes = link_scopes
        self._allow_loopback = allow_loopback
        self._open = open_socket
        self._sleep = sleep

    def connect(
        self, identifier: Identifier, addresses: Sequence[IPAddress], port: int, deadline: Deadline
    ) -> tuple[socket.socket, IPAddress]:
        """Return a connected socket and the address it leads to.

        Raise ConnectionFailed with each address tried and what happened there.
        """
        self.check(identifier, addresses)
        targets = self._targets(addresses)
        if not targets:
            raise ConnectionFailed(
                f"{identifier} has a link-local address only, and this server has no LAN interface "
                "to look for it",
                identifier=identifier,
            )
        failures: dict[Target, OSError] = {}
        for target in targets:
            made = self._try(target, port, deadline, len(targets), failures)
            if made is not None:
                return made, target.address
        # A client may start its listener a moment after it said that it was ready.
        refused = [each for each in targets if _refused(failures[each])]
        if refused and self._may_wait(deadline):
            for target in refused:
                made = self._try(target, port, deadline, len(refused), failures)
                if made is not None:
                    return made, target.address
        raise ConnectionFailed(_report(identifier, port, failures), identifier=identifier)

    def check(self, identifier: Identifier, addresses: Sequence[IPAddress]) -> None:
        """Raise ConnectionFailed unless there are addresses and all belong to the LAN (R-27)."""
        if not addresses:
            raise ConnectionFailed(f"{identifier} has no address", identifier=identifier)
        for address in addresses:
            if not names.is_lan(address) or (address.is_loopback and not self._allow_loopback):
                raise ConnectionFailed(
                    f"{identifier} leads to {address}, which is not an address of a device on "
                    "this LAN; nothing was sent there",
                    identifier=identifier,
                )

    def _targets(self, addresses: Sequence[IPAddress]) -> list[Target]:
        ordered = sorted(addresses, key=lambda address: (-address.version, address.is_link_local))
        targets: list[Target] = []
        for address in dict.fromkeys(ordered):
            if address.version == 6 and address.is_link_local:
                targets += [Target(address, scope) for scope in self._link_scopes()]
            else:
                targets.append(Target(address))
        return targets[:MAX_TARGETS]

    def _try(
        self,
        target: Target,
        port: int,
        deadline: Deadline,
        targets: int,
        failures: dict[Target, OSError],
    ) -> socket.socket | None:
        family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
        made = self._open(family, socket.SOCK_STREAM)
        host = str(target.address)
        try:
            made.settimeout(min(deadline.left(), CONNECT, max(0.5, deadline.seconds / targets)))
            made.connect((host, port, 0, target.scope) if target.scope else (host, port))
        except OSError as error:
            made.close()
            failures[target] = error
            return None
        return made

    def _may_wait(self, deadline: Deadline) -> bool:
        try:
            enough = deadline.left() > 2 * RETRY_AFTER
        except TimeoutError:
            return False
        if enough:
            self._sleep(RETRY_AFTER)
        return enough


def where(identifier: Identifier, address: IPAddress, port: int) -> str:
    """Return what was connected to, for a person: `printer.lan (192.168.1.20) port 80`."""
    if identifier.type == "ip" and identifier.value == str(address):
        return f"{address} port {port}"
    return f"{identifier} ({address}) port {port}"


def quote(found: str | bytes, limit: int = 100) -> str:
    """Return at most 100 printable characters of what a device sent, in quotes (specs 6)."""
    text = found if isinstance(found, str) else found.decode("ascii", "replace")
    shown = "".join(one if " " <= one <= "~" else "." for one in text[:limit])
    return f'"{shown}"' + ("..." if len(text) > limit else "")


def tls_reason(error: OSError) -> str:
    """Return why a TLS handshake failed, in OpenSSL's words where it has some."""
    if isinstance(error, TimeoutError):
        return "not complete in time"
    return getattr(error, "reason", None) or error.strerror or str(error)


def _refused(error: OSError) -> bool:
    return isinstance(error, ConnectionRefusedError)


def _report(identifier: Identifier, port: int, failures: dict[Target, OSError]) -> str:
    said = dict.fromkeys(
        f"{where(identifier, target.address, port)}: {_reason(error, port)}"
        for target, error in failures.items()
    )
    return ", ".join(said)


def _reason(error: OSError, port: int) -> str:
    if _refused(error):
        return "connection refused; is the client running on that device?"
    if isinstance(error, TimeoutError):
        return f"no answer; is the device on, and does its firewall let port {port} in?"
    if error.errno == errno.EHOSTUNREACH:
        return "no device answers at this address"
    if error.errno == errno.ENETUNREACH:
        return "this server is not on the network of this address"
    return error.strerror or str(error)

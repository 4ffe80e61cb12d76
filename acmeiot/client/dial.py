"""Connections to addresses of this LAN and to no others, each wait taken out of one deadline."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from acmeiot.client.errors import AgentError
from acmeiot.lan.deadline import Deadline
from acmeiot.protocol.names import is_lan

CONNECT: Final = 3.0  # seconds for one address, so that another one gets its turn
MAX_ADDRESSES: Final = 16


class Unreachable(AgentError):
    """The server cannot be reached now, or broke off: trying again later may help."""


class Untrusted(AgentError):
    """The server's certificate is not vouched for by the pinned root, or for another name.

    `reason` is OpenSSL's.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def connect(addresses: Sequence[str], port: int, deadline: Deadline) -> socket.socket:
    """Return a socket connected to the first address that takes it.

    Raise Unreachable with every address tried, AgentError for one outside the LAN: a name that
    leads there is no server of this home, and nothing is sent to it.
    """
    for address in addresses:
        _check(address)
    failures: dict[str, str] = {}
    for address in addresses[:MAX_ADDRESSES]:
        try:
            patience = max(0.5, deadline.left() / len(addresses[:MAX_ADDRESSES]))
            made = socket.create_connection((address, port), min(CONNECT, patience))
        except OSError as error:
            failures[address] = _reason(error)
        else:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
    tried = ", ".join(f"{address} port {port}: {why}" for address, why in failures.items())
    raise Unreachable(tried or "the server's name leads to no address")


def over_tls(
    raw: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline
) -> ssl.SSLSocket:
    """Return the socket behind a TLS handshake; close it and raise Untrusted or Unreachable.

    An end without TLS's own goodbye is an error and not the end of the data.
    """
    try:
        raw.settimeout(deadline.left())
        return context.wrap_socket(raw, server_hostname=host, suppress_ragged_eofs=False)
    except ssl.SSLCertVerificationError as error:
        raw.close()
        why = str(error.verify_message)
        raise Untrusted(f"the certificate of {host} is not trusted: {why}", why) from None
    except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot carry
        raw.close()
        raise Unreachable(f"{host}: the TLS handshake failed: {tls_reason(error)}") from None


def tls_reason(error: Exception) -> str:
    """Return why TLS failed, in OpenSSL's words where it has some."""
    if isinstance(error, TimeoutError):
        return "not complete in time"
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(said or type(error).__name__)[:200]


def _check(address: str) -> None:
    try:
        local = is_lan(ipaddress.ip_address(address))
    except ValueError:
        raise AgentError(f"{address[:80]!a} is not an IP address") from None
    if not local:
        raise AgentError(f"{address} is not an address of a local network; nothing was sent there")


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is the server running?"
    if isinstance(error, TimeoutError):
        return "no answer"
    if error.errno == errno.EHOSTUNREACH:
        return "no device answers at this address"
    return error.strerror or str(error)

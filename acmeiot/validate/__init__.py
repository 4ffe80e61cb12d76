"""Is it really theirs? One challenge a file, and `Validators`, which picks the right one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from acmeiot.core.records import Challenge, Resolution
from acmeiot.protocol.names import Identifier, IPAddress
from acmeiot.protocol.states import ChallengeType
from acmeiot.validate.dial import LIMIT, Dialler, OpenSocket
from acmeiot.validate.dns01 import Dns01
from acmeiot.validate.http01 import Http01
from acmeiot.validate.tlsalpn01 import TlsAlpn01


class LanSide(Protocol):
    """What validation needs of the LAN: more than the rules do, so no part of their port."""

    def resolve(self, name: str) -> Resolution:
        """Return where a name leads, for redirects to another name of the same device."""
        ...

    def txt(self, name: str) -> list[str]:
        """Return a name's TXT records as the LAN's resolver has them; raise DnsFailed."""
        ...

    def link_scopes(self) -> Sequence[int]:
        """Return the interfaces on which link-local IPv6 addresses are looked for."""
        ...


class Validators:
    """Implements `core.ports.Validator`.

    `limit` is seconds for one validation. `http01_port`, `tlsalpn01_port` and `allow_loopback`
    are for testing.
    """

    def __init__(
        self,
        lan: LanSide,
        *,
        http01_port: int = 80,
        tlsalpn01_port: int = 443,
        allow_loopback: bool = False,
        limit: float = LIMIT,
        open_socket: OpenSocket = socket.socket,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        dialler = Dialler(
            lan.link_scopes, allow_loopback=allow_loopback, open_socket=open_socket, sleep=sleep
        )
        self._http01 = Http01(
            dialler,
            lan.resolve,
            port=http01_port,
            tls_port=tlsalpn01_port,
            limit=limit,
            monotonic=monotonic,
        )
        self._tlsalpn01 = TlsAlpn01(dialler, port=tlsalpn01_port, limit=limit, monotonic=monotonic)
        self._dns01 = Dns01(lan.txt)

    def validate(
        self,
        challenge: Challenge,
        identifier: Identifier,
        key_authorization: str,
        addresses: Sequence[IPAddress],
    ) -> str:
        """Return the address that proved it, or "" for dns-01.

        Raise ConnectionFailed, IncorrectResponse, TlsFailed, Unauthorized or DnsFailed, saying
        what was tried and found. `addresses` were resolved and checked by the rules; it connects
        to no other (R-27).
        """
        if challenge.type is ChallengeType.HTTP_01:
            return self._http01.validate(challenge.token, identifier, key_authorization, addresses)
        if challenge.type is ChallengeType.TLS_ALPN_01:
            return self._tlsalpn01.validate(identifier, key_authorization, addresses)
        return self._dns01.validate(identifier, key_authorization)

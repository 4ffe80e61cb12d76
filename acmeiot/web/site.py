"""Under which names this server may be addressed, and who is asking.

One server is `router.lan`, `router.local` and 192.168.1.1 at once. The URLs of an answer carry the
name that the request used, and a Host that is none of ours is refused: a web page that re-binds
its own name to this address gets nothing (specs 6: DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.names import IPAddress

# An IPv6 address in brackets or anything else, and a port (RFC 9110 section 7.2).
_HOST: Final = re.compile(r"(?:\[([^]]{1,64})]|([^][:]{1,255}))(?::[0-9]{0,5})?")


class Misdirected(Malformed):
    """The Host header names somebody else (RFC 9110 section 15.5.20)."""

    status = 421


@dataclass(frozen=True, slots=True)
class Site:
    """The server's names. `is_own` tells whether an address is one of this machine's."""

    scheme: str
    names: frozenset[str]
    default_base: str
    is_own: Callable[[IPAddress], bool]

    def base(self, environ: dict[str, Any]) -> str:
        """Return `scheme://host[:port]` as the client wrote it; raise Malformed (421)."""
        host = str(environ.get("HTTP_HOST", "")).lower()
        written = _HOST.fullmatch(host)
        if written is None or not self._is_ours(written[1] or written[2]):
            raise Misdirected(
                f"{host[:80]!a} is not a name of this server; use {self.default_base}"
            )
        return f"{self.scheme}://{host}"

    def _is_ours(self, host: str) -> bool:
        if host in self.names:
            return True
        try:
            return self.is_own(ipaddress.ip_address(host))
        except ValueError:
            return False

    def remote(self, environ: dict[str, Any]) -> str:
        """Return the client's address; IPv4 that came through an IPv6 socket as IPv4."""
        text = str(environ.get("REMOTE_ADDR", ""))
        return text.removeprefix("::ffff:") if "." in text else text.partition("%")[0]

"""By which names and addresses this server is known: in URLs, certificates and the Host header."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

from acmeiot.config import Config, ConfigError, endpoint
from acmeiot.lan import interfaces
from acmeiot.protocol import names
from acmeiot.protocol.names import IPAddress

_FALLBACK: Final = "acme"  # the label of a machine whose own name is no host name


@dataclass(frozen=True, slots=True)
class Names:
    """The server's full names and LAN addresses; `url` is the host in its URLs."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    url: str

    @classmethod
    def of(cls, config: Config) -> Names:
        """Work them out from the settings and this machine; raise ConfigError."""
        suffixes = ("local", *config.domain)
        for name in config.name:
            if not any(names.under(name, suffix) for suffix in suffixes):
                raise ConfigError(
                    f"name: {name} ends in none of the local domains ({', '.join(suffixes)}); "
                    "add its domain with --domain"
                )
        # A-3.2.1-5: the root bears the server's name in .local and in each local domain.
        label = config.name[0].partition(".")[0] if config.name else _host_label()
        found = (*config.name, *(f"{label}.{suffix}" for suffix in (*config.domain, "local")))
        addresses = _addresses([endpoint(text, "listen")[0] for text in config.listen])
        return cls(
            names=tuple(dict.fromkeys(found)),
            addresses=addresses,
            url=config.name[0] if config.name else _bracketed(addresses[0]),
        )


def _host_label() -> str:
    label = socket.gethostname().partition(".")[0].lower()
    try:
        names.dns(f"{label}.local")
    except names.BadName:
        return _FALLBACK
    return _FALLBACK if label == "localhost" else label


def _addresses(listened: list[str]) -> tuple[str, ...]:
    """Return the LAN addresses that clients can reach, the best one for a URL first."""
    if any(text in ("0.0.0.0", "::") for text in listened):  # noqa: S104 - not binding here
        own = sorted(interfaces.own_addresses(), key=lambda address: address.version)
        reachable: list[IPAddress] = [*own, *map(ipaddress.ip_address, ("127.0.0.1", "::1"))]
    else:
        # A link-local IPv6 address means nothing to whoever is on another link.
        addresses = [ipaddress.ip_address(text) for text in listened]
        reachable = [a for a in addresses if a.version == 4 or not a.is_link_local]
    found = [str(address) for address in reachable if names.is_lan(address)]
    return tuple(dict.fromkeys(found)) or ("127.0.0.1",)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address

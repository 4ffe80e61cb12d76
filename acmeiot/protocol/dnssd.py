"""The DNS records by which a network's ACME server is found, and what its TXT record says.

draft-sweet-iot-acme-02 section 3.1 asks for an SRV record at the service's own name and knows no
TXT keys; DNS-SD clients (RFC 6763) want a PTR to an instance that has SRV and TXT, and those of
draft-tweedale-acme-discovery the keys `path`, `i` and `v`. All are given; none is needed to find a
server. `fp`, the SHA-256 of the root's public key, is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from acmeiot.protocol.dhcp import is_path

SERVICE: Final = "_acme-server._tcp"
INSTANCE: Final = r"Home\032CA"
IDENTIFIERS: Final = ("dns", "ip")
CHALLENGES: Final = ("http-01", "tls-alpn-01", "dns-01")

_MAX_STRINGS: Final = 64
_MAX_WORDS: Final = 16
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SHA256: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a zone file has it (RFC 1035 section 5.1); its names end with a dot."""

    name: str
    type: str
    data: str


def records(
    domain: str, host: str, port: int, path: str, root: str | None = None
) -> tuple[Record, ...]:
    """Return the records of the ACME server `host` for one domain (A-5.2-1, RFC 6763).

    `domain` and `host` are canonical names; `root` is the hex SHA-256 of the root's public key.
    """
    service = f"{SERVICE}.{domain}."
    instance = f"{INSTANCE}.{service}"
    where = f"0 0 {port} {host}."
    about = [f"path={path}", f"i={','.join(IDENTIFIERS)}", f"v={','.join(CHALLENGES)}"]
    if root is not None:
        about.append(f"fp={root}")
    return (
        Record(service, "SRV", where),
        Record(service, "PTR", instance),
        Record(instance, "SRV", where),
        Record(instance, "TXT", " ".join(f'"{text}"' for text in about)),
        Record(f"_services._dns-sd._udp.{domain}.", "PTR", service),
        Record(f"b._dns-sd._udp.{domain}.", "PTR", f"{domain}."),
        Record(f"lb._dns-sd._udp.{domain}.", "PTR", f"{domain}."),
    )


@dataclass(frozen=True, slots=True)
class Txt:
    """What a TXT record says of the server; what it does not say, or badly, is None or empty."""

    path: str | None = None
    root: str | None = None  # hex
    identifiers: tuple[str, ...] = ()
    challenges: tuple[str, ...] = ()


def read_txt(strings: Iterable[bytes]) -> Txt:
    """Read the strings of a TXT record; never raises.

    Keys are in any case and the first of each counts; unknown ones, and strings that are none, are
    passed over (RFC 6763 section 6.4).
    """
    found: dict[str, str] = {}
    for string in islice(strings, _MAX_STRINGS):
        key, _, value = string[:255].decode("latin-1").partition("=")
        found.setdefault(key.lower(), value)
    path = found.get("path", "")
    root = _SHA256.fullmatch(found.get("fp", "").lower())
    return Txt(
        path=path if is_path(path) else None,
        root=root[1] if root else None,
        identifiers=_words(found.get("i", "")),
        challenges=_words(found.get("v", "")),
    )


def _words(text: str) -> tuple[str, ...]:
    words = (word.strip() for word in text.lower().split(",", _MAX_WORDS)[:_MAX_WORDS])
    return tuple(dict.fromkeys(word for word in words if _WORD.fullmatch(word)))

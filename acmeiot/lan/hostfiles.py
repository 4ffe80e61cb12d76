"""The two table formats of the LAN, read from bytes: dnsmasq's lease file, and hosts(5).

Their content is hostile in part: a device chooses its own host name. A line that makes no sense
is counted and skipped; it can neither stop the others nor reach a log as it is. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from acmeiot.core.records import Host
from acmeiot.protocol import names

# A home has some hundred hosts; an ad-blocking hosts file may have a million useless lines.
MAX_BYTES: Final = 1 << 20
MAX_LINES: Final = 16384
MAX_ENTRIES: Final = 4096
MAX_NAMES_PER_LINE: Final = 32

_EXPIRY: Final = re.compile(rb"[0-9]{1,15}")
_MAC: Final = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
# dnsmasq writes the hardware type before the address of what is not Ethernet: no MAC to us.
_OTHER_HARDWARE: Final = re.compile(rb"[0-9A-Fa-f]{2}-[0-9A-Fa-f:]{0,60}")
_IAID: Final = re.compile(rb"T?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One host of a table, and when it stops being true (0: never)."""

    host: Host
    expires: int = 0

    def current(self, now: int) -> bool:
        """Tell whether the entry still holds."""
        return self.expires == 0 or self.expires > now


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file said: its entries, and how much of it was not understood."""

    entries: tuple[Entry, ...] = ()
    bad_lines: tuple[int, ...] = ()  # line numbers, from 1
    bad_names: int = 0
    cut: bool = False  # the file was longer than the bounds


class BadLine(ValueError):
    """A line that is no entry."""


def full_names(label: str, domains: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a bare host name has: in each domain, and in `.local`."""
    return tuple(dict.fromkeys(f"{label}.{domain}" for domain in (*domains, "local")))


def read_leases(data: bytes, domains: Sequence[str], source: str) -> Reading:
    """Read a dnsmasq lease file: `expiry mac address name client-id`, a line each.

    After a line `duid ...` come the DHCPv6 leases, with an IAID where the MAC was. They have no
    MAC here: the DUID holds one at times, but the client wrote it.
    """
    version = 4

    def entry(fields: list[bytes]) -> tuple[Entry | None, int]:
        nonlocal version
        if fields[0] == b"duid":
            version = 6
            return None, 0
        return _lease(fields, version, domains, source)

    return _read(data, entry)


def read_hosts(data: bytes, domains: Sequence[str], source: str) -> Reading:
    """Read a hosts file: `address name...`, `#` begins a comment (hosts(5)).

    A full name stands as written; a bare one gets each domain and `.local`.
    """

    def entry(fields: list[bytes]) -> tuple[Entry | None, int]:
        if len(fields) < 2:
            raise BadLine
        address = _lan_address(fields[0])
        if address is None:
            return None, 0
        found, bad = _host_names(fields[1 : 1 + MAX_NAMES_PER_LINE], domains)
        return Entry(Host(address, found, None, source)), bad

    return _read(data, entry, comments=True)


def _read(
    data: bytes,
    entry: Callable[[list[bytes]], tuple[Entry | None, int]],
    *,
    comments: bool = False,
) -> Reading:
    entries: list[Entry] = []
    bad_lines: list[int] = []
    bad_names = 0
    lines = data[:MAX_BYTES].split(b"\n", MAX_LINES)
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        fields = (line.partition(b"#")[0] if comments else line).split()
        if not fields:
            continue
        try:
            made, bad = entry(fields)
        except BadLine:
            bad_lines.append(number)
            continue
        bad_names += bad
        if made is not None:
            entries.append(made)
        if len(entries) == MAX_ENTRIES:
            break
    cut = len(data) > MAX_BYTES or len(lines) > MAX_LINES or len(entries) == MAX_ENTRIES
    return Reading(tuple(entries), tuple(bad_lines), bad_names, cut)


def _lease(
    fields: list[bytes], version: int, domains: Sequence[str], source: str
) -> tuple[Entry | None, int]:
    if len(fields) < 4 or not _EXPIRY.fullmatch(fields[0]):
        raise BadLine
    mac = _mac(fields[1]) if version == 4 else None
    if version == 6 and not _IAID.fullmatch(fields[1]):
        raise BadLine
    address = _lan_address(fields[2], version)
    if address is None:
        return None, 0
    label = fields[3]
    found, bad = ((), 0) if label == b"*" else _lease_names(label, domains)
    return Entry(Host(address, found, mac, source), int(fields[0])), bad


def _mac(field: bytes) -> str | None:
    if _MAC.fullmatch(field):
        return field.decode().lower()
    if _OTHER_HARDWARE.fullmatch(field):
        return None
    raise BadLine


def _lan_address(field: bytes, version: int | None = None) -> str | None:
    """Return the canonical address; None for one outside the home; raise BadLine."""
    try:
        address = ipaddress.ip_address(field.decode("ascii"))
    except ValueError:
        raise BadLine from None
    if version not in (None, address.version) or b"%" in field:
        raise BadLine
    return str(address) if names.is_lan(address) else None


def _lease_names(label: bytes, domains: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Return the names of a lease. A device may choose its label, never its domain."""
    name = _canonical(label)
    for domain in (*domains, "local"):
        if name is not None and names.under(name, domain):
            name = name.removesuffix("." + domain)
            break
    if name is None or "." in name:
        return (), 1
    return full_names(name, domains), 0


def _host_names(fields: list[bytes], domains: Sequence[str]) -> tuple[tuple[str, ...], int]:
    found: dict[str, None] = {}
    bad = 0
    for field in fields:
        name = _canonical(field)
        if name is None:
            bad += 1
        elif "." in name:
            found[name] = None
        else:
            found.update(dict.fromkeys(full_names(name, domains)))
    return tuple(found), bad


def _canonical(field: bytes) -> str | None:
    try:
        identifier = names.dns(field.decode("ascii"))
    except ValueError:  # BadName, or not ASCII
        return None
    return None if identifier.wildcard else identifier.value

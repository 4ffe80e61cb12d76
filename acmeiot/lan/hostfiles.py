"""The three table formats of the LAN, read from bytes: leases of dnsmasq and odhcpd, and hosts(5).

Their content is hostile in part: a device chooses its own host name. A line that makes no sense
is counted and skipped; it can neither stop the others nor reach a log as it is. Pure.

odhcpd writes its leases as comments of a hosts file, on OpenWrt up to 24.10 with the hosts in the
same file: they are known by their shape, in every file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from acmeiot.core.records import Host
from acmeiot.protocol import names

# A home has some hundred hosts; an ad-blocking hosts file may have a million useless lines.
MAX_BYTES: Final = 1 << 20
MAX_LINES: Final = 16384
MAX_ENTRIES: Final = 4096
MAX_NAMES_PER_LINE: Final = 32
MAX_ADDRESSES_PER_LINE: Final = 16

_EXPIRY: Final = re.compile(rb"[0-9]{1,15}")
_MAC: Final = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
# dnsmasq writes the hardware type before the address of what is not Ethernet: no MAC to us.
_OTHER_HARDWARE: Final = re.compile(rb"[0-9A-Fa-f]{2}-[0-9A-Fa-f:]{0,60}")
_DUID: Final = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){2,129}")
_IAID: Final = re.compile(rb"T?[0-9]{1,10}")

_ODHCPD: Final = re.compile(
    rb"# \S{1,15} (?:(?:[0-9a-f]{2}){3,130} [0-9a-f]{1,8}|"
    rb"(?:[0-9A-Fa-f]{12}|[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}) ipv4) "
    rb"\S{1,1024} (?:-1|[0-9]{1,15}) [0-9a-f]{1,16} [0-9]{1,3}(?: \S+)* *"
)
# So odhcpd marks a name that is none. Up to 25.12 it writes the device's own octets behind it, at
# most 255, and there may be whole lines among them: none that begins within their reach is
# believed, nor the one with the mark.
_BROKEN: Final = rb"broken\x20"
_BROKEN_REACH: Final = len(_BROKEN) + 256  # where the next line may begin, and be odhcpd's


@dataclass(frozen=True, slots=True)
class Entry:
    """One host of a table, and when it stops being true (0: never).

    `static`: the owner wrote it; else the device chose its name in DHCP. `duid` is the device's of
    a DHCPv6 lease, in hex.
    """

    host: Host
    expires: int = 0
    static: bool = False
    duid: str = ""

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


Found = tuple[tuple[Entry, ...], int]  # of one line; and how many names were none


class BadLine(ValueError):
    """A line that is no entry."""


def full_names(label: str, domains: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a bare host name has: in each domain, and in `.local`."""
    return tuple(dict.fromkeys(f"{label}.{domain}" for domain in (*domains, "local")))


def read_leases(data: bytes, domains: Sequence[str], source: str) -> Reading:
    """Read a lease file of odhcpd, or of dnsmasq: `expiry mac address name client-id`, a line each.

    After a line `duid ...` come the DHCPv6 leases, with an IAID where the MAC was. They have no
    MAC here: the DUID holds one at times, but the client wrote it.
    """
    version = 4

    def entries(line: bytes) -> Found:
        nonlocal version
        fields = line.split()
        if fields[0] == b"#":
            return _odhcpd(fields, domains, source)
        if fields[0] == b"duid":
            version = 6
            return (), 0
        return _lease(fields, version, domains, source)

    return _read(data, entries)


def read_hosts(data: bytes, domains: Sequence[str], source: str) -> Reading:
    """Read a hosts file: `address name...`, `#` begins a comment (hosts(5)).

    A full name stands as written; a bare one gets each domain and `.local`. Among leases, what is
    written of a leased address is odhcpd's: its lease says the same, and for how long.
    """
    read = _read_hosts(data, domains, source, static=True)
    leased = {entry.host.address for entry in read.entries if not entry.static}
    kept = (each for each in read.entries if not each.static or each.host.address not in leased)
    return replace(read, entries=tuple(kept))


def read_lease_hosts(data: bytes, domains: Sequence[str], source: str) -> Reading:
    """Read a hosts file that a DHCP server made of its leases: devices chose the names in it."""
    return _read_hosts(data, domains, source, static=False)


def _read_hosts(data: bytes, domains: Sequence[str], source: str, *, static: bool) -> Reading:
    def entries(line: bytes) -> Found:
        if line.startswith(b"# ") and _ODHCPD.fullmatch(line):
            return _odhcpd(line.split(), domains, source)
        fields = line.partition(b"#")[0].split()
        if not fields:
            return (), 0
        if len(fields) < 2:
            raise BadLine
        address = _lan_address(fields[0])
        if address is None:
            return (), 0
        found, bad = _host_names(fields[1 : 1 + MAX_NAMES_PER_LINE], domains)
        return (Entry(Host(address, found, None, source), static=static),), bad

    return _read(data, entries)


def _read(data: bytes, read: Callable[[bytes], Found]) -> Reading:
    entries: list[Entry] = []
    bad_lines: list[int] = []
    bad_names = 0
    lines = data[:MAX_BYTES].split(b"\n", MAX_LINES)
    at = believed_from = 0
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        if _BROKEN in line:
            believed_from = at + line.index(_BROKEN) + _BROKEN_REACH
        doubtful = at < believed_from
        at += len(line) + 1
        if not line.strip():
            continue
        try:
            if doubtful:
                raise BadLine
            found, bad = read(line)
        except BadLine:
            bad_lines.append(number)
            continue
        bad_names += bad
        entries.extend(found[: MAX_ENTRIES - len(entries)])
        if len(entries) == MAX_ENTRIES:
            break
    cut = len(data) > MAX_BYTES or len(lines) > MAX_LINES or len(entries) == MAX_ENTRIES
    return Reading(tuple(entries), tuple(bad_lines), bad_names, cut)


def _odhcpd(fields: list[bytes], domains: Sequence[str], source: str) -> Found:
    """Read a lease of odhcpd: `# device duid iaid name valid-until id length address/length...`.

    For IPv4 the hardware address is where the DUID was and `ipv4` where the IAID; a name `-` is
    none, valid until -1 is for ever. A line of several addresses has an entry for each; delegated
    prefixes are not hosts. A DUID's MAC is not believed: the client wrote it, and it may be that
    of another interface, which the kernel's neighbour table tells better.
    """
    if not _ODHCPD.fullmatch(b" ".join(fields)):
        raise BadLine
    version = 4 if fields[3] == b"ipv4" else 6
    mac = _hardware(fields[2]) if version == 4 else None
    duid = fields[2].decode("ascii") if version == 6 else ""
    until = int(fields[5])
    found, bad = ((), 0) if fields[4] == b"-" else _lease_names(fields[4], domains)
    hosts = []
    for field in fields[8 : 8 + MAX_ADDRESSES_PER_LINE]:
        text, _, length = field.partition(b"/")
        if length != (b"32" if version == 4 else b"128"):
            continue
        address = _lan_address(text, version)
        if address is not None:
            host = Host(address, found, mac, source)
            hosts.append(Entry(host, max(until, 0), duid=duid))
    return (tuple(hosts) if until else ()), bad


def _hardware(field: bytes) -> str:
    """Return a MAC that odhcpd wrote: 12 digits, or with colons and, by some C libraries, without
    leading zeros.
    """
    digits = field.decode("ascii").lower()
    octets = digits.split(":") if ":" in digits else [digits[i : i + 2] for i in range(0, 12, 2)]
    return ":".join(octet.zfill(2) for octet in octets)


def _lease(fields: list[bytes], version: int, domains: Sequence[str], source: str) -> Found:
    if len(fields) < 4 or not _EXPIRY.fullmatch(fields[0]):
        raise BadLine
    mac = _mac(fields[1]) if version == 4 else None
    if version == 6 and not _IAID.fullmatch(fields[1]):
        raise BadLine
    address = _lan_address(fields[2], version)
    if address is None:
        return (), 0
    label = fields[3]
    found, bad = ((), 0) if label == b"*" else _lease_names(label, domains)
    duid = _duid(fields[4]) if version == 6 and len(fields) > 4 else ""
    return (Entry(Host(address, found, mac, source), int(fields[0]), duid=duid),), bad


def _duid(field: bytes) -> str:
    """Return a DUID as odhcpd writes it; "" for none."""
    return field.decode().lower().replace(":", "") if _DUID.fullmatch(field) else ""


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

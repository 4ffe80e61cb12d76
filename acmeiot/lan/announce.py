"""What this network is told of its ACME server, in the words of those who tell it.

dnsmasq gets a file of its own in its configuration directory; the DNS records are also given as
lines of a zone file, for any other server. Whatever cannot be said here is an `Item` with the
reason. What the owner's configuration says already is never said twice: dnsmasq would send two
options of a number, or drop one of them, without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from acmeiot.lan.dnsmasq import HEADER, VENDOR_CLASS, VENDOR_INFO, Configuration, OwnOption
from acmeiot.protocol import dhcp, dnssd
from acmeiot.protocol.dhcp import Advertisement
from acmeiot.protocol.dnssd import Record

FILE: Final = "acmeiot.conf"  # in dnsmasq's configuration directory
_TTL: Final = 3600
_MAX_ENCLOSED: Final = 250  # octets; for more dnsmasq logs a warning and sends nothing


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that clients can be told: by whom, to whom, and why it is not if it is not.

    `octets` is the whole option as it is on the wire; empty for DNS. `on` is an interface, pool or
    domain, empty for all.
    """

    what: str
    by: str
    on: str = ""
    octets: bytes = b""
    why_not: str = ""
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "what": self.what, "by": self.by, "on": self.on, "hex": self.octets.hex(),
            "why_not": self.why_not or None, "note": self.note or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be told, before it is known what can be.

    `records` are by domain; no `interfaces` means all that dnsmasq serves; `number` is that of
    option NNN or one for private use, 0 for none.
    """

    ad: Advertisement
    records: Mapping[str, tuple[Record, ...]]
    interfaces: tuple[str, ...] = ()
    number: int = 0
    class_option: bool = True


@dataclass(frozen=True, slots=True)
class Server:
    """The dnsmasq that is to tell it: what it was built with, and its configuration if known.

    `elsewhere` is why it does not serve DHCP of version 4 or 6, if another program does; `absent`
    why nothing can be told by it.
    """

    features: frozenset[str] = frozenset()
    configuration: Configuration | None = None
    elsewhere: Mapping[int, str] = field(default_factory=dict)
    absent: str = ""


# -- dnsmasq


def snippet(wish: Wish, server: Server) -> tuple[str, tuple[Item, ...]]:
    """Return dnsmasq's file and all that it says or cannot say; "" for a file with nothing in it.

    Options are forced: hardly any client asks for them (rig facts: plain `dhcp-option` is sent
    only to a client that does).
    """
    lines: list[str] = []
    items: list[Item] = []
    for interface in wish.interfaces or ("",):
        for option in _options(wish):
            item, said = _told(option, interface, server)
            items.append(item)
            lines += said
    for domain, records in wish.records.items():
        why_not = _no_dns(domain, server)
        items.append(Item("DNS records", "dnsmasq", domain, why_not=why_not))
        lines += [] if why_not else [_record(record) for record in records]
    if not wish.class_option:
        items.append(Item(f"DHCPv4 option {VENDOR_CLASS}", "dnsmasq", why_not="switched off"))
    return (HEADER + "".join(f"{line}\n" for line in lines) if lines else ""), tuple(items)


@dataclass(frozen=True, slots=True)
class _Option:
    """One DHCP option: its octets on the wire, its lines, and which of the owner's rule it out."""

    version: int
    code: int
    octets: bytes
    lines: tuple[str, ...]
    rivals: Callable[[OwnOption], bool]
    fits: bool = True


def _options(wish: Wish) -> Iterable[_Option]:
    enclosed = tuple(dhcp.sub_options(wish.ad))
    fits = sum(2 + len(value) for _, value in enclosed) <= _MAX_ENCLOSED
    # dnsmasq sends the sub-options of one enterprise in one block, the last line's first.
    block = [(code, _value(code, data)) for code, data in reversed(enclosed)]
    here = f"vi-encap:{dhcp.ENTERPRISE}"
    yield _Option(
        4,
        VENDOR_INFO,
        _whole4(VENDOR_INFO, dhcp.option125(wish.ad)) if fits else b"",
        tuple(f"{here},{code},{value}" for code, value in block),
        lambda own: own.number == VENDOR_INFO,
        fits,
    )
    if wish.class_option:
        # With an option 60 of its own dnsmasq chooses `vendor:` options by that, and no longer by
        # what the client is.
        data = dhcp.option60(wish.ad)
        yield _Option(
            4, VENDOR_CLASS, _whole4(VENDOR_CLASS, data), (f"{VENDOR_CLASS},{_hex(data)}",),
            lambda own: own.number == VENDOR_CLASS or own.vendor,
        )  # fmt: skip
    if wish.number:
        data = dhcp.private_option(wish.ad)
        yield _Option(
            4, wish.number, _whole4(wish.number, data), (f"{wish.number},{_hex(data)}",),
            lambda own: own.number == wish.number,
        )  # fmt: skip
    yield _Option(
        6,
        17,
        whole6(wish.ad),
        tuple(f"{here},option6:{code},{value}" for code, value in block),
        lambda own: own.number == 17 and own.enterprise in (None, dhcp.ENTERPRISE),
    )


def _told(option: _Option, interface: str, server: Server) -> tuple[Item, list[str]]:
    """Return one option as an item, and its lines for one interface."""
    what = f"DHCPv{option.version} option {option.code}"
    why_not = "" if option.fits else "too long for dnsmasq; use a shorter name"
    why_not = why_not or _no_dhcp(option.version, interface, server)
    rivals, without = _rivals(option, interface, server.configuration)
    why_not = why_not or rivals
    if why_not:
        return Item(what, "dnsmasq", interface, option.octets, why_not), []
    note = "; ".join(f"clients tagged {tag} get your own, {own}" for tag, own in without.items())
    tags = [interface] * bool(interface) + [f"!{tag}" for tag in without]
    to = "".join(f"tag:{tag}," for tag in tags)
    lines = [f"dhcp-option-force={to}{line}" for line in option.lines]
    return Item(what, "dnsmasq", interface, option.octets, note=note), lines


def _no_dhcp(version: int, interface: str, server: Server) -> str:
    """Return why dnsmasq does not serve DHCP of this version there; "" if it does, or may."""
    if server.absent or version in server.elsewhere:
        return server.elsewhere.get(version, server.absent)
    if "no-DHCP" in server.features or (version == 6 and "DHCPv6" not in server.features):
        return f"this dnsmasq was built without DHCPv{version}"
    known = server.configuration
    if known is None:
        # A wrong guess would be harmless for DHCPv4, and with DHCPv6 of no use.
        return "" if version == 4 else "dnsmasq's configuration is not known (--dnsmasq-conf)"
    if not known.pools.get(version):
        return f"dnsmasq serves no DHCPv{version} here"
    if version in known.silent.get(interface, ()):
        return f"dnsmasq serves no DHCPv{version} on {interface}"
    return ""


def _rivals(
    option: _Option, interface: str, known: Configuration | None
) -> tuple[str, dict[str, str]]:
    """Return the owner's own option that rules ours out, or tags of clients who get the owner's."""
    without: dict[str, str] = {}
    for own in known.options if known is not None else ():
        if own.v6 != (option.version == 6) or not option.rivals(own) or interface in own.without:
            continue
        others = sorted(own.tags - {interface})
        if not others:
            return f"your own is in {own.where}", {}
        without.setdefault(others[0], own.where)
    pools = known.pools.get(option.version, set()) if known is not None else set()
    if pools and pools <= without.keys():
        return f"your own is in {', '.join(without.values())}", {}
    return "", without


def _no_dns(domain: str, server: Server) -> str:
    known = server.configuration
    if known is None:
        return server.absent
    if not known.answers_dns:
        return "dnsmasq answers no DNS here (port=0)"
    own = known.services.get(f"{dnssd.SERVICE}.{domain}")
    return f"your own is in {own}" if own else ""


def _value(code: int, data: bytes) -> str:
    """Return a sub-option's data as dnsmasq takes it: text, or octets in hex.

    A full name has a dot and no colon and is always taken for a text; a path has a slash.
    """
    return f'"{data.decode("ascii")}"' if code in (dhcp.SERVER, dhcp.PATH) else _hex(data)


def _hex(data: bytes) -> str:
    return data.hex(":")


def _whole4(code: int, data: bytes) -> bytes:
    return bytes([code, len(data)]) + data


def whole6(ad: Advertisement) -> bytes:
    """Return the DHCPv6 option 17 as it is on the wire: code, length, data."""
    data = dhcp.option17(ad)
    return (17).to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def _record(record: Record) -> str:
    """Return a record as a line for dnsmasq, which writes names without escapes or final dot."""
    name = _plain(record.name)
    if record.type == "SRV":
        _, _, port, host = record.data.split()
        return f'srv-host="{name}",{_plain(host)},{port}'
    if record.type == "PTR":
        return f'ptr-record="{name}","{_plain(record.data)}"'
    return f'txt-record="{name}",' + record.data.replace('" "', '","')


def _plain(name: str) -> str:
    return name.removesuffix(".").replace(r"\032", " ")


# -- any other name server


def zone(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the records as lines of a zone file (RFC 1035 section 5.1)."""
    return tuple(f"{each.name} {_TTL} IN {each.type} {each.data}" for each in records)

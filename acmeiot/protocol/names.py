"""DNS and IP identifiers: one canonical spelling for each, and what is wrong with the others.

A name that is not canonical cannot be built: two spellings of one device would be two owners.
What a home allows is policy (`core/policy.py`); what is a name at all is decided here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 1035 2.3.4 counts octets with the length bytes and the root; as text that is 253.
MAX_NAME: Final = 253
MAX_LABEL: Final = 63

# The addresses that belong to a home (A-4.1-4): private, link-local, loopback; nothing else.
LAN_NETWORKS: Final[tuple[IPNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)

# RFC 5892: letters, marks and digits, and the few others that names are written with.
_LETTERS: Final = frozenset(("Ll", "Lo", "Lm", "Mn", "Mc", "Nd"))
_PUNCTUATION: Final = frozenset("-\u00b7\u0375\u05f3\u05f4\u30fb")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class BadName(ValueError):
    """A text that is no DNS name or IP address; the message says why, for a person."""


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One thing a certificate can name (RFC 8555 section 9.7.7, RFC 8738).

    `value` is canonical: a lower-case LDH name without trailing dot (a wildcard's `*.` kept), or
    an IP address as RFC 5952 writes it. Build it with `dns`, `ip` or `parse`.
    """

    type: Literal["dns", "ip"]
    value: str

    def as_json(self) -> dict[str, str]:
        """Return the identifier object of RFC 8555."""
        return {"type": self.type, "value": self.value}

    @property
    def wildcard(self) -> bool:
        """Tell whether this is `*.something`."""
        return self.value.startswith("*.")

    @property
    def base(self) -> Identifier:
        """Return the identifier that an authorization is for: a wildcard's name without `*.`."""
        return Identifier(self.type, self.value[2:]) if self.wildcard else self

    @property
    def address(self) -> IPAddress:
        """Return the IP address; only for type `ip`."""
        return ipaddress.ip_address(self.value)

    def __str__(self) -> str:
        return self.value


def dns(text: str) -> Identifier:
    """Return the DNS identifier that `text` spells; raise BadName (R-20, RFC 5890, RFC 1123).

    A trailing dot and capitals are folded away. An A-label must be one that decodes and encodes
    back to itself; anything non-ASCII must come as an A-label.
    """
    if not text.isascii():  # before folding: the Kelvin sign's small letter is k
        raise BadName(f"{_quote(text)} is not ASCII; write other scripts as xn--...")
    name = text.removesuffix(".").lower()
    star = name.startswith("*.")
    host = name[2:] if star else name
    if len(name) > MAX_NAME:
        raise BadName(f"a DNS name has at most {MAX_NAME} characters, this one has {len(name)}")
    if not host:
        raise BadName("the DNS name is empty")
    for label in host.split("."):
        _check_label(label, text)
    if host.split(".")[-1].isdigit():
        raise BadName(f"{_quote(text)} looks like an IP address; use an identifier of type ip")
    return Identifier("dns", name)


def _check_label(label: str, whole: str) -> None:
    if not label:
        raise BadName(f"{_quote(whole)} has an empty label (two dots side by side)")
    if len(label) > MAX_LABEL:
        raise BadName(f"a label has at most {MAX_LABEL} characters, {_quote(label)} is longer")
    if "*" in label:
        raise BadName(f"{_quote(whole)}: a wildcard stands only alone in the left-most label")
    if not _LABEL.fullmatch(label):
        raise BadName(
            f"{_quote(label)} in {_quote(whole)} is not a host label: letters a-z, digits and "
            "inner hyphens only (write other scripts as xn--...)"
        )
    if label[2:4] == "--":
        _check_a_label(label)


def _check_a_label(label: str) -> None:
    if not label.startswith("xn--"):
        raise BadName(f"{_quote(label)}: '--' in third place is reserved (RFC 5891)")
    try:
        unicode_label = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        raise BadName(f"{_quote(label)} is not valid punycode") from None
    if not _is_u_label(unicode_label):
        raise BadName(f"{_quote(label)} stands for what is not letters and digits (RFC 5892)")
    if unicode_label.encode("punycode") != label[4:].encode("ascii"):
        raise BadName(f"{_quote(label)} is not the canonical spelling of a name (RFC 5891)")


def _is_u_label(text: str) -> bool:
    """Tell whether a text could be a U-label (RFC 5891 section 5.4, RFC 5892 section 2).

    The joiners, whose place depends on the script, are not taken: two names would look alike.
    """
    import unicodedata

    return (
        not text.isascii()
        and text.strip("-") == text
        and unicodedata.normalize("NFKC", text).lower() == text
        and not unicodedata.category(text[0]).startswith("M")
        and all(unicodedata.category(c) in _LETTERS or c in _PUNCTUATION for c in text)
    )


def ip(text: str) -> Identifier:
    """Return the IP identifier that `text` spells; raise BadName (RFC 8738 section 3).

    Only the canonical text is taken: no leading zeros, no zone, IPv6 as RFC 5952 has it.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadName(f"{_quote(text)} is not an IP address") from None
    if str(address) != text.lower() or "%" in text:
        raise BadName(f"write the address {_quote(text)} as {str(address).split('%')[0]}")
    return Identifier("ip", str(address))


def parse(document: Mapping[str, object]) -> Identifier:
    """Return the identifier of a JSON object; raise BadName, or KeyError for an unknown type."""
    kind, value = document.get("type"), document.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        raise BadName("an identifier has two strings, type and value")
    return {"dns": dns, "ip": ip}[kind](value)


@lru_cache(maxsize=512)
def is_lan(address: IPAddress) -> bool:
    """Tell whether the address is private, link-local or loopback (A-4.1-4).

    An IPv4-mapped IPv6 address is never one: it would be a second spelling (`::ffff:8.8.8.8`).
    """
    return any(address.version == net.version and address in net for net in LAN_NETWORKS)


def under(name: str, suffix: str) -> bool:
    """Tell whether `name` lies strictly below `suffix`, label by label: `xlan` is not in `lan`."""
    return name.endswith("." + suffix)


def reverse_name(address: IPAddress) -> str:
    """Return the in-addr.arpa or ip6.arpa name, the SNI of RFC 8738 section 6."""
    return address.reverse_pointer


def normalised(identifiers: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """Return the identifiers in their first order, each once (R-19)."""
    return tuple(dict.fromkeys(identifiers))


def _quote(text: str) -> str:
    """Return the text for a message: bounded, and no control character reaches a log."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")

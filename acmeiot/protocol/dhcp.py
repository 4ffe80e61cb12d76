"""The DHCP options that name a home's ACME server, written one way and read in every way seen.

draft-sweet-iot-acme-02 section 3.1 wants an option NNN whose data is the server's full name, and
until there is a number "option 60 [RFC3925] with enterprise number 55357". RFC 3925 does not
describe option 60, so each server's author reads that differently. We send the two readings that
clients can make use of, 125 with a sub-option and 60, and in DHCPv6 option 17; we take any.

What is read comes from whoever answered on the link: a value that does not hold is skipped and
named in `Reading.ignored`; nothing here raises on it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from acmeiot.protocol import names

ENTERPRISE: Final = 55357  # Lakeside Robotics, of the draft's author
CLIENT_CLASS: Final = b"acmeiot"  # what our own probe sends as its option 60
# Sub-options under that number; only the first is the draft's, others skip ours.
SERVER, PATH, ROOT, PORT = 1, 2, 3, 4
# Numbers without a meaning in IANA's registry of today, one of which NNN may become, and those for
# private use, but for two that are in use everywhere: 249 (routes, Microsoft) and 252 (proxy).
FREE_NUMBERS: Final = frozenset(
    (84, 96, *range(102, 108), 110, 111, 115, 126, 127, 149, 160, *range(163, 175),
     *range(178, 208), *range(214, 220), 222, 223, *range(224, 255))
) - {249, 252}  # fmt: skip
_PRIVATE_USE: Final = 224  # the first of them

MAX_PATH: Final = 128
_MAX_OPTIONS: Final = 512  # of one message
_MAX_DATA: Final = 4096  # octets of one option, all its parts together
_MAX_IGNORED: Final = 16
_MAX_REASON: Final = 200
_MARK: Final = struct.pack("!I", ENTERPRISE)
# RFC 3986 section 3.3; a second slash at the start would name another host.
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


class BadOption(ValueError):
    """Data that no client could use; the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What DHCP tells of the ACME server: its full name, and what a client need not guess then.

    `root` is the SHA-256 of the root's SubjectPublicKeyInfo, 32 octets. A bad value raises
    BadOption.
    """

    fqdn: str
    path: str | None = None
    root: bytes | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if self.fqdn != server_name(self.fqdn):
            raise BadOption(f"write the name {self.fqdn!a} as {server_name(self.fqdn)}")
        if self.path is not None and not is_path(self.path):
            raise BadOption(f"{self.path[:80]!a} is not an absolute path of a URL")
        if self.root is not None and len(self.root) != 32:
            raise BadOption(f"a SHA-256 has 32 octets, the root's has {len(self.root)}")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise BadOption(f"port {self.port} is not 1 to 65535")


def is_path(text: str) -> bool:
    """Tell whether a text is a URL's absolute path that stays on its host (RFC 3986 3.3)."""
    return len(text) <= MAX_PATH and _PATH.fullmatch(text) is not None


def server_name(text: str) -> str:
    """Return a server's full name in canonical form; raise BadOption (rule (e))."""
    try:
        name = names.dns(text)
    except names.BadName as error:
        raise BadOption(str(error)) from None
    if name.wildcard:
        raise BadOption(f"{name.value} stands for many hosts")
    if "." not in name.value:
        raise BadOption(f"{name.value} is not a full name, such as {name.value}.lan")
    return name.value


# -- writing


def option125(ad: Advertisement) -> bytes:
    """Return the data of DHCPv4 option 125 (RFC 3925 section 4): enterprise, length, sub-options.

    Raises BadOption when one option cannot hold it.
    """
    body = b"".join(_short(code, value) for code, value in sub_options(ad))
    return _fits(_MARK + bytes([min(len(body), 255)]) + body)


def option60(ad: Advertisement) -> bytes:
    """Return the data of DHCPv4 option 60 as the draft has it: enterprise, length, name (A-3.1-2).

    Raises BadOption when one option cannot hold it.
    """
    return _fits(_MARK + bytes([len(ad.fqdn)]) + ad.fqdn.encode())


def option17(ad: Advertisement) -> bytes:
    """Return the data of DHCPv6 option 17 (RFC 8415 section 21.17): enterprise, sub-options."""
    return _MARK + b"".join(
        struct.pack("!HH", code, len(value)) + value for code, value in sub_options(ad)
    )


def private_option(ad: Advertisement) -> bytes:
    """Return the data of option NNN, or of one for private use: the name (A-5.1-1)."""
    return ad.fqdn.encode()


def sub_options(ad: Advertisement) -> Iterator[tuple[int, bytes]]:
    """Yield number and data of the sub-options, in the order in which they are sent."""
    yield SERVER, ad.fqdn.encode()
    if ad.path is not None:
        yield PATH, ad.path.encode()
    if ad.root is not None:
        yield ROOT, ad.root
    if ad.port is not None:
        yield PORT, struct.pack("!H", ad.port)


def _short(code: int, value: bytes) -> bytes:
    return bytes([code, len(value)]) + value


def _fits(data: bytes) -> bytes:
    if len(data) > 255:
        raise BadOption(f"{len(data)} octets do not fit into one option; use a shorter name")
    return data


# -- reading


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message says: the server, the option that said it, and why others were not taken."""

    found: Advertisement | None
    option: str = ""
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reader:
    """One message while it is read: what its options said, the surest first."""

    said: list[tuple[str, Advertisement]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def ignore(self, option: str, why: str) -> None:
        if len(self.ignored) < _MAX_IGNORED:
            self.ignored.append(f"option {option}: {why[:_MAX_REASON]}")

    def take(self, option: str, candidates: Iterable[bytes | Mapping[int, bytes]]) -> bool:
        """Take the first reading that holds a server's name; tell whether there is one."""
        why = ""  # the likeliest reading's
        for candidate in candidates:
            subs = candidate if isinstance(candidate, Mapping) else {SERVER: candidate}
            try:
                name = _name(subs[SERVER])
            except BadOption as error:
                why = why or str(error)
                continue
            self.said.append((option, self._detailed(option, Advertisement(name), subs)))
            return True
        self.ignore(option, why or "no ACME server in it")
        return False

    def _detailed(self, option: str, ad: Advertisement, subs: Mapping[int, bytes]) -> Advertisement:
        """Add our own sub-options, each on its own: a bad one does not cost the name."""
        for code, name in ((PATH, "path"), (ROOT, "root"), (PORT, "port")):
            if code not in subs:
                continue
            try:
                detail: Any = _detail(code, subs[code])
                ad = replace(ad, **{name: detail})
            except BadOption as error:
                self.ignore(option, f"its {name}: {error}")
        return ad

    def reading(self) -> Reading:
        """Return the surest answer with what those that agree add to it (rule (f))."""
        if not self.said:
            return Reading(None, "", tuple(self.ignored))
        option, found = self.said[0]
        for other, ad in self.said[1:]:
            if ad.fqdn == found.fqdn:
                found = Advertisement(
                    found.fqdn, found.path or ad.path, found.root or ad.root, found.port or ad.port
                )
            else:
                self.ignore(other, f"it names {ad.fqdn}, option {option} names {found.fqdn}")
        return Reading(found, option, tuple(self.ignored))


def read4(options: Sequence[tuple[int, bytes]], numbers: Sequence[int] = ()) -> Reading:
    """Read the options of a DHCPv4 message, all eight forms; never raises (A-3.1-1, A-3.1-2).

    `options` are code and data as they came, repeated ones too; `numbers` are those that NNN is or
    that this home uses. A number of IANA is surest, then 125, 124, one for private use, 60, 43.
    """
    reader = _Reader()
    whole = _joined(options, {125, 124, 60, 43, *numbers}, reader)
    assigned = [number for number in numbers if number < _PRIVATE_USE]
    others = [number for number in numbers if number >= _PRIVATE_USE]
    for code in dict.fromkeys((*assigned, 125, 124, *others, 60)):
        if code not in whole:
            continue
        data = whole[code]
        if _MARK in (data[:4], *(each for each, _ in _blocks(data) or ())):
            reader.take(str(code), _marked(data))
        elif code in (124, 125):
            reader.ignore(str(code), "another enterprise's")
        else:
            reader.take(str(code), [data])
    # RFC 2132 section 8.4: whose option 43 is meant, option 60 of the same message says.
    if 43 in whole and (whole.get(60, b"")[:4] == _MARK or whole.get(60) == CLIENT_CLASS):
        reader.take("43", _walked(_unpadded(whole[43]), "!BB"))
    return reader.reading()


def read6(options: Sequence[tuple[int, bytes]]) -> Reading:
    """Read the options of a DHCPv6 message, all three forms; never raises (A-3.1-1).

    Option 17 may be there once for each enterprise (RFC 8415 section 21.17). Option 16 is a
    client's to send; a server that does means what we think.
    """
    reader = _Reader()
    for wanted, header in ((17, "!HH"), (16, "!H")):
        for code, data in options[:_MAX_OPTIONS]:
            if code != wanted:
                continue
            if len(data) > _MAX_DATA:
                reader.ignore(str(code), f"more than {_MAX_DATA} octets")
            elif data[:4] == _MARK:
                reader.take(str(code), _walked(data[4:], header))
            else:
                reader.ignore(str(code), "another enterprise's")
    return reader.reading()


def _joined(
    options: Sequence[tuple[int, bytes]], codes: set[int], reader: _Reader
) -> dict[int, bytes]:
    """Return each option whole: one that came in parts is joined (rule (a), RFC 3396)."""
    parts: dict[int, list[bytes]] = {}
    for code, data in options[:_MAX_OPTIONS]:
        if code in codes:
            parts.setdefault(code, []).append(data)
    whole = {code: b"".join(data) for code, data in parts.items()}
    for code in [code for code, data in whole.items() if len(data) > _MAX_DATA]:
        reader.ignore(str(code), f"more than {_MAX_DATA} octets")
        del whole[code]
    return whole


def _blocks(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return enterprise and data of each block; None when the data is no chain of blocks."""
    found = []
    at = 0
    while at < len(data):
        if at + 5 > len(data) or at + 5 + data[at + 4] > len(data):
            return None
        end = at + 5 + data[at + 4]
        found.append((data[at : at + 4], data[at + 5 : end]))
        at = end
    return found


def _marked(data: bytes) -> Iterator[bytes | Mapping[int, bytes]]:
    """Yield what may be meant by data with our enterprise number, the likeliest first.

    A second block of ours is the first one again (dnsmasq does that), or is not needed.
    """
    blocks = _blocks(data)
    bodies = [body for mark, body in blocks or () if mark == _MARK]
    if data[:4] == _MARK:
        bodies.append(data[4:])  # without a length after the number: form 4
    for body in bodies:
        yield from _walked(body, "!BB")
        if body and body[0] == len(body) - 1:
            yield body[1:]
        yield body


def _walked(data: bytes, header: str) -> Iterator[bytes | Mapping[int, bytes]]:
    """Yield the sub-options by number, if they fill the data to its end and one is the name.

    `header` is the struct of number and length, or of a length alone: then each is a name.
    """
    subs: dict[int, bytes] = {}
    size = struct.calcsize(header)
    while len(data) >= size:
        *code, length = struct.unpack_from(header, data)
        if len(data) < size + length:
            return
        subs.setdefault(code[0] if code else SERVER, data[size : size + length])
        data = data[size + length :]
    if not data and SERVER in subs:
        yield subs


def _unpadded(data: bytes) -> bytes:
    """Return the sub-options of option 43 without the pad and end octets (RFC 2132 8.4)."""
    kept, at = [], 0
    while at < len(data) and data[at] != 255:
        step = 1 if data[at] == 0 else 2 + (data[at + 1] if at + 1 < len(data) else 0)
        if data[at]:
            kept.append(data[at : at + step])
        at += step
    return b"".join(kept)


def _name(data: bytes) -> str:
    """Return the server's name, from RFC 1035 labels or from text (rules (d) and (e))."""
    labels = _labels(data)
    if labels is None:
        text = data.removesuffix(b"\0") if data[-1:] == b"\0" else data.removesuffix(b".")
        labels = text.split(b".")
    elif any(b"." in label for label in labels):
        raise BadOption("a label has a dot in it")
    if not all(labels):
        raise BadOption("no name, or an empty label")
    return server_name(b".".join(labels).decode("latin-1"))


def _labels(data: bytes) -> list[bytes] | None:
    """Return the labels of a name in wire form; None when it is none. Pointers are not taken."""
    if data[-1:] != b"\0":
        return None
    found, at = [], 0
    while data[at]:
        end = at + 1 + data[at]
        if data[at] > names.MAX_LABEL or end >= len(data):
            return None
        found.append(data[at + 1 : end])
        at = end
    return found if at == len(data) - 1 and found else None


def _detail(code: int, data: bytes) -> str | bytes | int:
    if code == PATH:
        return data.decode("latin-1")  # a path has ASCII only, which the check sees to
    if code == ROOT:
        return data
    if len(data) != 2:
        raise BadOption(f"a port has 2 octets, not {len(data)}")
    return int.from_bytes(data, "big")

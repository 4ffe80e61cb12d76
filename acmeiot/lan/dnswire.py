"""DNS messages, as little of them as a home's lookups take: one question out, five types in.

The names are decoded by dnspython; its message parser is left alone, because it costs 5 MiB of
memory and loads a module for each record type that a hostile answer cares to name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

A: Final = 1
CNAME: Final = 5
TXT: Final = 16
AAAA: Final = 28
CAA: Final = 257
_IN: Final = 1

NOERROR: Final = 0
NXDOMAIN: Final = 3
RCODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

# Multicast DNS uses the top bit of the class for other things (RFC 6762 sections 10.2, 18.12).
_TOP_BIT: Final = 0x8000

MAX_RECORDS: Final = 64  # of the types that are read; a device has a handful of addresses
MAX_SKIPPED: Final = 512  # of all others
MAX_CHAIN: Final = 8
MAX_TEXT: Final = 1024  # bytes of one TXT record; a digest has 43


class BadMessage(ValueError):
    """Bytes that are no DNS message."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record.

    `value` is an address, a name in lower case, a TXT's text, or a CAA's tag, blank and value.
    """

    name: str
    type: int
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """What an answer says; only records of the types above are kept."""

    id: int
    response: bool
    truncated: bool
    rcode: int
    questions: tuple[tuple[str, int], ...]
    records: tuple[Record, ...]


def query(name: str, kind: int, message_id: int, *, unicast_reply: bool = False) -> bytes:
    """Return the question for one name and type.

    Recursion is desired, except with `unicast_reply`, the QU bit of RFC 6762 section 5.4.
    """
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    flags, question_class = (0, _IN | _TOP_BIT) if unicast_reply else (0x0100, _IN)
    header = struct.pack("!6H", message_id, flags, 1, 0, 0, 0)
    return header + labels + struct.pack("!BHH", 0, kind, question_class)


def read(wire: bytes) -> Message:
    """Return the message in `wire`; raise BadMessage for what is none."""
    from dns.exception import DNSException

    try:
        return _read(wire)
    except (struct.error, IndexError, ValueError, DNSException) as error:
        raise BadMessage(f"not a DNS message: {type(error).__name__}") from None


def _read(wire: bytes) -> Message:
    message_id, flags, questions, *counts = struct.unpack_from("!6H", wire)
    offset = 12
    asked: list[tuple[str, int]] = []
    for _ in range(min(questions, 4)):
        start, offset = offset, _after_name(wire, offset)
        kind, _class = struct.unpack_from("!HH", wire, offset)
        asked.append((_name(wire, start), kind))
        offset += 4
    records: list[Record] = []
    # Answers, and what is added to them; the authority section is of no use here.
    for _ in range(min(sum(counts), MAX_RECORDS + MAX_SKIPPED) if questions <= 4 else 0):
        offset = _record(wire, offset, records)
        if len(records) == MAX_RECORDS:
            break
    return Message(
        message_id,
        bool(flags & 0x8000),
        bool(flags & 0x0200),
        flags & 0x000F,
        tuple(asked),
        tuple(records),
    )


def _record(wire: bytes, offset: int, records: list[Record]) -> int:
    """Append the record at `offset` if it is of use; return where the next one begins."""
    fixed = _after_name(wire, offset)
    kind, record_class, _ttl, length = struct.unpack_from("!HHIH", wire, fixed)
    start = fixed + 10
    end: int = start + length
    if end > len(wire):
        raise BadMessage("a record ends behind the message")
    if record_class & ~_TOP_BIT == _IN and kind in (A, AAAA, CNAME, TXT, CAA):
        records.append(Record(_name(wire, offset), kind, _value(wire, kind, start, end)))
    return end


def _value(wire: bytes, kind: int, start: int, end: int) -> str:
    if kind == A:
        return str(IPv4Address(wire[start:end]))
    if kind == AAAA:
        return str(IPv6Address(wire[start:end]))
    if kind == CNAME:
        return _name(wire, start)
    return _caa(wire[start:end]) if kind == CAA else _strings(wire[start:end])


def _caa(data: bytes) -> str:
    """Return tag and value of a CAA record (RFC 8659 section 4.1)."""
    tag, value = data[2 : 2 + data[1]], data[2 + data[1] :][:MAX_TEXT]
    return f"{_text(tag).lower()} {_text(value)}"


def _strings(data: bytes) -> str:
    """Join the strings of a TXT record, as RFC 8555 section 8.4 compares them."""
    text = b""
    while data and len(text) < MAX_TEXT:
        text += data[1 : 1 + data[0]]
        data = data[1 + data[0] :]
    return _text(text[:MAX_TEXT])


def _text(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")


def _after_name(wire: bytes, offset: int) -> int:
    """Return the offset behind a name, without following where it points."""
    while (length := wire[offset]) != 0:
        if length >= 0xC0:
            return offset + 2
        offset += 1 + length
    return offset + 1


def _name(wire: bytes, offset: int) -> str:
    from dns.name import from_wire

    return from_wire(wire, offset)[0].to_text(omit_final_dot=True).lower()


def find(records: Iterable[Record], name: str, kind: int) -> tuple[str, ...]:
    """Return the values for a name, each once, following CNAMEs within these records only."""
    known = tuple(records)
    for _ in range(MAX_CHAIN):
        found = [record.value for record in known if (record.name, record.type) == (name, kind)]
        if found:
            return tuple(dict.fromkeys(found))
        alias = (record.value for record in known if (record.name, record.type) == (name, CNAME))
        name = next(alias, "")
        if not name:
            break
    return ()

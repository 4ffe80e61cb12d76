"""DNS messages as a home's lookups need them, and no more of DNS than that.

Here one question becomes bytes, and an answer is walked through record by record: the few types
that are of use are kept as plain text, all others are stepped over unread. Anybody on the link may
send what is read here, so every walk is bounded, and nothing of a message is remembered.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

A: Final = 1
CNAME: Final = 5
PTR: Final = 12
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
CAA: Final = 257
_IN: Final = 1
NOERROR: Final = 0
NXDOMAIN: Final = 3
RCODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

# Multicast DNS uses the top bit of the class for other things (RFC 6762 sections 10.2, 18.12).
_TOP_BIT: Final = 0x8000

MAX_RECORDS: Final = 64  # of the types that are read; a device has a handful of addresses
MAX_SKIPPED: Final = 512  # of all others
MAX_QUESTIONS: Final = 4
MAX_CHAIN: Final = 8
MAX_TEXT: Final = 1024  # bytes of one TXT record; a digest has 43
MAX_STRINGS: Final = 32  # of one TXT record

_HEADER: Final = struct.Struct("!6H")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_SERVICE: Final = struct.Struct("!3H")

_MAX_LABEL: Final = 63  # octets (RFC 1035 section 2.3.4)
_MAX_NAME: Final = 255
_POINTER: Final = 0xC0  # the two top bits of a length that is none (RFC 1035 section 4.1.4)
# No name has more labels, and an honest one has a single pointer.
_MAX_STEPS: Final = 160

# How a label is written in text (RFC 1035 section 5.1): some characters mean something there.
_LABEL: Final = re.compile(rb"(?:[^.\\]|\\[^0-9]|\\[0-9]{3})+")
_ESCAPED: Final = re.compile(rb"\\([^0-9]|[0-9]{3})")
_SPECIAL: Final = re.compile(rb"[^!#%&\'*+,\-/0-9:<=>?A-Z\[\]^_`a-z{|}~]")


class BadMessage(ValueError):
    """Bytes that are no DNS message."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record.

    `value` is an address, a name in lower case, a TXT's text, a CAA's tag, blank and value, or an
    SRV's priority, weight, port and target. `strings` are a TXT's own (RFC 6763 section 6.1).
    """

    name: str
    type: int
    value: str
    strings: tuple[bytes, ...] = ()


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
    """Return the question for one name and type; raise ValueError for what is no name.

    Recursion is desired, except with `unicast_reply`, the QU bit of RFC 6762 section 5.4.
    """
    flags, question_class = (0, _IN | _TOP_BIT) if unicast_reply else (0x0100, _IN)
    header = _HEADER.pack(message_id, flags, 1, 0, 0, 0)
    return header + _to_wire(name) + _QUESTION.pack(kind, question_class)


def _to_wire(name: str) -> bytes:
    text = name.encode("ascii")
    labels = _LABEL.findall(text)
    if b".".join(labels) != text:
        raise ValueError(f"{name[:80]!a} is not a DNS name: a label is empty or badly escaped")
    wire = b""
    for label in labels:
        octets = _ESCAPED.sub(_octet, label)
        if len(octets) > _MAX_LABEL:
            raise ValueError(f"{name[:80]!a} is not a DNS name: a label has over 63 octets")
        wire += bytes((len(octets),)) + octets
    if len(wire) >= _MAX_NAME:
        raise ValueError(f"{name[:80]!a} is not a DNS name: it has over 255 octets")
    return wire + b"\0"


def _octet(escaped: re.Match[bytes]) -> bytes:
    return bytes((int(escaped[1]),)) if escaped[1].isdigit() else escaped[1]


def read(wire: bytes) -> Message:
    """Return the message in `wire`; raise BadMessage for what is none."""
    try:
        return _read(wire)
    except BadMessage:
        raise
    except (struct.error, IndexError, ValueError, OSError) as error:
        raise BadMessage(f"not a DNS message: {type(error).__name__}") from None


def _read(wire: bytes) -> Message:
    message_id, flags, questions, *counts = _HEADER.unpack_from(wire)
    if questions > MAX_QUESTIONS:
        raise BadMessage(f"not a DNS message: it asks {questions} questions at once")
    at = _HEADER.size
    asked = []
    for _ in range(questions):
        name, at = _name(wire, at)
        kind, _question_class = _QUESTION.unpack_from(wire, at)
        at += _QUESTION.size
        asked.append((name, kind))
    # Answers, and what is added to them; authority records are of no use here, and do no harm.
    found = _records(wire, at, min(sum(counts), MAX_RECORDS + MAX_SKIPPED))
    return Message(
        message_id,
        bool(flags & 0x8000),
        bool(flags & 0x0200),
        flags & 0x000F,
        tuple(asked),
        tuple(islice(found, MAX_RECORDS)),
    )


def _records(wire: bytes, at: int, count: int) -> Iterator[Record]:
    """Give the records that are of use."""
    for _ in range(count):
        name, at = _name(wire, at)
        kind, record_class, _ttl, length = _RECORD.unpack_from(wire, at)
        start, at = at + _RECORD.size, at + _RECORD.size + length
        if at > len(wire):
            raise BadMessage("not a DNS message: its last record is cut off")
        if record_class & ~_TOP_BIT == _IN and kind in _READERS:
            strings = tuple(_strings(wire, start, at)) if kind == TXT else ()
            value = _READERS[kind](wire, start, at)
            yield Record(name, kind, value, strings[:MAX_STRINGS])


def _name(wire: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset, in lower case, and the offset behind it.

    A pointer leads further back than all before it, so that no name leads back to itself.
    """
    labels: list[bytes] = []
    behind, lowest = 0, at
    for _ in range(_MAX_STEPS):
        length = wire[at]
        at += 1
        if length == 0:
            break
        if length <= _MAX_LABEL:
            labels.append(wire[at : at + length])
            at += length
            continue
        behind, at = behind or at + 1, (length & ~_POINTER) << 8 | wire[at]
        if length < _POINTER or at >= lowest:
            raise BadMessage("not a DNS message: a name that leads nowhere")
        lowest = at
    text = b".".join(_SPECIAL.sub(_escape, label) for label in labels)
    if length or sum(map(len, labels)) + len(labels) >= _MAX_NAME:
        raise BadMessage("not a DNS message: a name of over 255 octets")
    return text.decode("ascii").lower() or ".", behind or at


def _escape(special: re.Match[bytes]) -> bytes:
    found = special[0]
    return b"\\" + found if found in b'"().;\\@$' else b"\\%03d" % ord(found)


def _target(wire: bytes, start: int, end: int) -> str:
    name, behind = _name(wire, start)
    if behind != end:
        raise BadMessage("not a DNS message: a record does not end where it should")
    return name


def _service(wire: bytes, start: int, end: int) -> str:
    priority, weight, port = _SERVICE.unpack_from(wire, start)
    return f"{priority} {weight} {port} {_target(wire, start + _SERVICE.size, end)}"


def _strings(wire: bytes, start: int, end: int) -> Iterator[bytes]:
    """Give the strings of a TXT record, each with its length before it."""
    while start < end:
        start, string = start + 1 + wire[start], wire[start + 1 : start + 1 + wire[start]]
        yield string
    if start != end:
        raise BadMessage("not a DNS message: a text is longer than its record")


def _permission(wire: bytes, start: int, end: int) -> str:
    """Return tag and value of a CAA record (RFC 8659 section 4.1)."""
    behind = start + 2 + wire[start + 1]
    tag = wire[start + 2 : behind]
    if behind > end or not tag.isalnum():
        raise BadMessage("not a DNS message: a CAA record without a tag")
    return f"{_text(tag).lower()} {_text(wire[behind:end])}"


def _text(data: bytes) -> str:
    return data[:MAX_TEXT].decode("ascii", "backslashreplace")


_READERS: Final[Mapping[int, Callable[[bytes, int, int], str]]] = {
    A: lambda wire, start, end: socket.inet_ntop(socket.AF_INET, wire[start:end]),
    AAAA: lambda wire, start, end: socket.inet_ntop(socket.AF_INET6, wire[start:end]),
    CNAME: _target,
    PTR: _target,
    SRV: _service,
    # RFC 8555 section 8.4 compares the strings of a record as one.
    TXT: lambda wire, start, end: _text(b"".join(_strings(wire, start, end))),
    CAA: _permission,
}


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

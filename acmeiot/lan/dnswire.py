"""DNS messages as a home's lookups need them; dnspython knows names and records.

Here one question becomes bytes, and an answer is walked through record by record: the few types
that are of use are read by dnspython and kept as plain text, all others are stepped over unread.
dnspython's own reader of whole messages is left aside, because it looks for, and remembers, a
class for each unknown type that an answer names: anybody on the link could make it grow for ever.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dns.name import Name
    from dns.wire import Parser

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
    """Return the question for one name and type.

    Recursion is desired, except with `unicast_reply`, the QU bit of RFC 6762 section 5.4.
    """
    from dns.name import from_text

    flags, question_class = (0, _IN | _TOP_BIT) if unicast_reply else (0x0100, _IN)
    header = struct.pack("!6H", message_id, flags, 1, 0, 0, 0)
    question = io.BytesIO()
    from_text(name).to_wire(question)
    return header + question.getvalue() + struct.pack("!HH", kind, question_class)


def read(wire: bytes) -> Message:
    """Return the message in `wire`; raise BadMessage for what is none."""
    from dns.exception import DNSException
    from dns.wire import Parser

    try:
        return _read(Parser(wire))
    except BadMessage:
        raise
    except (DNSException, ValueError) as error:
        raise BadMessage(f"not a DNS message: {type(error).__name__}") from None


def _read(parser: Parser) -> Message:
    message_id, flags, questions, *counts = parser.get_struct("!6H")
    if questions > MAX_QUESTIONS:
        raise BadMessage(f"not a DNS message: it asks {questions} questions at once")
    asked = []
    for _ in range(questions):
        name = _name(parser)
        kind, _question_class = parser.get_struct("!HH")
        asked.append((name, kind))
    # Answers, and what is added to them; authority records are of no use here, and do no harm.
    found = (_record(parser) for _ in range(min(sum(counts), MAX_RECORDS + MAX_SKIPPED)))
    records = tuple(islice((one for one in found if one is not None), MAX_RECORDS))
    return Message(
        message_id,
        bool(flags & 0x8000),
        bool(flags & 0x0200),
        flags & 0x000F,
        tuple(asked),
        records,
    )


def _record(parser: Parser) -> Record | None:
    """Return the next record, or None if it is of a type that is of no use."""
    from dns.rdata import from_wire_parser
    from dns.rdataclass import RdataClass

    name = _name(parser)
    kind, record_class, _ttl, length = parser.get_struct("!HHIH")
    if record_class & ~_TOP_BIT != _IN or kind not in _READERS:
        parser.get_bytes(length)
        return None
    with parser.restrict_to(length):
        data: Any = from_wire_parser(RdataClass.IN, kind, parser)
    strings = tuple(data.strings[:MAX_STRINGS]) if kind == TXT else ()
    return Record(name, kind, _READERS[kind](data), strings)


def _name(parser: Parser) -> str:
    from dns.name import from_wire_parser

    return _lower(from_wire_parser(parser))


def _lower(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


_READERS: Final[Mapping[int, Callable[[Any], str]]] = {
    A: lambda data: str(data.address),
    AAAA: lambda data: str(data.address),
    CNAME: lambda data: _lower(data.target),
    PTR: lambda data: _lower(data.target),
    SRV: lambda data: f"{data.priority} {data.weight} {data.port} {_lower(data.target)}",
    # RFC 8555 section 8.4 compares the strings of a record as one.
    TXT: lambda data: _text(b"".join(data.strings)),
    CAA: lambda data: f"{_text(data.tag).lower()} {_text(data.value)}",
}


def _text(data: bytes) -> str:
    return data[:MAX_TEXT].decode("ascii", "backslashreplace")


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

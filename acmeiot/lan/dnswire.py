"""DNS messages as a home's lookups need them; what they are is dnspython's business.

Here one question becomes bytes, and of an answer the few types of record are kept that are of
use, each as plain text. dnspython is loaded with the first lookup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dns.rrset import RRset

A: Final = 1
CNAME: Final = 5
TXT: Final = 16
AAAA: Final = 28
CAA: Final = 257
_IN: Final = 1
_QUERY: Final = 0

NOERROR: Final = 0
NXDOMAIN: Final = 3
RCODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

# Multicast DNS uses the top bit of the class for other things (RFC 6762 sections 10.2, 18.12).
_TOP_BIT: Final = 0x8000

MAX_RECORDS: Final = 64  # of the types that are read; a device has a handful of addresses
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
    from dns.flags import Flag
    from dns.message import make_query
    from dns.rdataclass import RdataClass
    from dns.rdatatype import RdataType

    question_class = RdataClass.make(_IN | _TOP_BIT if unicast_reply else _IN)
    message = make_query(name, RdataType.make(kind), question_class, id=message_id)
    if unicast_reply:
        message.flags = Flag(0)  # RFC 6762 section 18: no recursion
    return message.to_wire()


def read(wire: bytes) -> Message:
    """Return the message in `wire`; raise BadMessage for what is none."""
    from dns.exception import DNSException
    from dns.flags import QR, TC
    from dns.message import from_wire

    try:
        parsed = from_wire(wire, ignore_trailing=True)
        if parsed.opcode() != _QUERY:
            raise BadMessage("neither a query nor an answer to one")
        # Answers, and what is added to them; the authority section is of no use here.
        records = tuple(_records([*parsed.answer, *parsed.additional]))
    except (DNSException, ValueError) as error:
        raise BadMessage(f"not a DNS message: {type(error).__name__}") from None
    return Message(
        parsed.id,
        bool(parsed.flags & QR),
        bool(parsed.flags & TC),
        int(parsed.rcode()),
        tuple((_name(asked), int(asked.rdtype)) for asked in parsed.question),
        records[:MAX_RECORDS],
    )


def _records(sets: Iterable[RRset]) -> Iterator[Record]:
    for one in sets:
        if one.rdclass & ~_TOP_BIT == _IN and one.rdtype in (A, AAAA, CNAME, TXT, CAA):
            for data in one:
                yield Record(_name(one), int(one.rdtype), _value(data))


def _name(one: RRset) -> str:
    return one.name.to_text(omit_final_dot=True).lower()


def _value(data: Any) -> str:
    from dns.rdata import GenericRdata, from_wire
    from dns.rdataclass import RdataClass

    if isinstance(data, GenericRdata):
        # A class that dnspython does not know, because of the top bit: read it as what it is.
        data = from_wire(RdataClass.IN, data.rdtype, data.data, 0, len(data.data))
    if data.rdtype == CNAME:
        return str(data.target.to_text(omit_final_dot=True)).lower()
    if data.rdtype == TXT:
        # RFC 8555 section 8.4 compares the strings of a record as one.
        return _text(b"".join(data.strings))
    if data.rdtype == CAA:
        return f"{_text(data.tag).lower()} {_text(data.value)}"
    return str(data.address)


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

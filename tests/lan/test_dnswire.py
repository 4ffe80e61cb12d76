"""DNS messages: what dnspython makes is read as it was meant; all else raises one error."""

import struct
from contextlib import suppress

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acmeiot.lan import dnswire
from acmeiot.lan.dnswire import AAAA, CAA, CNAME, PTR, SRV, TXT, A, BadMessage, Record

RECORDS = [
    ("printer.lan.", "A", "192.168.1.20"),
    ("printer.lan.", "A", "192.168.1.21"),
    ("PRINTER.lan.", "AAAA", "fd00::20"),
    ("www.lan.", "CNAME", "Printer.LAN."),
    ("t.lan.", "TXT", '"one" "two"'),
    ("t.lan.", "TXT", '"\\255\\010"'),
    ("lan.", "CAA", '0 Issue "ca.lan; account=1"'),
    ("_s._tcp.lan.", "PTR", "Home\\032CA._s._tcp.lan."),
    ("home\\032ca._s._tcp.lan.", "SRV", "0 5 8555 Router.lan."),
    ("none._s._tcp.lan.", "SRV", "0 0 0 ."),
    ("x.lan.", "MX", "10 printer.lan."),
    ("x.lan.", "SVCB", "1 . alpn=h2"),
]


def reply() -> bytes:
    """Return an answer with compressed names and types that are of no use."""
    message = dns.message.make_response(dns.message.make_query("printer.lan", "A"))
    for name, kind, value in RECORDS:
        message.answer.append(dns.rrset.from_text(name, 60, "IN", kind, value))
    message.id = 7
    return message.to_wire()


def test_query_is_what_dnspython_reads() -> None:
    """One question; recursion desired of a resolver, the QU bit for multicast."""
    asked = dns.message.from_wire(dnswire.query("_acme-challenge.printer.lan", TXT, 4711))
    assert asked.to_text().split("\n") == dns.message.make_query(
        "_acme-challenge.printer.lan", "TXT", id=4711
    ).to_text().split("\n")
    instance = dns.message.from_wire(dnswire.query("home\\032ca._s._tcp.lan", SRV, 1))
    assert instance.question[0].name.labels[0] == b"home ca"
    assert dnswire.query("a.local", A, 1, unicast_reply=True)[2:4] == b"\0\0"
    assert dnswire.query("a.local", A, 1, unicast_reply=True)[-2:] == b"\x80\x01"


def test_read() -> None:
    """The seven types, names in lower case, TXT strings joined; others are passed by."""
    message = dnswire.read(reply())
    assert (message.id, message.response, message.truncated, message.rcode) == (7, True, False, 0)
    assert message.questions == (("printer.lan", A),)
    assert set(message.records) == {
        Record("printer.lan", A, "192.168.1.20"),
        Record("printer.lan", A, "192.168.1.21"),
        Record("printer.lan", AAAA, "fd00::20"),
        Record("www.lan", CNAME, "printer.lan"),
        Record("t.lan", TXT, "onetwo", (b"one", b"two")),
        Record("t.lan", TXT, "\\xff\n", (b"\xff\n",)),
        Record("_s._tcp.lan", PTR, "home\\032ca._s._tcp.lan"),
        Record("home\\032ca._s._tcp.lan", SRV, "0 5 8555 router.lan"),
        Record("none._s._tcp.lan", SRV, "0 0 0 ."),
        Record("lan", CAA, "issue ca.lan; account=1"),
    }


def test_find_follows_aliases_within_the_answer() -> None:
    """A CNAME leads on to what stands beside it; a loop or a loose end gives nothing."""
    records = dnswire.read(reply()).records
    assert dnswire.find(records, "www.lan", A) == ("192.168.1.20", "192.168.1.21")
    assert dnswire.find(records, "www.lan", TXT) == ()
    loop = [Record("a", CNAME, "b"), Record("b", CNAME, "a")]
    assert dnswire.find(loop, "a", A) == ()
    chain = [Record(f"n{i}", CNAME, f"n{i + 1}") for i in range(20)] + [Record("n20", A, "::")]
    assert dnswire.find(chain, "n0", A) == ()


def test_cache_flush_bit_is_no_class() -> None:
    """Multicast DNS sets the top bit of the class (RFC 6762 section 10.2)."""
    wire = dnswire.query("a.local", A, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", A, 0x8001, 10, 4) + bytes([192, 168, 1, 20])
    wire = wire[:2] + struct.pack("!5H", 0x8400, 1, 1, 0, 0) + wire[12:] + record
    assert dnswire.read(wire).records == (Record("a.local", A, "192.168.1.20"),)


def test_bounds() -> None:
    """No more than 64 useful records are kept, and long texts are cut."""
    wire = dnswire.query("a.lan", A, 0)
    start = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 10, 4)
    records = b"".join(start + struct.pack("!I", 0xC0A80000 + host) for host in range(2000))
    many = wire[:2] + struct.pack("!5H", 0x8400, 1, 2000, 0, 0) + wire[12:] + records
    assert len(dnswire.read(many).records) == dnswire.MAX_RECORDS
    text = b"\xff" + b"x" * 255
    texts = struct.pack("!HHIH", TXT, 1, 10, 20 * 256) + text * 20
    long = wire[:2] + struct.pack("!5H", 0x8400, 1, 1, 0, 0) + wire[12:] + b"\xc0\x0c" + texts
    assert len(dnswire.read(long).records[0].value) == dnswire.MAX_TEXT
    short = struct.pack("!HHIH", TXT, 1, 10, 200) + b"\1x" * 100
    split = wire[:2] + struct.pack("!5H", 0x8400, 1, 1, 0, 0) + wire[12:] + b"\xc0\x0c" + short
    assert dnswire.read(split).records[0].strings == (b"x",) * dnswire.MAX_STRINGS


def test_unknown_types_leave_nothing_behind() -> None:
    """Anybody on the link may name any type and class; none may be remembered for it."""
    import dns.rdata

    dnswire.read(reply())
    known = len(dns.rdata._rdata_classes)
    wire = dnswire.query("a.lan", A, 0)
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", 1000 + i, 2000 + i, 10, 1) + b"x" for i in range(400)
    )
    many = wire[:2] + struct.pack("!5H", 0x8400, 1, 400, 0, 0) + wire[12:] + records
    assert dnswire.read(many).records == ()
    assert len(dns.rdata._rdata_classes) == known


def test_every_cut_is_bad() -> None:
    """A message that ends anywhere else than it should is no message."""
    wire = reply()
    for size in range(len(wire)):
        with pytest.raises(BadMessage):
            dnswire.read(wire[:size])


@given(st.binary(max_size=600))
@example(b"\0" * 12 + b"\xc0\x0c")
@example(struct.pack("!6H", 0, 0x8000, 1, 1, 0, 0) + b"\xc0\x0c\0\1\0\1")
def test_any_bytes(wire: bytes) -> None:
    """Arbitrary bytes are a message or BadMessage, nothing else."""
    with suppress(BadMessage):
        dnswire.read(wire)


@given(st.data())
def test_any_change(data: st.DataObject) -> None:
    """So is a message with some bytes changed."""
    wire = bytearray(reply())
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMessage):
        dnswire.read(bytes(wire))

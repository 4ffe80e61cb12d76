"""DNS and multicast DNS packets."""

import struct

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.lan import dnswire
    from acmeiot.lan.multicast import _Question

NAME = "printer.local"
KINDS = (dnswire.A, dnswire.AAAA, dnswire.CNAME, dnswire.TXT, dnswire.CAA)


def unicast(data: bytes) -> None:
    """A message that is read holds a bounded number of records, which can be searched."""
    message = dnswire.read(data)
    assert len(message.records) <= dnswire.MAX_RECORDS
    for kind in KINDS:
        dnswire.find(message.records, NAME, kind)


def multicast(data: bytes) -> None:
    """Anybody on the link may send anything."""
    question = _Question(NAME)
    try:
        question.hear("192.168.1.20", data)
    except dnswire.BadMessage as error:
        raise AssertionError("a bad packet must be dropped") from error


def seed(kind: int, value: bytes) -> bytes:
    """Return an answer with one record, its name a pointer to the question's."""
    question = dnswire.query(NAME, kind, 0)
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 120, len(value)) + value
    return question[:2] + struct.pack("!5H", 0x8400, 1, 1, 0, 0) + question[12:] + record


SEEDS = (
    seed(dnswire.A, bytes((192, 168, 1, 20))),
    seed(dnswire.AAAA, b"\xfd" + bytes(15)),
    seed(dnswire.CNAME, b"\3nas\xc0\x14"),
    seed(dnswire.TXT, b"\5hello\0\3abc"),
    seed(dnswire.CAA, b"\0\5issuexample.org"),
)

runner.run(unicast, multicast, refusals=(dnswire.BadMessage,), seeds=SEEDS)

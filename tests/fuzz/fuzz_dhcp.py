"""DHCP options and TXT records: whoever answers on the link may send anything, and nothing raises.

An input is a list of options as DHCPv4 has them, of options as DHCPv6 has them, or of strings.
"""

from collections.abc import Iterator

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.protocol import dhcp, dnssd

MARK = bytes.fromhex("0000d83d")
NAME = b"router.lan"
WIRE = b"\6router\3lan\0"


def cut(data: bytes, code: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Yield the options of a list; the last may be cut short."""
    while len(data) >= code + length:
        number = int.from_bytes(data[:code], "big")
        end = code + length + int.from_bytes(data[code : code + length], "big")
        yield number, data[code + length : end]
        data = data[end:]


def check(reading: dhcp.Reading) -> None:
    """What was found can be sent again and is read the same; refusals are lines for a log."""
    if reading.found is not None:
        again = dhcp.read6([(17, dhcp.option17(reading.found))])
        assert again.found == reading.found
    assert (reading.found is None) == (reading.option == "")
    assert len(reading.ignored) <= 16
    for line in reading.ignored:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 400


def v4(data: bytes) -> None:
    """A DHCPv4 message's options."""
    check(dhcp.read4(list(cut(data, 1, 1)), (200, 224)))


def v6(data: bytes) -> None:
    """A DHCPv6 message's options."""
    check(dhcp.read6(list(cut(data, 2, 2))))


def txt(data: bytes) -> None:
    """A TXT record's strings."""
    read = dnssd.read_txt(string for _, string in cut(data, 0, 1))
    assert read.path is None or dhcp.is_path(read.path)
    assert read.root is None or len(bytes.fromhex(read.root)) == 32
    assert len(read.identifiers) <= 16
    assert len(read.challenges) <= 16


def option(code: int, data: bytes) -> bytes:
    """Return a DHCPv4 option."""
    return bytes([code, len(data)]) + data


SEEDS = (
    option(125, MARK + b"\x0c" + option(1, NAME)),
    option(125, MARK + b"\x0e" + option(1, WIRE)),
    option(60, MARK + b"\x0a" + NAME) + option(125, b"\0\0\x0d\xe9\2\1\0"),
    option(60, MARK) + option(43, option(1, NAME) + b"\xff"),
    option(224, NAME) + option(200, WIRE),
    bytes.fromhex("00110012") + MARK + b"\0\1\0\x0a" + NAME,
    bytes.fromhex("00100010") + MARK + b"\0\x0a" + NAME,
    b"\x14path=/acme/directory\x08i=dns,ip\x09v=http-01",
)

runner.run(v4, v6, txt, refusals=(), seeds=SEEDS)

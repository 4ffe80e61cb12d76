"""Lease and hosts files: what they say, and what hostile or broken ones cannot do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core.records import Host
from acmeiot.lan import hostfiles
from acmeiot.lan.hostfiles import Entry, read_hosts, read_leases
from acmeiot.protocol import names

DOMAINS = ("lan", "home.arpa")

LEASES = b"""\
1700000000 aa:BB:cc:00:00:20 192.168.1.20 printer 01:aa:bb:cc:00:00:20
0 aa:bb:cc:00:00:21 192.168.1.21 * *
1700000000 20-00:11:22:33 192.168.1.22 infini *
1700000000 aa:bb:cc:00:00:23 203.0.113.9 public *
duid 00:01:00:01:2b:00:00:00:aa:bb:cc:00:00:01
1700000001 12345 fd00::20 printer 00:03:00:01:aa:bb:cc:00:00:20
1700000001 T12345 fd00::beef * 00:03:00:01:aa:bb:cc:00:00:20
"""
ALL = ("printer.lan", "printer.home.arpa", "printer.local")


def test_leases() -> None:
    """IPv4 and, behind the duid line, DHCPv6 leases; only addresses of the home; no DUID's MAC."""
    read = read_leases(LEASES, DOMAINS, "lease file x")
    infini = ("infini.lan", "infini.home.arpa", "infini.local")
    mac = "aa:bb:cc:00:00:2"
    assert read.entries == (
        Entry(Host("192.168.1.20", ALL, mac + "0", "lease file x"), 1700000000),
        Entry(Host("192.168.1.21", (), mac + "1", "lease file x"), 0),
        Entry(Host("192.168.1.22", infini, None, "lease file x"), 1700000000),
        Entry(Host("fd00::20", ALL, None, "lease file x"), 1700000001),
        Entry(Host("fd00::beef", (), None, "lease file x"), 1700000001),
    )
    assert (read.bad_lines, read.bad_names, read.cut) == ((), 0, False)


@pytest.mark.parametrize(
    "line",
    [
        b"x aa:bb:cc:00:00:20 192.168.1.20 printer *",
        b"-1 aa:bb:cc:00:00:20 192.168.1.20 printer *",
        b"1700000000 aa:bb:cc:00:00 192.168.1.20 printer *",
        b"1700000000 aa:bb:cc:00:00:20 192.168.1 printer *",
        b"1700000000 aa:bb:cc:00:00:20 fd00::1 printer *",
        b"1700000000 aa:bb:cc:00:00:20 fe80::1%eth0 printer *",
        b"1700000000 aa:bb:cc:00:00:20 192.168.1.20",
        b"\xff\xff \0 \x1b[31m x y",
    ],
)
def test_bad_lease_lines(line: bytes) -> None:
    """A line that is no lease is counted, and the next one is read all the same."""
    read = read_leases(line + b"\n" + LEASES, DOMAINS, "x")
    assert read.bad_lines == (1,)
    assert len(read.entries) == 5


@pytest.mark.parametrize("label", [b"a.evil.com", b"my_phone", b"-x", b"pri\x07nter", b"\xc3\xbc"])
def test_lease_names_a_device_cannot_choose(label: bytes) -> None:
    """The address still has a host; the name is not believed: a device chooses a label at most."""
    line = b"1700000000 aa:bb:cc:00:00:20 192.168.1.20 " + label + b" *"
    read = read_leases(line, DOMAINS, "x")
    assert [entry.host.names for entry in read.entries] == [()]
    assert read.bad_names == 1


@pytest.mark.parametrize("label", [b"printer.lan", b"PRINTER.local", b"Printer", b"printer."])
def test_lease_names_folded(label: bytes) -> None:
    """Capitals and a domain of this home are folded away."""
    line = b"1700000000 aa:bb:cc:00:00:20 192.168.1.20 " + label + b" *"
    assert read_leases(line, DOMAINS, "x").entries[0].host.names == ALL


def test_hosts() -> None:
    """Full names stand as written, bare ones get each domain and `.local`; hosts(5)."""
    text = b"""\
# comment
192.168.1.20\tprinter.lan  printer # the printer
fd00::20 NAS.lan
0.0.0.0 ads.example.com
ff02::1 ip6-allnodes
nonsense here
192.168.1.9
192.168.1.8 bad_name good.lan *.lan
"""
    read = read_hosts(text, DOMAINS, "hosts file y")
    assert [(entry.host.address, entry.host.names) for entry in read.entries] == [
        ("192.168.1.20", ALL),
        ("fd00::20", ("nas.lan",)),
        ("192.168.1.8", ("good.lan",)),
    ]
    assert (read.bad_lines, read.bad_names) == ((6, 7), 2)
    assert all(entry.current(1 << 60) for entry in read.entries)


def test_bounds() -> None:
    """However long a file is, a bounded part of it is read, and it says so."""
    line = b"192.168.1.20 printer.lan\n"
    many = read_hosts(line * (hostfiles.MAX_ENTRIES + 1), DOMAINS, "x")
    assert (len(many.entries), many.cut) == (hostfiles.MAX_ENTRIES, True)
    empty = read_hosts(b"\n" * (hostfiles.MAX_LINES + 1) + line, DOMAINS, "x")
    assert (empty.entries, empty.cut) == ((), True)
    long = read_hosts(b"#" * hostfiles.MAX_BYTES + b"\n" + line, DOMAINS, "x")
    assert (long.entries, long.cut) == ((), True)
    wide = read_hosts(b"192.168.1.20" + b" a.lan" * 31 + b" b.lan c.lan", DOMAINS, "x")
    assert wide.entries[0].host.names == ("a.lan", "b.lan")


WORDS = st.sampled_from(
    b"duid 0 1700000000 aa:bb:cc:dd:ee:ff 192.168.1.20 fd00::1 printer * T1 a.b.c xn--".split()
    + [b"#", b"%", b"\n", b"\r", b"\0", b"\x85", b"\xff"]
)
SOUP = st.one_of(
    st.binary(max_size=300), st.lists(WORDS, max_size=40).map(lambda words: b" ".join(words))
)


@given(SOUP)
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes raise nothing, and only canonical names and LAN addresses come out."""
    for read in (read_leases(data, DOMAINS, "x"), read_hosts(data, DOMAINS, "x")):
        for entry in read.entries:
            assert names.is_lan(names.ip(entry.host.address).address)
            assert all(names.dns(name).value == name for name in entry.host.names)
            assert entry.host.mac is None or len(entry.host.mac) == 17

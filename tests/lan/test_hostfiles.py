"""Lease and hosts files: what they say, and what hostile or broken ones cannot do."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core.records import Host
from acmeiot.lan import hostfiles
from acmeiot.lan.hostfiles import Entry, Reading, read_hosts, read_leases
from acmeiot.protocol import names

DOMAINS = ("lan", "home.arpa")
Reader = Callable[[bytes, tuple[str, ...], str], Reading]

LEASES = b"""\
1700000000 aa:BB:cc:00:00:20 192.168.1.20 printer 01:aa:bb:cc:00:00:20
0 aa:bb:cc:00:00:21 192.168.1.21 * *
1700000000 20-00:11:22:33 192.168.1.22 infini *
1700000000 aa:bb:cc:00:00:23 203.0.113.9 public *
duid 00:01:00:01:2b:00:00:00:aa:bb:cc:00:00:01
1700000001 12345 fd00::20 printer 00:03:00:01:aa:bb:cc:00:00:20
1700000001 T12345 fd00::beef * 00:03:00:01:aa:bb:cc:00:00:20
"""
DUID = "00030001aabbcc0000"
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
        Entry(Host("fd00::20", ALL, None, "lease file x"), 1700000001, duid=DUID + "20"),
        Entry(Host("fd00::beef", (), None, "lease file x"), 1700000001, duid=DUID + "20"),
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
    assert all(entry.current(1 << 60) and entry.static for entry in read.entries)
    told = hostfiles.read_lease_hosts(text, DOMAINS, "hosts file y")
    assert [entry.host for entry in told.entries] == [entry.host for entry in read.entries]
    assert not any(entry.static for entry in told.entries)


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
    one = b"# br-lan 00030001 1 a 1 1 128 fd00::1/128"
    sixteen = (one + b"\n" + (one + b" fd00::1/128" * 15 + b"\n") * hostfiles.MAX_ENTRIES).strip()
    assert len(read_leases(sixteen, DOMAINS, "x").entries) == hostfiles.MAX_ENTRIES


@pytest.mark.parametrize(
    ("end", "duid"),
    [
        (b" 00:03:00:01:AA:bb:cc:00:00:20", DUID + "20"),
        (b" *", ""),
        (b"", ""),
        (b" 00:03", ""),
        (b" \xff\xff", ""),
    ],
)
def test_duids(end: bytes, duid: str) -> None:
    """As odhcpd writes them; what is none does not spoil the lease."""
    read = read_leases(b"duid 00:01\n1700000000 12345 fd00::20 printer" + end, DOMAINS, "x")
    assert [(entry.host.names, entry.duid) for entry in read.entries] == [(ALL, duid)]


# -- odhcpd

# As 25.12 writes it (its C library's ether_ntoa has colons), but for the first of IPv4: 24.10 has
# 12 digits there.
ODHCPD = b"""\
# br-lan 00030001aabbcc000020 1a2b printer 1700000000 20 128 fd00::20/128 fd01::20/128
# br-lan 000100012b000000aabbcc000021 0 - -1 21 128 fd00::21/128
# br-lan 00030001aabbcc000022 1 nas 1700000000 5 62 fd00:0:0:4::/62
# br-lan 00030001aabbcc000023 1 nas 0 23 128 fd00::23/128
# br-lan aabbcc000024 ipv4 cam 1700000000 c0a80118 32 192.168.1.24/32
# br-lan a:BB:c:0:0:25 ipv4 cam.lan -1 c0a80119 32 192.168.1.25/32
# br-lan aabbcc000026 ipv4 my_phone 1700000000 c0a8011a 32 192.168.1.26/32
# wan aabbcc000027 ipv4 public 1700000000 cb007109 32 203.0.113.9/32
"""
CAM = ("cam.lan", "cam.home.arpa", "cam.local")


@pytest.mark.parametrize("reader", [read_leases, read_hosts])
def test_odhcpds_leases(reader: Reader) -> None:
    """Known by their shape in either file; only whole addresses, and no MAC that a client wrote."""
    read = reader(ODHCPD, DOMAINS, "x")
    assert read.entries == (
        Entry(Host("fd00::20", ALL, None, "x"), 1700000000, duid=DUID + "20"),
        Entry(Host("fd01::20", ALL, None, "x"), 1700000000, duid=DUID + "20"),
        Entry(Host("fd00::21", (), None, "x"), 0, duid="000100012b000000aabbcc000021"),
        Entry(Host("192.168.1.24", CAM, "aa:bb:cc:00:00:24", "x"), 1700000000),
        Entry(Host("192.168.1.25", CAM, "0a:bb:0c:00:00:25", "x"), 0),
        Entry(Host("192.168.1.26", (), "aa:bb:cc:00:00:26", "x"), 1700000000),
    )
    assert (read.bad_lines, read.bad_names, read.cut) == ((), 1, False)


def test_odhcpds_leases_among_its_hosts() -> None:
    """On OpenWrt 24.10 they are one file: what is written of a lease ends with it."""
    lease = ODHCPD.split(b"\n")[0]
    text = b"fd00::20\tprinter.lan\tprinter\n" + lease + b"\n# a remark\n#\nfd00::9 printer\n"
    read = read_hosts(text, DOMAINS, "x")
    assert [(e.host.address, e.expires, e.static) for e in read.entries] == [
        ("fd00::20", 1700000000, False), ("fd01::20", 1700000000, False), ("fd00::9", 0, True)
    ]  # fmt: skip
    assert read.bad_lines == ()


@pytest.mark.parametrize(
    "line",
    [
        b"# a remark about printer 1700000000 20 128 fd00::20/128",
        b"# br-lan 00030001 1a2b printer 1700000000",
        b"# br-lan 000300010 1a2b printer 1700000000 20 128 fd00::20/128",
        b"# br-lan 00030001 1a2bffff0 printer 1700000000 20 128 fd00::20/128",
        b"# br-lan 00030001 1a2b printer 17x 20 128 fd00::20/128",
        b"# br-lan 00030001 1a2b printer -2 20 128 fd00::20/128",
        b"# br-lan aabbcc0000 ipv4 printer 1700000000 c0a80118 32 192.168.1.24/32",
        b"# br-lan aa:bb:cc:00:00 ipv4 printer 1700000000 c0a80118 32 192.168.1.24/32",
        b"# br-lan aabbcc000024 ipv4 printer 1700000000 c0a80118 32 fd00::20/32",
        b"#br-lan 00030001 1a2b printer 1700000000 20 128 fd00::20/128",
    ],
)
def test_what_is_no_lease_of_odhcpd(line: bytes) -> None:
    """A remark in a hosts file is passed over; in a lease file it has no place."""
    assert read_hosts(line, DOMAINS, "x").entries == ()
    read = read_leases(line + b"\n" + LEASES, DOMAINS, "x")
    assert (len(read.entries), read.bad_lines) == (5, (1,))


@pytest.mark.parametrize(
    "address", [b"fd00::20/12", b"fd00::20", b"192.168.1.20/32", b"x/128", b"/"]
)
def test_odhcpds_addresses(address: bytes) -> None:
    """Neither prefixes, nor the other family, nor nonsense."""
    line = b"# br-lan 00030001 1a2b printer 1700000000 20 128 " + address
    assert read_leases(line, DOMAINS, "x").entries == ()
    many = b"# br-lan 00030001 1a2b printer 1700000000 20 128" + b" fd00::20/128" * 17
    assert len(read_leases(many, DOMAINS, "x").entries) == hostfiles.MAX_ADDRESSES_PER_LINE


FORGED = b"# br-lan 0a0000000066 ipv4 printer 1999999999 c0a80114 32 192.168.1.66/32"


@pytest.mark.parametrize("reader", [read_leases, read_hosts])
@pytest.mark.parametrize(
    "said",
    [
        b"x\n" + FORGED + b"\n#",
        b"x 1999999999 1 32 192.168.1.66/32\n" + FORGED + b"\n" + FORGED + b"\n# x",
        b"x" * (254 - len(FORGED)) + b"\n" + FORGED,
        b"x" * 220 + b"\n# br-lan 0a0000000066 ipv4 printer",
        b"x" * 254 + b"\n",
        b"x" * 250 + b"\n# x",
        b"x\n192.168.1.66 printer.lan\n#",
        b"x\n# br-lan 0a0000000066 ipv4 broken\\x20\n" + FORGED + b"\n",
    ],
    ids=range(8),
)
def test_a_device_that_writes_lines(reader: Reader, said: bytes) -> None:
    """Up to 25.12 odhcpd writes a name that is none as it is, line ends and all: 255 octets."""
    assert len(said) <= 255
    start = b"# br-lan 0a0000000066 ipv4 broken\\x20"
    end = b" 1700000000 c0a80142 32 192.168.1.66/32\n"
    after = b"# br-lan aabbcc000030 ipv4 later 1700000000 c0a8011e 32 192.168.1.30/32\n"
    read = reader(ODHCPD + start + said + end + after * 6, DOMAINS, "x")
    assert [e.host.address for e in read.entries][:6] == [
        e.host.address for e in reader(ODHCPD, DOMAINS, "x").entries
    ]
    assert {e.host.names for e in read.entries[6:]} == {
        ("later.lan", "later.home.arpa", "later.local")
    }
    assert {e.host.mac for e in read.entries[6:]} == {"aa:bb:cc:00:00:30"}
    assert read.bad_lines


@given(st.binary(max_size=255), st.sampled_from([read_leases, read_hosts]))
def test_nothing_that_a_device_writes_is_believed(said: bytes, reader: Reader) -> None:
    line = b"# br-lan 0a0000000066 ipv4 broken\\x20%b 1700000000 c0a80142 32 192.168.1.66/32\n"
    forged = said.replace(b"\xff", b"\n# br-lan 0a0000000066 ipv4 x 1 1 32 192.168.1.66/32\n")
    assert reader(line % forged[:255], DOMAINS, "x").entries == ()


@given(
    st.binary(min_size=3, max_size=130), st.integers(0, 2**32 - 1),
    st.from_regex(r"\A[a-z][a-z0-9]{0,20}\Z"), st.integers(1, 2**40),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8),
)  # fmt: skip
def test_what_odhcpd_writes_is_read(
    duid: bytes, iaid: int, name: str, until: int, hosts: list[int]
) -> None:
    addresses = [str(ipaddress.IPv6Address((0xFD << 120) + host)) for host in hosts]
    line = f"# br-lan {duid.hex()} {iaid:x} {name} {until} {hosts[0]:x} 128 "
    line += " ".join(f"{address}/128" for address in addresses)
    read = read_leases(line.encode(), ("lan",), "x")
    assert [(e.host.address, e.expires, e.host.names) for e in read.entries] == [
        (address, until, (f"{name}.lan", f"{name}.local")) for address in addresses
    ]


WORDS = st.sampled_from(
    b"duid 0 1700000000 aa:bb:cc:dd:ee:ff 192.168.1.20 fd00::1 printer * T1 a.b.c xn--".split()
    + b"br-lan 00030001 ipv4 - -1 20 128 fd00::20/128 192.168.1.20/32 broken\\x20x".split()
    + [b"\n# br-lan", b"#", b"%", b"\n", b"\r", b"\0", b"\x85", b"\xff"]
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

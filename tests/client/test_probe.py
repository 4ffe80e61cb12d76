"""The probe against a real dnsmasq, without any rights where it needs none; and its parsers."""

import ctypes
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.client import probe
from acmeiot.client.errors import AgentError
from acmeiot.client.sightings import Sighting
from acmeiot.protocol import dhcp
from acmeiot.protocol.dhcp import Advertisement
from tests.client import dnsmasq
from tests.lan.network import Network

ROUTER = "192.168.1.1"
AD = Advertisement("router.lan", "/acme/directory", bytes(range(32)), 8555)
RANGE = "dhcp-range=192.168.1.100,192.168.1.150,1h"
RANGE_6 = "dhcp-range=fd00::,ra-stateless"
NOBODY = 65534

Answers = tuple[tuple[Sighting, ...], tuple[str, ...]]


@pytest.fixture
def lan() -> Iterator[Network]:
    """A router and a laptop."""
    with Network() as made:
        made.router("router", f"{ROUTER}/24", "fd00::1/64")
        made.host("laptop", "192.168.1.20/24")
        made.run("laptop", "ip", "route", "add", "default", "via", ROUTER)
        made.settle()
        yield made


def option6(ad: Advertisement) -> str:
    """Return the line that sends DHCPv6 option 17 to whom it asks for it."""
    return f"dhcp-option=option6:17,{dhcp.option17(ad).hex(':')}"


def asked(numbers: tuple[int, ...] = ()) -> tuple[Answers, float, int]:
    """Probe; return with it the seconds and the capabilities it had."""
    probe._scapy()
    started = time.monotonic()
    return probe.ask(None, numbers), time.monotonic() - started, capabilities()


def asked_as_nobody(numbers: tuple[int, ...] = ()) -> tuple[Answers, float, int, int]:
    """The same as a user without any rights. Files are read before: they may be root's alone."""
    probe._scapy()
    drop()
    return (*asked(numbers), os.geteuid())


def drop() -> None:
    """Become uid 65534 where this is real root; without capabilities anywhere."""
    if Path("/proc/self/uid_map").read_text().split()[2] != "1":
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    assert libc.capset(header, bytes(24)) == 0, os.strerror(ctypes.get_errno())


def capabilities() -> int:
    """Return the effective capabilities of this process, as bits."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("CapEff:")]
    return int(line.split()[1], 16)


# -- DHCPINFORM


def test_inform_needs_no_rights(lan: Network, tmp_path: Path) -> None:
    """A-3.1-1: uid 65534 without capabilities gets the option, asked for and not forced."""
    wanted = f"dhcp-option=125,{dhcp.option125(AD).hex(':')}"
    search = "dhcp-option=option:domain-search,lan,home.arpa,x.home.arpa"
    log = dnsmasq.start(lan, "router", tmp_path / "dns", RANGE, wanted, search, "domain=lan")
    (found, problems), seconds, rights, uid = lan.call("laptop", asked_as_nobody)
    assert rights == 0
    assert uid == (NOBODY if os.geteuid() == 0 else 0)
    (one,) = found
    assert (one.client, one.interface, one.server) == ("probe", "eth0", ROUTER)
    assert (one.resolvers, one.v6, one.fqdn) == ((ROUTER,), (), None)
    assert one.domains == ("lan", "home.arpa", "x.home.arpa")
    assert dhcp.read4(one.v4).found == AD
    assert problems == ("DHCPv6 probe on eth0: needs root, for answers come to port 546 only",)
    assert "DHCPINFORM(br-lan) 192.168.1.20" in log.read_text()
    assert seconds < 2 * probe.WINDOW  # an answer ends the wait


def test_all_that_is_asked_for(lan: Network, tmp_path: Path) -> None:
    """60, 124, 125, 43, the resolver, the domains, and the numbers that were named."""
    log = dnsmasq.start(lan, "router", tmp_path / "dns", RANGE, "dhcp-option=224,router.lan")
    (found, _), *_ = lan.call("laptop", asked, (224, 230))
    said = log.read_text()
    for code in (15, 6, 119, 60, 124, 125, 43, 224, 230):
        assert any(
            text.startswith(f"{code}:") or text == str(code)
            for line in said.splitlines()
            if "requested options:" in line
            for text in line.partition("requested options:")[2].replace(",", " ").split()
        ), f"{code} was not asked for\n{said}"
    assert dhcp.read4(found[0].v4, (224,)).found == Advertisement("router.lan")


@pytest.mark.parametrize("code", [60, 124, 125])
def test_every_form(lan: Network, tmp_path: Path, code: int) -> None:
    """A-3.1-2: dnsmasq's bytes of each option arrive as they were."""
    plain = Advertisement("router.lan")
    data = dhcp.option125(plain) if code == 125 else dhcp.option60(plain)
    dnsmasq.start(lan, "router", tmp_path / "dns", RANGE, dnsmasq.raw(code, data))
    (found, _), *_ = lan.call("laptop", asked)
    assert dict(found[0].v4)[code] == data
    assert dhcp.read4(found[0].v4).found == plain


def test_nobody_answers(lan: Network) -> None:
    """The wait is bounded, and silence is said."""
    (found, problems), seconds, _ = lan.call("laptop", asked)
    assert found == ()
    assert problems == (
        "DHCP probe on eth0: no DHCP server answered",
        "DHCPv6 probe on eth0: no DHCP server answered",
    )
    assert 2 * probe.WINDOW <= seconds < 5 * probe.WINDOW


def test_two_servers_are_both_heard(lan: Network, tmp_path: Path) -> None:
    """Who answers first is not all that counts (specs 6, rogue DHCP server)."""
    lan.host("rogue", "192.168.1.66/24")
    for host, link in (("router", "br-lan"), ("rogue", "eth0")):
        line = dnsmasq.raw(125, dhcp.option125(Advertisement(f"{host}.lan")))
        dnsmasq.start(lan, host, tmp_path / host, RANGE, line, interface=link)
    (found, _), *_ = lan.call("laptop", asked)
    heard = {(one.server, ad.fqdn) for one in found if (ad := dhcp.read4(one.v4).found)}
    assert heard == {(ROUTER, "router.lan"), ("192.168.1.66", "rogue.lan")}


# -- DHCPv6


def test_information_request(lan: Network, tmp_path: Path) -> None:
    """A-3.1-1: IPv6; the option, resolver and search list that root can hear."""
    dnsmasq.start(
        *(lan, "router", tmp_path / "dns", RANGE_6, option6(AD)),
        *(
            "dhcp-option=option6:dns-server,[fd00::1]",
            "dhcp-option=option6:domain-search,lan,x.lan",
        ),
    )
    (found, problems), *_ = lan.call("laptop", asked)
    (one,) = found
    assert problems == ("DHCP probe on eth0: no DHCP server answered",)
    assert dhcp.read6(one.v6).found == AD
    assert (one.resolvers, one.domains, one.v4) == (("fd00::1",), ("lan", "x.lan"), ())
    assert one.server is not None
    assert one.server.startswith("fe80::")


def test_port_546_is_taken(lan: Network) -> None:
    """The machine's own DHCPv6 client has it."""
    _, problems = lan.call("laptop", asked_beside_a_client)
    assert "DHCPv6 probe on eth0: another program, its DHCP client, holds port 546" in problems


def asked_beside_a_client() -> Answers:
    import socket

    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.bind(("::", 546))
        return probe.ask(None)


# -- without a network


def test_no_lan() -> None:
    """An interface that is none, or has no LAN behind it, is named."""
    with pytest.raises(AgentError, match="lo is no interface with a LAN behind it"):
        probe.ask("lo")


def test_scapy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "scapy.layers", None)
    with pytest.raises(AgentError, match=r"pip install 'acmeiot\[probe\]'") as raised:
        probe.ask(None)
    assert "\n" not in str(raised.value)


# -- waiting


class Line:
    """A socket on which a packet comes at each of some seconds; its clock is the test's."""

    def __init__(self, *comes: float) -> None:
        self.now, self.sent = 0.0, 0
        self._comes, self._timeout = list(comes), 0.0

    def settimeout(self, seconds: float) -> None:
        """Wait so long for the next one."""
        self._timeout = seconds

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        """Return what comes in time."""
        if not self._comes or self._comes[0] > self.now + self._timeout:
            self.now += self._timeout
            raise TimeoutError
        self.now = max(self.now, self._comes.pop(0))
        return b"packet", (ROUTER, 67)

    def send(self) -> None:
        """Count the questions."""
        self.sent += 1

    def monotonic(self) -> float:
        """Return the seconds so far."""
        return self.now

    def heard(self) -> int:
        """Return how many packets are waited for."""
        return len(list(probe._heard(self, self.send, self.monotonic)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comes", "heard", "sent", "seconds"),
    [
        ((), 0, 2, probe.WINDOW),  # asked once more, and then it is silence
        ((0.1,), 1, 1, 0.1 + probe.LINGER),  # time for a rival, but not for ever
        ((0.1, 0.3, 0.7), 2, 1, 0.1 + probe.LINGER),
        ((1.4,), 1, 2, 1.4 + probe.LINGER),
    ],
)
def test_wait(comes: tuple[float, ...], heard: int, sent: int, seconds: float) -> None:
    line = Line(*comes)
    assert line.heard() == heard
    assert line.sent == sent
    assert line.now == pytest.approx(seconds)


def test_flood() -> None:
    """Nobody keeps us listening."""
    line = Line(*(n / 1000 for n in range(2000)))
    assert line.heard() == probe._MAX_PACKETS


# -- what is read of packets


def reply4(
    options: bytes, xid: int = 7, op: int = 2, sname: bytes = b"", file: bytes = b""
) -> bytes:
    """Return a BOOTP message with these options (RFC 2131 section 2)."""
    header = struct.pack("!4BIHH4s4s4s4s16s", op, 1, 6, 0, xid, 0, 0, b"", b"", b"", b"", b"")
    return header + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + b"\x63\x82\x53\x63" + options


ACK = b"\x35\x01\x05"


def read4(wire: bytes) -> dict[int, bytes] | None:
    found = probe._read4(probe._scapy(), wire, 7)
    return None if found is None else dict(found)


def test_reply() -> None:
    """Octets of known and unknown options come out as they are on the wire."""
    data = dhcp.option125(AD)
    wire = reply4(ACK + bytes([224, 1, 255, 0, 0, 60, 2, 0, 200, 125, len(data)]) + data + b"\xff")
    assert read4(wire) == {53: b"\5", 224: b"\xff", 60: b"\0\xc8", 125: data}


def test_parts_of_an_option_stay_in_order() -> None:
    """RFC 3396: a long option comes in parts, which are joined where it is read."""
    data = dhcp.option125(AD)
    parts = b"".join(bytes([125, len(part)]) + part for part in (data[:9], data[9:]))
    found = probe._read4(probe._scapy(), reply4(ACK + parts + b"\xff"), 7)
    assert found is not None
    assert dhcp.read4(found).found == AD


@pytest.mark.parametrize(("overload", "codes"), [(1, {60}), (2, {61}), (3, {60, 61})])
def test_overload(overload: int, codes: set[int]) -> None:
    """RFC 2132 section 9.3: what did not fit lies in two fields of the header."""
    options = ACK + bytes([52, 1, overload]) + b"\xff"
    found = read4(reply4(options, file=b"\x3c\x03abc\xff", sname=b"\x3d\x02de\xff"))
    assert found is not None
    assert set(found) - {53, 52} == codes


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        reply4(ACK)[:239],
        reply4(ACK, xid=8),  # an answer to somebody else
        reply4(ACK, op=1),
        reply4(b"\x35\x01\x02"),  # an offer
        reply4(b"\x35\x00"),
        reply4(b""),
        reply4(ACK)[:236] + b"\0\0\0\0" + ACK,  # no cookie
    ],
)
def test_no_reply(wire: bytes) -> None:
    assert read4(wire) is None


def read6(wire: bytes) -> tuple[tuple[int, bytes], ...] | None:
    return probe._read6(probe._scapy(), wire, 0x010203)


def test_reply6() -> None:
    """Two blocks of option 17 stay two (RFC 8415 section 21.17)."""
    blocks = b"".join(struct.pack("!HH", 17, 4) + block for block in (b"abcd", b"efgh"))
    assert read6(b"\7\1\2\3" + blocks) == ((17, b"abcd"), (17, b"efgh"))
    for wire in (
        b"",
        b"\7\1\2",
        b"\7\1\2\4" + blocks,
        b"\2\1\2\3" + blocks,
        b"\7\1\2\3" + blocks[:-1],
    ):
        assert read6(wire) is None


@pytest.mark.parametrize(
    ("data", "domains"),
    [
        (b"\3lan\0\4home\4arpa\0", ("lan", "home.arpa")),
        (b"\3lan\0\1x\xc0\0\1y\xc0\5", ("lan", "x.lan", "y.x.lan")),  # RFC 3397
        (b"\xc0\0", ()),  # leads to itself
        (b"\1x\xc0\2\1y\xc0\0", ()),  # forward
        (b"\3lan\0\3la", ("lan",)),
        (b"\3lan\0\xc0", ("lan",)),
        (b"\3lan", ()),
        (b"\1x\0" * 40, ("x",) * 8),
        (b"", ()),
    ],
)
def test_search_list(data: bytes, domains: tuple[str, ...]) -> None:
    assert probe._names(data) == domains


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes after a good start raise nothing."""
    read4(reply4(ACK + data))
    read4(data)
    read6(b"\7\1\2\3" + data)
    assert len(probe._names(data)) <= 8

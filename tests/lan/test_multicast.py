"""Multicast DNS on a real link: responders that agree, that do not, and packets from elsewhere."""

import errno
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.lan import dnswire, multicast
from acmeiot.lan.interfaces import Interface, lan_interfaces
from acmeiot.lan.multicast import Heard, MulticastDns, _Link, _Question
from acmeiot.lan.resolve import LanFacts
from acmeiot.lan.unicast import UnicastDns
from acmeiot.protocol.errors import DnsFailed
from tests.lan.fakes import table_of
from tests.lan.network import Network


def ask(name: str) -> Heard:
    """Ask on the host where this is called."""
    return MulticastDns(window=0.5).ask(name)


def resolve(name: str, hosts: str) -> str:
    """Resolve with a hosts file's text; return the resolution or the error, for comparison."""
    lan = LanFacts(table_of(hosts), UnicastDns([]), MulticastDns(window=0.5))
    try:
        found = lan.resolve(name)
    except DnsFailed as error:
        return error.detail
    return json.dumps([found.addresses, found.source, found.conflict])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A printer, and two devices that both call themselves nas.local."""
    log = tmp_path_factory.mktemp("network") / "log"
    with Network() as made:
        made.router("router", "192.168.1.1/24", "fd00::1/64")
        made.host("printer", "192.168.1.20/24", "fd00::20/64")
        made.host("nas", "192.168.1.30/24")
        made.host("thief", "192.168.1.66/24", "fd00::66/64")
        made.settle()
        respond(made, "printer", log, "printer.local", "192.168.1.20", "fd00::20", "8.8.8.8")
        respond(made, "nas", log, "nas.local", "192.168.1.30")
        respond(made, "thief", log, "nas.local", "192.168.1.66", "fd00::66")
        until(lambda: len(made.call("router", ask, "printer.local").answers) == 2)
        until(lambda: len(made.call("router", ask, "nas.local").answers) == 4)
        yield made


def respond(network: Network, host: str, log: Path, *words: str) -> None:
    """Start a responder on a host."""
    network.start(host, sys.executable, "-m", "tests.lan.responder", *words, log=log)


def until(true: Callable[[], bool]) -> None:
    """Wait for what must become true."""
    for _ in range(20):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("not in time")


def test_answers_by_both_families(network: Network) -> None:
    """The device answers from its IPv4 and its link-local address; public addresses are dropped."""
    heard = network.call("router", ask, "printer.local")
    assert heard.asked == ("br-lan",)
    assert heard.problems == ()
    by_four = heard.answers.pop("192.168.1.20")
    assert by_four == ("192.168.1.20", "fd00::20")
    ((source, by_six),) = heard.answers.items()
    assert ipaddress.ip_address(source).is_link_local
    assert set(by_six) == {"192.168.1.20", "fd00::20"}


def test_only_multicast_dns_knows(network: Network) -> None:
    """A `.local` name that no table has is found by multicast, after the tables were asked."""
    found = json.loads(network.call("router", resolve, "printer.local", "192.168.1.9 x.lan"))
    assert found == [["192.168.1.20", "fd00::20"], "multicast DNS", None]


def test_two_devices_disagree(network: Network) -> None:
    """Specs 6, proving a `.local` name: two hosts claim one name; both are named."""
    addresses, source, conflict = json.loads(network.call("router", resolve, "nas.local", ""))
    assert set(addresses) == {"192.168.1.30", "192.168.1.66", "fd00::66"}
    assert source == "multicast DNS"
    assert "two devices answer for nas.local" in conflict
    assert "192.168.1.30" in conflict
    assert "192.168.1.66" in conflict


def test_a_device_disagrees_with_the_table(network: Network) -> None:
    """Specs 6: the table's address is taken, and another one by multicast is a conflict."""
    hosts = "192.168.1.30 nas.local"
    addresses, _, conflict = json.loads(network.call("router", resolve, "nas.local", hosts))
    assert addresses == ["192.168.1.30"]
    assert conflict.startswith(
        "two answers for nas.local: the hosts file test says 192.168.1.30, but by multicast DNS "
        "the device "
    )
    assert "192.168.1.66" in conflict
    assert "device 192.168.1.30" not in conflict


def test_the_device_of_the_table_has_more_addresses(network: Network) -> None:
    """Its own IPv6 addresses, which no lease knows, are no conflict; nor is a silent link."""
    for name in ("printer.local", "quiet.local"):
        found = json.loads(network.call("router", resolve, name, f"192.168.1.20 {name}"))
        assert found == [["192.168.1.20"], "hosts file test", None]


def test_nobody_answers(network: Network) -> None:
    """R-27: the error names each place that was asked."""
    said = network.call("router", resolve, "quiet.local", "192.168.1.9 x.lan")
    assert said == (
        "quiet.local: no lease or hosts entry has this name (asked hosts file test), nobody "
        "answered by multicast DNS on br-lan"
    )


def seconds(insist: bool) -> float:
    """Return how long a question lasts that nobody answers."""
    began = time.monotonic()
    assert MulticastDns(window=0.3).ask("quiet.local", insist=insist).answers == {}
    return time.monotonic() - began


def test_silence(network: Network) -> None:
    """The window once, or twice where an answer is needed (Wi-Fi loses multicast)."""
    once, twice = (network.call("router", seconds, insist) for insist in (False, True))
    assert 0.3 <= once < twice
    assert twice >= 0.6


def no_interface() -> Heard:
    """Ask where there is only loopback."""
    return MulticastDns(window=0.1, interfaces=lambda: lan_interfaces()[:0]).ask("a.local")


def test_no_lan_interface(network: Network) -> None:
    """A machine without a LAN has nobody to ask, at once."""
    assert network.call("router", no_interface) == Heard()


class Unwilling(socket.socket):
    """A socket on a machine without a route for multicast."""

    def sendto(self, *_: object) -> int:
        """Refuse as the kernel does."""
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


LINK = Interface(1, "br-lan", 0x1001, (ipaddress.ip_interface("192.168.1.1/24"),))


def test_multicast_not_possible() -> None:
    """It is no error of its own, but it is said when nothing else answered."""
    mdns = MulticastDns(window=0.1, interfaces=lambda: [LINK], open_socket=Unwilling)
    with pytest.raises(DnsFailed) as caught:
        LanFacts(table_of(""), UnicastDns([]), mdns).resolve("a.local")
    assert caught.value.detail.endswith(
        "multicast DNS is not possible on br-lan with IPv4 (Network is unreachable)"
    )


def test_no_netlink() -> None:
    """Interfaces that cannot be listed are a problem to be told, not a crash."""

    def broken() -> list[Interface]:
        raise OSError(errno.EACCES, "Permission denied")

    heard = MulticastDns(interfaces=broken).ask("a.local")
    assert heard.problems == ("multicast DNS is not possible (Permission denied)",)


def message(name: str, *values: str) -> dns.message.Message:
    """Return an answer of multicast DNS, id 0."""
    made = dns.message.make_response(dns.message.make_query(name, "A", id=0))
    for value in values:
        kind = "AAAA" if ":" in value else "A"
        made.answer.append(dns.rrset.from_text(name + ".", 10, "IN", kind, value))
    return made


def heard(*wires: bytes, source: str = "192.168.1.20") -> dict[str, list[str]]:
    """Return what is kept of these packets."""
    question = _Question("a.local")
    for wire in wires:
        question.hear(source, wire)
    return {each: list(found) for each, found in question.answers.items()}


def test_what_is_no_answer() -> None:
    """Other names, questions, errors, public and loopback addresses: not heard."""
    error = message("a.local", "192.168.1.20")
    error.set_rcode(dns.rcode.SERVFAIL)
    asking = dnswire.query("a.local", dnswire.A, 0)
    wires = [message("b.local", "192.168.1.20").to_wire(), asking, error.to_wire(), b"", b"\xff"]
    wires.append(message("a.local", "8.8.8.8", "127.0.0.1", "::1", "2001:db8::1").to_wire())
    assert heard(*wires) == {}
    assert heard(message("a.local", "192.168.1.20").to_wire()) == {"192.168.1.20": ["192.168.1.20"]}


def test_the_id_is_ours_or_nobodys() -> None:
    """RFC 6762 sections 6.7 and 18.1: the id of the question, or 0; another is somebody else's."""
    question = _Question("a.local")
    question.id = 7
    answer = message("a.local", "192.168.1.20")
    for answer.id, known in ((8, 0), (0, 1), (7, 2)):
        question.hear(f"192.168.1.{answer.id}", answer.to_wire())
        assert len(question.answers) == known


def test_bounds() -> None:
    """A device may name 16 addresses, and 16 devices are listened to."""
    many = message("a.local", *(f"10.0.0.{number}" for number in range(40))).to_wire()
    assert len(heard(many, many)["192.168.1.20"]) == multicast.MAX_ADDRESSES
    question = _Question("a.local")
    for number in range(40):
        question.hear(f"10.0.0.{number}", many)
    assert len(question.answers) == multicast.MAX_SOURCES


@given(st.binary(max_size=300))
def test_any_packet(wire: bytes) -> None:
    """Arbitrary bytes are no answer, and raise nothing."""
    heard(wire)


@pytest.mark.parametrize(
    ("network", "known"), [("127.0.0.1/8", ["127.0.0.1"]), ("192.168.1.1/24", [])]
)
def test_only_from_this_link(network: str, known: list[str]) -> None:
    """RFC 6762 section 11: an answer from beyond the interface's networks is dropped."""
    interface = Interface(1, "br-lan", 0x1001, (ipaddress.ip_interface(network),))
    question = _Question("a.local")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        theirs.sendto(message("a.local", "192.168.1.20").to_wire(), ours.getsockname())
        _Link(ours, interface, 4).receive(question)
    assert list(question.answers) == known


def test_reaches() -> None:
    """On the link: the interface's own networks, and every link-local address."""
    assert LINK.reaches(ipaddress.ip_address("192.168.1.99"))
    assert not LINK.reaches(ipaddress.ip_address("192.168.2.1"))
    assert not LINK.reaches(ipaddress.ip_address("fd00::1"))
    assert LINK.reaches(ipaddress.ip_address("fe80::1"))

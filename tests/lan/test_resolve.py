"""The order of places that are asked for a name, what each error says, and who is never asked."""

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from acmeiot.core.ports import Lan
from acmeiot.lan.multicast import Heard, MulticastDns
from acmeiot.lan.neighbours import Tables
from acmeiot.lan.resolve import MAX_ADDRESSES, LanFacts
from acmeiot.lan.unicast import Server, UnicastDns, system_servers
from acmeiot.protocol import names
from acmeiot.protocol.errors import DnsFailed
from tests.lan.fakes import FakeClock, FakeEvents, table_of
from tests.lan.nameserver import NameServer, records
from tests.lan.network import Network

HOSTS = "192.168.1.20 printer.lan printer.local\nfd00::20 printer.lan\n"


class Rumour(MulticastDns):
    """Multicast DNS as the test says; `asked` holds the names."""

    def __init__(self, **answers: tuple[str, ...]) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._answers = {source.replace("_", "."): given for source, given in answers.items()}

    def ask(self, name: str, *, insist: bool = True) -> Heard:
        """Return the test's answers."""
        self.asked.append(name)
        return Heard(self._answers, ("br-lan",))


def hearing(answers: dict[str, tuple[str, ...]]) -> Rumour:
    """Return multicast DNS with these answers, by their source."""
    rumour = Rumour()
    rumour._answers = answers
    return rumour


def zone(question: dns.message.Message) -> bytes:
    """Answer for nas.lan, www.lan, empty.lan, out.lan and their TXT and CAA records."""
    name = question.question[0].name.to_text(omit_final_dot=True)
    values = {
        "nas.lan": ("nas.lan A 192.168.1.30", "nas.lan AAAA fd00::30"),
        "nas.local": ("nas.local A 192.168.1.31",),
        "www.lan": ("www.lan CNAME nas.lan.", "nas.lan A 192.168.1.30"),
        "loose.lan": ("loose.lan CNAME elsewhere.lan.",),
        "many.lan": tuple(f"many.lan A 10.0.0.{number}" for number in range(40)),
        "out.lan": ("out.lan A 8.8.8.8",),
        "empty.lan": (),
        "_acme-challenge.nas.lan": (
            '_acme-challenge.nas.lan TXT "one" "two"',
            '_acme-challenge.nas.lan TXT "three"',
        ),
        "_acme-challenge.nas.local": ('_acme-challenge.nas.local TXT "x"',),
        "lan": ('lan CAA 0 issue "CA.lan; account=1"', 'lan CAA 0 iodef "mailto:a@b.lan"'),
        "shut.lan": ('shut.lan CAA 0 issue ";"',),
    }.get(name)
    if values is None:
        reply = dns.message.make_response(question)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
    return records(question, *values).to_wire()


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A resolver of this LAN."""
    with NameServer(zone) as made:
        yield made


def facts(
    server: NameServer | None,
    *,
    hosts: str = HOSTS,
    mdns: MulticastDns | None = None,
    forced: bool = False,
) -> LanFacts:
    """Return the facts with a resolver on loopback."""
    servers = [Server(ipaddress.ip_address("127.0.0.1"), server.port)] if server else []
    return LanFacts(table_of(hosts), UnicastDns(servers, timeout=0.5), mdns, forced=forced)


def failure(lan: LanFacts, name: str) -> str:
    """Return what the error says."""
    with pytest.raises(DnsFailed) as caught:
        lan.resolve(name)
    assert caught.value.identifier == names.dns(name)
    return caught.value.detail


def test_is_the_rules_port(server: NameServer) -> None:
    """LanFacts fills core.ports.Lan."""
    lan: Lan = facts(server)
    assert [host.address for host in lan.hosts_named("printer.local")] == ["192.168.1.20"]
    assert len(lan.hosts_at("192.168.1.20")) == 1
    assert lan.mac_of("192.168.1.20") is None
    assert lan.is_own(ipaddress.ip_address("127.0.0.1"))
    assert all(isinstance(scope, int) for scope in facts(server).link_scopes())


def test_tables_first(server: NameServer) -> None:
    """A name that a table has is asked nowhere else."""
    mdns = Rumour()
    found = facts(server, mdns=mdns).resolve("printer.lan")
    assert found.addresses == ("192.168.1.20", "fd00::20")
    assert (found.source, found.conflict) == ("hosts file test", None)
    assert server.asked == mdns.asked == []


def test_then_the_resolver(server: NameServer) -> None:
    """A name that no table has is asked of the resolver; IPv6 first; CNAMEs are followed."""
    mdns = Rumour()
    lan = facts(server, mdns=mdns)
    found = lan.resolve("nas.lan")
    assert found.addresses == ("fd00::30", "192.168.1.30")
    assert found.source == f"the resolver 127.0.0.1 port {server.port}"
    assert lan.resolve("www.lan").addresses == ("192.168.1.30",)
    assert mdns.asked == []


def test_results_are_bounded(server: NameServer) -> None:
    """At most 16 addresses; a public one is passed on, for the rules to refuse by name."""
    assert len(facts(server).resolve("many.lan").addresses) == MAX_ADDRESSES
    assert facts(server).resolve("out.lan").addresses == ("8.8.8.8",)
    hosts = "".join(f"10.0.0.{number} printer.lan\n" for number in range(40))
    assert len(facts(server, hosts=hosts).resolve("printer.lan").addresses) == MAX_ADDRESSES


def test_local_is_never_asked_of_the_resolver(server: NameServer) -> None:
    """RFC 6762: `.local` is multicast's; the resolver would send it to strangers."""
    mdns = hearing({"192.168.1.40": ("fe80::40", "192.168.1.40")})
    found = facts(server, mdns=mdns).resolve("nas.local")
    assert found.addresses == ("192.168.1.40", "fe80::40")
    assert (found.source, found.conflict) == ("multicast DNS", None)
    assert server.asked == []


def test_forced_resolver_is_asked_for_everything(server: NameServer) -> None:
    """As Pebble's -dnsserver: `.local` and names that tables have too, and nothing else is."""
    mdns = Rumour()
    lan = facts(server, mdns=mdns, forced=True)
    assert lan.resolve("nas.local").addresses == ("192.168.1.31",)
    assert lan.txt("_acme-challenge.nas.local") == ["x"]
    assert failure(lan, "printer.lan") == (
        f"printer.lan: the resolver 127.0.0.1 port {server.port} says no such name"
    )
    assert mdns.asked == []


def test_errors_name_each_place(server: NameServer) -> None:
    """R-27: NXDOMAIN is `dns`, and the text says who was asked and what they answered."""
    place = f"the resolver 127.0.0.1 port {server.port}"
    tables = "no lease or hosts entry has this name (asked hosts file test)"
    lan = facts(server)
    assert failure(lan, "gone.lan") == f"gone.lan: {tables}, {place} says no such name"
    empty = f"{place} has no address for this name"
    assert failure(lan, "empty.lan") == f"empty.lan: {tables}, {empty}"
    assert failure(lan, "loose.lan") == f"loose.lan: {tables}, {empty}"
    assert failure(lan, "x.local") == f"x.local: {tables}, multicast DNS is switched off"
    assert failure(facts(None, hosts=""), "a.lan") == "a.lan: no resolver on this LAN is known"
    quiet = facts(server, hosts="", mdns=hearing({}))
    assert failure(quiet, "x.local") == "x.local: nobody answered by multicast DNS on br-lan"


TABLE = "192.168.1.20 printer.local\n"


@pytest.mark.parametrize(
    ("answers", "stranger"),
    [
        ({}, None),
        ({"192.168.1.20": ("192.168.1.20",)}, None),
        # Its own IPv6 addresses, then answers from one of those.
        ({"192.168.1.20": ("192.168.1.20", "fd00::7"), "fd00::7": ("fd00::8",)}, None),
        ({"fd00::8": ("192.168.1.20",), "192.168.1.20": ("fd00::8",)}, None),
        ({"fe80::7": ("192.168.1.20", "fd00::7")}, None),
        # Says nothing about IPv4, and the table nothing about IPv6.
        ({"fe80::66": ("fd00::66",)}, None),
        ({"192.168.1.66": ("192.168.1.66",)}, "192.168.1.66"),
        # A reflector or a sleep proxy only repeats what is known,
        ({"192.168.1.5": ("192.168.1.20",)}, None),
        (
            {
                "192.168.1.20": ("192.168.1.20", "fd00::7"),
                "192.168.1.5": ("192.168.1.20", "fd00::7"),
            },
            None,
        ),
        # which makes it no better known for what else comes from it.
        ({"192.168.1.5": ("192.168.1.20",), "fe80::5": ("192.168.1.5",)}, "fe80::5"),
        ({"192.168.1.5": ("192.168.1.20", "fd00::5")}, "192.168.1.5"),
        # Adding the right address does not hide a rival.
        ({"192.168.1.66": ("192.168.1.66", "192.168.1.20")}, "192.168.1.66"),
        ({"192.168.1.20": ("192.168.1.20",), "fe80::66": ("192.168.1.66",)}, "fe80::66"),
    ],
)
def test_conflict_with_the_table(answers: dict[str, tuple[str, ...]], stranger: str | None) -> None:
    """Specs 6: the table decides where it leads, and who else answers is a conflict."""
    found = facts(None, hosts=TABLE, mdns=hearing(answers)).resolve("printer.local")
    assert found.addresses == ("192.168.1.20",)
    if stranger is None:
        assert found.conflict is None
    else:
        assert found.conflict is not None
        assert found.conflict.startswith(
            "two answers for printer.local: the hosts file test says 192.168.1.20, but by "
            f"multicast DNS the device {stranger} answers "
        )


@pytest.mark.parametrize(
    ("answers", "rivals"),
    [
        ({"192.168.1.20": ("192.168.1.20", "fd00::20"), "fe80::20": ("fd00::20",)}, False),
        # One device by two families, each telling its own half.
        ({"192.168.1.20": ("192.168.1.20",), "fe80::20": ("fd00::20",)}, False),
        ({"192.168.1.20": ("192.168.1.20",), "192.168.1.66": ("192.168.1.66",)}, True),
        ({"fe80::20": ("fd00::20",), "fe80::66": ("fd00::66",)}, True),
    ],
)
def test_two_devices_by_multicast(answers: dict[str, tuple[str, ...]], rivals: bool) -> None:
    """Two devices that share no address under one name are a conflict without any table."""
    found = facts(None, hosts="", mdns=hearing(answers)).resolve("printer.local")
    assert (found.conflict is not None) == rivals


def test_no_detector_without_multicast(server: NameServer) -> None:
    """Multicast DNS can be switched off; then the table alone says it."""
    assert facts(server).resolve("printer.local").conflict is None


def test_txt(server: NameServer) -> None:
    """R-28: strings of a record joined, all records given; none is [], no name is `dns`."""
    lan = facts(server)
    assert sorted(lan.txt("_acme-challenge.nas.lan")) == ["onetwo", "three"]
    assert lan.txt("empty.lan") == []
    with pytest.raises(DnsFailed, match=r"_acme-challenge\.gone\.lan: .* says no such name"):
        lan.txt("_acme-challenge.gone.lan")
    with pytest.raises(DnsFailed, match="no resolver on this LAN is known"):
        facts(None).txt("_acme-challenge.nas.lan")


def test_txt_of_local(server: NameServer) -> None:
    """R-28: useless for `.local`, said before anybody is asked."""
    with pytest.raises(DnsFailed, match="use http-01 or tls-alpn-01"):
        facts(server).txt("_acme-challenge.nas.local")
    assert server.asked == []


def test_caa(server: NameServer) -> None:
    """RFC 8659: the nearest records count; `;` allows nobody; no records, no answer, no limit."""
    lan = facts(server)
    assert lan.caa("nas.lan") == lan.caa("a.b.lan") == ["ca.lan"]
    assert lan.caa("shut.lan") == [""]
    assert lan.caa("nas.internal") == lan.caa("nas.local") == facts(None).caa("nas.lan") == []
    assert facts(server, forced=True).caa("nas.local") == []
    assert "local" not in " ".join(server.asked[:-2])


def leased(leases: Path, conf: Path, name: str) -> tuple[list[str], str, list[str]]:
    """On the router: resolve, and return addresses, source and every address sent to."""
    sent: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            assert isinstance(address, tuple)
            sent.append(str(address[0]))

    sys.addaudithook(hook)
    tables = Tables([leases], [], ["lan"], FakeClock(0), FakeEvents())
    unicast = UnicastDns(system_servers(conf), timeout=0.5)
    lan = LanFacts(tables, unicast, MulticastDns(window=0.2))
    try:
        found = lan.resolve(name)
        lan.caa(name)
    except DnsFailed as error:
        return [], error.detail, sent
    mac = lan.mac_of(found.addresses[0]) or ""
    return list(found.addresses), f"{found.source} {mac}", sent


DNSMASQ = """\
interface=br-lan
bind-interfaces
no-resolv
no-hosts
user=root
pid-file=
domain=lan
local=/lan/
dhcp-authoritative
no-ping
dhcp-range=192.168.1.100,192.168.1.150,12h
host-record=static.lan,192.168.1.77
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Path]]:
    """A router with dnsmasq, and a device that got its lease from it."""
    work = tmp_path_factory.mktemp("dnsmasq")
    (work / "conf").write_text(DNSMASQ + f"dhcp-leasefile={work}/leases\n")
    (work / "resolv.conf").write_text("nameserver 8.8.8.8\nnameserver 192.168.1.1\n")
    with Network() as network:
        network.router("router", "192.168.1.1/24")
        network.host("printer")
        network.settle()
        network.start(
            "router", "dnsmasq", "-k", f"--conf-file={work / 'conf'}", log=work / "dnsmasq.log"
        )
        hello = ("-n", "-q", "-t", "8", "-T", "1", "-s", "/bin/true", "-x", "hostname:Printer")
        network.run("printer", "busybox", "udhcpc", "-i", "eth0", *hello)
        yield network, work


def test_a_real_lease(home: tuple[Network, Path]) -> None:
    """dnsmasq writes the lease, we read it: the name in both domains, its address and MAC."""
    network, work = home
    mac = network.run("printer", "ip", "-o", "link", "show", "eth0").split("link/ether ")[1][:17]
    for name in ("printer.lan", "printer.local"):
        addresses, source, _ = network.call(
            "router", leased, work / "leases", work / "resolv.conf", name
        )
        assert ipaddress.ip_address(addresses[0]) in ipaddress.ip_network("192.168.1.0/24")
        assert source == f"lease file {work}/leases {mac}"


def test_real_dnsmasq_and_no_public_resolver(home: tuple[Network, Path]) -> None:
    """Design decision 4: with 8.8.8.8 first in resolv.conf, nothing is sent to it."""
    network, work = home

    def call(name: str) -> tuple[list[str], str, list[str]]:
        return network.call("router", leased, work / "leases", work / "resolv.conf", name)

    addresses, source, sent = call("static.lan")
    assert (addresses, source) == (["192.168.1.77"], "the resolver 192.168.1.1 ")
    assert set(sent) == {"192.168.1.1"}
    _, said, sent = call("nobody.lan")
    assert said == (
        f"nobody.lan: no lease or hosts entry has this name (asked lease file {work}/leases), "
        "the resolver 192.168.1.1 says no such name"
    )
    assert set(sent) == {"192.168.1.1"}
    _, _, sent = call("nobody.local")
    assert set(sent) == {"224.0.0.251", "ff02::fb"}

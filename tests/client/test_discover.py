"""Discovery: the order of the sources, what a conflict does, and what is never asked."""

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import dns.message
import pytest

from acmeiot.client import discover as module
from acmeiot.client.discover import Candidate, Search, discover
from acmeiot.client.errors import AgentError
from acmeiot.client.locate import first
from acmeiot.lan.unicast import Reply, Server
from acmeiot.protocol import dhcp, dnssd
from acmeiot.protocol.dhcp import Advertisement
from tests.lan.nameserver import NameServer, records

SERVICE = "_acme-server._tcp.lan"
INSTANCE = r"home\032ca._acme-server._tcp.lan"
DIGEST = bytes(range(32))

Note = tuple[tuple[str, ...], str]  # resolvers, and the name they are asked for


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """The directory of what DHCP clients' hooks saw."""
    (tmp_path / "seen").mkdir()
    return tmp_path / "seen"


def saw(seen: Path, name: str, *lines: str) -> None:
    """Write what one client's hook saw; `name` is INTERFACE.CLIENT."""
    (seen / name).write_text("".join(f"{line}\n" for line in lines))


def v4(
    fqdn: str, path: str | None = None, root: bytes | None = None, port: int | None = None
) -> str:
    """Return the line of a DHCPv4 option 125."""
    return f"v4 125 {dhcp.option125(Advertisement(fqdn, path, root, port)).hex()}"


def v6(fqdn: str) -> str:
    """Return the line of a DHCPv6 option 17."""
    return f"v6 17 {dhcp.option17(Advertisement(fqdn)).hex()}"


class Unasked:
    """A resolver that may not be asked."""

    def ask(self, name: str, _kinds: Sequence[int]) -> str:
        raise AssertionError(f"{name} was asked for")


class Silent:
    """A resolver that never answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, name: str, _kinds: Sequence[int]) -> str:
        self.asked.append(name)
        return "did not answer"


class Asked(Silent):
    """Notes each question, and says that there is no such name."""

    def __init__(self, servers: tuple[str, ...], notes: list[Note]) -> None:
        super().__init__()
        self.servers, self.notes = servers, notes

    def ask(self, name: str, kinds: Sequence[int]) -> str:
        self.notes.append((self.servers, name))
        return "says nothing"


class Nothing:
    """A resolver that knows nothing."""

    def ask(self, name: str, _kinds: Sequence[int]) -> Reply:
        return Reply((), f"no {name} here", exists=False)


def serving(*values: str) -> NameServer:
    """Return a name server with these records, and no other names."""

    def answer(question: dns.message.Message) -> bytes:
        return records(question, *values).to_wire()

    return NameServer(answer)


def search(seen: Path, server: NameServer, *domains: str) -> Search:
    """Return a search at one resolver."""
    where = (Server(ip_address("127.0.0.1"), server.port),)
    return Search(sightings=seen, resolvers=where, domains=domains or ("lan",))


def silent(tmp_path: Path) -> Path:
    """Return a resolv.conf that names nobody."""
    (tmp_path / "resolv.conf").touch()
    return tmp_path / "resolv.conf"


# -- DHCP


def test_dhcp_is_first(seen: Path) -> None:
    """A-3.1-1: what DHCP tells whole is all that is needed, no resolver is asked."""
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", "dns 192.168.1.1", "domain lan",
        v4("router.lan", "/acme/directory", DIGEST, 8555))  # fmt: skip
    found = discover(Search(sightings=seen), dns=lambda _: Unasked())
    assert found.winner == Candidate(
        "router.lan",
        8555,
        "/acme/directory",
        DIGEST.hex(),
        "dhcp",
        "DHCP option 125 from 192.168.1.1 (udhcpc on eth0)",
        "eth0",
        (Server(ip_address("192.168.1.1")),),
    )
    assert found.candidates == (found.winner,)
    assert found.conflict is None


def test_every_source(seen: Path, tmp_path: Path) -> None:
    """Asked for, DNS-SD is told of as well; DHCP still wins (A-3.1-1)."""
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", v4("dhcp.lan", "/d", DIGEST, 8555))
    with serving(f"{SERVICE} SRV 0 0 443 srv.lan.") as server:
        asked = replace(search(seen, server), every_source=True)
        found = discover(asked, resolv_conf=silent(tmp_path))
    assert [one.host for one in found.candidates] == ["dhcp.lan", "srv.lan"]


def test_dhcpv6(seen: Path, tmp_path: Path) -> None:
    """A-3.1-1: IPv6, too."""
    saw(seen, "eth0.odhcp6c", "server fe80::1", v6("router.lan"))
    found = discover(Search(sightings=seen), resolv_conf=silent(tmp_path))
    assert (found.winner.host, found.winner.kind) == ("router.lan", "dhcp")
    assert found.winner.source.startswith("DHCPv6 option 17 from fe80::1")


@pytest.mark.parametrize(
    ("line", "numbers", "option"),
    [
        ("v4 60 0000d83d0a726f757465722e6c616e", (), "60"),  # A-3.1-2
        ("v4 125 0000d83d0c010a726f757465722e6c616e", (), "125"),
        ("v4 224 726f757465722e6c616e", (224,), "224"),
        ("fqdn router.lan", (), ""),
    ],
)
def test_forms(
    seen: Path, tmp_path: Path, line: str, numbers: tuple[int, ...], option: str
) -> None:
    """A-3.1-2: whatever form the client showed; the answer says which."""
    saw(seen, "eth0.dhclient", "server 192.168.1.1", line)
    searched = Search(sightings=seen, numbers=numbers)
    found = discover(searched, dns=lambda _: Silent(), resolv_conf=silent(tmp_path))
    assert found.winner.host == "router.lan"
    assert f"option {option}".strip() in found.winner.source


def test_private_number_is_not_believed_unasked(seen: Path, tmp_path: Path) -> None:
    saw(seen, "eth0.networkmanager", "v4 224 726f757465722e6c616e")
    found = discover(Search(sightings=seen), resolv_conf=silent(tmp_path))
    with pytest.raises(AgentError, match="no option names an ACME server"):
        _ = found.winner


def test_two_clients_that_agree(seen: Path) -> None:
    """The second one adds what the first did not say."""
    saw(seen, "eth0.dhclient", "server 192.168.1.1", v4("router.lan"))
    saw(seen, "eth0.odhcp6c", "server fe80::1", v6("router.lan"))
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", v4("router.lan", "/d", DIGEST, 8555))
    found = discover(Search(sightings=seen), dns=lambda _: Unasked())
    (one,) = found.candidates
    assert (one.host, one.port, one.path, one.root) == ("router.lan", 8555, "/d", DIGEST.hex())
    assert len([text for text in found.tried if "router.lan" in text]) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (v4("router.lan"), v4("rogue.lan")),
        (v4("router.lan"), v6("rogue.lan")),
        (v4("router.lan", None, DIGEST), v4("router.lan", None, DIGEST[::-1])),
        (v4("router.lan", None, None, 8555), v4("router.lan", None, None, 8556)),
        (v4("router.lan", "/a"), v4("router.lan", "/b")),
        (v4("router.lan"), "fqdn rogue.lan"),
    ],
)
@pytest.mark.parametrize("every_source", [False, True])
def test_conflict(seen: Path, one: str, other: str, every_source: bool) -> None:
    """Two DHCP answers that differ: neither is used, and DNS-SD is not even asked (specs 6)."""
    saw(seen, "eth0.dhclient", "server 192.168.1.1", "dns 127.0.0.1", "domain lan", one)
    saw(seen, "eth0.dhcpcd", "server 192.168.1.66", other)
    searched = Search(sightings=seen, every_source=every_source)
    found = discover(searched, dns=lambda _: Unasked())
    assert found.candidates == ()
    assert len(found.rivals) == 2
    assert found.conflict is not None
    for part in ("eth0", "192.168.1.1", "192.168.1.66", "router.lan"):
        assert part in found.conflict
    with pytest.raises(AgentError, match="name different servers"):
        first(found)


def test_two_interfaces_are_two_networks(seen: Path) -> None:
    """Different servers there are no conflict; one interface sees its own only."""
    saw(seen, "eth0.udhcpc", "dns 192.168.1.1", v4("router.lan", None, None, 8555))
    saw(seen, "wlan0.udhcpc", "dns 10.0.0.1", v4("other.home.arpa", None, None, 443))
    found = discover(Search(sightings=seen), dns=lambda _: Unasked())
    assert found.conflict is None
    assert [(one.host, one.interface) for one in found.candidates] == [
        ("router.lan", "eth0"),
        ("other.home.arpa", "wlan0"),
    ]
    assert [one.resolvers for one in found.candidates] == [
        (Server(ip_address("192.168.1.1")),),
        (Server(ip_address("10.0.0.1")),),
    ]
    only = discover(Search(sightings=seen, interface="wlan0"), dns=lambda _: Unasked())
    assert [one.host for one in only.candidates] == ["other.home.arpa"]


@pytest.mark.parametrize(
    "line",
    ["v4 125 0000d83d", "v4 60 4d53465420352e30", "v6 17 0000d83d0001", "v4 125 00000de9020101"],
)
def test_options_of_others_are_passed_by(seen: Path, tmp_path: Path, line: str) -> None:
    """What names no server leads on to DNS-SD, and stands among what was tried."""
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", line)
    with serving(f"{SERVICE} SRV 0 0 8555 router.lan.") as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
    assert found.winner.kind == "srv"
    assert any("no option names an ACME server" in text for text in found.tried)


def test_name_that_a_script_left(seen: Path, tmp_path: Path) -> None:
    """A full name is wanted, from a client that decodes the option itself, too."""
    saw(seen, "eth0.script", "fqdn router")
    found = discover(Search(sightings=seen), resolv_conf=silent(tmp_path))
    assert found.candidates == ()
    assert any("router is not a full name" in text for text in found.tried)


# -- DNS-SD


def test_srv_is_second(seen: Path, tmp_path: Path) -> None:
    """A-3.1-3, A-5.2-1: without DHCP the SRV record; its port counts, and no TXT is needed."""
    with serving(f"{SERVICE} SRV 0 0 8555 Router.LAN.") as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
        assert server.asked == [f"udp {SERVICE}. IN SRV", f"udp {SERVICE}. IN TXT"]
    won = found.winner
    assert (won.host, won.port, won.path, won.root, won.kind) == (
        *("router.lan", 8555, None, None),
        "srv",
    )
    assert won.source == f"SRV record {SERVICE} (the resolver 127.0.0.1 port {server.port})"
    assert won.resolvers == (Server(ip_address("127.0.0.1"), server.port),)


def test_srv_in_order(seen: Path, tmp_path: Path) -> None:
    """RFC 2782: by priority, then by weight; a target of `.` is no service."""
    with serving(
        f"{SERVICE} SRV 20 0 1 third.lan.",
        f"{SERVICE} SRV 10 1 2 second.lan.",
        f"{SERVICE} SRV 10 9 3 first.lan.",
        f"{SERVICE} SRV 0 0 4 .",
        f"{SERVICE} SRV 0 0 0 noport.lan.",
        f"{SERVICE} SRV 0 0 5 under_score.lan.",
        f"{SERVICE} SRV 0 0 5 single.",
    ) as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
    assert [one.host for one in found.candidates] == ["first.lan", "second.lan", "third.lan"]
    assert any("under_score" in text and "not a host label" in text for text in found.tried)


def test_ptr_is_third(seen: Path, tmp_path: Path) -> None:
    """The walk of RFC 6763: PTR, then SRV and TXT of the instance (specs 3.3)."""
    with serving(
        f"{SERVICE} PTR Home\\032CA.{SERVICE}.",
        f"{INSTANCE} SRV 0 0 8555 router.lan.",
        f'{INSTANCE} TXT "txtvers=1" "Path=/acme/directory" "i=dns" "fp={DIGEST.hex()}"',
    ) as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
        assert [one.split(" IN ")[1] for one in server.asked] == ["SRV", "TXT", "PTR", "SRV", "TXT"]
    won = found.winner
    assert (won.host, won.port, won.path, won.root, won.kind) == (
        *("router.lan", 8555, "/acme/directory", DIGEST.hex()),
        "ptr",
    )


def test_records_that_we_publish(seen: Path, tmp_path: Path) -> None:
    """SRV wins over PTR; asked for all, the instance is there as well."""
    published = dnssd.records("lan", "router.lan", 8555, "/acme/directory", DIGEST.hex())
    lines = [f"{one.name.rstrip('.')} {one.type} {one.data}" for one in published]
    with serving(*lines) as server:
        asked = search(seen, server)
        found = discover(asked, resolv_conf=silent(tmp_path))
        every = discover(replace(asked, every_source=True), resolv_conf=silent(tmp_path))
    assert [one.kind for one in found.candidates] == ["srv"]
    assert [one.kind for one in every.candidates] == ["srv", "ptr"]
    assert {one.port for one in every.candidates} == {8555}


@pytest.mark.parametrize("where", ["Evil._other._tcp.lan.", "x._acme-server._tcp.evil.com."])
def test_ptr_stays_in_its_domain(seen: Path, tmp_path: Path, where: str) -> None:
    with serving(f"{SERVICE} PTR {where}", f"{where.rstrip('.')} SRV 0 0 1 evil.lan.") as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
    assert found.candidates == ()
    assert any("is no instance" in text for text in found.tried)


def test_many_instances_are_few_questions(seen: Path, tmp_path: Path) -> None:
    """A resolver cannot keep us asking."""
    many = [f"{SERVICE} PTR i{n}.{SERVICE}." for n in range(40)]
    with serving(*many) as server:
        discover(search(seen, server), resolv_conf=silent(tmp_path))
        assert len(server.asked) <= 3 + 2 * 8


def test_plain_name_gets_the_port_of_its_srv(seen: Path, tmp_path: Path) -> None:
    """A DHCP option with a name alone: the SRV record of that host tells the rest."""
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", v4("router.lan"))
    with serving(
        f"{SERVICE} SRV 0 0 9999 elsewhere.lan.", f"{SERVICE} SRV 5 0 8443 router.lan."
    ) as server:
        found = discover(search(seen, server), resolv_conf=silent(tmp_path))
    assert (found.winner.host, found.winner.port, found.winner.kind) == ("router.lan", 8443, "dhcp")


@pytest.mark.parametrize("domains", [("local",), ("home.local",), ("Local.", "lan")])
def test_local_is_never_asked_for(seen: Path, tmp_path: Path, domains: tuple[str, ...]) -> None:
    """A-3.1-4: a stub resolver would pass the question on to multicast DNS."""
    with serving(f"{SERVICE} SRV 0 0 1 router.lan.") as server:
        found = discover(search(seen, server, *domains), resolv_conf=silent(tmp_path))
        assert not [one for one in server.asked if "local" in one.lower()]
    assert any("multicast DNS's" in text for text in found.tried)


def test_dead_resolver_is_asked_once(seen: Path) -> None:
    """Each further question would wait as long."""
    asker = Silent()
    searched = Search(
        sightings=seen, resolvers=(Server(ip_address("127.0.0.1")),), domains=("lan", "home.arpa")
    )
    found = discover(searched, dns=lambda _: asker)
    assert asker.asked == [SERVICE]
    with pytest.raises(AgentError, match="did not answer"):
        _ = found.winner


def where_asked(searched: Search, resolv_conf: Path) -> list[Note]:
    """Return which resolvers a search asks, and for which domains."""
    notes: list[Note] = []

    def dns(servers: Sequence[Server]) -> Asked:
        return Asked(tuple(str(one) for one in servers), notes)

    discover(searched, dns=dns, resolv_conf=resolv_conf)
    return [(servers, name.removeprefix("_acme-server._tcp.")) for servers, name in notes]


def test_domains_and_resolvers_of_the_interface(seen: Path, tmp_path: Path) -> None:
    """DHCP 15, 119 and 24 before resolv.conf; only resolvers on this LAN."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "domain x.example\nsearch other.example\nnameserver 10.0.0.53\nnameserver 192.168.1.53\n"
    )
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", "domain Home.Arpa.",
        "dns 8.8.8.8", "dns 192.168.1.53")  # fmt: skip
    assert where_asked(Search(sightings=seen, interface="eth0"), conf) == [
        (("192.168.1.53",), "home.arpa")
    ]
    assert where_asked(Search(sightings=seen), conf) == [
        (("192.168.1.53",), "home.arpa"),
        (("10.0.0.53",), "other.example"),
    ]
    assert where_asked(Search(sightings=seen, interface="wlan0"), conf) == [
        (("10.0.0.53", "192.168.1.53"), "other.example")
    ]
    (seen / "eth0.udhcpc").unlink()
    assert where_asked(Search(sightings=seen, interface="eth0", domains=("lan",)), conf) == [
        (("10.0.0.53", "192.168.1.53"), "lan")
    ]


def test_router_is_asked_where_dhcp_names_a_public_resolver(seen: Path, tmp_path: Path) -> None:
    """Nothing is asked beyond the LAN, not even where to look (decision 4)."""
    saw(seen, "eth0.udhcpc", "server 192.168.1.1", "domain lan", "dns 8.8.8.8", "dns 1.1.1.1")
    assert where_asked(Search(sightings=seen), silent(tmp_path)) == [(("192.168.1.1",), "lan")]
    saw(seen, "eth0.udhcpc", "domain lan", "dns 8.8.8.8")
    assert where_asked(Search(sightings=seen), silent(tmp_path)) == []


def test_nowhere_to_ask(seen: Path, tmp_path: Path) -> None:
    """Which of the two is missing is said, and how to give it."""
    conf = tmp_path / "resolv.conf"
    for text, why in (
        ("nameserver 8.8.8.8\nsearch lan\n", "no resolver on this LAN is known (--resolver"),
        ("nameserver 10.0.0.1\n", "no domain to ask for is known (--domain"),
    ):
        conf.write_text(text)
        found = discover(Search(sightings=seen), dns=lambda _: Unasked(), resolv_conf=conf)
        with pytest.raises(AgentError, match=re.escape(why)):
            _ = found.winner


def test_bounded_domains(seen: Path, tmp_path: Path) -> None:
    asked = Search(
        sightings=seen,
        resolvers=(Server(ip_address("127.0.0.1")),),
        domains=("a b", "x" * 64, ".", ".".join(["x" * 60] * 4), *(f"d{n}" for n in range(40))),
    )
    found = discover(asked, dns=lambda _: Nothing(), resolv_conf=silent(tmp_path))
    assert len([text for text in found.tried if text.startswith("SRV ")]) == module.MAX_DOMAINS
    assert any("'a b'" in text for text in found.tried)

"""Discovery in a network of its own: a real dnsmasq, somebody who lies, and all that is sent."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acmeiot.client.discover import Discovery, Search, discover
from acmeiot.client.errors import AgentError
from acmeiot.client.locate import first
from acmeiot.lan import unicast
from acmeiot.protocol import dhcp
from acmeiot.protocol.dhcp import Advertisement
from tests.client import dnsmasq
from tests.lan.network import Network

ROUTER, SECOND, THIRD, LIAR = (f"192.168.1.{n}" for n in (1, 2, 3, 66))
SERVICE = "_acme-server._tcp"
RANGE = "dhcp-range=192.168.1.100,192.168.1.150,1h"
NAMES = (
    "domain=lan",
    "local=/lan/local/",
    f"address=/router.lan/{ROUTER}",
    f"address=/dhcp.lan/{SECOND}",
    f"address=/srv.lan/{THIRD}",
)


@pytest.fixture
def lan() -> Iterator[Network]:
    """A router with three addresses, a laptop, and a place for somebody else."""
    with Network() as made:
        made.router("router", f"{ROUTER}/24", f"{SECOND}/24", f"{THIRD}/24", "fd00::1/64")
        made.host("laptop", "192.168.1.20/24")
        made.settle()
        yield made


@pytest.fixture
def sniffed(lan: Network, tmp_path: Path) -> Path:
    """What goes over the laptop's interfaces, and a liar on the link."""
    lan.host("liar", f"{LIAR}/24")
    log, lies = tmp_path / "sniffed", tmp_path / "lies"
    lan.start("laptop", sys.executable, "-m", "tests.client.sniffer", log=log)
    lan.start("liar", sys.executable, "-m", "tests.client.liar", LIAR, log=lies)
    dnsmasq.wait_for(log, "sniffing")
    dnsmasq.wait_for(lies, "lying")
    dnsmasq.wait_for(log, "mdns heard 5353 to 5353")  # the lies do arrive
    return log


def resolv_conf(tmp_path: Path, text: str = f"nameserver {ROUTER}\nsearch lan\n") -> Path:
    """Write what the laptop has for resolv.conf."""
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    return path


def searching(searched: Search, conf: Path) -> tuple[Discovery, list[str]]:
    """Discover and look for the server; return with it all addresses that sockets were given."""
    touched: list[str] = []

    def note(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
            touched.append(f"{event} {args[1]}")

    sys.addaudithook(note)
    found = discover(searched, resolv_conf=conf)
    with contextlib.suppress(AgentError):
        first(found)
    return found, touched


def greetings(lan: Network, tmp_path: Path) -> Path:
    """Listen on port 443 of every address of the router."""
    log = tmp_path / "greeted"
    words = ("-m", "tests.client.greeted", "443", ROUTER, SECOND, THIRD, "fd00::1")
    lan.start("router", sys.executable, *words, log=log)
    dnsmasq.wait_for(log, "ready")
    return log


def hellos(log: Path) -> set[str]:
    return {line for line in log.read_text().splitlines() if line.startswith("hello")}


def test_dhcp_wins_over_dns(lan: Network, tmp_path: Path) -> None:
    """A-3.1-1: with different names in both, the DHCP one's host gets the ClientHello."""
    ad = Advertisement("dhcp.lan")
    srv = f"srv-host={SERVICE}.lan,srv.lan,443"
    lines = (RANGE, *NAMES, dnsmasq.raw(125, dhcp.option125(ad)), srv)
    dnsmasq.start(lan, "router", tmp_path / "dns", *lines)
    log = greetings(lan, tmp_path)
    conf = resolv_conf(tmp_path)
    both = Search(sightings=tmp_path / "none", probe=True, every_source=True)
    found, _ = lan.call("laptop", searching, both, conf)
    assert [(one.host, one.kind) for one in found.candidates] == [
        ("dhcp.lan", "dhcp"),
        ("srv.lan", "srv"),
    ]
    assert hellos(log) == {f"hello {SECOND} dhcp.lan"}


def test_dhcpv6_wins_over_dns(lan: Network, tmp_path: Path) -> None:
    """A-3.1-1: the same where there is only DHCPv6, and the host has an IPv6 address."""
    lan.run("laptop", "ip", "address", "flush", "dev", "eth0", "scope", "global")
    lan.run("laptop", "ip", "address", "add", "fd00::20/64", "dev", "eth0", "nodad")
    option = dhcp.option17(Advertisement("dhcp.lan", port=443)).hex(":")
    dnsmasq.start(
        *(lan, "router", tmp_path / "dns", "dhcp-range=fd00::,ra-stateless", "domain=lan"),
        *("local=/lan/", "address=/dhcp.lan/fd00::1", f"dhcp-option-force=option6:17,{option}"),
        "dhcp-option=option6:dns-server,[fd00::1]",
        f"srv-host={SERVICE}.lan,srv.lan,443",
    )
    log = greetings(lan, tmp_path)
    only = Search(sightings=tmp_path / "none", probe=True)
    found, _ = lan.call("laptop", searching, only, resolv_conf(tmp_path, ""))
    assert [(one.host, one.source.split(" from ")[0]) for one in found.candidates] == [
        ("dhcp.lan", "DHCPv6 option 17")
    ]
    assert hellos(log) == {"hello fd00::1 dhcp.lan"}


def test_srv_record(lan: Network, sniffed: Path, tmp_path: Path) -> None:
    """A-3.1-3, A-5.2-1: no option, but an SRV record; its port is where the hello goes."""
    dnsmasq.start(
        lan, "router", tmp_path / "dns", *NAMES, f"srv-host={SERVICE}.lan,srv.lan,443,0,0"
    )
    log = greetings(lan, tmp_path)
    searched = Search(sightings=tmp_path / "none")
    found, touched = lan.call("laptop", searching, searched, resolv_conf(tmp_path))
    assert (found.winner.host, found.winner.port, found.winner.kind) == ("srv.lan", 443, "srv")
    assert hellos(log) == {f"hello {THIRD} srv.lan"}
    check_quiet(sniffed, touched)


def test_ptr_walk(lan: Network, tmp_path: Path) -> None:
    """The instance of a real resolver, with a blank in its name, and its TXT record."""
    instance = f"Home CA.{SERVICE}.lan"
    digest = "ab" * 32
    dnsmasq.start(
        *(lan, "router", tmp_path / "dns", *NAMES),
        f'ptr-record={SERVICE}.lan,"{instance}"',
        f'srv-host="{instance}",router.lan,8555',
        f'txt-record="{instance}",path=/acme/directory,"i=dns,ip",fp={digest}',
    )
    conf = resolv_conf(tmp_path)
    found = lan.call("laptop", discover, Search(sightings=tmp_path / "none"), resolv_conf=conf)
    won = found.winner
    assert (won.kind, won.host, won.port) == ("ptr", "router.lan", 8555)
    assert (won.path, won.root) == ("/acme/directory", digest)


@pytest.mark.parametrize(
    "conf",
    [
        f"nameserver {ROUTER}\nsearch lan local\n",  # it knows no such service
        "nameserver 192.168.1.99\nsearch lan\n",  # there is nobody
        f"nameserver {SECOND}\nsearch lan\n",  # nothing listens there
        "",
    ],
)
def test_never_multicast(lan: Network, sniffed: Path, tmp_path: Path, conf: str) -> None:
    """A-3.1-4: nothing is sent to port 5353, however DNS fails, and no lie is believed."""
    plain = (f"listen-address={ROUTER}", *NAMES)
    dnsmasq.start(lan, "router", tmp_path / "dns", *plain)
    searched = Search(sightings=tmp_path / "none", every_source=True, domains=("local", "lan"))
    found, touched = lan.call("laptop", searching, searched, resolv_conf(tmp_path, conf))
    assert found.candidates == ()
    assert "evil" not in str(found)
    check_quiet(sniffed, touched)


def check_quiet(sniffed: Path, touched: list[str]) -> None:
    """Check that the laptop never spoke multicast DNS, and held no socket that could hear it."""
    assert [line for line in sniffed.read_text().splitlines() if line.startswith("mdns sent")] == []
    assert [one for one in touched if "5353" in one or "224.0.0" in one or "ff02" in one] == []


def test_sniffer_would_see_it(lan: Network, sniffed: Path) -> None:
    """The test above can fail."""
    lan.call("laptop", send, "224.0.0.251", 5353)
    dnsmasq.wait_for(sniffed, "mdns sent")


def send(address: str, port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.168.1.20"))
        udp.sendto(b"x", (address, port))


def test_rogue_dhcp_server(lan: Network, tmp_path: Path) -> None:
    """Two servers answer and disagree: a conflict that names both, and DNS is not asked."""
    lan.host("rogue", f"{LIAR}/24")
    srv = f"srv-host={SERVICE}.lan,srv.lan,443"
    ours, theirs = (dnsmasq.raw(125, dhcp.option125(Advertisement(n))) for n in ("a.lan", "b.lan"))
    log = dnsmasq.start(lan, "router", tmp_path / "dns", RANGE, *NAMES, ours, srv, "log-queries")
    dnsmasq.start(lan, "rogue", tmp_path / "rogue", RANGE, theirs, interface="eth0")
    searched = Search(sightings=tmp_path / "none", probe=True, every_source=True)
    found, _ = lan.call("laptop", searching, searched, resolv_conf(tmp_path))
    assert found.candidates == ()
    assert {one.host for one in found.rivals} == {"a.lan", "b.lan"}
    assert found.conflict is not None
    assert ROUTER in found.conflict
    assert LIAR in found.conflict
    assert "query[" not in log.read_text()


def test_resolver_of_the_lan_only(lan: Network, tmp_path: Path) -> None:
    """A public resolver in resolv.conf is not asked."""
    conf = resolv_conf(tmp_path, "nameserver 8.8.8.8\nsearch lan\n")
    found, touched = lan.call("laptop", searching, Search(sightings=tmp_path / "none"), conf)
    assert found.candidates == ()
    assert touched == []
    assert unicast.system_servers(conf) == ()

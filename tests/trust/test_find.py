"""From a DHCP answer to the root that this project's own server shows, over a real handshake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import dns.message
import pytest

from acmeiot.client.discover import Search
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.lan.unicast import Server
from acmeiot.protocol import dhcp
from acmeiot.trust.decide import Policy
from acmeiot.trust.find import Finder, named
from tests.lan.nameserver import NameServer, records
from tests.trust.fakes import CABLE, Laptop, known_root
from tests.web.running import NAMES, Running

ADDRESSES = (
    "router.lan A 127.0.0.1",
    "router.local A 127.0.0.1",
    "gateway.lan A 127.0.0.1",
    "liar.lan A 127.0.0.1",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server of one home."""
    running = Running(tmp_path_factory.mktemp("home") / "state", (*NAMES, "--allow-loopback"))
    with_start = running.start()
    yield with_start
    running.stop()


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """A LAN whose resolver knows the router, and whose DHCP has said nothing yet."""

    def answer(question: dns.message.Message) -> bytes:
        asked = question.question[0].name.to_text().rstrip(".")
        known = [one for one in ADDRESSES if one.startswith(asked + " ")]
        return records(question, *known).to_wire()

    with NameServer(answer, answer) as resolver:
        yield Search(
            sightings=tmp_path,
            resolvers=(Server(ip_address("127.0.0.1"), resolver.port),),
            domains=("lan",),
        )


def dhcp_says(search: Search, ad: dhcp.Advertisement, client: str = "udhcpc") -> None:
    """Leave what the hook of a DHCP client leaves."""
    lines = ("server 127.0.0.1", f"v4 125 {dhcp.option125(ad).hex()}")
    (search.sightings / f"{CABLE.interface}.{client}").write_text("\n".join(lines) + "\n")


def test_the_root_comes_from_the_handshake(server: Running, search: Search) -> None:
    """A-3.3-1, A-3.3-2: the option names the server, its TLS chain ends in the root."""
    port = server.ports[0]
    dhcp_says(search, dhcp.Advertisement("router.lan", port=port))
    found = Finder(search)(CABLE)
    assert found.shown is not None
    assert found.shown.root.sha256 == server.root_hash
    assert found.shown.url.startswith(f"https://router.lan:{port}/")
    assert "DHCP option 125 from 127.0.0.1" in found.shown.source
    assert found.shown.vouches(known_root(found.shown.root))
    assert found.note is None


def test_a_name_that_is_not_in_the_root_is_a_note(search: Search, tmp_path: Path) -> None:
    """A-3.3-6: whose root it is says its key, not its names."""
    running = Running(tmp_path / "state", (*NAMES, "--allow-loopback")).start()
    running.stop()
    running.arguments = ("--name", "gateway.lan", "--allow-loopback")
    running.start()
    try:
        dhcp_says(search, dhcp.Advertisement("gateway.lan", port=running.ports[0]))
        found = Finder(search)(CABLE)
    finally:
        running.stop()
    assert found.shown is not None
    assert found.shown.root.sha256 == running.root_hash
    assert found.note is not None
    assert "calls its server gateway.lan, its root says router.lan, router.local" in found.note


def test_a_server_under_a_name_that_is_not_its_own(server: Running, search: Search) -> None:
    dhcp_says(search, dhcp.Advertisement("liar.lan", port=server.ports[0]))
    with pytest.raises(AgentError, match=r"liar\.lan"):
        Finder(search)(CABLE)


def test_another_root_than_dhcp_told(server: Running, search: Search) -> None:
    """A-4.2-1."""
    ad = dhcp.Advertisement("router.lan", port=server.ports[0], root=bytes(32))
    dhcp_says(search, ad)
    laptop = Laptop(search.sightings / "state", Policy(mode="tofu"))
    laptop.join(CABLE, Finder(search)(CABLE))
    assert laptop.kinds() == ["refused"]
    assert "announces the root sha256:0000" in laptop.screen[0]
    assert laptop.held == set()
    dhcp_says(search, replace(ad, root=bytes.fromhex(server.root_hash)))
    found = Finder(search)(CABLE)
    assert found.shown is not None
    assert found.shown.told == server.root_hash


def test_two_dhcp_servers_that_differ(server: Running, search: Search) -> None:
    """A-4.2-1: nobody is believed, and DNS-SD is not asked instead."""
    dhcp_says(search, dhcp.Advertisement("router.lan", port=server.ports[0]))
    dhcp_says(search, dhcp.Advertisement("rogue.lan", port=server.ports[0]), "dhcpcd")
    found = Finder(search)(CABLE)
    assert found.shown is None
    assert "name different servers" in str(found.conflict)


def test_nobody_announces_one(search: Search) -> None:
    found = Finder(search)(CABLE)
    assert (found.shown, found.conflict) == (None, None)


@pytest.mark.parametrize("host", ["router.lan", "127.0.0.1"])
def test_a_url_takes_the_place_of_discovery(server: Running, search: Search, host: str) -> None:
    url = f"https://{host}:{server.ports[0]}/acme/directory"
    finder = Finder(search, url)
    found = finder(CABLE)
    assert found.shown is not None
    assert found.shown.root.sha256 == server.root_hash
    assert found.shown.url == url


@pytest.mark.parametrize("url", ["http://router.lan/", "router.lan", "https://", "https://a:b/"])
def test_no_url_of_a_directory(url: str) -> None:
    with pytest.raises(UsageError, match="--directory"):
        named(url)


def test_a_rotated_root_is_vouched_for(search: Search, tmp_path: Path) -> None:
    """A-4.7-2: the server's own succession, over its own chain; old root kept until accepted."""
    running = Running(tmp_path / "state", (*NAMES, "--allow-loopback")).start()
    try:
        dhcp_says(search, dhcp.Advertisement("router.lan", port=running.ports[0]))
        laptop = Laptop(tmp_path / "laptop", Policy(mode="tofu"))
        laptop.now = int((tmp_path / "state").stat().st_mtime)
        before = Finder(search)(CABLE)
        laptop.join(CABLE, before)
        running.admin("rotate")
        running.stop()
        running.start()
        laptop.join(CABLE, Finder(search)(CABLE))
        assert before.shown is not None
        assert laptop.held == {before.shown.root.pem}
        assert laptop.kinds() == ["changed"]
        assert "has signed for the new one" in laptop.failures()[0]
        laptop.agent().accept(CABLE.key, running.root_hash)
        assert len(laptop.held) == 2
    finally:
        running.stop()

"""What the agent sees of its network: the real discovery, on answers that a test leaves."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acmeiot.client.discover import Search
from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network
from acmeiot.device.surroundings import Lan, nameable
from acmeiot.lan import unicast
from acmeiot.protocol import dhcp
from acmeiot.protocol.dhcp import Advertisement
from tests.device.rig import HOME
from tests.web.house import House
from tests.web.running import Running


def saw(folder: Path, client: str, host: str, port: int | None, *, domain: str = "lan") -> None:
    """Leave what a DHCP client's hook leaves."""
    folder.mkdir(exist_ok=True)
    option = dhcp.option125(Advertisement(host, port=port))
    lines = (
        f"client {client}", "interface eth0", "server 192.168.1.1", f"domain {domain}",
        f"v4 125 {option.hex()}",
    )  # fmt: skip
    (folder / f"eth0.{client}").write_text("\n".join(lines) + "\n")


@pytest.fixture
def lan(tmp_path: Path, house: House) -> Lan:
    """A network whose only resolver is the house's."""
    resolver = unicast.Server(ipaddress.ip_address("127.0.0.1"), house.dns_port)
    return Lan(Search(sightings=tmp_path / "dhcp", resolvers=(resolver,)))


def test_it_finds_what_dhcp_told(lan: Lan, server: Running) -> None:
    saw(lan.search.sightings, "udhcpc", "router.lan", server.ports[0])
    found = lan.find(HOME, None)  # A-3.4-1
    assert (found.host, found.port, found.root.sha256) == (
        "router.lan", server.ports[0], server.root_hash,
    )  # fmt: skip
    assert lan.domains(HOME) == ("lan",)


def test_another_interface_told_nothing(lan: Lan, server: Running) -> None:
    saw(lan.search.sightings, "udhcpc", "router.lan", server.ports[0])
    other = Network("wlan0", "52:54:00:00:00:03")
    assert lan.domains(other) == ()
    with pytest.raises(AgentError, match="names no ACME server"):
        lan.find(other, None)


@pytest.mark.parametrize("rogue", ["dhcpcd", "aaa"])  # its file before or after the router's
def test_a_rogue_dhcp_server_keeps_nobody_from_a_known_server(
    lan: Lan, server: Running, rogue: str
) -> None:
    saw(lan.search.sightings, "bbb", "router.lan", server.ports[0])
    saw(lan.search.sightings, rogue, "evil.lan", server.ports[0])
    with pytest.raises(AgentError, match="name different servers"):
        lan.find(HOME, None)  # a stranger believes neither
    found = lan.find(HOME, server.root_hash)
    assert found.host == "router.lan"
    assert found.note is not None
    assert "evil.lan" in found.note
    with pytest.raises(AgentError, match="shows another root") as caught:
        lan.find(HOME, "0" * 64)
    assert "evil.lan" in str(caught.value)


def test_a_directory_takes_the_place_of_discovery(lan: Lan, server: Running) -> None:
    saw(lan.search.sightings, "udhcpc", "evil.lan", 1)
    found = Lan(lan.search, server.directory).find(HOME, None)
    assert found.url == server.directory


def test_a_server_is_found_again_by_its_root_only(lan: Lan, server: Running) -> None:
    assert lan.again(server.directory, server.root_hash).host == urlsplit(server.directory).hostname
    with pytest.raises(AgentError, match="refused"):
        lan.again(server.directory, "0" * 64)


def test_addresses_that_a_certificate_can_name() -> None:
    found = nameable(("192.168.1.20", "fd00::20", "fe80::1%eth0", "169.254.1.1"))
    assert [str(one) for one in found] == ["192.168.1.20", "fd00::20"]

"""This machine's own addresses, against what `ip` set in a network of the test."""

import ipaddress
import socket
from collections.abc import Iterator

import pytest

from acmeiot.lan import interfaces
from tests.lan.network import Network


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A router with two subnets on its LAN, an uplink, and a link that is down."""
    with Network() as made:
        made.router("router", "192.168.1.1/24", "192.168.1.2/24", "fd00::1/64")
        made.run("router", "ip", "link", "add", "wan", "type", "veth", "peer", "isp")
        made.run("router", "ip", "link", "set", "isp", "up")
        made.run("router", "ip", "address", "add", "203.0.113.7/24", "dev", "wan")
        made.run("router", "ip", "link", "set", "wan", "up")
        made.run("router", "ip", "link", "add", "down0", "type", "veth", "peer", "gone")
        made.run("router", "ip", "address", "add", "192.168.7.1/24", "dev", "down0")
        made.host("printer", "192.168.1.20/24")
        made.settle()
        yield made


def own(addresses: list[str]) -> dict[str, bool]:
    """Tell of each address whether it is this machine's."""
    return {each: interfaces.is_own(ipaddress.ip_address(each)) for each in addresses}


def addresses() -> list[str]:
    """Return what the server's certificate could name."""
    return [str(address) for address in interfaces.own_addresses()]


def lan_links() -> list[str]:
    """Return the names of the LAN's interfaces."""
    return [interface.name for interface in interfaces.lan_interfaces()]


def test_is_own(network: Network) -> None:
    """Every address of the machine, secondary, link-local and public ones too; no other."""
    link_local = network.run("router", "ip", "-6", "-o", "address", "show", "dev", "br-lan")
    fe80 = next(word for word in link_local.split() if word.startswith("fe80")).partition("/")[0]
    ours = ["192.168.1.1", "192.168.1.2", "fd00::1", "203.0.113.7", fe80, "127.0.0.1", "127.9.9.9"]
    theirs = ["192.168.1.20", "192.168.1.255", "192.168.1.0", "fd00::2", "fe80::1", "8.8.8.8"]
    expected = dict.fromkeys([*ours, "::1", "0.0.0.0", "::"], True) | dict.fromkeys(theirs, False)
    assert network.call("router", own, list(expected)) == expected


def test_is_own_where_any_address_can_be_bound(network: Network) -> None:
    """Failover daemons set ip_nonlocal_bind; it must not make every device look like this one."""
    network.run("router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind")
    asked = {"192.168.1.1": True, "192.168.1.20": False}
    assert network.call("router", own, list(asked)) == asked


def test_own_addresses(network: Network) -> None:
    """LAN addresses only: no loopback, no link-local IPv6, no public one."""
    expected = {"192.168.1.1", "192.168.1.2", "fd00::1", "192.168.7.1"}
    assert set(network.call("router", addresses)) == expected


def test_lan_interfaces(network: Network) -> None:
    """The bridge; not loopback, the uplink, what is down, or the bridge's own ports."""
    assert network.call("router", lan_links) == ["br-lan"]
    assert network.call("printer", lan_links) == ["eth0"]


def test_here() -> None:
    """The machine that runs the tests agrees with its own list of interfaces."""
    found = {interface.index: interface.name for interface in interfaces.interfaces()}
    assert found == dict(socket.if_nameindex())
    assert own(["127.0.0.1", "203.0.113.99"]) == {"127.0.0.1": True, "203.0.113.99": False}

"""The kernel's neighbour table, against what `ip` put into it and what the kernel found."""

import select
from collections.abc import Iterator

import pytest

from acmeiot.lan import netlink
from tests.lan.fakes import FakeClock, FakeEvents
from tests.lan.network import Network

PRINTER = "52:54:00:00:00:20"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A router, and a printer with static addresses."""
    with Network() as made:
        made.router("router", "192.168.1.1/24", "fd00::1/64")
        made.host("printer", "192.168.1.20/24", "fd00::20/64")
        made.run("printer", "ip", "link", "set", "eth0", "address", PRINTER)
        made.settle()
        yield made


def table() -> dict[str, str]:
    """Return the table of a host."""
    return {each.address: each.mac for each in netlink.neighbours()}


def mac_of(address: str) -> str | None:
    """Return what the server on this host knows of an address without a lease."""
    from acmeiot.lan.neighbours import Tables

    return Tables([], [], ["lan"], FakeClock(), FakeEvents()).mac_of(address)


def add(network: Network, address: str, mac: str, state: str) -> None:
    """Put an entry into the router's table."""
    words = ("replace", address, "lladdr", mac, "dev", "br-lan", "nud", state)
    network.run("router", "ip", "neighbour", *words)


def test_who_spoke_is_known(network: Network) -> None:
    """Whoever just sent a request is in the table, over IPv4 and IPv6 with one MAC."""
    for address in ("192.168.1.1", "fd00::1"):
        network.run("printer", "busybox", "ping", "-c", "1", "-W", "5", address)
    assert network.call("router", mac_of, "192.168.1.20") == PRINTER
    assert network.call("router", mac_of, "fd00::20") == PRINTER


def test_states(network: Network) -> None:
    """Every state in which a MAC answered once counts; no others."""
    for number, state in enumerate(("noarp", "failed", "incomplete"), 200):
        add(network, f"192.168.1.{number}", "52:54:00:00:02:00", state)
    add(network, "192.168.1.210", "00:00:00:00:00:00", "permanent")
    for number, state in enumerate(("permanent", "reachable", "stale", "delay", "probe"), 100):
        add(network, f"192.168.1.{number}", f"52:54:00:00:01:{number - 100:02}", state)
    found = network.call("router", table)
    leased = {address: mac for address, mac in found.items() if ".1.1" in address}
    assert leased == {f"192.168.1.{100 + n}": f"52:54:00:00:01:{n:02}" for n in range(5)}
    assert not [address for address in found if ".1.2" in address and address != "192.168.1.20"]


def quiet() -> bool:
    """Tell whether a socket for changes stays silent while nothing changes."""
    with netlink.changes() as changes:
        return not select.select([changes], [], [], 0.3)[0]


def test_changes(network: Network) -> None:
    """Nothing is said while nothing happens; what is said, the agents' watch tests."""
    assert network.call("printer", quiet)

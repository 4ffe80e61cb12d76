"""Default routers and their MACs in real networks; Wi-Fi from messages built by hand."""

import ipaddress
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acmeiot.lan import router
from acmeiot.lan.router import Wireless, read_wireless
from tests.lan.network import Network

ROUTER = "52:54:00:00:00:01"


@pytest.fixture
def network() -> Iterator[Network]:
    """A router, and a laptop on its LAN that has no route yet."""
    with Network() as made:
        made.router("router", "192.168.1.1/24", "fd00::1/64")
        made.run("router", "ip", "link", "set", "br-lan", "address", ROUTER)
        made.host("laptop", "192.168.1.20/24", "fd00::20/64")
        made.settle()
        yield made


def gateways() -> list[tuple[str, int]]:
    """Return what is found, on a host of the network."""
    return [(str(each.address), each.metric) for each in router.gateways()]


def mac_of(address: str, patience: float = 5.0) -> str | None:
    """Return the MAC of a neighbour at eth0."""
    index = router.gateways()[0].index
    return router.mac_of(index, ipaddress.ip_address(address), patience)


def timed(address: str, patience: float) -> tuple[str | None, float]:
    """Return the MAC of a neighbour, and the seconds it took."""
    start = time.monotonic()
    return mac_of(address, patience), time.monotonic() - start


def state(network: Network, address: str, mac: str, state: str) -> None:
    """Put an entry into the laptop's neighbour table."""
    words = ("replace", address, "lladdr", mac, "dev", "eth0", "nud", state)
    network.run("laptop", "ip", "neighbour", *words)


def route(network: Network, *words: str) -> None:
    """Add a route on the laptop."""
    family = "-6" if "fd00::1" in words and "inet6" not in words else "-4"
    network.run("laptop", "ip", family, "route", "add", *words)


def test_no_default_route(network: Network) -> None:
    """Routes to other prefixes, other tables and dead ends are no way out."""
    route(network, "10.0.0.0/8", "via", "192.168.1.1")
    route(network, "default", "via", "192.168.1.1", "table", "77")
    route(network, "unreachable", "default", "metric", "9")
    assert network.call("laptop", gateways) == []


def test_gateways_in_order(network: Network) -> None:
    """IPv4 before IPv6, then the metric; several routers of one route, and IPv4 over IPv6."""
    route(network, "default", "via", "192.168.1.3", "metric", "200")
    hops = ("nexthop", "via", "192.168.1.2", "nexthop", "via", "192.168.1.1")
    route(network, "default", "metric", "100", *hops)
    route(network, "default", "via", "fd00::1", "metric", "50")
    assert network.call("laptop", gateways) == [
        ("192.168.1.1", 100),
        ("192.168.1.2", 100),
        ("192.168.1.3", 200),
        ("fd00::1", 50),
    ]
    network.run("laptop", "ip", "-4", "route", "flush", "default")
    route(network, "default", "via", "inet6", "fd00::1", "dev", "eth0")
    assert ("fd00::1", 0) in network.call("laptop", gateways)


@pytest.mark.parametrize("address", ["192.168.1.1", "fd00::1"])
def test_mac_of_an_unknown_neighbour(network: Network, address: str) -> None:
    """A-3.3-5, A-4.7-1: one datagram makes the kernel ask for a router it never spoke with."""
    route(network, "default", "via", address)
    assert network.run("laptop", "ip", "neighbour", "show", address) == ""
    assert network.call("laptop", mac_of, address) == ROUTER


def test_mac_of_a_link_local_router(network: Network) -> None:
    """Routers announce themselves with their link-local address."""
    network.run("router", "ip", "address", "add", "fe80::1/64", "dev", "br-lan", "nodad")
    route(network, "default", "via", "fd00::1")
    assert network.call("laptop", mac_of, "fe80::1") == ROUTER


def test_mac_of_nobody(network: Network) -> None:
    """The wait for a router that is not there is bounded."""
    route(network, "default", "via", "192.168.1.1")
    mac, seconds = network.call("laptop", timed, "192.168.1.99", 0.4)
    assert mac is None
    assert 0.4 <= seconds < 10  # and not for ever, however busy the machine


def test_mac_of_a_replaced_router(network: Network) -> None:
    """An old entry is confirmed first: the router behind it may have been replaced."""
    route(network, "default", "via", "192.168.1.1")
    state(network, "192.168.1.1", "52:54:00:00:00:99", "stale")
    assert network.call("laptop", mac_of, "192.168.1.1") == ROUTER
    state(network, "192.168.1.1", ROUTER, "stale")
    assert network.call("laptop", mac_of, "192.168.1.1") == ROUTER


def test_mac_without_the_right_to_ask(network: Network) -> None:
    """Who may not have an old entry confirmed takes it as it is, at once."""
    route(network, "default", "via", "192.168.1.1")
    state(network, "192.168.1.1", ROUTER, "stale")
    code = (
        "import ipaddress; from acmeiot.lan import router; "
        "g = router.gateways()[0]; print(router.mac_of(g.index, g.address))"
    )
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    python = network.run("laptop", *drop, sys.executable, "-c", code)
    assert python.strip() == ROUTER


def test_permanent_and_failed_entries(network: Network) -> None:
    """A static entry is the owner's word; one that failed is looked for again."""
    route(network, "default", "via", "192.168.1.1")
    state(network, "192.168.1.7", "52:54:00:00:00:07", "permanent")
    assert network.call("laptop", mac_of, "192.168.1.7", 0.1) == "52:54:00:00:00:07"
    network.run("laptop", "ip", "neighbour", "add", "192.168.1.1", "dev", "eth0", "nud", "failed")
    assert network.call("laptop", mac_of, "192.168.1.1") == ROUTER


# -- Wi-Fi, as nl80211 encodes it


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one netlink attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def element(kind: int, value: bytes) -> bytes:
    """Encode one information element of IEEE 802.11-2020 9.4.2."""
    return bytes([kind, len(value)]) + value


def message(*attributes: bytes) -> object:
    """Have pyroute2 decode an nl80211 message with these attributes."""
    from pyroute2.netlink.nl80211 import nl80211cmd

    body = struct.pack("=BBH", 7, 1, 0) + b"".join(attributes)
    decoded = nl80211cmd(struct.pack("=IHHII", 16 + len(body), 27, 0, 1, 0) + body)
    decoded.decode()
    return decoded


def interface(ssid: bytes | None) -> list[object]:
    """Return what NL80211_CMD_GET_INTERFACE answers."""
    name = [attribute(52, ssid)] if ssid is not None else []
    return [message(attribute(3, struct.pack("=I", 3)), attribute(4, b"wlan0\0"), *name)]


def access_point(capabilities: int, *elements: bytes) -> object:
    """Return what NL80211_CMD_GET_SCAN answers for the access point in use."""
    bss = (
        attribute(5, struct.pack("=H", capabilities))
        + attribute(6, b"".join(elements))
        + attribute(9, struct.pack("=I", 1))
    )
    return message(attribute(47 | 0x8000, bss))


def rsn(suite: int) -> bytes:
    """Return an RSN element with one authentication suite of 00-0F-AC."""
    cipher = b"\x00\x0f\xac\x04"
    key = b"\x00\x0f\xac" + bytes([suite])
    return element(48, b"\1\0" + cipher + b"\1\0" + cipher + b"\1\0" + key + b"\0\0")


@pytest.mark.parametrize(
    ("capabilities", "elements", "is_open"),
    [
        (0x0431, [element(0, b"home"), rsn(2)], False),  # WPA2-PSK
        (0x0431, [element(0, b"home"), rsn(8)], False),  # WPA3-SAE
        (0x0431, [element(0, b"home")], False),  # WEP
        (0x0421, [element(0, b"home")], True),
        (0x0431, [element(0, b"home"), rsn(18)], True),  # OWE lets everybody in
    ],
)
def test_open_wifi(capabilities: int, elements: list[bytes], is_open: bool) -> None:
    """The Privacy bit tells an open Wi-Fi, and OWE is one that encrypts."""
    found = read_wireless(interface(b"home"), access_point(capabilities, *elements))
    assert found == Wireless("home", is_open)


def test_ssid() -> None:
    """The name comes from the interface, else from the access point; any octets are a name."""
    point = access_point(0x0431, element(0, b"home"))
    assert read_wireless(interface(None), point) == Wireless("home", False)
    assert read_wireless(interface("Müllers".encode()), None) == Wireless("Müllers", None)
    assert read_wireless(interface(b"\xff\xfe"), None) == Wireless("ÿþ", None)
    assert read_wireless(interface(None), None) is None
    assert read_wireless([], None) is None


def test_wired(tmp_path: Path) -> None:
    """An interface without a radio is never asked."""
    (tmp_path / "eth0").mkdir()
    assert router.wireless("eth0", 2, tmp_path) is None


def radio_without_driver(devices: Path) -> str:
    """Ask for the Wi-Fi of a card whose driver is not there; on a host."""
    with pytest.raises(OSError) as error:
        router.wireless("wlan0", 2, devices)
    return str(error.value)


def test_radio_without_driver(network: Network, tmp_path: Path) -> None:
    """A driver that does not answer is an error that says so, not an interface without Wi-Fi."""
    (tmp_path / "wlan0" / "phy80211").mkdir(parents=True)
    assert "nl80211 of wlan0" in network.call("laptop", radio_without_driver, tmp_path)

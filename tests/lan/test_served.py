"""Whose connections are taken, by the tables of a router with a LAN, a guest network and a VPN."""

from __future__ import annotations

import ipaddress

import pytest

from acmeiot.lan.interfaces import Interface
from acmeiot.lan.served import ServedNetworks
from tests.lan.fakes import FakeClock, FakeEvents

UP, TUNNEL = 0x1001, 0x11


def interface(index: int, name: str, *addresses: str, flags: int = UP) -> Interface:
    return Interface(index, name, flags, tuple(ipaddress.ip_interface(a) for a in addresses))


ROUTER = (
    interface(1, "lo", "127.0.0.1/8", "::1/128"),
    interface(2, "br-lan", "192.168.1.1/24", "fd00:1::1/64", "fe80::1/64"),
    interface(3, "br-guest", "192.168.3.1/24", "fd00:3::1/64", "fe80::3/64"),
    interface(4, "wan", "10.0.0.7/24", "fe80::4/64"),
    interface(5, "wg0", "10.9.0.1/24", flags=TUNNEL),
)
LAN = ("192.168.1.1", "fd00:1::1")


class Read:
    """The kernel's table, as the test says, or its refusal."""

    def __init__(self) -> None:
        self.table: tuple[Interface, ...] | None = ROUTER
        self.times = 0

    def __call__(self) -> tuple[Interface, ...]:
        self.times += 1
        if self.table is None:
            raise OSError("no netlink")
        return self.table


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def events() -> FakeEvents:
    return FakeEvents()


@pytest.fixture
def read() -> Read:
    return Read()


def served(clock: FakeClock, events: FakeEvents, read: Read, *at: str) -> ServedNetworks:
    return ServedNetworks([ipaddress.ip_address(a) for a in at or LAN], clock, events, read)


@pytest.mark.parametrize(
    "peer",
    [
        "192.168.1.20", "fd00:1::20", "fe80::20%br-lan",  # the LAN
        "127.0.0.1", "::1", "192.168.1.1", "192.168.3.1", "fe80::3%br-guest",  # the router itself
        "10.9.0.2",  # the owner, from afar
        "172.16.5.5", "fd00:9::1",  # behind another router
    ],
)  # fmt: skip
def test_the_lan_is_served(clock: FakeClock, events: FakeEvents, read: Read, peer: str) -> None:
    assert served(clock, events, read).admits(peer)
    assert events.lines == []


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.168.3.20", "br-guest"), ("fd00:3::20", "br-guest"), ("fe80::20%br-guest", "br-guest"),
        ("10.0.0.1", "wan"), ("fe80::1%wan", "wan"),
    ],
)  # fmt: skip
def test_other_networks_are_not(
    clock: FakeClock, events: FakeEvents, read: Read, peer: str, network: str
) -> None:
    networks = served(clock, events, read)
    assert not networks.admits(peer)
    assert not networks.admits(peer)
    told = f"warning lan refused {peer}: this server is not for the network behind {network}"
    assert events.lines == [told]  # once


def test_a_second_network_of_the_owners(clock: FakeClock, events: FakeEvents, read: Read) -> None:
    networks = served(clock, events, read, *LAN, "192.168.3.1")
    assert networks.admits("192.168.3.20")
    assert networks.admits("fe80::20%br-guest")
    assert not networks.admits("10.0.0.1")


def test_a_wider_network_beside_the_lan(clock: FakeClock, events: FakeEvents, read: Read) -> None:
    """Where two have the address, the LAN's own devices are not shut out."""
    read.table = (*ROUTER, interface(6, "eth9", "192.168.0.9/16"))
    networks = served(clock, events, read)
    assert networks.admits("192.168.1.20")
    assert not networks.admits("192.168.2.20")


def test_many_networks_fill_no_log(clock: FakeClock, events: FakeEvents, read: Read) -> None:
    others = (interface(10 + n, f"guest{n}", f"172.16.{n}.1/24") for n in range(40))
    read.table = (*ROUTER, *others)
    networks = served(clock, events, read)
    assert not any(networks.admits(f"172.16.{n}.20") for n in range(40))
    assert len(events.lines) == 17


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "::"])
def test_who_listens_everywhere_serves_everybody(
    clock: FakeClock, events: FakeEvents, read: Read, anywhere: str
) -> None:
    assert served(clock, events, read, "192.168.1.1", anywhere).admits("192.168.3.20")
    assert read.times == 0


def test_a_guest_network_made_later(clock: FakeClock, events: FakeEvents, read: Read) -> None:
    read.table = ROUTER[:2]
    networks = served(clock, events, read)
    assert networks.admits("192.168.3.20")
    read.table = ROUTER
    assert networks.admits("192.168.3.20")  # nobody asks the kernel for each connection
    assert read.times == 1
    clock.time += 5
    assert not networks.admits("192.168.3.20")


def test_a_kernel_that_does_not_say(clock: FakeClock, events: FakeEvents, read: Read) -> None:
    networks = served(clock, events, read)
    assert not networks.admits("192.168.3.20")
    read.table = None
    clock.time += 5
    assert not networks.admits("192.168.3.20")  # by what it said last
    assert networks.admits("192.168.1.20")
    assert events.lines[1:] == [
        "warning lan the network interfaces cannot be read: no netlink",
    ]

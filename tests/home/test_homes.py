"""A device between homes, in one without IPv4, and among rogues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.home.network import FILES, Machine, Plan, Router, Street
from tests.home.people import NAMES, Laptop, Printer, serial, shared

NEIGHBOURS = Plan("neighbours", "52:54:00:00:02:01", "192.168.2", "fd00:2:")
WITHOUT_V4 = Plan("six", "52:54:00:00:06:01", net="", net6="fd00:6:")


def enabled(street: Street, plan: Plan) -> Router:
    """Build a home whose owner has just enabled the server."""
    router = street.router(plan)
    router.serve("--pairing-window", "3600")
    router.announce()
    return router


def test_a_device_that_moves_and_comes_back(street: Street) -> None:
    """A-3.4-2 A-4.8-2: a certificate for each network and server, each kept and used there."""
    ours, theirs = enabled(street, Plan()), enabled(street, NEIGHBOURS)
    printer, laptop = Printer(street), Laptop(street)
    printer.machine.join(ours, "printer")
    printer.agent("once")
    first = serial(ours, "printer.lan")
    for machine, name in ((printer.machine, "printer"), (laptop.machine, "laptop")):
        if machine is printer.machine:
            machine.unplug()
        machine.join(theirs, name)
    laptop.agent("once", "--mode", "tofu")
    with printer.serving():
        # A-3.3-4: here nobody believes the other home.
        laptop.refuses(*NAMES, browser=False)
        printer.agent("once")
        assert len(theirs.asked("certs")["certs"]) == 1
        laptop.accepts(*NAMES, browser=False)
    printer.machine.unplug()
    printer.machine.join(ours, "printer")
    printer.agent("once")
    assert serial(ours, "printer.lan") == first, "it is still there, and still good"
    assert f"{int(first, 16):x}" in shared(printer.machine).replace(":", "").replace("\n", "")


@contextmanager
def dhcp6(machine: Machine) -> Iterator[None]:
    """Have an address by DHCPv6, from ISC's client as its documents say."""
    for name, place in (
        ("acmeiot-saw", "/usr/lib/acmeiot/acmeiot-saw"),
        ("dhclient", "/etc/dhcp/dhclient-exit-hooks.d/acmeiot"),
        ("dhclient.conf", "/etc/dhcp/acmeiot.conf"),
    ):
        machine.run("install", "-D", FILES / name, place)
    include = "echo 'include \"/etc/dhcp/acmeiot.conf\";' >>/etc/dhcp/dhclient.conf"
    machine.run("sh", "-c", include)
    machine.host.wait_for("ip -6 address show dev eth0 scope link -tentative | grep -q fe80")
    files = ("-lf", "/run/dhclient.leases", "-pf", "/run/dhclient.pid")
    command = ("dhclient", "-6", "-d", *files, "eth0")
    with machine.host.serving(*command, log=machine.work / "dhclient.log"):
        machine.host.wait_for(
            "ls /run/acmeiot/dhcp/eth0.* >/dev/null 2>&1 && ip -6 route | grep -q default"
        )
        yield


def test_a_home_without_ipv4(street: Street) -> None:
    """A-3.1-1: DHCPv6 alone tells the device; names, proofs and pages go by IPv6."""
    home = enabled(street, WITHOUT_V4)
    printer, laptop = Printer(street), Laptop(street)
    for who in (printer, laptop):
        who.machine.plug(home)
    with dhcp6(printer.machine), dhcp6(laptop.machine):
        assert "DHCPv6 option 17" in printer.machine.acmeiot("discover")
        printer.agent("once")
        laptop.agent("once", "--mode", "tofu")
        with printer.serving():
            laptop.accepts(*NAMES, browser=False)


@pytest.fixture
def rogue(street: Street) -> Router:
    """Another router's worth of programs, to be plugged in somewhere as a guest."""
    plan = Plan("rogue", "52:54:00:00:66:66", "192.168.66", net6="", label="rogue")
    return enabled(street, plan)


def test_a_device_among_rogues(street: Street, rogue: Router, tmp_path: Path) -> None:
    """A-4.2-1 A-4.7-1 A-4.7-3: on a network it knows, no other server gets a device's request."""
    home = enabled(street, Plan())
    printer = Printer(street)
    printer.machine.join(home, "printer")
    printer.agent("once")
    first = serial(home, "printer.lan")
    # The rogue's DHCP answer is on file beside the router's, as from a second server.
    saw = "server 192.168.1.66\nfqdn rogue.lan\n"
    printer.machine.run("sh", "-c", f"printf '{saw}' >/run/acmeiot/dhcp/eth0.dhclient")
    said = printer.agent("once")
    assert "says rogue.lan" in said
    assert "kept to the one with the pinned root" in said
    assert serial(home, "printer.lan") == first
    assert rogue.asked("certs")["certs"] == []

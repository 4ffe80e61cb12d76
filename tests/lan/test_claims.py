"""Whose a name is: a device's own word against the owner's, and against that of another device."""

from pathlib import Path

import pytest

from acmeiot.core.ownership import NameConflict, Ownership
from acmeiot.lan.neighbours import Tables
from acmeiot.lan.netlink import Neighbour
from acmeiot.lan.resolve import LanFacts
from acmeiot.lan.unicast import UnicastDns
from acmeiot.protocol import names
from acmeiot.protocol.errors import RejectedIdentifier
from tests.lan.fakes import FakeClock, FakeEvents

PRINTER, WIFI, VISITOR = "aa:bb:cc:00:00:20", "aa:bb:cc:00:00:21", "aa:bb:cc:00:00:66"
REPEATER = "aa:bb:cc:00:00:99"
NAMES = ("printer.lan", "printer.local")

STATIC = "192.168.77.20 printer\n"
LEASE = f"2000000 {PRINTER} 192.168.77.20 printer *\n"
CLAIM = f"2000000 {VISITOR} 192.168.77.123 printer *\n"
DUID = "00:03:00:01:aa:bb:cc:00:00:20"
LEASE6 = f"2000000 1 fd00::20 printer {DUID}\n"
WIFI6 = f"2000000 2 fd00::21 printer {DUID}\n"
CLAIM6 = "2000000 3 fd00::66 printer 00:03:00:01:aa:bb:cc:00:00:66\n"
SIX = "duid 00:03:00:01:aa:bb:cc:00:00:01\n"


class Home:
    """A router's tables, of leases and hosts, and whom its kernel heard."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.heard = folder, FakeClock(), dict[str, str]()

    def write(self, **files: str) -> None:
        """Write the files; `odhcpd` stands for its hosts file of an interface."""
        for name, text in files.items():
            (self.folder / {"odhcpd": "odhcpd.hosts.br-lan"}.get(name, name)).write_text(text)

    def ownership(self) -> Ownership:
        """Return the rules on these tables."""
        tables = Tables(
            [self.folder / "leases"],
            [self.folder / "hosts", self.folder / "odhcpd*"],
            ["lan"],
            self.clock,
            FakeEvents(),
            lambda: [Neighbour(2, address, mac) for address, mac in self.heard.items()],
        )
        lan = LanFacts(tables, UnicastDns([]), None)
        return Ownership("lease", lan, lambda name: None)

    def sought(self, remote: str) -> list[str]:
        """Return where `remote` may prove both of the printer's names."""
        (found,) = {self._sought(name, remote) for name in NAMES}
        return list(found)

    def _sought(self, name: str, remote: str) -> tuple[str, ...]:
        ownership, identifier = self.ownership(), names.dns(name)
        ownership.check(identifier, remote)
        return tuple(map(str, ownership.addresses(identifier, remote)))

    def refusal(self, remote: str) -> str:
        """Return why `remote` does not have the printer's name."""
        with pytest.raises(RejectedIdentifier) as caught:
            self.sought(remote)
        return caught.value.detail

    def conflict(self, remote: str) -> str:
        """Return why the name is nobody's."""
        with pytest.raises(NameConflict) as caught:
            self.sought(remote)
        return str(caught.value)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


# The owner's word


@pytest.mark.parametrize("on", [True, False])
def test_a_static_name_is_not_taken_by_a_lease(home: Home, on: bool) -> None:
    """dnsmasq writes the lease under the name that it refuses to give it in DNS."""
    home.write(leases=CLAIM, hosts=STATIC)
    if on:
        home.heard["192.168.77.20"] = PRINTER
    said = home.refusal("192.168.77.123")
    assert "belongs to 192.168.77.20 (hosts file " in said
    assert "came from 192.168.77.123" in said
    assert home.sought("192.168.77.20") == ["192.168.77.20"]


def test_nor_by_ipv6(home: Home) -> None:
    """dnsmasq gives a name that is static in IPv4 to any DHCPv6 lease."""
    home.write(leases=SIX + CLAIM6, hosts=STATIC)
    home.heard = {"fd00::66": VISITOR}
    assert "belongs to 192.168.77.20 (hosts file " in home.refusal("fd00::66")


@pytest.mark.parametrize("remote", ["192.168.77.20", "fd00::20"])
def test_a_static_device_has_its_leases_too(home: Home, remote: str) -> None:
    home.write(leases=LEASE + CLAIM + SIX + LEASE6, hosts=STATIC)
    home.heard = {"fd00::20": PRINTER}
    assert home.sought(remote) == ["fd00::20", "192.168.77.20"]


def test_the_owner_may_write_two_addresses(home: Home) -> None:
    """A NAS with two cables."""
    home.write(hosts=STATIC + "192.168.77.21 printer\n")
    home.heard = {"192.168.77.20": PRINTER, "192.168.77.21": WIFI}
    for remote in home.heard:
        assert home.sought(remote) == [remote]


def test_the_owner_ends_a_conflict(home: Home) -> None:
    home.write(leases=LEASE + SIX + CLAIM6)
    home.heard = {"fd00::66": VISITOR}
    assert "add a static entry" in home.conflict("192.168.77.20")
    home.write(hosts=STATIC)
    assert home.sought("192.168.77.20") == ["192.168.77.20"]
    home.refusal("fd00::66")


# Two devices that call themselves the same


@pytest.mark.parametrize("remote", ["192.168.77.20", "fd00::66"])
def test_two_devices_with_one_name_are_a_conflict(home: Home, remote: str) -> None:
    """dnsmasq and odhcpd give an IPv4 lease's name to another device's DHCPv6 lease."""
    home.write(leases=LEASE + SIX + CLAIM6)
    home.heard = {"fd00::66": VISITOR}
    leases = f"lease file {home.folder}/leases"
    assert (
        "2 devices call themselves printer.lan: "
        f"192.168.77.20 ({leases}) and fd00::66 ({leases}); give one of them another name"
    ) in home.conflict(remote)


def test_a_silent_address_does_not_hide_a_rival(home: Home) -> None:
    home.write(leases=SIX + LEASE6 + WIFI6 + CLAIM6)
    home.heard = {"fd00::20": PRINTER, "fd00::66": VISITOR}
    assert "fd00::20 (lease file " in home.conflict("fd00::66")


def test_what_odhcpd_writes_of_its_leases_is_not_static(home: Home) -> None:
    """From OpenWrt 25.12 on it has hosts files of its own."""
    home.write(leases=LEASE, odhcpd="fd00::66\tprinter.lan\tprinter\n")
    home.heard = {"fd00::66": VISITOR}
    for remote in ("192.168.77.20", "fd00::66"):
        assert "192.168.77.20 (lease file " in home.conflict(remote)
    home.write(hosts=STATIC)
    home.refusal("fd00::66")


def test_an_expired_lease_is_no_rival(home: Home) -> None:
    """The printer was replaced."""
    home.write(leases=LEASE + CLAIM.replace("2000000", "3000000"))
    assert "192.168.77.20" in home.conflict("192.168.77.123")
    home.clock.time = 2_000_000
    assert home.sought("192.168.77.123") == ["192.168.77.123"]


# One device with several entries


@pytest.mark.parametrize("remote", ["192.168.77.20", "fd00::20"])
def test_one_device_with_both_families(home: Home, remote: str) -> None:
    home.write(leases=LEASE + SIX + LEASE6)
    home.heard = {"fd00::20": PRINTER}
    assert home.sought(remote) == ["fd00::20", "192.168.77.20"]


def test_an_address_that_nobody_heard_of_is_no_rival(home: Home) -> None:
    home.write(leases=LEASE + SIX + LEASE6)
    assert home.sought("192.168.77.20") == ["192.168.77.20"]


def test_one_device_by_cable_and_wifi(home: Home) -> None:
    """dnsmasq leaves its name to the latest IPv4 lease, and to every lease of its DUID."""
    home.write(leases=LEASE + SIX + WIFI6 + LEASE6)
    home.heard = {"fd00::20": PRINTER, "fd00::21": WIFI}
    assert home.sought("192.168.77.20") == ["fd00::20", "192.168.77.20"]
    assert home.sought("fd00::21") == ["fd00::21"]


def test_one_device_behind_a_repeater(home: Home) -> None:
    """The lease has the device's own MAC, the link the repeater's, for both families."""
    home.write(leases=LEASE + SIX + LEASE6)
    home.heard = {"192.168.77.20": REPEATER, "fd00::20": REPEATER}
    assert home.sought("192.168.77.20") == ["192.168.77.20"]
    assert home.sought("fd00::20") == ["fd00::20"]

"""Whose name is it: the tables' word, and where a proof may be sought (decision 5, R-27)."""

from __future__ import annotations

import pytest

from acmeiot.core.ownership import NameConflict, Ownership
from acmeiot.core.records import Host, NameTie
from acmeiot.protocol import names
from acmeiot.protocol.errors import ConnectionFailed, DnsFailed, RejectedIdentifier
from acmeiot.protocol.names import Identifier
from tests.core.fakes import FakeLan

PRINTER, NAS = "192.168.1.20", "192.168.1.30"


@pytest.fixture
def lan() -> FakeLan:
    lan = FakeLan()
    lan.lease("printer", PRINTER, "02::20")
    lan.lease("nas", NAS, "02::30")
    lan.macs["fd00::20"] = "02::20"
    lan.macs["192.168.1.21"] = "02::20"
    return lan


def tie(name: str) -> NameTie | None:
    """Say to whom names were last issued: the printer's to the printer, the nas's before MACs."""
    owners = {"printer.lan": "02::20", "printer.local": "02::20", "nas.lan": None}
    return NameTie(name, "a", "d", owners[name], 1, 1) if name in owners else None


@pytest.fixture
def lease(lan: FakeLan) -> Ownership:
    return Ownership("lease", lan, tie)


@pytest.fixture
def challenge(lan: FakeLan) -> Ownership:
    return Ownership("challenge", lan, tie)


def dns(name: str) -> Identifier:
    return names.dns(name)


# Who may ask


@pytest.mark.parametrize("remote", [PRINTER, "192.168.1.21", "fd00::20"])
@pytest.mark.parametrize("name", ["printer.lan", "printer.local", "*.printer.lan"])
def test_a_device_has_its_own_name(lease: Ownership, name: str, remote: str) -> None:
    lease.check(dns(name), remote)  # by its address, or by its MAC from another of its addresses


def test_nobody_has_the_name_of_another(lease: Ownership) -> None:
    with pytest.raises(RejectedIdentifier) as caught:
        lease.check(dns("printer.lan"), NAS)
    assert caught.value.identifier == dns("printer.lan")
    for words in (
        "printer.lan belongs to 192.168.1.20 (lease file)",
        NAS,
        "run the ACME client on",
    ):
        assert words in caught.value.detail


def test_a_name_without_a_lease_is_nobodys(lease: Ownership) -> None:
    with pytest.raises(RejectedIdentifier) as caught:
        lease.check(dns("scanner.lan"), PRINTER)
    assert "no lease and no hosts entry" in caught.value.detail
    assert "DHCP with the host name 'scanner'" in caught.value.detail


def test_the_owner_may_give_two_hosts_one_name(lease: Ownership, lan: FakeLan) -> None:
    lan.hosts = [Host(each, ("printer.lan",), None, "hosts file") for each in (PRINTER, NAS)]
    for remote in (PRINTER, NAS):
        lease.check(dns("printer.lan"), remote)


def test_without_macs_the_address_decides(lan: FakeLan, lease: Ownership) -> None:
    lan.macs.clear()
    lease.check(dns("printer.lan"), PRINTER)
    with pytest.raises(RejectedIdentifier):  # two unknown MACs are not one device
        lease.check(dns("printer.lan"), "192.168.1.21")


@pytest.mark.parametrize("address", [PRINTER, "192.168.1.21", "fd00::20"])
def test_an_address_is_certified_for_its_device(lease: Ownership, address: str) -> None:
    lease.check(names.ip(address), PRINTER)


@pytest.mark.parametrize("address", [NAS, "192.168.1.1", "192.168.1.99", "192.168.1.255"])
def test_an_address_is_certified_for_nobody_else(lease: Ownership, address: str) -> None:
    with pytest.raises(RejectedIdentifier, match="may only have its own address certified"):
        lease.check(names.ip(address), PRINTER)  # specs 6: rogue device asks for others' IP


def test_under_challenge_the_proof_alone_decides(challenge: Ownership) -> None:
    for wanted in (dns("scanner.lan"), dns("printer.lan"), names.ip(NAS)):
        challenge.check(wanted, "192.168.1.99")


# After the router's restart: its leases were in memory


@pytest.mark.parametrize("name", ["printer.lan", "printer.local"])
@pytest.mark.parametrize("remote", [PRINTER, "fd00::20"])
def test_the_mac_that_had_the_name_still_has_it(
    lan: FakeLan, lease: Ownership, name: str, remote: str
) -> None:
    lan.hosts.clear()
    lease.check(dns(name), remote)
    assert lease.addresses(dns(name), remote) == (names.ip(remote).address,)


@pytest.mark.parametrize("name", ["printer.lan", "nas.lan", "scanner.lan"])
def test_without_a_lease_no_other_mac_has_it(lan: FakeLan, lease: Ownership, name: str) -> None:
    """Neither another device, nor one without a MAC for a name that was tied to none."""
    lan.hosts.clear()
    for remote in (NAS, "192.168.1.99"):
        with pytest.raises(RejectedIdentifier, match="no lease and no hosts entry"):
            lease.check(dns(name), remote)
        with pytest.raises(DnsFailed):
            lease.addresses(dns(name), remote)


def test_a_new_lease_is_worth_more_than_what_was(lan: FakeLan, lease: Ownership) -> None:
    lan.hosts = [Host(NAS, ("printer.lan",), "02::30", "lease file")]
    with pytest.raises(RejectedIdentifier, match="belongs to"):
        lease.check(dns("printer.lan"), PRINTER)
    lan.elsewhere["printer.lan"] = (NAS,)
    with pytest.raises(ConnectionFailed):
        lease.addresses(dns("printer.lan"), PRINTER)


def test_what_answers_for_the_name_is_asked(lan: FakeLan, lease: Ownership) -> None:
    lan.hosts.clear()
    lan.elsewhere["printer.local"] = ("192.168.1.21", NAS)
    assert lease.addresses(dns("printer.local"), PRINTER) == (names.ip("192.168.1.21").address,)


def test_where_the_proof_decides_nobody_is_asked_for_a_name_that_leads_nowhere(
    lan: FakeLan, challenge: Ownership
) -> None:
    lan.hosts.clear()
    with pytest.raises(DnsFailed):
        challenge.addresses(dns("printer.lan"), PRINTER)


# Where a proof is sought (specs 6: SSRF)


def test_the_devices_address_is_asked(lease: Ownership) -> None:
    assert lease.addresses(dns("printer.lan"), PRINTER) == (names.ip(PRINTER).address,)
    assert lease.addresses(names.ip(PRINTER), PRINTER) == (names.ip(PRINTER).address,)


def test_ipv6_is_asked_first_and_few(lan: FakeLan, challenge: Ownership) -> None:
    lan.elsewhere["printer.lan"] = (PRINTER, "fd00::20", "192.168.1.21", "fe80::20")
    found = [str(a) for a in challenge.addresses(dns("printer.lan"), PRINTER)]
    assert found == ["fd00::20", "fe80::20", PRINTER, "192.168.1.21"]
    lan.elsewhere["printer.lan"] = tuple(f"192.168.2.{n}" for n in range(200))
    assert len(challenge.addresses(dns("printer.lan"), PRINTER)) == 8


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("8.8.8.8", "not an address of a local network"),
        ("100.64.0.1", "not an address of a local network"),
        ("2606:4700::1", "not an address of a local network"),
        ("::ffff:192.168.1.20", "not an address of a local network"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("192.168.1.1", "this server's own address"),
        ("fd00::1", "this server's own address"),
    ],
)
@pytest.mark.parametrize("rule", ["lease", "challenge"])
def test_no_proof_is_sought_elsewhere(lan: FakeLan, rule: str, address: str, why: str) -> None:
    ownership = Ownership(rule, lan, tie)  # type: ignore[arg-type]
    lan.elsewhere["printer.lan"] = (address,)
    with pytest.raises(ConnectionFailed, match="leads to no address") as caught:
        ownership.addresses(dns("printer.lan"), address)
    assert f" ({why})" in caught.value.detail
    assert caught.value.identifier == dns("printer.lan")


def test_of_several_addresses_only_the_safe_ones_are_asked(lan: FakeLan, lease: Ownership) -> None:
    lan.elsewhere["printer.lan"] = ("8.8.8.8", "127.0.0.1", "192.168.1.1", NAS, PRINTER)
    assert lease.addresses(dns("printer.lan"), PRINTER) == (names.ip(PRINTER).address,)


def test_under_lease_only_the_requester_is_asked(lan: FakeLan, lease: Ownership) -> None:
    with pytest.raises(ConnectionFailed, match=r"192\.168\.1\.20 \(not the requester\)"):
        lease.addresses(dns("printer.lan"), NAS)


def test_under_challenge_any_device_is_asked(challenge: Ownership) -> None:
    assert challenge.addresses(dns("printer.lan"), NAS) == (names.ip(PRINTER).address,)


def test_loopback_and_own_addresses_where_tests_allow_them(lan: FakeLan) -> None:
    ownership = Ownership("challenge", lan, tie, allow_loopback=True)
    lan.elsewhere["printer.lan"] = ("127.0.0.1", "192.168.1.1", "8.8.8.8")
    found = [str(a) for a in ownership.addresses(dns("printer.lan"), PRINTER)]
    assert found == ["127.0.0.1", "192.168.1.1"]  # and a public one never


def test_sources_that_disagree_are_told(lan: FakeLan, lease: Ownership) -> None:
    lan.disputed["printer.local"] = "the lease says 192.168.1.20, multicast DNS says 192.168.1.66"
    with pytest.raises(NameConflict, match=r"multicast DNS says 192\.168\.1\.66"):
        lease.addresses(dns("printer.local"), PRINTER)


def test_an_unknown_name_has_no_address(challenge: Ownership, lan: FakeLan) -> None:
    with pytest.raises(DnsFailed):
        challenge.addresses(dns("scanner.lan"), PRINTER)
    lan.elsewhere["scanner.lan"] = ()
    with pytest.raises(ConnectionFailed, match="no address"):
        challenge.addresses(dns("scanner.lan"), PRINTER)

"""The owner's acts, each with all that follows from it."""

from __future__ import annotations

import pytest

from acmeiot.core.owner import NoSuchThing
from acmeiot.core.ports import StoreFull
from acmeiot.protocol.errors import SignatureInvalid
from acmeiot.protocol.states import AccountStatus, DeviceStatus, Event
from tests.core.fakes import DAY, NOW
from tests.core.home import Client, Home

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def printer(home: Home) -> Client:
    """A printer with a certificate."""
    client = home.client()
    client.obtain(*BOTH, "192.168.1.20")
    return client


def test_a_device_has_many_names(home: Home, printer: Client) -> None:
    device = home.device(printer)
    for text in (device.id, "printer.lan", "PRINTER.local", "192.168.1.20", "02::20"):
        assert home.owner.find(text) == device


def test_a_mac_may_be_in_capitals(home: Home) -> None:
    client = home.client("nas", "192.168.1.30", "02:00:00:00:00:af")
    client.obtain("nas.lan", "nas.local")
    assert home.owner.find("02:00:00:00:00:AF") == home.device(client)


@pytest.mark.parametrize("text", ["scanner.lan", "", "192.168.1.2", "printer", "02::"])
def test_what_is_not_there_is_not_found(home: Home, printer: Client, text: str) -> None:
    with pytest.raises(NoSuchThing, match="is not a device: `acmeiot devices` lists them"):
        home.owner.find(text)


def test_a_word_for_two_devices_is_no_name(home: Home, printer: Client) -> None:
    twin = home.register(printer.address)
    twin.obtain(*BOTH)
    with pytest.raises(NoSuchThing, match="names 2 devices; use the id"):
        home.owner.find("printer.lan")
    home.owner.forget(home.device(printer).id)
    assert home.owner.find("printer.lan") == home.device(twin)  # the living one is meant


def test_the_last_word_on_a_forgotten_device(home: Home, printer: Client) -> None:
    device = home.device(printer)
    home.owner.forget(device.id)
    assert home.owner.find("printer.lan").id == device.id
    with pytest.raises(ValueError, match="is forgotten; cannot approve it"):
        home.owner.approve("printer.lan")


def test_approve(asking: Home) -> None:
    client = asking.client()
    client.prove(client.order("printer.lan"))
    device, taken = asking.owner.approve("printer.lan")
    assert (device.status, taken) == (DeviceStatus.APPROVED, {})


def test_of_two_the_one_is_meant_that_can_be_so_decided(home: Home, printer: Client) -> None:
    twin = home.register(printer.address)
    twin.obtain(*BOTH)
    home.owner.block(home.device(printer).id)
    home.devices.block(home.device(twin).id)
    home.devices.approve(home.device(twin).id)
    assert home.owner.find("printer.lan", Event.BLOCK) == home.device(twin)
    assert home.owner.find("printer.lan", Event.APPROVE) == home.device(printer)
    with pytest.raises(NoSuchThing, match="names 2 devices"):
        home.owner.forget("printer.lan")


def test_to_block_is_to_revoke(home: Home, printer: Client) -> None:
    printer.obtain(*BOTH)
    device, revoked = home.owner.block("printer.lan")
    assert (device.status, revoked) == (DeviceStatus.BLOCKED, 2)
    assert home.audited("block") == [device.id]
    assert len(home.audited("revoke")) == 2
    assert {c.reason for c in home.store.certificates()} == {9}
    account = home.store.account(printer.account.id)
    assert account is not None
    assert account.status is AccountStatus.VALID  # the owner may forgive


def test_to_forget_is_to_revoke_to_end_and_to_free(home: Home, printer: Client) -> None:
    before = home.store.transactions
    device, revoked = home.owner.forget("printer.lan")
    assert home.store.transactions == before + 1  # all or nothing
    assert (device.status, revoked) == (DeviceStatus.FORGOTTEN, 1)
    with pytest.raises(SignatureInvalid, match="revoked by the owner"):
        home.accounts.signer(printer.account.id)
    assert home.store.tie("printer.lan") is None
    assert home.audited("forget") == [device.id]
    home.register(printer.address).obtain(*BOTH)  # the name is free


def test_to_forget_whose_account_is_gone(home: Home, printer: Client) -> None:
    home.accounts.update(printer.account, b'{"status": "deactivated"}')
    device, revoked = home.owner.forget("printer.lan")
    assert (device.status, revoked) == (DeviceStatus.FORGOTTEN, 1)
    account = home.store.account(printer.account.id)
    assert account is not None
    assert account.status is AccountStatus.DEACTIVATED


@pytest.mark.parametrize("act", ["block", "forget"])
def test_a_full_disk_does_nothing_by_halves(home: Home, printer: Client, act: str) -> None:
    home.store.full = True
    with pytest.raises(StoreFull):
        getattr(home.owner, act)("printer.lan")
    home.store.full = False
    assert home.device(printer).status is DeviceStatus.APPROVED
    assert [c.revoked_at for c in home.store.certificates()] == [None]
    printer.obtain(*BOTH)


def test_one_certificate_is_revoked_by_its_serial(home: Home, printer: Client) -> None:
    first, second = home.store.certificates()[0], printer.obtain(*BOTH)
    octets = bytes.fromhex(first.serial.zfill(42)).hex(":").upper()
    assert [c.id for c in home.owner.revoke(octets, 1)] == [first.id]  # as OpenSSL prints it
    assert [c.id for c in home.owner.revoke(second.serial)] == [second.id]
    assert {c.reason for c in home.store.certificates()} == {1, 9}


@pytest.mark.parametrize("text", ["printer.lan", "PRINTER.LAN", "192.168.1.20"])
def test_all_certificates_of_a_name_are_revoked(home: Home, printer: Client, text: str) -> None:
    printer.obtain(*BOTH, "192.168.1.20")
    nas = home.client("nas", "192.168.1.30", "02::30")
    other = nas.obtain("nas.lan", "nas.local")
    assert len(home.owner.revoke(text)) == 2
    assert [c.id for c in home.store.certificates() if c.revoked_at is None] == [other.id]
    assert len(home.audited("revoke")) == 2
    with pytest.raises(NoSuchThing, match="no living certificate"):
        home.owner.revoke(text)


def test_what_cannot_be_revoked(home: Home, printer: Client) -> None:
    for text in ("scanner.lan", "", "0", "zz"):
        with pytest.raises(NoSuchThing, match="`acmeiot certs`"):
            home.owner.revoke(text)
    with pytest.raises(ValueError, match="reason 2 is not one of 0, 1, 3, 4, 5, 9"):
        home.owner.revoke("printer.lan", 2)
    home.clock.wait(31 * DAY)
    with pytest.raises(NoSuchThing):
        home.owner.revoke("printer.lan")  # it has expired
    assert home.clock.now() == NOW + 31 * DAY

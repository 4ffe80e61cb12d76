"""The owner's word on devices, the pairing window, and whose a name stays (decision 5)."""

from __future__ import annotations

import pytest

from acmeiot.core import devices as module
from acmeiot.core.accounts import AccountRules
from acmeiot.core.devices import MAX_PENDING, Newcomer
from acmeiot.core.records import NameTie
from acmeiot.protocol.errors import RejectedIdentifier, Unauthorized, UserActionRequired
from acmeiot.protocol.states import ChallengeStatus, DeviceStatus, OrderStatus
from tests.core.conftest import MakeHome
from tests.core.fakes import DAY, NOW
from tests.core.home import NEW_ACCOUNT, Client, Home
from tests.core.keys import AccountKey, mac, to_json

BOTH = ("printer.lan", "printer.local")


def arrive(client: Client, *names: str) -> DeviceStatus:
    """Let the client's device prove names; return what the owner is asked or has decided."""
    home = client.home
    return home.devices.admit(Newcomer(client.account, client.address, names)).status


def tie(home: Home, name: str) -> NameTie:
    found = home.store.tie(name)
    assert found is not None
    return found


# Arriving


def test_a_stranger_waits_for_the_owner(asking: Home) -> None:
    client = asking.client()
    assert arrive(client, "printer.lan") is DeviceStatus.PENDING
    device = asking.device(client)
    assert (device.mac, device.address, device.names) == (
        "02::20",
        client.address,
        ("printer.lan",),
    )
    assert (device.first_seen, device.decided_by, device.decided_at) == (NOW, "", None)
    assert asking.events.said("device: new device", device.id, client.address, "printer.lan")
    assert device.id.isalnum()  # an owner types it after a command
    assert arrive(client, "printer.local") is DeviceStatus.PENDING
    assert asking.device(client).names == BOTH
    assert len(asking.store.devices()) == 1
    assert asking.audited("approve") == []


def test_auto_lets_all_in_and_says_so(home: Home) -> None:
    client = home.client()
    assert arrive(client, "printer.lan") is DeviceStatus.APPROVED
    assert home.device(client).decided_by == "auto"
    assert home.audited("approve") == [home.device(client).id]


def test_what_is_known_of_a_device_follows_it(asking: Home) -> None:
    client = asking.client()
    arrive(client, "printer.lan")
    before = asking.store.transactions
    asking.clock.wait(DAY - 1)
    arrive(client, "printer.lan")
    assert asking.device(client).last_seen == NOW
    assert asking.store.transactions == before  # to the day: the flash wears
    asking.clock.wait(1)
    client.address = "192.168.1.77"
    asking.lan.macs[client.address] = "02::77"
    arrive(client, "printer.lan")
    device = asking.device(client)
    assert (device.last_seen, device.address, device.mac) == (NOW + DAY, "192.168.1.77", "02::77")
    client.address = "192.168.1.78"  # of which no table knows the MAC
    arrive(client)
    assert asking.device(client).mac == "02::77"


def test_a_devices_names_are_bounded(asking: Home) -> None:
    client = asking.client()
    for number in range(40):
        arrive(client, f"name-{number}.lan")
    names = asking.device(client).names
    assert len(names) == 32
    assert names[-1] == "name-39.lan"


def fill_the_queue(home: Home) -> list[Client]:
    """Let as many strangers wait as can, each from an address of its own."""
    strangers = [home.register(f"192.168.2.{number}") for number in range(MAX_PENDING)]
    for stranger in strangers:
        arrive(stranger)
    return strangers


def test_one_machine_cannot_fill_the_queue(asking: Home) -> None:
    honest = asking.client("nas", "192.168.1.30", "02::30")
    arrive(honest, "nas.lan")
    for number in range(2 * MAX_PENDING):  # specs 6: mass enrolment
        address = f"192.168.2.{number % 5}"
        asking.lan.macs[address] = "02::66"  # one machine by its MAC, whatever addresses it takes
        arrive(asking.register(address))
    late = asking.client()
    assert arrive(late, "printer.lan") is DeviceStatus.PENDING
    assert asking.device(honest).status is DeviceStatus.PENDING
    assert asking.device(late).status is DeviceStatus.PENDING
    assert len(asking.store.devices()) == MAX_PENDING
    assert asking.events.said("waits no longer", "64 wait for the owner", "63 of them from 02::66")


def test_of_as_many_machines_the_first_makes_place(asking: Home) -> None:
    first, second, third, *_ = fill_the_queue(asking)
    assert arrive(asking.client(), "printer.lan") is DeviceStatus.PENDING
    assert asking.store.device_of(first.account.id) is None
    assert asking.device(second).status is DeviceStatus.PENDING
    assert len(asking.store.devices()) == MAX_PENDING
    assert arrive(asking.register(third.address)) is DeviceStatus.PENDING
    assert asking.store.device_of(third.account.id) is None  # by the second one of its machine
    assert asking.device(second).status is DeviceStatus.PENDING
    assert arrive(first) is DeviceStatus.PENDING  # it may come again


def test_who_need_not_wait_needs_no_place(asking: Home) -> None:
    strangers = fill_the_queue(asking)
    assert arrive(paired(asking, "192.168.1.20"), "printer.lan") is DeviceStatus.APPROVED
    asking.devices.open_window(60)
    nas = asking.client("nas", "192.168.1.30", "02::30")
    assert arrive(nas, "nas.lan") is DeviceStatus.APPROVED
    assert {asking.device(each).status for each in strangers} == {DeviceStatus.PENDING}


# The owner's word


def test_the_owner_approves_once_for_all(asking: Home) -> None:
    client = asking.client()
    arrive(client, *BOTH)
    asking.clock.wait(5)
    device = asking.devices.approve(asking.device(client).id)
    assert (device.status, device.decided_by) == (DeviceStatus.APPROVED, "owner")
    assert device.decided_at == NOW + 5
    assert asking.store.device(device.id) == device
    assert asking.audited("approve") == [device.id]
    assert asking.events.said("approve: device", "printer.lan, printer.local", "by owner")
    assert arrive(client, "scan.lan") is DeviceStatus.APPROVED
    for name in BOTH:  # the names that it proved are its own from now on
        assert tie(asking, name).device_id == device.id


def test_the_owner_blocks_and_forgives(asking: Home) -> None:
    client = asking.client()
    arrive(client, "printer.lan")
    device_id = asking.device(client).id
    asking.devices.block(device_id)
    assert asking.audited("block") == [device_id]
    with pytest.raises(Unauthorized, match=f"has blocked this device \\({device_id}\\)"):
        arrive(client, "printer.lan")
    with pytest.raises(Unauthorized):
        client.order(*BOTH)
    payload = to_json({"identifier": {"type": "dns", "value": "printer.lan"}})
    with pytest.raises(Unauthorized):
        asking.orders.authorize(client.account, payload, client.address)
    asking.devices.approve(device_id)
    client.order(*BOTH)


def test_a_blocked_device_comes_back_under_no_account(asking: Home) -> None:
    client = asking.client()
    arrive(client, "printer.lan")
    asking.devices.block(asking.device(client).id)
    again = asking.register(client.address)
    with pytest.raises(Unauthorized, match="has blocked this device"):
        again.order(*BOTH)  # by its MAC
    asking.devices.open_window(60)
    with pytest.raises(Unauthorized):  # not even for an order from before
        arrive(again, "printer.lan")
    elsewhere = asking.client("nas", "192.168.1.30", "02::30")
    assert arrive(elsewhere, "nas.lan") is DeviceStatus.APPROVED
    nameless = asking.client("cam", "192.168.1.40", None)
    assert arrive(nameless, "cam.lan") is DeviceStatus.APPROVED


def test_who_is_blocked_is_known_after_a_restart(asking: Home) -> None:
    client = asking.client()
    arrive(client)
    asking.devices.block(asking.device(client).id)
    asking.start()
    with pytest.raises(Unauthorized):
        client.order(*BOTH)


def test_a_forgotten_device_is_a_stranger_with_free_names(asking: Home) -> None:
    client = asking.client()
    arrive(client, *BOTH)
    device = asking.devices.approve(asking.device(client).id)
    forgotten = asking.devices.forget(device.id)
    assert forgotten.status is DeviceStatus.FORGOTTEN
    assert asking.audited("forget") == [device.id]
    assert asking.store.tie("printer.lan") is None
    assert asking.store.device_of(client.account.id) is None
    assert arrive(client, "printer.lan") is DeviceStatus.PENDING
    assert asking.device(client).id != device.id


@pytest.mark.parametrize("act", ["approve", "block", "forget"])
def test_the_owner_hears_what_cannot_be(asking: Home, act: str) -> None:
    client = asking.client()
    arrive(client, "printer.lan")
    device = asking.device(client)
    with pytest.raises(LookupError, match="'nobody'; `acmeiot devices` lists them"):
        getattr(asking.devices, act)("nobody")
    asking.devices.forget(device.id)
    with pytest.raises(ValueError, match=f"is forgotten; cannot {act} it"):
        getattr(asking.devices, act)(device.id)
    assert asking.audited(act) == ([device.id] if act == "forget" else [])


# The pairing window


def test_the_window_lets_in_while_it_is_open(asking: Home) -> None:
    assert asking.devices.window_end() is None
    assert asking.devices.open_window(60) == NOW + 60
    assert asking.events.said("window: pairing window open for 1 minutes")
    first, late = asking.client(), asking.client("nas", "192.168.1.30", "02::30")
    asking.clock.wait(59)
    assert asking.devices.window_end() == NOW + 60
    assert arrive(first, "printer.lan") is DeviceStatus.APPROVED
    assert asking.device(first).decided_by == "window"
    asking.clock.wait(1)
    assert asking.devices.window_end() is None
    assert arrive(late, "nas.lan") is DeviceStatus.PENDING
    assert arrive(first, "scan.lan") is DeviceStatus.APPROVED
    assert [e.detail for e in asking.store.audit(9) if e.event == "window"] == [{"ends": NOW + 60}]


def test_a_window_that_opens_lets_in_who_waits_and_asks_again(asking: Home) -> None:
    client = asking.client()
    arrive(client, "printer.lan")
    asking.devices.open_window(60)
    assert arrive(client, "printer.lan") is DeviceStatus.APPROVED


def test_the_window_closes(asking: Home) -> None:
    asking.devices.open_window(3600)
    asking.devices.close_window()
    assert asking.devices.window_end() is None
    assert asking.events.said("window: pairing window closed")
    assert asking.audited("window") == ["pairing", "pairing"]
    assert arrive(asking.client(), "printer.lan") is DeviceStatus.PENDING
    asking.devices.open_window(10)
    assert asking.devices.window_end() == NOW + 10


@pytest.mark.parametrize("restart", [False, True])
def test_the_window_outlives_a_restart_but_not_its_end(asking: Home, restart: bool) -> None:
    asking.devices.open_window(60)
    if restart:
        asking.start()
    assert asking.devices.window_end() == NOW + 60
    asking.clock.wait(60)
    assert asking.devices.window_end() is None


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_set_back_keeps_no_window_open(asking: Home, restart: bool) -> None:
    asking.devices.open_window(3600)
    if restart:
        asking.start()
    asking.clock.wait(1800)
    assert asking.devices.window_end()
    asking.clock.jump(-1800)
    asking.clock.wait(1799)
    assert asking.devices.window_end()  # an hour by any clock is not over
    asking.clock.wait(1)
    assert asking.devices.window_end() is None
    asking.clock.jump(-20_000)  # to before it was opened
    assert asking.devices.window_end() is None


def test_a_clock_set_back_before_the_opening_closes_the_window(asking: Home) -> None:
    asking.devices.open_window(3600)
    asking.clock.jump(-1)
    assert asking.devices.window_end() is None
    asking.start()
    assert asking.devices.window_end() is None


def test_a_clock_set_forward_closes_the_window(asking: Home) -> None:
    asking.devices.open_window(3600)
    asking.clock.jump(3600)
    assert asking.devices.window_end() is None


# Pairing keys


def paired(home: Home, address: str) -> Client:
    """Return a device that came with a pairing key."""
    pairing_key, key = home.accounts.make_pairing_key(600, ""), AccountKey()
    eab = mac(pairing_key.key, to_json(key.members), kid=pairing_key.kid, url=NEW_ACCOUNT)
    return home.register(address, key, externalAccountBinding=eab)


def test_a_pairing_key_approves(make_home: MakeHome) -> None:
    home = make_home(approval="ask", accounts=AccountRules(eab_required=True))
    home.lan.lease("printer", "192.168.1.20", "02::20")
    client = paired(home, "192.168.1.20")
    certificate = client.obtain(*BOTH)
    assert certificate.account_id == client.account.id
    assert home.device(client).decided_by == "pairing key"
    assert home.audited("approve") == [home.device(client).id]


# Ties: a stranger never takes a name silently


@pytest.fixture
def printer(asking: Home) -> Client:
    """A printer that the owner approved and that has its certificate."""
    client = asking.client()
    arrive(client, *BOTH)
    asking.devices.approve(asking.device(client).id)
    client.obtain(*BOTH)
    return client


def rival(home: Home, mac_address: str | None = "02::99") -> Client:
    """Return a device that has taken the printer's host name, as it may by DHCP."""
    return home.client("printer", "192.168.1.99", mac_address)


def test_a_certificate_ties_its_names(asking: Home, printer: Client) -> None:
    for name in BOTH:
        found = tie(asking, name)
        assert (found.account_id, found.mac) == (printer.account.id, "02::20")
        assert (found.since, found.last_issued) == (NOW, NOW)
    asking.clock.wait(DAY)
    printer.obtain(*BOTH, {"type": "ip", "value": printer.address})
    found = tie(asking, "printer.lan")
    assert (found.since, found.last_issued) == (NOW, NOW + DAY)
    assert asking.store.tie(printer.address) is None  # an address is tied to nobody


def test_a_stranger_waits_even_when_the_window_is_open(asking: Home, printer: Client) -> None:
    asking.devices.open_window(3600)
    thief = rival(asking)
    order = thief.prove(thief.order(*BOTH))
    assert asking.device(thief).status is DeviceStatus.PENDING
    assert order.status is OrderStatus.PENDING
    shown = thief.authorization(order).challenges[0]
    assert shown.status is ChallengeStatus.PROCESSING
    assert tie(asking, "printer.lan").account_id == printer.account.id


def test_a_pairing_key_takes_no_name_either(asking: Home, printer: Client) -> None:
    thief = paired(asking, rival(asking).address)
    thief.prove(thief.order(*BOTH))
    assert asking.device(thief).status is DeviceStatus.PENDING
    assert tie(asking, "printer.lan").account_id == printer.account.id


def test_an_approved_device_takes_no_name_either(asking: Home, printer: Client) -> None:
    nas = asking.client("nas", "192.168.1.30", "02::30")
    asking.devices.open_window(3600)
    nas.obtain("nas.lan", "nas.local")
    asking.lan.lease("printer", nas.address, "02::30")
    order = nas.prove(nas.order(*BOTH))
    assert order.status is OrderStatus.INVALID
    assert "printer.lan belongs to device" in str(order.error)
    assert f"acmeiot forget {asking.device(printer).id}" in str(order.error)
    assert "printer.lan" not in asking.device(nas).names


def test_approval_moves_the_tie_and_the_old_one_cannot_take_it_back(
    asking: Home, printer: Client
) -> None:
    ready = printer.order(*BOTH)  # by its authorizations of this hour
    assert ready.status is OrderStatus.READY
    new = rival(asking)
    order = new.prove(new.order(*BOTH))
    old_id, new_id = asking.device(printer).id, asking.device(new).id
    assert asking.devices.of_others(asking.device(new)) == dict.fromkeys(BOTH, old_id)
    device, taken = asking.owner.approve("Printer.lan")  # of two, the one that waits is meant
    assert (device.id, taken) == (new_id, dict.fromkeys(BOTH, old_id))
    assert asking.events.said(f"tie: printer.local goes from {old_id} to {new_id}")
    assert tie(asking, "printer.lan").account_id == new.account.id
    with pytest.raises(UserActionRequired, match="belongs to device"):
        printer.finalize(ready)
    with pytest.raises(UserActionRequired):
        printer.finalize(printer.order(*BOTH))
    assert new.finalize(new.read(order)).certificate_id
    assert tie(asking, "printer.lan").account_id == new.account.id


@pytest.mark.parametrize("by", ["id", "another name", "address"])
def test_approval_takes_no_name_that_the_owner_did_not_name(
    asking: Home, printer: Client, by: str
) -> None:
    laptop = asking.client("laptop", "192.168.1.50", "02::50")
    arrive(laptop, "laptop.lan", *BOTH)
    printer_id, device = asking.device(printer).id, asking.device(laptop)
    text = {"id": device.id, "another name": "laptop.lan", "address": laptop.address}[by]
    approved, taken = asking.owner.approve(text)
    assert (approved.status, taken) == (DeviceStatus.APPROVED, {})
    assert asking.devices.of_others(approved) == dict.fromkeys(BOTH, printer_id)
    assert tie(asking, "laptop.lan").device_id == device.id
    assert tie(asking, "printer.lan").device_id == printer_id
    with pytest.raises(UserActionRequired, match=f"acmeiot forget {printer_id}"):
        arrive(laptop, "printer.lan")
    printer.obtain(*BOTH)


def test_what_is_named_takes_no_other_host_along(asking: Home, printer: Client) -> None:
    arrive(printer, "scan.lan")
    asking.devices.block(asking.device(printer).id)
    asking.devices.approve(asking.device(printer).id)  # which ties what it proved since
    nas = asking.client("nas", "192.168.1.30", "02::30")
    arrive(nas, "nas.lan", "nas.local")
    asking.devices.approve(asking.device(nas).id)
    thief = rival(asking)
    arrive(thief, "scan.lan", "printer.lan", "nas.lan")
    device, taken = asking.owner.approve("scan.lan")
    assert (device.id, list(taken)) == (asking.device(thief).id, ["scan.lan"])
    assert list(asking.devices.of_others(device)) == ["printer.lan", "nas.lan"]
    other = asking.client("printer", "192.168.1.98", "02::98")
    arrive(other, "printer.guest.lan", "printer.lan")
    assert asking.owner.approve("printer.guest.lan")[1] == {}  # which was nobody's


def test_who_comes_again_under_its_mac_has_its_names(asking: Home, printer: Client) -> None:
    again = asking.register(printer.address)
    arrive(again, *BOTH)
    device = asking.device(again)
    assert asking.devices.of_others(device) == {}
    asking.devices.approve(device.id)
    assert tie(asking, "printer.lan").device_id == device.id


def test_a_name_below_is_not_taken_by_who_has_the_name_above(asking: Home, printer: Client) -> None:
    # RFC 9444: nas.lan vouches for cam.nas.lan, unless that is somebody's already.
    asking.devices.open_window(3600)
    cam = asking.client("cam.nas", "192.168.1.40", "02::40")
    cam.obtain("cam.nas.lan", "cam.nas.local")
    nas = asking.client("nas", "192.168.1.30", "02::30")
    nas.obtain("nas.lan", "nas.local")
    below = [
        {"type": "dns", "value": f"cam.nas.{s}", "ancestorDomain": f"nas.{s}"}
        for s in ("lan", "local")
    ]
    order = nas.prove(nas.order(*below))
    with pytest.raises(UserActionRequired, match=r"cam\.nas\.lan belongs to device"):
        nas.finalize(order)
    assert tie(asking, "cam.nas.lan").account_id == cam.account.id


def test_the_same_mac_with_a_new_account_is_the_same_device(asking: Home, printer: Client) -> None:
    again = asking.register(printer.address)  # it was reset and lost its account key
    again.prove(again.order(*BOTH))
    assert asking.device(again).status is DeviceStatus.PENDING  # its account is new, all the same
    asking.devices.open_window(60)
    order = again.order(*BOTH)
    assert again.finalize(again.prove(order)).certificate_id
    assert tie(asking, "printer.lan").account_id == again.account.id


def test_a_device_renews_after_the_routers_restart(asking: Home, printer: Client) -> None:
    """The leases were in the router's memory, and the printer asks for its own in hours."""
    other = rival(asking)
    asking.lan.hosts.clear()
    asking.clock.wait(DAY)
    assert printer.obtain(*BOTH).account_id == printer.account.id
    with pytest.raises(RejectedIdentifier, match="no lease"):
        other.order(*BOTH)


def test_two_unknown_macs_are_not_one_device(asking: Home) -> None:
    asking.devices.open_window(3600)
    first = asking.client("cam", "192.168.1.40", None)
    first.obtain("cam.lan", "cam.local")
    second = asking.register(first.address)
    second.prove(second.order("cam.lan", "cam.local"))
    assert asking.device(second).status is DeviceStatus.PENDING


def test_under_auto_a_tied_name_is_refused_at_once(home: Home) -> None:
    printer = home.client()
    printer.obtain(*BOTH)
    thief = rival(home, None)
    with pytest.raises(RejectedIdentifier, match=r"belongs to device .* \(MAC 02::20\)"):
        thief.order(*BOTH)
    again = home.register(printer.address)
    again.obtain(*BOTH)
    home.owner.forget(home.device(again).id)
    thief.obtain(*BOTH)
    with pytest.raises(RejectedIdentifier, match=r"\(MAC unknown\)"):
        home.register("192.168.1.20").order(*BOTH)


def test_under_auto_a_race_for_a_name_has_one_winner(home: Home) -> None:
    home.lan.lease("printer", "192.168.1.21", "02::21")
    first, second = home.client(), home.register("192.168.1.21")
    late = second.order(*BOTH)  # before anybody had the name
    ready = home.register("192.168.1.21")
    ready_order = ready.order(*BOTH)
    ready.prove(ready_order)
    first.obtain(*BOTH)
    assert second.prove(late).status is OrderStatus.PENDING  # it waits for a person's word
    assert home.device(second).status is DeviceStatus.PENDING
    with pytest.raises(UserActionRequired):
        ready.finalize(ready.read(ready_order))
    assert tie(home, "printer.lan").account_id == first.account.id


def test_without_tables_no_tie_holds_a_name(make_home: MakeHome) -> None:
    home = make_home(rule="challenge")
    home.client("cam", "192.168.1.40", None).obtain("cam.lan", "cam.local")
    later = home.register("192.168.1.41")
    later.obtain("cam.lan", "cam.local")
    assert tie(home, "cam.lan").account_id == later.account.id
    assert home.devices.of_others(home.device(later)) == {}


def test_a_refusal_says_what_was_decided(asking: Home) -> None:
    client = asking.client()
    arrive(client)
    assert module.said_no(asking.device(client)).detail.startswith("this device is pending;")
    assert module.said_no(None).detail.startswith("this device is forgotten;")

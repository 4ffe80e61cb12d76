"""One home, as its people live in it: joining, browsing, renewing, renaming, changing roots."""

from __future__ import annotations

import pytest

from tests.home.network import Plan, Router, Street
from tests.home.people import NAMES, Laptop, Printer, revoked, serial, shared


@pytest.fixture
def home(router: Router) -> Router:
    """A home whose owner has just enabled the server."""
    router.serve("--pairing-window", "3600")
    router.announce()
    return router


@pytest.fixture
def printer(street: Street, home: Router) -> Printer:
    """A printer that has joined and has its certificate."""
    made = Printer(street)
    made.machine.join(home, "printer")
    made.agent("once")
    return made


@pytest.fixture
def laptop(street: Street, home: Router) -> Laptop:
    """A laptop that has joined and whose owner has taken the root on first use."""
    made = Laptop(street)
    made.machine.join(home, "laptop")
    made.agent("once", "--mode", "tofu")
    return made


def test_a_device_and_a_laptop_join(street: Street, home: Router) -> None:
    """A-3.1-1 A-3.3-1 A-3.3-3 A-3.4-1 A-3.4-3: nobody tells them anything but the router."""
    printer = Printer(street)
    printer.machine.join(home, "printer")
    # A-4.7-3: that it trusts on first use is said, with the fingerprint.
    assert home.root in printer.agent("once")
    # A-3.2.3-2, A-3.2.3-3.
    text = shared(printer.machine)
    assert "NIST CURVE: P-384" in text
    assert "DNS:printer.lan, DNS:printer.local" in text
    laptop = Laptop(street)
    laptop.machine.join(home, "laptop")
    with printer.serving():
        laptop.refuses(*NAMES)
        laptop.agent("once", "--mode", "tofu")
        assert laptop.believes() == [home.root]
        laptop.accepts(*NAMES)


def test_the_owner_is_asked(street: Street, router: Router) -> None:
    """Without a pairing window the device waits; the same agent succeeds after the approval."""
    router.serve()
    router.announce()
    printer = Printer(street)
    printer.machine.join(router, "printer")
    said = printer.agent("once", fails=True)
    assert "acmeiot approve" in said or "owner" in said
    (device,) = router.asked("devices")["devices"]
    assert device["status"] == "pending"
    router.owner("approve", device["id"])
    printer.agent("once")
    assert printer.status()["state"] == "good"


def test_a_pairing_key_is_enough(street: Street, router: Router) -> None:
    """A managed start: the owner's key tells the device which server and root, too (R-18)."""
    router.serve()
    router.announce()
    uri = router.asked("pair")["uri"]
    printer = Printer(street)
    printer.machine.join(router, "printer")
    printer.agent("once", "--pair", uri)
    assert printer.status()["state"] == "good"
    assert "first use" not in printer.status()["pinned"]


def test_renewing(home: Router, printer: Printer, laptop: Laptop) -> None:
    """A-3.4-2: a second visit asks for nothing; when the owner revokes, ARI has it renewed."""
    first = serial(home, "printer.lan")
    printer.agent("once")
    assert serial(home, "printer.lan") == first
    home.owner("revoke", first)
    printer.agent("once", later="2 hours")
    second = serial(home, "printer.lan")
    assert second != first
    with printer.serving():
        laptop.accepts(*NAMES)


def test_renaming(street: Street, home: Router, laptop: Laptop) -> None:
    """A-4.6-2: with a new name the device gets new certificates, and the old are revoked."""
    camera = Printer(street, "camera", "52:54:00:00:00:40")
    camera.machine.join(home, "camera")
    camera.agent("once")
    old = serial(home, "camera.lan")
    camera.machine.dhcp("garden")
    camera.agent("rename", "garden")
    assert serial(home, "garden.lan") != old
    assert revoked(home) == [old]
    assert "DNS:garden.lan, DNS:garden.local" in shared(camera.machine)
    with camera.serving():
        laptop.accepts("garden.lan", browser=False)


def test_reset(home: Router, printer: Printer) -> None:
    """A-4.4-1: revoked, forgotten, and with other keys when it begins anew."""
    before, old = shared(printer.machine), serial(home, "printer.lan")
    printer.agent("reset")
    assert revoked(home) == [old]
    left = printer.machine.run("find", "/var/lib/acmeiot", "/etc/printer", "-name", "*.pem")
    assert left == "", "no key of the old life is left"
    printer.agent("once")
    assert key_of(shared(printer.machine)) != key_of(before)
    assert len(home.asked("devices")["devices"]) == 2, "an account of its own, too"


def key_of(text: str) -> str:
    """Return the public key in a certificate's text."""
    return text.partition("pub:")[2].partition("ASN1 OID")[0]


def test_a_new_root_that_the_old_one_vouches_for(
    home: Router, printer: Printer, laptop: Laptop
) -> None:
    """A-4.7-2 A-4.7-3: the device follows and says so; the person is told and asked."""
    old = home.root
    new = home.asked("rotate")["new"]
    with printer.serving():
        laptop.accepts(*NAMES)  # nothing has changed for either yet
        said = printer.agent("once")
        assert old in said
        assert new in said
        assert printer.status()["root"] == new
        # Who knows the old root only still gets to the new leaf.
        laptop.accepts(*NAMES)
        said = laptop.agent("once", fails=True)
        assert old in said
        assert new in said
        assert laptop.believes() == [old]
        laptop.accepts(*NAMES)
        laptop.agent("accept", f"sha256:{new}")
        assert laptop.believes() == [new]
        laptop.accepts(*NAMES)


def test_a_router_that_forgot_everything(
    street: Street, home: Router, printer: Printer, laptop: Laptop
) -> None:
    """A-4.7-2 A-4.7-3: another root on a known network stops the device, and is not believed."""
    old = home.root
    home.stop_serving()
    home.run("rm", "-rf", home.state)
    home.serve("--pairing-window", "3600")
    home.announce()
    assert home.root != old
    said = printer.agent("once", fails=True)
    assert old in said
    assert home.root in said
    assert home.asked("certs")["certs"] == []
    said = laptop.agent("once", "--mode", "tofu", fails=True)
    assert old in said
    assert home.root in said
    assert laptop.believes() == [old]
    with printer.serving():
        laptop.accepts(*NAMES)  # by the old root, until accepted
        laptop.agent("accept", f"sha256:{home.root}")
        laptop.refuses(*NAMES)
        printer.agent("reset")
        printer.agent("once")
        laptop.accepts(*NAMES)


def test_another_router(street: Street, home: Router, printer: Printer, laptop: Laptop) -> None:
    """A-3.3-5: a router bought anew is another network, with its own first use."""
    for machine in (printer.machine, laptop.machine):
        machine.unplug()
    other = street.router(Plan("new", "52:54:00:00:09:09"))
    other.serve("--pairing-window", "3600")
    other.announce()
    printer.machine.join(other, "printer")
    laptop.machine.join(other, "laptop")
    printer.agent("once")
    laptop.agent("once", "--mode", "tofu")
    assert laptop.believes() == [other.root]
    with printer.serving():
        laptop.accepts(*NAMES)


def test_a_server_that_is_dead_for_a_week(home: Router, printer: Printer, laptop: Laptop) -> None:
    """The device keeps what it has, says so, and asks again when the server is back."""
    first = serial(home, "printer.lan")
    home.stop_serving()
    with printer.serving():
        assert "router.lan" in printer.agent("once", later="7 days", fails=True)
        laptop.accepts(*NAMES)
    home.serve()
    printer.agent("once")
    assert serial(home, "printer.lan") == first

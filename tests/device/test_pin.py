"""Which root a device believes: the first, the expected, the heir; and no other."""

from __future__ import annotations

import logging

import pytest

from acmeiot.device import status
from tests.device.conftest import Serve
from tests.device.rig import HOME, WIFI, Rig, certs
from tests.web.running import Running


def test_first_use_is_said_with_the_fingerprint_in_words(
    rig: Rig, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.good()  # A-3.4-3
    assert (
        f"on first use; compare its fingerprint with the router's: sha256:{server.root_hash}"
        in (caplog.text)
    )


def test_an_expected_root_is_taken(rig: Rig, server: Running) -> None:
    rig.settings["expected"] = server.root_hash
    assert rig.good().pinned == "expected by the owner"


def test_a_root_that_was_expected_once_is_so_on_the_next_network(rig: Rig, server: Running) -> None:
    """A-3.4-4: started once with --pair; the other network's server is the same one."""
    rig.settings["expected"] = server.root_hash
    rig.good()
    del rig.settings["expected"]
    rig.lan.joined, rig.lan.servers[WIFI.key] = (HOME, WIFI), server.directory
    assert [one.pinned for one in rig.agent().round()] == ["expected by the owner"] * 2
    assert [one.facts().pinned for one in rig.state.servers()] == ["expected by the owner"]


def test_another_than_the_expected_root_gets_nothing(rig: Rig, server: Running) -> None:
    before = server.ask("audit")["audit"]
    rig.settings["expected"] = "0" * 64
    outcome = rig.visit()  # the man in the middle of a first join
    assert outcome.state == status.FAILED
    assert f"sha256:{server.root_hash}, but sha256:{'0' * 64} is expected" in outcome.said
    assert rig.state.servers() == ()
    assert server.ask("audit")["audit"] == before


def test_what_was_trusted_on_first_use_must_be_what_is_expected_later(
    rig: Rig, server: Running
) -> None:
    first = rig.good()
    rig.settings["expected"] = "0" * 64
    assert rig.visit().state == status.FAILED
    rig.settings["expected"] = server.root_hash
    again = rig.good()
    assert (again.serial, again.pinned) == (first.serial, "expected by the owner")


def test_a_changed_root_stops_it_loudly(
    rig: Rig, server: Running, make_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    rig.settings["targets"] = rig.targets
    first, chain = rig.good(), rig.chain()
    other = make_server()
    issued = len(certs(other))
    rig.lan.servers[HOME.key] = other.directory
    agent = rig.agent()
    for _ in range(2):
        (outcome,) = agent.round(woken=True)
        assert (outcome.state, outcome.serial) == (status.CHANGED, first.serial)  # A-4.7-1
        assert server.root_hash in outcome.said
        assert other.root_hash in outcome.said
    loud = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(loud) == 1  # A-4.7-3
    assert "THE ROOT OF THIS NETWORK HAS CHANGED" in loud[0].getMessage()
    assert len(certs(other)) == issued
    assert rig.chain() == chain == rig.targets.chain.read_bytes()
    assert rig.state.servers()[0].facts().url == server.directory
    rig.lan.servers[HOME.key] = server.directory  # whoever it was has gone
    assert rig.good().serial == first.serial


def test_the_owner_can_name_the_changed_root(rig: Rig, make_server: Serve) -> None:
    rig.good()
    other = make_server()
    rig.lan.servers[HOME.key] = other.directory
    rig.settings["expected"] = other.root_hash
    outcome = rig.good()
    assert (outcome.root, outcome.serial in certs(other)) == (other.root_hash, True)
    assert rig.certs() == [outcome.serial]


def test_the_heir_of_a_root_is_followed(
    rig: Rig, make_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    home = make_server()
    rig.lan.servers[HOME.key] = home.directory
    first = rig.good()
    new = home.ask("rotate")["new"]
    home.stop()
    home.start()
    rig.clock.ahead = 3601
    outcome = rig.good()  # A-4.7-3: followed, and said so
    followed = "vouched for by the root before, which was trusted on first use"
    assert (outcome.root, outcome.pinned) == (new, followed)
    assert outcome.serial != first.serial
    assert "which the old root vouches for" in caplog.text
    assert rig.good().serial == outcome.serial
    # What nobody ever compared does not become the right one by its own word.
    rig.settings["expected"] = "0" * 64
    assert rig.visit().state == status.FAILED
    rig.settings["expected"] = new
    assert rig.good().pinned == "expected by the owner"


def test_the_heir_of_another_than_the_expected_root(rig: Rig, make_server: Serve) -> None:
    home = make_server()
    rig.lan.servers[HOME.key] = home.directory
    first, old = rig.good(), home.root_hash
    home.ask("rotate")
    home.stop()
    home.start()
    rig.settings["expected"] = "0" * 64
    outcome = rig.visit()
    assert (outcome.state, outcome.root) == (status.FAILED, first.root)
    rig.settings["expected"] = old  # it vouches for the new one
    assert rig.good().pinned == "vouched for by the root before"


def test_another_name_of_the_server_is_a_notice(
    rig: Rig, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    first = rig.good()
    rig.lan.servers[HOME.key] = server.directory.replace("router.lan", "router.local")
    assert rig.good().serial == first.serial
    assert "is called router.local now, no longer router.lan; the root is the same" in caplog.text

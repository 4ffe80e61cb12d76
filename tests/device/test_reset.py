"""A device that is reset: revoked, forgotten, and with new keys."""

from __future__ import annotations

import logging

import pytest

from acmeiot.client.problem import Refused
from acmeiot.device import requests
from acmeiot.device.account import Account
from acmeiot.device.requests import Request
from tests.device.rig import HOME, Rig, certs
from tests.web.running import Running


def ask(rig: Rig, *, leave: bool = False) -> None:
    """Ask for a reset, as the command does."""
    requests.ask(rig.state.folder, Request(reset=True, leave=leave))


def test_it_revokes_forgets_and_makes_new_keys(rig: Rig, server: Running) -> None:
    rig.settings["targets"] = rig.targets
    old, key = rig.good(), rig.leaf().public_key()
    account = rig.state.servers()[0].account_key()
    before = set(rig.state.folder.rglob("*.pem"))
    ask(rig)
    new = rig.good()
    assert certs(server)[old.serial]["revoked_at"] is not None  # A-4.4-1
    assert not any(path.exists() for path in before if "networks" not in path.parts)
    assert rig.leaf().public_key() != key
    assert rig.state.servers()[0].account_key() != account
    assert new.serial != old.serial
    assert rig.targets.chain.read_bytes() == rig.chain()
    assert requests.asked(rig.state.folder) is None


def test_its_account_is_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.good()
    ended: list[Account] = []
    monkeypatch.setattr(Account, "__exit__", lambda account, *_: ended.append(account))
    ask(rig, leave=True)
    assert rig.agent().round() == ()
    client = ended[0].client()
    with pytest.raises(Refused, match="deactivated"):
        client.register()
    monkeypatch.undo()
    ended[0].__exit__()


def test_given_away_it_leaves_nothing_and_does_not_begin_anew(rig: Rig, server: Running) -> None:
    rig.settings["targets"] = rig.targets
    old = rig.good()
    ask(rig, leave=True)
    agent = rig.agent()
    assert agent.round() == agent.round(woken=True) == ()
    assert certs(server)[old.serial]["revoked_at"] is not None
    assert list(rig.targets.key.parent.iterdir()) == []
    left = {path.name for path in rig.state.folder.rglob("*") if path.is_file()}
    assert left <= {"status.json", "networks.json"}
    assert rig.state.memberships() == {}
    assert rig.state.device().label == ""


def test_a_server_that_is_away_keeps_no_key_alive(
    rig: Rig, server: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    old = rig.good()
    url = rig.lan.servers.pop(HOME.key)
    rig.state.servers()[0].note(url=url.replace(str(server.ports[0]), str(server.ports[1])))
    ask(rig, leave=True)
    rig.agent().round()
    assert "keys deleted; nothing could be revoked there: " in caplog.text
    assert rig.state.servers() == ()
    assert list(rig.state.folder.rglob("*.key")) == []
    assert certs(server)[old.serial]["revoked_at"] is None


@pytest.mark.parametrize("where", ["client.acme.Client.deactivate", "device.state.State.forget"])
def test_a_power_cut_in_the_middle_is_gone_on_from(
    rig: Rig, server: Running, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise SystemExit

    old = rig.good()
    ask(rig)
    with monkeypatch.context() as patch:
        patch.setattr(f"acmeiot.{where}", cut)
        with pytest.raises(SystemExit):
            rig.visit()
    new = rig.good()
    assert certs(server)[old.serial]["revoked_at"] is not None
    assert rig.certs() == [new.serial]

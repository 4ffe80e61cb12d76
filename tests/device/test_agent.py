"""When the agent comes, and when it leaves a server in peace. The clock is a test's."""

from __future__ import annotations

import logging

import pytest

from acmeiot.client import tls
from acmeiot.client.errors import AgentError
from acmeiot.client.network import Survey
from acmeiot.device import agent as agents
from acmeiot.device import status
from acmeiot.device.agent import LEAST_PAUSE, LONGEST_PAUSE, Agent
from tests.device.conftest import Serve
from tests.device.rig import HOME, WIFI, FakeWatch, Rig, certs
from tests.web.running import Running

HOUR = 3600
DAY = 24 * HOUR


def run_for(agent: Agent, rig: Rig, seconds: float, watch: FakeWatch | None = None) -> FakeWatch:
    """Let the agent run for as long as this on its own clock."""
    watch = watch or FakeWatch(rig.clock)
    ends = rig.clock.monotonic() + seconds
    agents.run(agent, watch, lambda: rig.clock.monotonic() >= ends)
    return watch


def test_a_server_that_is_dead_for_a_week(
    rig: Rig, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    rig.settings["targets"] = rig.targets
    first = rig.good()
    rig.clock.ahead = first.renew_at - rig.clock.now()
    url = rig.lan.servers.pop(HOME.key)
    agent, before = rig.agent(), len(rig.lan.asked)
    run_for(agent, rig, 7 * DAY)
    asked = len(rig.lan.asked) - before
    assert 100 < asked < 260, "about once an hour, after a few quicker tries"
    assert rig.leaf().serial_number == int(first.serial, 16)
    assert rig.targets.chain.read_bytes() == rig.chain()
    said = [r for r in caplog.records if "nobody was asked" in r.getMessage()]
    assert len(said) == 1, "the same trouble is said once"
    rig.lan.servers[HOME.key] = url
    run_for(agent, rig, 2 * HOUR)
    assert rig.leaf().serial_number != int(first.serial, 16)


def test_pauses_grow_and_differ(rig: Rig) -> None:
    del rig.lan.servers[HOME.key]
    agent = rig.agent()
    pauses = []
    for _ in range(12):
        agent.round(changed=False)
        pauses.append(agent.pause())
        rig.clock.waited += agent.pause()
    parts = [pause / min(30 * 2**n, LONGEST_PAUSE) for n, pause in enumerate(pauses)]
    assert all(0.74 < part < 1.26 for part in parts)
    assert max(parts) - min(parts) > 0.2, "a home's devices do not come all at once"


def test_it_comes_when_a_network_is_joined(rig: Rig) -> None:
    joined, rig.lan.joined = rig.lan.joined, ()
    agent = rig.agent()
    assert agent.round() == ()
    assert agent.pause() == pytest.approx(LONGEST_PAUSE)
    rig.lan.joined = joined
    (outcome,) = agent.round(changed=True)  # A-3.4-1: discovery, and what follows
    assert outcome.good
    assert rig.lan.asked == [HOME.key]


def test_a_loose_cable_does_not_make_it_ask_each_time(rig: Rig) -> None:
    agent = rig.agent()
    for _ in range(20):
        agent.round(changed=True)
    assert rig.lan.asked == [HOME.key]
    rig.clock.waited += 61
    agent.round(changed=True)
    assert rig.lan.asked == [HOME.key] * 2


def test_a_change_just_after_a_visit_is_not_forgotten(rig: Rig) -> None:
    """A-3.4-1: the DHCP answer came a moment after the address, or after many failures."""
    agent = rig.agent()
    assert agent.round()[0].good
    rig.clock.waited += 5
    agent.round(changed=True)
    assert agent.pause() <= 55
    rig.clock.waited += agent.pause()
    agent.round(changed=False)
    assert rig.lan.asked == [HOME.key] * 2
    url = rig.lan.servers.pop(HOME.key)
    for _ in range(8):
        rig.clock.waited += agent.pause()
        agent.round(changed=False)
    assert agent.pause() > 1000
    rig.clock.waited += 1
    rig.lan.servers[HOME.key] = url
    agent.round(changed=True)
    assert agent.pause() <= 10
    rig.clock.waited += agent.pause()
    assert agent.round(changed=False)[0].good


def test_two_networks_have_their_own_pace(rig: Rig, server: Running) -> None:
    rig.lan.joined = (HOME, WIFI)
    agent = rig.agent()
    home, wifi = agent.round()
    assert (home.good, wifi.good) == (True, False)
    rig.clock.waited += 45
    rig.lan.servers[WIFI.key] = server.directory
    assert all(one.good for one in agent.round(changed=False))
    assert rig.lan.asked == [HOME.key, WIFI.key, WIFI.key]


def test_it_looks_again_after_sleep(rig: Rig, server: Running) -> None:
    first = rig.good()
    agent, watch = rig.agent(), FakeWatch(rig.clock)
    agent.round()
    asked = len(rig.lan.asked)
    rig.clock.asleep = first.renew_at - rig.clock.now()
    run_for(agent, rig, 3 * 60, watch)
    assert len(rig.lan.asked) > asked
    assert rig.leaf().serial_number != int(first.serial, 16)
    assert max(watch.waits) <= agents.LONGEST_SLEEP


def test_all_is_quiet_between_renewals(rig: Rig, server: Running) -> None:
    agent = rig.agent()
    run_for(agent, rig, DAY)
    assert 3 <= len(rig.lan.asked) <= 6  # as often as the server wants to be asked for its window
    assert len([c for c in certs(server).values() if c["serial"] in rig.certs()]) == 1


def test_a_network_that_cannot_be_told_is_looked_at_soon(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.lan.joined, rig.lan.unknown = (), ("eth0: its router 10.0.0.1 does not answer",)
    agent = rig.agent()
    agent.round()
    agent.round()
    assert agent.pause() <= 30
    assert caplog.text.count("does not answer") == 1


def test_no_networks_to_be_seen_end_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise AgentError("this machine's networks cannot be read: no netlink")

    monkeypatch.setattr(rig.lan, "survey", fails)
    agent = rig.agent()
    run_for(agent, rig, 3 * HOUR)
    assert caplog.text.count("no netlink") == 1
    monkeypatch.undo()
    run_for(agent, rig, HOUR)
    assert rig.lan.asked == [HOME.key]


def test_it_does_not_sleep_for_an_hour_because_of_one_moment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = rig.lan.survey
    moments = iter([OSError(105, "No buffer space available")])

    def fails() -> Survey:
        for error in moments:
            raise error
        return survey()

    monkeypatch.setattr(rig.lan, "survey", fails)
    run_for(rig.agent(), rig, 60)
    assert rig.lan.asked == [HOME.key]


# -- the owner's word


def test_it_waits_for_the_owner_and_says_so(
    rig: Rig, make_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    asking = make_server("--approval", "ask", toml="approval_wait = 1\n")
    rig.lan.servers[HOME.key] = asking.directory
    agent = rig.agent()
    (outcome,) = agent.round()
    assert outcome.state == status.WAITING
    assert "the owner of this network has not yet allowed this device" in outcome.said
    assert "waiting: printer-12cd56.lan" in caplog.text
    (device,) = asking.ask("devices")["devices"]
    asking.admin("approve", device["id"])
    rig.clock.waited += agent.pause()
    (outcome,) = agent.round(changed=False)
    assert outcome.good
    assert len(asking.ask("devices")["devices"]) == 1


def test_a_pairing_key_opens_the_door_once(rig: Rig, make_server: Serve) -> None:
    asking = make_server(
        "--approval", "ask", toml="approval_wait = 1\nrequire_pairing_key = true\n"
    )
    rig.lan.servers[HOME.key] = asking.directory
    assert "externalAccountRequired" in rig.visit().said
    pairing = asking.ask("pair")
    rig.settings["eab"] = (pairing["kid"], pairing["hmac"])
    rig.settings["expected"] = pairing["root_sha256"]
    outcome = rig.good()
    assert outcome.pinned == "expected by the owner"
    rename_later = rig.settings | {"name": "study-12cd56"}
    rig.settings = rename_later  # the key is used up, and not needed any more
    assert rig.good().serial != outcome.serial


def test_a_forgotten_device_does_not_come_back_by_itself(rig: Rig, make_server: Serve) -> None:
    home = make_server()
    rig.lan.servers[HOME.key] = home.directory
    first = rig.good()
    (device,) = home.ask("devices")["devices"]
    home.admin("forget", device["id"])
    rig.clock.ahead = 3601
    outcome = rig.visit()
    assert outcome.state == status.FAILED
    assert "unauthorized" in outcome.said
    assert list(certs(home)) == [first.serial]


# -- a wrong clock


def test_a_clock_that_is_wrong_at_boot(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.settings["targets"] = rig.targets
    first = rig.good()
    chain = rig.chain()
    asked = len(rig.lan.asked)
    rig.clock.ahead = -(rig.clock.now() - 86400)  # the second day of 1970
    agent = rig.agent()
    (outcome,) = agent.round()
    assert outcome.state == status.CLOCK
    assert "1970-01-02" in outcome.said
    assert len(rig.lan.asked) == asked, "nothing is judged, nobody asked"
    assert agent.pause() < LEAST_PAUSE
    assert rig.chain() == chain == rig.targets.chain.read_bytes()
    rig.clock.ahead = 0
    rig.clock.waited += agent.pause()
    (outcome,) = agent.round(changed=False)
    assert (outcome.serial, outcome.said) == (first.serial, "verified")


@pytest.mark.parametrize("of", ["root", "leaf"])
def test_a_clock_before_what_was_made_before(rig: Rig, of: str) -> None:
    rig.good()
    made = tls.validity(rig.leaf())[0] if of == "leaf" else None
    seconds = made or rig.clock.now() - 3 * DAY
    rig.clock.ahead = seconds - 60 - rig.clock.now()
    assert rig.visit().state == status.CLOCK


def test_a_new_network_with_a_root_of_the_future(rig: Rig) -> None:
    rig.clock.ahead = -3 * DAY
    outcome = rig.visit()
    assert outcome.state == status.CLOCK
    assert rig.state.servers() == ()


def test_a_root_that_is_younger_than_the_clock_by_tls(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acmeiot.client.dial import Untrusted

    rig.good()
    error = Untrusted("router.lan: certificate is not yet valid", "certificate is not yet valid")

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(rig.lan, "find", fails)
    assert rig.visit().state == status.CLOCK


# -- the log


def test_a_root_change_is_an_error_and_trouble_a_warning(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    del rig.lan.servers[HOME.key]
    rig.visit()
    (record,) = [r for r in caplog.records if "nobody was asked" in r.getMessage()]
    assert record.levelno == logging.WARNING

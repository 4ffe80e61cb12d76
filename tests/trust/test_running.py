"""The agent that stays: when it looks, when it asks, and that it cleans up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network
from acmeiot.trust.agent import Found
from acmeiot.trust.decide import Policy
from acmeiot.trust.running import AGAIN, SELDOM, SOON, UNKNOWN, Rounds, run
from tests.trust.fakes import HOME, OTHER, Laptop, shown
from tests.trust.roots import home_root

A, B = home_root(0), home_root(1)


@dataclass
class Script:
    """A watch whose waits are a test's steps; when they are over, the agent is to stop."""

    steps: list[Callable[[], bool]]
    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def wait(self, timeout: float) -> bool:
        """Take the next step."""
        self.waits.append(timeout)
        self.now += timeout
        return self.steps.pop(0)()

    def play(self, laptop: Laptop) -> None:
        """Run the agent until the steps are over."""
        run(laptop.agent(), self, lambda: not self.steps, lambda: self.now)


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "state", Policy(mode="tofu"))


def at(laptop: Laptop, network: Network | None, found: Found | AgentError | None = None) -> None:
    laptop.joined = () if network is None else (network,)
    if network is not None and found is not None:
        laptop.on[network.key] = found


def test_it_follows_the_machine_from_network_to_network(laptop: Laptop) -> None:
    """A-3.3-1, A-3.3-4: discovery on each join, the root out on leaving, and at the end."""
    seen: list[set[bytes]] = []

    def moves(network: Network | None, found: Found | None = None) -> Callable[[], bool]:
        def step() -> bool:
            seen.append(laptop.held)
            at(laptop, network, found)
            return True

        return step

    at(laptop, HOME, Found(shown(A)))
    Script([moves(None), moves(OTHER, Found(shown(B))), moves(None), moves(HOME)]).play(laptop)
    assert seen == [{A.pem}, set(), {B.pem}, set()]
    assert laptop.held == set()
    assert laptop.known(HOME).believes(A.sha256)


def test_a_network_without_a_server_is_asked_soon_then_seldom(laptop: Laptop) -> None:
    """A-3.3-1: the DHCP answer may come later than the address."""
    at(laptop, HOME, Found())

    def appears() -> bool:
        at(laptop, HOME, Found(shown(A)))
        return False

    script = Script([lambda: False, lambda: False, appears, *[lambda: False] * 3])
    script.play(laptop)
    assert script.waits == [SOON, 2 * SOON, 4 * SOON, AGAIN, SELDOM, SELDOM]
    assert laptop.known(HOME).believes(A.sha256)


def test_a_router_that_does_not_answer_yet_is_looked_for_again(laptop: Laptop) -> None:
    """A-3.3-1."""
    laptop.unknown = ("eth0: its router 192.168.1.1 does not answer",)

    def answers() -> bool:
        laptop.unknown = ()
        at(laptop, HOME, Found(shown(A)))
        return False

    script = Script([lambda: False, answers, lambda: False, lambda: False])
    script.play(laptop)
    assert script.waits == [UNKNOWN, UNKNOWN, AGAIN, SELDOM]
    assert laptop.known(HOME).believes(A.sha256)


def test_the_pauses_end_somewhere(laptop: Laptop) -> None:
    at(laptop, HOME, Found())
    script = Script([lambda: False] * 16)
    script.play(laptop)
    assert script.waits[-1] == SELDOM


def test_noise_does_not_make_it_ask_all_the_time() -> None:
    rounds = Rounds()
    assert rounds.due([HOME], 0.0, changed=False) == [HOME]
    rounds.met(HOME, 0.0, settled=True)
    assert rounds.due([HOME], 0.1, changed=True) == []
    assert rounds.rest(0.1) == pytest.approx(4.9)
    assert rounds.due([HOME], 5.0, changed=False) == [HOME]
    rounds.met(HOME, 5.0, settled=True)
    assert rounds.due([HOME, OTHER], 5.1, changed=True) == [OTHER]


def test_coming_back_is_joining() -> None:
    rounds = Rounds()
    rounds.met(HOME, 0.0, settled=True)
    assert rounds.due([], 1.0, changed=True) == []
    assert rounds.due([HOME], 2.0, changed=True) == [HOME]


def test_trouble_does_not_end_it(laptop: Laptop) -> None:
    at(laptop, HOME, Found(shown(A)))
    seen = []

    def breaks() -> bool:
        seen.append(laptop.held)
        laptop.lost = AgentError("netlink is gone")
        return True

    def mends() -> bool:
        seen.append(laptop.held)
        laptop.lost = None
        return True

    def stays() -> bool:
        seen.append(laptop.held)
        return False

    Script([breaks, mends, stays, stays]).play(laptop)
    assert seen == [{A.pem}, set(), {A.pem}, {A.pem}]


def test_what_fails_at_the_start_is_said(laptop: Laptop) -> None:
    laptop.lost = AgentError("there is no interface wlan9")
    with pytest.raises(AgentError, match="wlan9"):
        Script([lambda: False]).play(laptop)


def test_a_bug_takes_the_roots_out_too(laptop: Laptop) -> None:
    """A-3.3-4."""
    at(laptop, HOME, Found(shown(A)))

    def bug() -> bool:
        assert laptop.held == {A.pem}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Script([bug]).play(laptop)
    assert laptop.held == set()

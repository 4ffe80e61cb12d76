"""The agent that stays: it looks when the network changes, and asks again now and then.

Joining is a race that others run, too: the address may be there before the DHCP answer can be
read, or before the router's services are up. So a network without a server is asked again soon,
then less and less often.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network, Survey
from acmeiot.trust.agent import Agent

SOON: Final = 2.0  # seconds until a network is asked again, doubled each time
# After the first answer once more: perhaps DNS was quicker than the DHCP client's hook (A-3.1-1).
AGAIN: Final = 10.0
SELDOM: Final = 900.0
UNKNOWN: Final = 15.0  # where a network cannot be told: its router may just be starting
# Whatever changes, one network is not asked more often.
_AT_LEAST: Final = 5.0
_LOG: Final = logging.getLogger("acmeiot.trust")


class Waits(Protocol):
    """Waits for the network to change: `client.network.Watch`."""

    def wait(self, timeout: float) -> bool:
        """Wait for a change, at most so many seconds; tell whether there was one."""
        ...


@dataclass
class Rounds:
    """When which network is asked. Times are those of a clock that never jumps."""

    _due: dict[str, float] = field(default_factory=dict)
    _pause: dict[str, float] = field(default_factory=dict)
    _met: dict[str, float] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)

    def due(self, networks: Iterable[Network], now: float, *, changed: bool) -> list[Network]:
        """Return the networks to ask: joined just now (A-3.3-1), or their time has come."""
        joined = {network.key: network for network in networks}
        for times in (self._due, self._pause, self._met):
            for key in times.keys() - joined.keys():
                del times[key]
        self._settled &= joined.keys() if not changed else set()
        for key in joined if changed else ():
            soon = max(now, self._met.get(key, now - _AT_LEAST) + _AT_LEAST)
            self._due[key] = min(self._due.get(key, now), soon)
            self._pause.pop(key, None)
        return [network for key, network in joined.items() if self._due.get(key, now) <= now]

    def met(self, network: Network, now: float, *, settled: bool) -> None:
        """Note how it went, and when to ask again."""
        if settled:
            pause = SELDOM if network.key in self._settled else AGAIN
            self._settled.add(network.key)
            self._pause.pop(network.key, None)
        else:
            pause = min(self._pause.get(network.key, SOON), SELDOM)
            self._pause[network.key] = 2 * pause
        self._met[network.key] = now
        self._due[network.key] = now + pause

    def rest(self, now: float) -> float:
        """Return how many seconds nothing is to be done."""
        return max(0.0, min(self._due.values(), default=now + SELDOM) - now)


def run(
    agent: Agent, watch: Waits, stopped: Callable[[], bool], monotonic: Callable[[], float]
) -> None:
    """Keep the stores fit for where this machine is, until stopped; then take all roots out.

    Raise AgentError or OSError if already the first look fails.
    """
    rounds = Rounds()
    survey = agent.look()
    changed = False
    try:
        while not stopped():
            for network in rounds.due(survey.networks, monotonic(), changed=changed):
                if not stopped():
                    rounds.met(network, monotonic(), settled=_meet(agent, network))
            rest = rounds.rest(monotonic())
            changed = not stopped() and watch.wait(min(rest, UNKNOWN) if survey.unknown else rest)
            survey = _look(agent)
    finally:
        agent.leave()


def _meet(agent: Agent, network: Network) -> bool:
    try:
        return agent.meet(network)
    except (AgentError, OSError) as error:
        _LOG.error("%s: %s", network, error)
        return False


def _look(agent: Agent) -> Survey:
    """Look, and go on whatever comes: a full disk must not leave a root behind for ever."""
    try:
        return agent.look()
    except (AgentError, OSError) as error:
        _LOG.error("%s", error)
        return Survey((), (str(error),))

"""The device's agent: it visits each network that is joined, and knows when to come again.

It comes when a network is joined or changes (A-3.4-1), when this device wakes from sleep, when a
certificate is due, and after a failure with growing pauses: a server that is away for a week costs
a few questions a day, and the certificate that is there stays in use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from acmeiot.client.dial import Untrusted
from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network
from acmeiot.client.problem import Refused
from acmeiot.device import leaf, naming, requests, reset, status
from acmeiot.device.leaf import listed
from acmeiot.device.pinning import RootChanged
from acmeiot.device.servers import Server
from acmeiot.device.state import Device
from acmeiot.device.status import Outcome
from acmeiot.device.visit import ClockDoubt, Result, Tools, Visit

_LOG: Final = logging.getLogger("acmeiot")

FIRST_PAUSE: Final = 30.0  # seconds after a failure; doubled each time
LONGEST_PAUSE: Final = 3600.0
LONGEST_FOR_OWNER: Final = 600.0  # while the owner is awaited: somebody is perhaps at it
CLOCK_PAUSE: Final = 15.0  # costs nobody anything: only this device's clock is looked at
LEAST_PAUSE: Final = 60.0
SETTLED_PAUSE: Final = 60.0  # a link that comes and goes is no reason to ask more often
UNSETTLED_PAUSE: Final = 10.0  # but what failed may have come too early, before DHCP's answer
LONGEST_SLEEP: Final = 60.0  # of the watch; monotonic clocks stand still in a suspended device
_WOKEN: Final = 30.0  # more than this between both clocks was a sleep, or the clock was set


class Watch(Protocol):
    """Waits for the network to change: `client.network.Watch`."""

    def wait(self, timeout: float) -> bool:
        """Wait; tell whether there was a change."""
        ...


@dataclass(slots=True)
class _Call:
    """When a network was visited and is to be visited again, in monotonic seconds."""

    outcome: Outcome
    at: float
    due: float
    primary: bool
    failures: int = 0

    def changed(self) -> None:
        """Let the next visit be soon: something has changed since this one, or while it was."""
        settled = SETTLED_PAUSE if self.outcome.good else UNSETTLED_PAUSE
        self.due = min(self.due, self.at + settled)


@dataclass(slots=True)
class Agent:
    """One device on its networks. `host` is what this machine calls itself."""

    tools: Tools
    host: Callable[[], str] = naming.host_name
    _calls: dict[str, _Call] = field(default_factory=dict)
    _trouble: str = ""
    _left: bool = False  # after a reset, until it is started again

    # -- the name

    def label(self) -> str:
        """Return this device's label: asked for, kept from before, or made up once (A-4.6-1).

        A `--name` counts when it is new, so that a later `rename` is not undone by a restart.
        """
        state, asked = self.tools.state, self.tools.settings.name
        device = state.device()
        if asked and asked != device.asked:
            device = Device(naming.checked_label(asked), asked)
        if not device.label:
            device = replace(device, label=naming.default_label(self.host()))
        state.put_device(device)
        return device.label

    # -- what the owner asks

    def obey(self) -> bool:
        """Do what the owner asked for; tell whether there was anything.

        The new name is taken at the next visit: the new certificate comes first, and then the old
        ones are revoked (A-4.6-2).
        """
        folder = self.tools.state.folder
        request = requests.asked(folder)
        if request is None:
            return False
        if request.label:
            device = self.tools.state.device()
            self.tools.state.put_device(replace(device, label=naming.checked_label(request.label)))
        if request.reset:
            if request.leave and reset.remove_installed(self.tools):
                _LOG.warning("reset: the service's key and certificate are deleted")
            for said in reset.reset(self.tools):
                _LOG.warning("reset: %s", said)
            self._left = request.leave
        status.clear(folder)  # whoever asked waits for the next one
        requests.done(folder)
        self._calls.clear()
        return True

    # -- visiting

    def round(self, *, changed: bool = True, woken: bool = False) -> tuple[Outcome, ...]:
        """Visit the networks where there is something to do; return how each of them is.

        With `changed` the networks are looked at anew, with `woken` nothing noted before counts.
        Raise AgentError if the networks cannot be told.
        """
        self.obey()
        survey = self.tools.around.survey()
        if self._left:
            survey = replace(survey, networks=())
        self._calls = {n.key: self._calls[n.key] for n in survey.networks if n.key in self._calls}
        for network in survey.networks:
            call = self._calls.get(network.key)
            primary = self._is_primary(network, survey.networks)
            if call is not None and changed:
                call.changed()
            if call is None or self._is_time(call, primary, woken=woken):
                ask = woken or changed or call is None
                self._calls[network.key] = self._visit(network, call, primary=primary, ask=ask)
        self.say("; ".join(survey.unknown))
        outcomes = tuple(call.outcome for call in self._calls.values())
        tools = self.tools
        label = "" if self._left else self.label()
        status.write(tools.state.folder, label, outcomes, tools.clock.now())
        return outcomes

    def _is_primary(self, network: Network, joined: Sequence[Network]) -> bool:
        """Tell whether the service's files are this network's: the first that has a certificate."""
        for each in joined:
            if each.key == network.key:
                return True
            call = self._calls.get(each.key)
            if call is not None and call.outcome.serial:
                return False
        return True

    def _is_time(self, call: _Call, primary: bool, *, woken: bool) -> bool:
        return self.tools.clock.monotonic() >= call.due or woken or primary != call.primary

    def pause(self) -> float:
        """Return the seconds until the next visit is due."""
        now = self.tools.clock.monotonic()
        due = min((call.due for call in self._calls.values()), default=now + LONGEST_PAUSE)
        if self._trouble:  # a network that could not be told apart, perhaps soon can
            due = min(due, now + FIRST_PAUSE)
        return max(0.0, due - now)

    def _visit(self, network: Network, call: _Call | None, *, primary: bool, ask: bool) -> _Call:
        failures = call.failures if call else 0
        clock = self.tools.clock
        if network.public and self.tools.state.server_of(network.key) is None:
            said = f"{network.public}: nothing is asked of strangers there"
            outcome = Outcome(network.key, str(network), status.PUBLIC, said, LONGEST_PAUSE)
        else:
            try:
                visit = Visit(self.tools, network, self.label(), primary, ask)
                outcome, failures = self._success(network, visit.run(), primary=primary), 0
            except (AgentError, OSError) as error:
                outcome, failures = self._failure(network, error, failures), failures + 1
                outcome = self._known(network, outcome, primary=primary)
        self._log(outcome, call.outcome if call else None)
        now = clock.monotonic()
        return _Call(outcome, now, now + outcome.again, primary, failures)

    def _success(self, network: Network, result: Result, *, primary: bool) -> Outcome:
        now = self.tools.clock.now()
        facts = result.facts
        again = max(LEAST_PAUSE, min(facts.ask_at, facts.renew_at) - now)
        if facts.renew_at <= now:  # it was ordered a moment ago, and the server wants another
            again = LONGEST_PAUSE
        outcome = Outcome(network.key, str(network), status.GOOD, result.done, again)
        return self._with_certificate(outcome, result.server, primary=primary)

    def _failure(self, network: Network, error: Exception, failures: int) -> Outcome:
        state, pause, most = status.FAILED, FIRST_PAUSE, LONGEST_PAUSE
        if isinstance(error, RootChanged):
            state, pause = status.CHANGED, LONGEST_PAUSE
        elif isinstance(error, Refused) and error.code == "userActionRequired":
            state, most = status.WAITING, LONGEST_FOR_OWNER
        elif isinstance(error, ClockDoubt) or (
            isinstance(error, Untrusted) and "not yet valid" in error.reason
        ):
            state, pause, most = status.CLOCK, CLOCK_PAUSE, CLOCK_PAUSE
        asked = error.retry_after or 0 if isinstance(error, Refused) else 0
        pause = min(most, pause * 2 ** min(failures, 10)) * self.tools.random.uniform(0.75, 1.25)
        said = reason(error)
        return Outcome(network.key, str(network), state, said, max(pause, asked))

    def _known(self, network: Network, outcome: Outcome, *, primary: bool) -> Outcome:
        """Return a failure with what this device has all the same."""
        known = self.tools.state.server_of(network.key)
        return self._with_certificate(outcome, known, primary=primary) if known else outcome

    def _with_certificate(self, outcome: Outcome, server: Server, *, primary: bool) -> Outcome:
        facts, pair = server.facts(), server.current()
        root = self._root_of(server)
        outcome = replace(outcome, server=facts.url, root=root, pinned=facts.pinned)
        if pair is None:
            return outcome
        held, targets = leaf.read(pair.chain), self.tools.settings.targets
        folder = self.tools.state.folder / "networks" / outcome.network
        places = f"{targets.key} {targets.chain}" if targets and primary else f"{folder}/"
        return replace(
            outcome,
            names=listed(held.names),
            serial=held.serial,
            not_after=held.not_after,
            renew_at=facts.renew_at if facts.serial == held.serial else 0,
            files=places,
        )

    def _root_of(self, server: Server) -> str:
        from acmeiot.client.tls import Root, split_pem

        return Root.of(split_pem(server.root())[0]).sha256

    # -- telling

    def _log(self, outcome: Outcome, before: Outcome | None) -> None:
        """Say what is new; the same trouble every hour for a week is said once."""
        if before and (before.state, before.said) == (outcome.state, outcome.said):
            return
        level = logging.INFO if outcome.good else logging.WARNING
        if outcome.state == status.CHANGED:
            level = logging.ERROR  # A-4.7-3
        _LOG.log(level, "%s: %s: %s", outcome.text, outcome.state, outcome.said)

    def say(self, trouble: str) -> None:
        """Log a trouble with no network's name to it, once."""
        if trouble and trouble != self._trouble:
            _LOG.warning("%s", trouble)
        self._trouble = trouble


def run(agent: Agent, watch: Watch, stopped: Callable[[], bool] = lambda: False) -> None:
    """Keep the certificates good until `stopped`; a `wake` of the watch ends its wait."""
    clock = agent.tools.clock
    changed, woken, failed = True, False, 0
    while not stopped():
        try:
            agent.round(changed=changed or failed > 0, woken=woken)
            pause, failed = agent.pause(), 0
        except (AgentError, OSError) as error:
            agent.say(reason(error))
            pause, failed = min(FIRST_PAUSE * 2 ** min(failed, 10), LONGEST_PAUSE), failed + 1
        ends, changed, woken = clock.monotonic() + pause, False, False
        while not (stopped() or changed or woken) and clock.monotonic() < ends:
            wall, steady = clock.now(), clock.monotonic()
            changed = watch.wait(min(LONGEST_SLEEP, ends - steady))
            drift = (clock.now() - wall) - (clock.monotonic() - steady)
            woken = abs(drift) > _WOKEN


def failures(outcomes: Sequence[Outcome]) -> str:
    """Return what a person should know of the networks that are not well, "" if all are."""
    return "; ".join(f"{one.text}: {one.said}" for one in outcomes if not one.good)


def reason(error: Exception) -> str:
    """Return an error in one line, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)

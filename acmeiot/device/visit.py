"""One network, one server: from the handshake to a certificate in use (draft section 3.4).

    find the server -> pin its root or check the pin -> is the certificate good, not due?
      no:  order (or take up the one that a power cut left) -> install -> make it the current one
    -> what is left over: superseded ones are dropped, those with old names are revoked

The current pair changes only after the new one is installed and proved to be served, so at every
moment a power cut leaves one good pair, and what it leaves beside that is taken up or revoked at
the next visit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot import RELEASED
from acmeiot.client import csr
from acmeiot.client.clock import Clock
from acmeiot.client.errors import AgentError
from acmeiot.client.locate import Server as Located
from acmeiot.client.network import Network
from acmeiot.client.objects import Challenge
from acmeiot.client.obtain import obtain
from acmeiot.client.problem import Refused
from acmeiot.client.signing import private_pem
from acmeiot.client.tls import Root, split_pem
from acmeiot.device import leaf, naming, pinning, renewal
from acmeiot.device.account import Account
from acmeiot.device.install import Installer
from acmeiot.device.leaf import Leaf
from acmeiot.device.pinning import Pin
from acmeiot.device.renewal import Random
from acmeiot.device.responders import Responder
from acmeiot.device.servers import Facts, Pair, Server
from acmeiot.device.settings import Settings
from acmeiot.device.state import State
from acmeiot.device.surroundings import Surroundings, nameable
from acmeiot.protocol.names import Identifier

_LOG: Final = logging.getLogger("acmeiot")
_ORDERS_APART: Final = 3600  # seconds


class ClockDoubt(AgentError):
    """This clock is known to be wrong: nothing is judged by it, and nothing asked."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every visit works with; the world outside is in here, too."""

    state: State
    settings: Settings
    around: Surroundings
    clock: Clock
    random: Random
    responder: Callable[[Sequence[str]], Responder]
    installer: Callable[[Sequence[str]], Installer]


@dataclass(frozen=True, slots=True)
class Result:
    """What a network has now; `done` is for people."""

    server: Server
    pair: Pair
    leaf: Leaf
    facts: Facts
    done: str


@dataclass(slots=True)
class Visit:
    """A visit to the network that `label` is to be certified on.

    The service's own files are for the `primary` network only. With `ask`, the server is asked
    for renewal information even if it is not time yet.
    """

    tools: Tools
    network: Network
    label: str
    primary: bool = True
    ask: bool = False

    def run(self) -> Result:
        """Do what is to be done, and return what there is now; raise AgentError, OSError."""
        tools = self.tools
        known = tools.state.server_of(self.network.key)
        pinned = Root.of(_der(known.root())) if known else None
        self._doubt(pinned.not_before if pinned else 0, _started(known))
        if known and self.primary:
            self._bring_back(known)
        located = tools.around.find(self.network, pinned.sha256 if pinned else None)
        self._doubt(located.root.not_before)
        pin = self._pinned(known, pinned, located)
        server = self._joined(known, pin, located)
        wanted = self._wanted(server, located)
        eab = tools.settings.eab
        with Account(server, located, pin.root, tools.clock, eab) as account:
            return self._certified(account, wanted)

    # -- who is there

    def _doubt(self, *seen: int) -> None:
        """Raise ClockDoubt if it is earlier than this release, or what was made before now."""
        now = self.tools.clock.now()
        floor = max(RELEASED, *seen)
        if now < floor:
            raise ClockDoubt(
                f"this device's clock says {_time(now)}, which cannot be; waiting until it is set "
                f"(it is later than {_time(floor)})"
            )

    def _pinned(self, known: Server | None, pinned: Root | None, located: Located) -> Pin:
        expected = self.tools.settings.expected
        if located.note:
            _LOG.warning("%s: %s", self.network, located.note)
        if known is None or pinned is None:
            pin = pinning.first(located.root, expected)
        else:
            how = known.facts().pinned
            pin = pinning.known(pinned, how, located.root, located.chain, expected)
        if pin.news:
            _LOG.warning("%s: %s", self.network, pin.news)
        return pin

    def _wanted(self, server: Server, located: Located) -> tuple[Identifier, ...]:
        """Return both names and, if the owner wants them, the addresses (A-3.2.3-3, A-3.2.3-4)."""
        settings, around = self.tools.settings, self.tools.around
        told, before = around.domains(self.network), server.facts().domains
        domains = naming.domains(settings.domains, told, located.host, before)
        server.note(domains=domains)
        addresses = nameable(around.addresses(self.network)) if settings.addresses else ()
        return naming.identifiers(self.label, domains, addresses[: naming.MAX_ADDRESSES])

    def _joined(self, known: Server | None, pin: Pin, located: Located) -> Server:
        """Return the server's directory, with what was learnt in it."""
        state, now = self.tools.state, self.tools.clock.now()
        server = known or self._shared(pin)
        if server is None:
            facts = Facts(url=located.url, host=located.host, pinned=pin.how)
            server = state.new_server(pin.root.pem, facts)
        for gone in state.join(self.network.key, str(self.network), server, now):
            _LOG.warning("forgot the network %s, which was not joined for long", gone)
        facts = server.facts()
        host = facts.host
        # Nobody's word here takes away what the owner said on another network.
        how = facts.pinned if pin.how == pinning.FIRST_USE else pin.how
        if host != located.host:
            _LOG.warning(
                "%s: its server is called %s now, no longer %s; the root is the same",
                self.network, located.host, host,
            )  # fmt: skip
        if server.root() != pin.root.pem:
            server.pin(pin.root.pem)
        server.note(url=located.url, host=located.host, pinned=how)
        return server

    def _shared(self, pin: Pin) -> Server | None:
        """Return the server of another network with the same root (A-3.4-4).

        Not if addresses are certified, too: they differ from one interface to the next.
        """
        if self.tools.settings.addresses:
            return None
        same = (s for s in self.tools.state.servers() if s.root() == pin.root.pem)
        server = next(same, None)
        if server is not None:
            _LOG.info("%s: its root is known from another network", self.network)
        return server

    # -- what there is, and what is missing

    def _certified(self, account: Account, wanted: Sequence[Identifier]) -> Result:
        server, current = account.server, account.server.current()
        why = self._unfit(account, current, wanted)
        pair, done = current, "verified"
        if why is not None or pair is None:
            pair = self._left_over(server, wanted, account.root)
            done = "took up the certificate that was issued before"
            if pair is None:
                _LOG.info("%s: ordering a certificate: %s", self.network, why)
                pair, done = self._ordered(account, current, wanted), "issued"
        installed = self._install(pair, wanted, new=pair != current)
        if pair != current:
            server.use(pair)
            done = f"{done}, {installed}"
        self._clear_out(account, pair)
        held = leaf.read(pair.chain)
        facts = self._settled(account, held, ask=False)
        return Result(server, pair, held, facts, done)

    def _unfit(
        self, account: Account, current: Pair | None, wanted: Sequence[Identifier]
    ) -> str | None:
        """Return why another certificate is needed, None to keep this one ("verify", A-3.4-2)."""
        if current is None:
            return "there is none yet"
        now = self.tools.clock.now()
        fault = leaf.fault(current, wanted, account.root, now)
        if fault is not None:
            return fault
        facts = self._settled(account, leaf.read(current.chain), ask=self.ask)
        if now < facts.renew_at:
            return None
        # A server that says so of each new one, too, must not make this device order for ever.
        recent = 0 <= now - facts.ordered_at < _ORDERS_APART
        if recent and self._left_over(account.server, wanted, account.root) is None:
            return None
        return "it is time to renew"

    def _settled(self, account: Account, held: Leaf, *, ask: bool) -> Facts:
        tools = self.tools
        facts, trouble = renewal.settle(
            account.server, held, account.client(), tools.clock.now(), tools.random, ask=ask
        )
        if trouble:
            _LOG.warning("%s: %s", self.network, trouble)
        return facts

    def _left_over(self, server: Server, wanted: Sequence[Identifier], root: Root) -> Pair | None:
        """Return a pair that was issued and not yet brought into use, if it is as good as new."""
        now = self.tools.clock.now()
        started = _started(server)
        for pair in server.others():
            fit = leaf.fault(pair, wanted, root, now) is None
            if fit and leaf.read(pair.chain).not_before >= started:
                return pair
        return None

    # -- a new one

    def _ordered(
        self, account: Account, current: Pair | None, wanted: Sequence[Identifier]
    ) -> Pair:
        try:
            return self._order(account, current, wanted)
        except Refused as error:
            if error.code != "accountDoesNotExist":
                raise
            account.lost()  # its server was reset, or restored from an older backup
            return self._order(account, current, wanted)

    def _order(self, account: Account, current: Pair | None, wanted: Sequence[Identifier]) -> Pair:
        tools = self.tools
        key = self._key(current)
        with tools.responder(tools.around.addresses(self.network)) as responder:

            def answer(challenge: Challenge, text: str) -> AbstractContextManager[None]:
                return responder.show(challenge.identifier, challenge.token, text)

            chain = obtain(
                account.registered(wanted),
                wanted,
                key,
                answer,
                kinds=(responder.kind,),
                replaces=leaf.read(current.chain).der if current else None,
                tell=lambda text: _LOG.warning("%s: waiting: %s", self.network, text),
            )
        account.server.note(ordered_at=tools.clock.now())
        return self._kept(account, wanted, private_pem(key), chain)

    def _kept(
        self, account: Account, wanted: Sequence[Identifier], key: bytes, chain: bytes
    ) -> Pair:
        """Keep what was issued; raise AgentError if it is of no use here."""
        pair = account.server.add(leaf.read(chain).serial, key, chain)
        fault = leaf.fault(pair, wanted, account.root, self.tools.clock.now())
        if fault is not None:
            account.server.remove(pair)
            raise AgentError(f"the server's new certificate cannot be used: {fault}")
        return pair

    def _key(self, current: Pair | None) -> ec.EllipticCurvePrivateKey:
        """Return a fresh key (A-3.2.3-2), or the one in use if the owner wants it kept."""
        if self.tools.settings.keep_key and current is not None:
            return leaf.private(current.key) or csr.fresh_key()
        return csr.fresh_key()

    # -- into use, and out of it

    def _bring_back(self, known: Server) -> None:
        """Install this network's pair before its server is asked: it may be away for days."""
        current = known.current()
        if current is None or current.key is None:
            return
        held = leaf.read(current.chain)
        if self.tools.clock.now() < held.not_after:
            try:
                self._install(current, sorted(held.names), new=False)
            except AgentError as error:  # a newer one may do better
                _LOG.warning("%s: %s", self.network, error)

    def _install(self, pair: Pair, names: Sequence[Identifier], *, new: bool) -> str:
        hosts = [str(name) for name in names if name.type == "dns"]
        installer = self.tools.installer(self.tools.around.addresses(self.network))
        if not self.primary or not (new or not installer.holds(pair)):
            return "kept for this network"
        said = installer.install(pair, hosts[0])
        if installer.targets is not None:
            _LOG.info("%s: %s", self.network, said)
        return said

    def _clear_out(self, account: Account, pair: Pair) -> None:
        """Drop what the current pair has superseded; revoke what is for other names (A-4.6-2)."""
        held, now = leaf.read(pair.chain), self.tools.clock.now()
        for old in account.server.others():
            gone = leaf.read(old.chain)
            if gone.names != held.names and now < gone.not_after:
                account.revoke(old, leaf.SUPERSEDED)
                _LOG.info(
                    "%s: revoked the certificate for %s", self.network, leaf.listed(gone.names)
                )
            account.server.remove(old)


def _started(known: Server | None) -> int:
    """Return when the current certificate began, 0 if there is none."""
    current = known.current() if known else None
    return leaf.read(current.chain).not_before if current else 0


def _der(pem: bytes) -> bytes:
    return split_pem(pem)[0]


def _time(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))

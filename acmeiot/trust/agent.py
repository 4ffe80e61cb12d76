"""The trust agent: on joining a network learn its root, on leaving it take the root out again.

`look` makes the stores fit the networks that are joined now; it asks nobody and is quick. `meet`
asks one network for its server and decides about the root it shows (A-3.3-1). Each reads and
writes the book under its lock, but nobody holds the lock while the network, or a person, is asked.

What is believed on one network is never used on another (A-3.3-4): it is in the stores only while
that network is joined. On a public network nothing is believed unless the owner says so.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from acmeiot.client.errors import AgentError
from acmeiot.client.tls import Root
from acmeiot.trust.consent import Question, asked, believed, short, waiting
from acmeiot.trust.decide import Ask, Believe, Policy, Refuse, Shown, decide
from acmeiot.trust.networks import Belief, Book, Known, KnownRoot, Ledger
from acmeiot.trust.notices import Notice, Notices
from acmeiot.trust.placing import Placing, Stores, nickname

if TYPE_CHECKING:
    from acmeiot.client.network import Network, Survey


@dataclass(frozen=True, slots=True)
class Found:
    """What discovery brought: a server and its root, or why there is none."""

    shown: Shown | None = None
    conflict: str | None = None  # DHCP answers that differ
    note: str | None = None


class Find(Protocol):
    """Discovery on one network; AgentError if a server is announced but cannot be used."""

    def __call__(self, network: Network) -> Found:
        """Find the network's server and the root it shows."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the agent works with, each of it an argument: the LAN, a person, the time."""

    survey: Callable[[], Survey]
    find: Find
    stores: Stores
    notices: Notices
    now: Callable[[], int]
    ask: Callable[[Question], bool] | None = None


class Agent:
    """One machine's trust in the networks that it joins."""

    def __init__(self, ledger: Ledger, policy: Policy, around: Surroundings) -> None:
        """Take state, policy and surroundings; nothing happens yet."""
        self._ledger = ledger
        self._policy = policy
        self._around = around
        self._joined: dict[str, Network] = {}
        self._urls: dict[str, str] = {}  # by root: a server that showed it just now

    def look(self) -> Survey:
        """Make the stores fit the networks joined now, which are returned (A-3.3-4).

        Raise AgentError if they cannot be told, after taking all roots out.
        """
        unknown: tuple[str, ...] = ()
        try:
            survey = self._where()
            unknown = survey.unknown
        finally:
            with self._ledger.opened() as book:
                for why in unknown:
                    self._tell(book, Notice("unknown", "", why, failed=True))
                book.joined = list(self._joined)
                book.purge(set(self._joined))
                self._place(book)
        return survey

    def meet(self, network: Network) -> bool:
        """Learn what root a joined network shows and act on it; False if it may soon be other."""
        if network.public is not None and not self._policy.on_public:
            text = f"{network} is a public network ({network.public}): nothing is believed there"
            with self._ledger.opened() as book:
                self._tell(book, Notice("public", network.key, text))
            return True
        try:
            found = self._around.find(network)
        except AgentError as error:
            with self._ledger.opened() as book:
                text = f"{network}: {error}"
                self._tell(book, Notice("unreachable", network.key, text, failed=True))
            return False
        self._where()
        if network.key not in self._joined:
            return False  # left meanwhile: what answered may have been another network's
        with self._ledger.opened() as book:
            question = self._judge(book, network, found)
            self._place(book)
        if question is not None and self._around.ask is not None:
            self._answer(network.key, question, self._around.ask(question))
        return found.shown is not None

    def leave(self) -> None:
        """Take all roots out of the stores: nobody watches any more on which network this is."""
        self._joined = {}
        with self._ledger.opened() as book:
            book.joined = []
            self._place(book)

    def accept(self, key: str, sha256: str) -> None:
        """Believe a root that waits; raise AgentError if none with this hash does."""
        self._where()
        with self._ledger.opened() as book:
            self._accept(book, key, sha256)
            self._place(book)

    def forget(self, key: str) -> None:
        """Forget a network, and take its root out of the stores."""
        self._where()
        with self._ledger.opened() as book:
            book.forget(key)
            self._place(book)

    def reset(self) -> None:
        """Take all roots out and forget everything (A-4.4-1).

        Raise AgentError if something is still in a store: then that is not forgotten.
        """
        self._joined = {}
        try:
            self._ledger.look()
        except AgentError:
            self._take_out_all_named()
        with self._ledger.opened() as book:
            self._place(book)
            if book.placed:
                left = ", ".join(f"{placed.nickname} in {placed.store}" for placed in book.placed)
                raise AgentError(f"not all roots could be taken out: {left}")
            book.empty()

    def _take_out_all_named(self) -> None:
        """Take out whatever a broken book names; stores keep what has not this agent's nickname."""
        for pem in self._ledger.salvage():
            root = kept(Root.of(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))))
            for store in self._around.stores.every:
                if store.available():
                    store.remove(pem, nickname(root))
        self._ledger.erase()

    def _where(self) -> Survey:
        """Find out where this machine is; nowhere, as long as it cannot be told."""
        self._joined = {}
        survey = self._around.survey()
        self._joined = {network.key: network for network in survey.networks}
        return survey

    def _judge(self, book: Book, network: Network, found: Found) -> Question | None:
        """Decide on what a network shows; return what a person must decide."""
        now = self._around.now()
        known = book.meet(network, now)
        shown = found.shown
        if found.conflict is not None or shown is None:
            self._missing(book, known, found)
            return None
        if found.note is not None:
            self._tell(book, Notice("note", known.key, f"{known.title}: {found.note}"))
        decision = decide(book, known, shown, self._policy, now)
        root = kept(shown.root)
        if isinstance(decision, Refuse):
            self._refuse(book, known, decision.why)
            return None
        if isinstance(decision, Ask):
            book.wait(known.key, root, decision.pending)
            question = asked(known, shown, root, decision)
            if self._around.ask is None:
                self._wait(book, known.key, question)
            return question
        book.meet(network, now, shown.url)
        self._urls[root.sha256] = shown.url
        if isinstance(decision, Believe):
            self._believe(book, known, root, decision, shown)
        else:
            book.settle(known.key)
            self._tell(book, Notice("same", known.key, f"{known.title}: {short(root)}, as before"))
        return None

    def _missing(self, book: Book, known: Known, found: Found) -> None:
        """No server, or one too many: what is believed stays (A-4.2-1)."""
        if found.conflict is not None:
            self._refuse(book, known, found.conflict)
        else:
            self._tell(
                book, Notice("none", known.key, f"{known.title}: no ACME server is announced")
            )

    def _refuse(self, book: Book, known: Known, why: str) -> None:
        still = any(self._policy.allows(belief.sha256) for belief in known.beliefs)
        stays = "what was believed there stays" if still else "nothing is believed there"
        text = f"{known.title}: {why}; {stays}"
        self._tell(book, Notice("refused", known.key, text, urgent=True, failed=True))

    def _believe(
        self, book: Book, known: Known, root: KnownRoot, decision: Believe, shown: Shown
    ) -> None:
        old = decision.replaces
        book.believe(known.key, root, decision.belief, keep=old is not None and shown.vouches(old))
        text = f"{known.title}: {believed(root, decision.belief)}"
        if old is not None:  # A-4.7-2, even if configured
            text += f"; until now it was {short(old)}"
        kind = "believed" if old is None else "changed"
        self._tell(book, Notice(kind, known.key, text, urgent=old is not None))

    def _wait(self, book: Book, key: str, question: Question) -> None:
        kind = "pending" if question.replaces is None else "changed"
        self._tell(book, Notice(kind, key, waiting(question), urgent=True, failed=True))

    def _answer(self, key: str, question: Question, yes: bool) -> None:
        self._where()  # a person takes their time
        with self._ledger.opened() as book:
            if yes:
                self._urls[question.root.sha256] = question.url
                self._accept(book, key, question.root.sha256)
                self._place(book)
            else:
                self._wait(book, key, question)

    def _accept(self, book: Book, key: str, sha256: str) -> None:
        known = book.networks.get(key)
        if known is None or known.pending is None or known.pending.sha256 != sha256:
            raise AgentError(f"no root sha256:{sha256} waits to be accepted on {key}")
        if not self._policy.allows(sha256):
            raise AgentError("only roots named with --expect are taken here")
        root, pending = book.roots[sha256], known.pending
        belief = Belief(sha256, "ask", True, self._around.now())
        book.believe(key, root, belief, keep=pending.vouched)
        self._tell(book, Notice("believed", key, f"{known.title}: {believed(root, belief)}"))

    def _place(self, book: Book) -> None:
        """Make the stores fit what is believed on the networks joined now."""
        wanted = self._wanted(book)
        placing = Placing(
            book,
            self._around.stores,
            lambda: self._ledger.save(book),
            lambda store, text: self._tell(
                book, Notice("store", "", f"{store}: {text}", urgent=True, failed=True)
            ),
        )
        changed = placing.bring(wanted, self._urls)
        book.tidy()
        if changed:
            names = ", ".join(root.name for root in wanted.values()) or "no network's root any more"
            self._tell(book, Notice("stores", "", f"in {', '.join(changed)}: {names}"))

    def _wanted(self, book: Book) -> dict[str, KnownRoot]:
        """Return the roots that may be used now (A-3.3-4, A-1-2)."""
        now = self._around.now()
        wanted = {}
        for network in self._joined.values():
            known = book.networks.get(network.key)
            if known is None or (network.public is not None and not self._policy.on_public):
                continue
            for belief in known.beliefs:
                root = book.roots[belief.sha256]
                if self._policy.allows(root.sha256) and root.not_after > now:
                    wanted[root.sha256] = root
        return wanted

    def _tell(self, book: Book, notice: Notice) -> None:
        self._around.notices.tell(book, notice)


def kept(root: Root) -> KnownRoot:
    """Return a root as the book keeps it."""
    return KnownRoot(root.sha256, root.name, root.pem.decode("ascii"), root.not_after)

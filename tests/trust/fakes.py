"""A laptop's surroundings: networks that come and go, what they show, stores, a person, a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network, Survey
from acmeiot.client.tls import Root
from acmeiot.trust.agent import Agent, Found, Surroundings
from acmeiot.trust.consent import Question
from acmeiot.trust.decide import Policy, Shown
from acmeiot.trust.networks import Book, Known, KnownRoot, Ledger
from acmeiot.trust.notices import Notice, Notices
from acmeiot.trust.placing import Stores
from tests.trust.roots import NOW

HOME = Network("wlan0", "52:54:00:00:00:01", ssid="Home", gateway="192.168.1.1")
CABLE = Network("eth0", "52:54:00:00:00:01", gateway="192.168.1.1")
OTHER = Network("eth0", "52:54:00:00:00:02", gateway="192.168.1.1")
CAFE = replace(OTHER, interface="wlan0", ssid="Cafe", public="open Wi-Fi")
SOURCE = "DHCP option 125 from 192.168.1.1"


def shown(root: Root, told: str | None = None, *, vouches_for: str | None = None) -> Shown:
    """Return a network's server with this root; `vouches_for` is an old root that signed it."""
    return Shown(
        root,
        "https://router.lan:8555/acme/directory",
        SOURCE,
        told,
        lambda old: old.sha256 == vouches_for,
    )


@dataclass
class FakeStore:
    """A store in memory, which fails as it is told."""

    name: str = "fake"
    held: dict[bytes, str] = field(default_factory=dict)
    fails: Exception | None = None
    refuses: str | None = None
    tried: list[str] = field(default_factory=list)
    during_add: Callable[[], None] = lambda: None
    tested: bool = True

    def available(self) -> bool:
        """It is there."""
        return True

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Hold it."""
        self._perhaps_fail()
        self.held[root_pem] = nickname
        self.during_add()

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Hold it no more."""
        self._perhaps_fail()
        assert self.held.pop(root_pem, nickname) == nickname

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether it holds it."""
        return root_pem in self.held

    def verify(self, url: str) -> None:
        """Note the attempt."""
        self.tried.append(url)
        if self.refuses is not None:
            raise AgentError(self.refuses)

    def _perhaps_fail(self) -> None:
        if self.fails is not None:
            raise self.fails


@dataclass
class Laptop:
    """A machine whose surroundings a test tells; the agent is new for each act, as in `once`."""

    directory: Path
    policy: Policy = field(default_factory=Policy)
    stores: list[FakeStore] = field(default_factory=lambda: [FakeStore()])
    joined: tuple[Network, ...] = ()
    unknown: tuple[str, ...] = ()
    on: dict[str, Found | AgentError] = field(default_factory=dict)
    now: int = NOW
    answer: bool | None = None  # of the person at the terminal; None if there is none
    questions: list[Question] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)
    heard: list[Notice] = field(default_factory=list)
    lost: Exception | None = None  # what surveying raises

    @property
    def store(self) -> FakeStore:
        """Return its first store."""
        return self.stores[0]

    @property
    def held(self) -> set[bytes]:
        """Return the roots in its first store, PEM."""
        return set(self.store.held)

    @property
    def book(self) -> Book:
        """Return what lies on its disk."""
        return Ledger(self.directory).look()

    def known(self, network: Network) -> Known:
        """Return what lies on its disk about a network."""
        return self.book.networks[network.key]

    def agent(self) -> Agent:
        """Return an agent that just started."""
        notices = Notices(lambda _title, text: self.screen.append(text), lambda: self.now)
        self.heard = notices.heard
        chosen = tuple(store.name for store in self.stores)
        around = Surroundings(
            self._survey,
            self._find,
            Stores(self.stores, chosen),
            notices,
            lambda: self.now,
            None if self.answer is None else self._ask,
        )
        return Agent(Ledger(self.directory), self.policy, around)

    def join(self, network: Network, root: Root | Shown | Found | AgentError) -> list[bool]:
        """Be on this network only, which shows this; then do what `once` does."""
        return self.join_all({network: root})

    def join_all(self, here: Mapping[Network, Root | Shown | Found | AgentError]) -> list[bool]:
        """Be on these networks, and do what `once` does."""
        self.joined = tuple(here)
        self.on = {network.key: _found(what) for network, what in here.items()}
        agent = self.agent()
        return [agent.meet(network) for network in agent.look().networks]

    def leave(self) -> None:
        """Be on no network, and do what `once` does."""
        self.join_all({})

    def kinds(self) -> list[str]:
        """Return what was heard in the last act, but for what the stores did."""
        return [notice.kind for notice in self.heard if notice.kind != "stores"]

    def failures(self) -> list[str]:
        """Return why the last act would have exited 1."""
        return [notice.text for notice in self.heard if notice.failed]

    def _survey(self) -> Survey:
        if self.lost is not None:
            raise self.lost
        return Survey(self.joined, self.unknown)

    def _find(self, network: Network) -> Found:
        found = self.on[network.key]
        if isinstance(found, AgentError):
            raise found
        return found

    def _ask(self, question: Question) -> bool:
        self.questions.append(question)
        assert self.answer is not None
        return self.answer


def _found(what: Root | Shown | Found | AgentError) -> Found | AgentError:
    if isinstance(what, Root):
        what = shown(what)
    return Found(what) if isinstance(what, Shown) else what


def known_root(root: Root) -> KnownRoot:
    """Return a root as the book has it."""
    return KnownRoot(root.sha256, root.name, root.pem.decode(), root.not_after)

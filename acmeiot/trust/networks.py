"""What is believed where: the state of the trust agent, one file.

Each network (`client.network.Network`, by interface, router and SSID: A-4.7-1) has the roots that
are believed there, and how that came about; each root is kept once, however many networks it is
linked to (A-3.3-7), and apart from all others (A-4.8-1). What lies in which trust store is noted
*before* it is put there, so that nothing a crash leaves behind is forgotten.

Whoever walks through town meets many networks: at most `MAX_NETWORKS` are remembered, the one not
seen for the longest goes first, and before any with a root those without.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acmeiot import durable
from acmeiot.client.errors import AgentError

if TYPE_CHECKING:
    from acmeiot.client.network import Network

FILE: Final = "networks.json"
MAX_NETWORKS: Final = 64
MAX_ROOTS: Final = 4  # believed on one network: the current one, and old ones that vouched for it
MAX_NOTICES: Final = 20
MAX_OCTETS: Final = 4 << 20
LOCK_SECONDS: Final = 60.0
_SEEN_AGAIN: Final = 3600  # seconds after which being here still is worth writing to the disk
_VERSION: Final = 1
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,32768}-----END CERTIFICATE-----\n"
)


@dataclass(frozen=True, slots=True)
class KnownRoot:
    """A root that was accepted, or that waits for it; `sha256` is the hex hash of its key."""

    sha256: str
    name: str
    pem: str
    not_after: int


@dataclass(frozen=True, slots=True)
class Belief:
    """That a root is believed on one network; `how` is tofu, ask, expect, managed, or linked.

    `verified` is true if somebody said which root it must be, or compared the fingerprint.
    """

    sha256: str
    how: str
    verified: bool
    since: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A root that waits to be accepted; `vouched` if the root believed so far signed for it."""

    sha256: str
    since: int
    vouched: bool


@dataclass(frozen=True, slots=True)
class Known:
    """One network: where its server was, which roots are believed there (the newest first)."""

    key: str
    title: str
    interface: str
    router: str | None
    seen: int
    url: str = ""
    beliefs: tuple[Belief, ...] = ()
    pending: Pending | None = None

    def believes(self, sha256: str) -> bool:
        """Tell whether this root is believed here."""
        return any(belief.sha256 == sha256 for belief in self.beliefs)


@dataclass(frozen=True, slots=True)
class Placed:
    """That a root is, or is about to be, in a store because this agent put it there.

    `proven` once a real connection with that store's roots succeeded.
    """

    store: str
    sha256: str
    nickname: str
    proven: bool = False


@dataclass
class Book:
    """All that the agent remembers. Change it through its methods, within `Ledger.opened`."""

    roots: dict[str, KnownRoot] = field(default_factory=dict)
    networks: dict[str, Known] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)  # by store: what it said
    notices: list[dict[str, Any]] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)  # by key, at the last look

    def meet(self, network: Network, now: int, url: str = "") -> Known:
        """Return what is known of a network that is joined now, noted as seen."""
        old = self.networks.get(network.key)
        known = Known(network.key, str(network), network.interface, network.router, now)
        if old is not None:
            seen = old.seen if 0 <= now - old.seen < _SEEN_AGAIN else now
            known = replace(known, seen=seen, url=old.url, beliefs=old.beliefs, pending=old.pending)
        self.networks[network.key] = replace(known, url=url or known.url)
        return self.networks[network.key]

    def believe(self, key: str, root: KnownRoot, belief: Belief, *, keep: bool = False) -> None:
        """Believe a root on a network, in place of the others there unless `keep`."""
        known = self.networks[key]
        others = tuple(one for one in known.beliefs if one.sha256 != root.sha256) if keep else ()
        self.roots[root.sha256] = root
        self.networks[key] = replace(known, beliefs=(belief, *others)[:MAX_ROOTS], pending=None)
        self.tidy()

    def wait(self, key: str, root: KnownRoot, pending: Pending) -> None:
        """Keep a root until it is accepted; what is believed stays, here and elsewhere."""
        self.roots.setdefault(root.sha256, root)
        self.networks[key] = replace(self.networks[key], pending=pending)
        self.tidy()

    def settle(self, key: str) -> None:
        """Drop what waits on a network: the root that is believed is back."""
        self.networks[key] = replace(self.networks[key], pending=None)
        self.tidy()

    def forget(self, key: str) -> None:
        """Forget a network; its root stays if it is linked to another."""
        del self.networks[key]
        self.tidy()

    def empty(self) -> None:
        """Forget everything (A-4.4-1)."""
        for part in fields(self):
            getattr(self, part.name).clear()

    def siblings(self, known: Known) -> Iterator[Known]:
        """Yield the other networks behind the same router: its Wi-Fi and its cable (A-3.3-7)."""
        for other in self.networks.values():
            if known.router is not None and other.router == known.router and other != known:
                yield other

    def where(self, sha256: str) -> tuple[Known, ...]:
        """Return the networks on which a root is believed."""
        return tuple(known for known in self.networks.values() if known.believes(sha256))

    def purge(self, joined: set[str]) -> None:
        """Forget the networks beyond the limit; never one that is joined now."""
        away = [known for known in self.networks.values() if known.key not in joined]
        away.sort(key=lambda known: (bool(known.beliefs), known.seen))
        for known in away[: max(0, len(self.networks) - MAX_NETWORKS)]:
            self.forget(known.key)

    def tidy(self) -> None:
        """Keep no root that no network knows; what is in a store must still be named to leave."""
        wanted = {placed.sha256 for placed in self.placed}
        for known in self.networks.values():
            wanted.update(belief.sha256 for belief in known.beliefs)
            if known.pending is not None:
                wanted.add(known.pending.sha256)
        self.roots = {sha256: root for sha256, root in self.roots.items() if sha256 in wanted}


class Ledger:
    """The book on the disk; one process at a time has it open."""

    def __init__(self, directory: Path) -> None:
        """Take the state directory, which is made when first opened."""
        self.directory = directory
        self._path = directory / FILE
        self._kept = b""

    @contextmanager
    def opened(self) -> Iterator[Book]:
        """Lend the book, and save it at the end, whatever happened.

        Raise AgentError if it cannot be read or another process keeps it for a minute.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            book = self._read()
            try:
                yield book
            finally:
                self.save(book)

    def look(self) -> Book:
        """Return the book as it is, only to be read."""
        return self._read()

    def salvage(self) -> tuple[bytes, ...]:
        """Return all roots, PEM, that are named in a book that cannot be read any more."""
        text = self._path.read_bytes()[:MAX_OCTETS].replace(b"\\n", b"\n")
        return tuple(dict.fromkeys(_PEM.findall(text)))

    def erase(self) -> None:
        """Delete the book."""
        self._path.unlink(missing_ok=True)

    def save(self, book: Book) -> None:
        """Put the book on the disk, if anything in it changed; only while it is opened."""
        data = _encode(book)
        if data != self._kept:
            durable.write(self._path, data)
            self._kept = data

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, self.directory)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> Book:
        try:
            with self._path.open("rb") as file:
                self._kept = file.read(MAX_OCTETS + 1)
        except FileNotFoundError:
            self._kept = b""
            return Book()
        try:
            return _decode(self._kept)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentError(
                f"{self._path} cannot be read ({type(error).__name__}: {error}); "
                "`acmeiot trust reset` takes all roots out and begins anew"
            ) from None


def _lock(descriptor: int, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AgentError(f"another `acmeiot trust` is busy with {directory}") from None
            time.sleep(0.05)
        else:
            return


def _encode(book: Book) -> bytes:
    document = {
        "version": _VERSION,
        "roots": [asdict(root) for root in book.roots.values()],
        "networks": [asdict(known) for known in book.networks.values()],
        "placed": [asdict(placed) for placed in book.placed],
        "troubles": book.troubles,
        "notices": book.notices[-MAX_NOTICES:],
        "joined": book.joined,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _decode(data: bytes) -> Book:
    if len(data) > MAX_OCTETS:
        raise ValueError(f"it has more than {MAX_OCTETS} octets")
    document = json.loads(data)
    if document["version"] != _VERSION:
        raise ValueError(f"it is of version {document['version']}, this program writes {_VERSION}")
    roots = [KnownRoot(**root) for root in document["roots"]]
    networks = [_known(known) for known in document["networks"]]
    return Book(
        {root.sha256: root for root in roots},
        {known.key: known for known in networks},
        [Placed(**placed) for placed in document["placed"]],
        dict(document["troubles"]),
        list(document["notices"]),
        list(document["joined"]),
    )


def _known(document: dict[str, Any]) -> Known:
    beliefs = tuple(Belief(**belief) for belief in document["beliefs"])
    pending = Pending(**document["pending"]) if document["pending"] else None
    return Known(**{**document, "beliefs": beliefs, "pending": pending})

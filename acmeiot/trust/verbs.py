"""What the verbs of `acmeiot trust` do: the agent wired to this machine, and its words."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from acmeiot.client import network, sightings
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.protocol.moments import day
from acmeiot.trust import consent, running, stores
from acmeiot.trust.agent import Agent, Surroundings
from acmeiot.trust.find import Finder, named
from acmeiot.trust.networks import Book, Known, Ledger
from acmeiot.trust.notices import Notices, plain, screen
from acmeiot.trust.placing import Stores
from acmeiot.trust.settings import Settings, load, root_hash
from acmeiot.trust.stores.anchors import Anchors

_LOG: Final = logging.getLogger("acmeiot.trust")


def run(args: Namespace) -> int | None:
    """Do what the verb says; AgentError if it cannot be done or something is not as it should."""
    machine = Machine(load(args), as_json=args.json)
    _log_to_stderr(args.verb, verbose=args.verbose)
    verb = {
        "run": machine.run,
        "once": machine.once,
        "status": machine.status,
        "accept": lambda: machine.accept(args.root),
        "forget": lambda: machine.forget(args.network),
        "reset": machine.reset,
    }[args.verb]
    try:
        verb()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise AgentError(f"{where}{error.strerror or error}") from None
    return None


class Machine:
    """This machine's ledger, stores and network, as the settings want them."""

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        """Check what can be checked before anything is touched; raise UsageError."""
        self._settings = settings
        self._json = as_json
        self._ledger = Ledger(settings.state)
        self._stores = _stores(settings)
        self._notices = Notices(screen(settings.notify), _now)
        if settings.directory is not None:
            named(settings.directory)

    def run(self) -> None:
        """Stay, until SIGTERM or SIGINT. SIGHUP asks all networks again."""
        stopped = False

        def stop(_signal: int, _frame: object) -> None:
            nonlocal stopped
            stopped = True

        with network.Watch(self._settings.search.sightings, sightings.NETWORKD) as watch:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            signal.signal(signal.SIGHUP, lambda _signal, _frame: None)
            signal.set_wakeup_fd(watch.wakeup_fd(), warn_on_full_buffer=False)
            try:
                running.run(self._agent(), watch, lambda: stopped, time.monotonic)
            finally:
                signal.set_wakeup_fd(-1)

    def once(self) -> None:
        """Look at all networks that are joined, and ask a person who is at the terminal."""
        agent = self._agent(ask=_terminal())
        for each in agent.look().networks:
            agent.meet(each)
        self._report()

    def accept(self, fingerprint: str | None) -> None:
        """Believe a root that waits; without a fingerprint, ask a person who is at the terminal."""
        book = self._ledger.look()
        waiting = [known for known in book.networks.values() if known.pending is not None]
        if not waiting:
            raise AgentError("no root waits to be accepted (acmeiot trust once looks for one)")
        if fingerprint is None:
            wanted = self._choose(book, waiting)
        else:
            wanted = _same_root(fingerprint, waiting)
        agent = self._agent()
        for known in wanted:
            if known.pending is not None:
                agent.accept(known.key, known.pending.sha256)
        self._report()

    def forget(self, name: str) -> None:
        """Forget a network by its key or name."""
        book = self._ledger.look()
        known = [one for one in book.networks.values() if name in (one.key, one.title)]
        if not known:
            keys = ", ".join(book.networks) or "none is known"
            raise AgentError(f"no network {plain(name)}; there are: {keys}")
        self._agent().forget(known[0].key)
        self._report()

    def reset(self) -> None:
        """Take everything out of the stores and forget it (A-4.4-1)."""
        self._agent().reset()
        self._report()

    def status(self) -> None:
        """Show what is believed where, what waits, and what went wrong."""
        book = self._ledger.look()
        document = _document(book)
        print(json.dumps(document, indent=2) if self._json else "\n".join(_lines(book)))

    def _choose(self, book: Book, waiting: list[Known]) -> list[Known]:
        ask = _terminal()
        if ask is None:
            some = ", ".join(f"sha256:{one.pending.sha256}" for one in waiting if one.pending)
            raise AgentError(f"say which root: acmeiot trust accept FINGERPRINT; waiting: {some}")
        return [known for known in waiting if ask(consent.again(book, known))]

    def _agent(self, ask: Any = None) -> Agent:
        settings = self._settings
        return Agent(
            self._ledger,
            settings.policy,
            Surroundings(
                survey=lambda: network.survey(
                    settings.search.interface, servers=_dhcp_servers(settings)
                ),
                find=Finder(settings.search, settings.directory),
                stores=self._stores,
                notices=self._notices,
                now=_now,
                ask=ask,
            ),
        )

    def _report(self) -> None:
        """Print what happened; raise AgentError for the first thing that failed."""
        heard = self._notices.heard
        if self._json:
            print(json.dumps([asdict(notice) for notice in heard], indent=2))
        for notice in heard:
            if not (self._json or notice.failed):
                print(notice.text)
        failed = [notice.text for notice in heard if notice.failed]
        if failed:
            raise AgentError("; ".join(dict.fromkeys(failed)))


def _now() -> int:
    return int(time.time())


def _stores(settings: Settings) -> Stores:
    every = stores.all_stores(settings.home)
    names = [store.name for store in every]
    for name in settings.stores:
        if name not in names:
            raise UsageError(f"--store: there is no {name}; there are {', '.join(names)}")
    there = tuple(
        store.name
        for store in every
        if store.available() and (settings.own or not isinstance(store, Anchors))
    )
    return Stores(every, settings.stores or there)


def _log_to_stderr(verb: str, *, verbose: bool) -> None:
    """Send the log where systemd picks it up; other verbs print what happened themselves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("acmeiot trust: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    quiet = logging.INFO if verb == "run" else logging.CRITICAL
    _LOG.setLevel(logging.DEBUG if verbose else quiet)


def _terminal() -> Callable[[consent.Question], bool] | None:
    """Return how to ask the person at the terminal, None if there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda question: consent.ask(question, input)


def _dhcp_servers(settings: Settings) -> dict[str, str]:
    """Return the address of the DHCP server by interface, as the DHCP clients saw it."""
    seen, _complaints = sightings.read(settings.search.sightings, settings.search.interface)
    return {one.interface: one.server for one in seen if one.server is not None}


def _same_root(fingerprint: str, waiting: Sequence[Known]) -> list[Known]:
    """Return the networks on which the root with this whole fingerprint waits."""
    text = fingerprint.strip().lower()
    pending = {known.key: known.pending.sha256 for known in waiting if known.pending}
    if not any(text == consent.words(sha256) for sha256 in pending.values()):
        text = root_hash(text)
    found = [one for one in waiting if text in (pending[one.key], consent.words(pending[one.key]))]
    if not found:
        others = ", ".join(f"sha256:{sha256}" for sha256 in pending.values())
        raise AgentError(f"the root sha256:{text} does not wait to be accepted; waiting: {others}")
    return found


def _document(book: Book) -> dict[str, Any]:
    """Return the book for programs."""
    return {
        "networks": [_network(book, known) for known in _joined_last(book)],
        "stores": [
            {
                "store": placed.store,
                "sha256": placed.sha256,
                "nickname": placed.nickname,
                "proven": placed.proven,
            }
            for placed in book.placed
        ],
        "troubles": book.troubles,
        "notices": book.notices,
    }


def _joined_last(book: Book) -> list[Known]:
    """Return the networks; those joined now are at the end, where a terminal shows them."""
    return sorted(book.networks.values(), key=lambda known: known.key in book.joined)


def _network(book: Book, known: Known) -> dict[str, Any]:
    pending = known.pending
    beliefs = [
        {**_root(book, one.sha256), "how": one.how, "verified": one.verified, "since": one.since}
        for one in known.beliefs
    ]
    return {
        "key": known.key,
        "name": known.title,
        "server": known.url or None,
        "seen": known.seen,
        "joined": known.key in book.joined,
        "root": beliefs[0] if beliefs else None,
        "older_roots": beliefs[1:],
        "pending": None
        if pending is None
        else {**_root(book, pending.sha256), "since": pending.since, "vouched": pending.vouched},
    }


def _root(book: Book, sha256: str) -> dict[str, Any]:
    root = book.roots[sha256]
    fingerprint = {"sha256": sha256, "words": consent.words(sha256)}
    return {"name": root.name, **fingerprint, "not_after": root.not_after}


def _lines(book: Book) -> Iterator[str]:
    """Yield the book for people."""
    if not book.networks:
        yield "no network is known yet (acmeiot trust once)"
    for known in _joined_last(book):
        yield f"network   {known.title}"
        here = "joined" if known.key in book.joined else f"seen {day(known.seen)}"
        yield f"          {known.key}, {here}"
        if known.url:
            yield f"server    {plain(known.url)}"
        for one in known.beliefs:
            yield f"root      {consent.how(one)} on {day(one.since)}"
            yield from _root_lines(book, one.sha256)
        if known.pending is not None:
            word = "CHANGED" if known.beliefs else "WAITING"
            yield f"{word}   a root waits for: acmeiot trust accept FINGERPRINT"
            yield from _root_lines(book, known.pending.sha256)
    for placed in book.placed:
        yield f"store     {placed.store}: {placed.nickname}{', tried' if placed.proven else ''}"
    for store, text in book.troubles.items():
        yield f"TROUBLE   {store}: {text}"
    for notice in book.notices:
        yield f"{day(int(notice['when']))} {plain(str(notice['text']))}"


def _root_lines(book: Book, sha256: str) -> Iterator[str]:
    root = book.roots[sha256]
    yield f"          {plain(root.name)}, until {day(root.not_after)}"
    yield f"          {consent.words(sha256)}"
    yield f"          sha256:{sha256}"

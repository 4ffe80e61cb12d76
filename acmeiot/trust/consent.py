"""What a person reads about a root, and the question whether to believe it.

The fingerprint is shown as words to read aloud, as hex, and as a QR code: what the router shows of
its own root must be the same. All 128 or 256 bits of it; less could be matched by an attacker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from acmeiot.protocol import fingerprint
from acmeiot.protocol.moments import day
from acmeiot.protocol.qr import qr
from acmeiot.trust.networks import Belief, Book, Known, KnownRoot
from acmeiot.trust.notices import plain

if TYPE_CHECKING:
    from acmeiot.trust.decide import Ask, Shown

_HOW = {
    "tofu": "taken on first use, not verified",
    "ask": "accepted",
    "expect": "the expected one",
    "managed": "the configured one",
    "linked": "known from the same router's other network",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: may this root be believed on this network?"""

    network: str
    url: str
    source: str
    root: KnownRoot
    replaces: KnownRoot | None
    vouched: bool
    elsewhere: tuple[str, ...]


def asked(known: Known, shown: Shown, root: KnownRoot, decision: Ask) -> Question:
    """Return the question that a decision leaves to a person."""
    elsewhere = tuple(other.title for other in decision.elsewhere)
    vouched = decision.pending.vouched
    return Question(
        known.title, shown.url, shown.source, root, decision.replaces, vouched, elsewhere
    )


def again(book: Book, known: Known) -> Question:
    """Return the question that waits on a network; raise KeyError if none does."""
    pending = known.pending
    if pending is None:
        raise KeyError(known.key)
    root = book.roots[pending.sha256]
    replaces = book.roots[known.beliefs[0].sha256] if known.beliefs else None
    elsewhere = tuple(other.title for other in book.where(root.sha256))
    source = f"it on {day(pending.since)}"
    return Question(known.title, known.url, source, root, replaces, pending.vouched, elsewhere)


def words(sha256: str) -> str:
    """Return the fingerprint as words."""
    return fingerprint.words(bytes.fromhex(sha256))


def short(root: KnownRoot) -> str:
    """Return name and fingerprint for one line."""
    return f"{root.name} ({words(root.sha256)}, sha256:{root.sha256})"


def how(belief: Belief) -> str:
    """Return how a belief came about, for people."""
    return _HOW.get(belief.how, belief.how)


def believed(root: KnownRoot, belief: Belief) -> str:
    """Return that a root is believed now, and how that came about."""
    return f"believes {short(root)}, {how(belief)}"


def waiting(question: Question) -> str:
    """Return what waits for a person and what to do, in one line (A-4.7-2)."""
    new = short(question.root)
    accept = f"acmeiot trust accept sha256:{question.root.sha256}"
    if question.replaces is None:
        return (
            f"{question.network}: the root {new} waits to be accepted: compare it with what the "
            f"router shows, then run {accept}"
        )
    return (
        f"{question.network}: the root has changed. Until now: {short(question.replaces)}, which "
        f"stays. Now: {new}. {_about_change(question.vouched)} To take the new one: {accept}"
    )


def _about_change(vouched: bool) -> str:
    if vouched:
        return "The old root has signed for the new one, as it does when the router renews it."
    return (
        "The old root has NOT signed for the new one: either the router was replaced or reset, or "
        "somebody is in the middle."
    )


def lines(question: Question) -> Iterator[str]:
    """Yield all that a person should see before answering."""
    root = question.root
    yield f"Network   {question.network}"
    yield f"Server    {plain(question.url)}, told by {plain(question.source)}"
    yield f"Root      {plain(root.name)}, until {day(root.not_after)}"
    yield f"          {words(root.sha256)}"
    yield f"          sha256:{root.sha256}"
    for network in question.elsewhere:
        yield f"          believed on {network}, too"
    yield qr(f"sha256:{root.sha256}")
    if question.replaces is not None:
        yield "THE ROOT OF THIS NETWORK HAS CHANGED. Until now it was:"
        yield f"          {plain(question.replaces.name)}"
        yield f"          {words(question.replaces.sha256)}"
        yield f"          sha256:{question.replaces.sha256}"
        yield _about_change(question.vouched)
    yield "The router shows the same words on its own page, if this is its root."


def ask(question: Question, read: Callable[[], str], out: IO[str] = sys.stderr) -> bool:
    """Show the question and tell whether the answer was yes; anything else is no."""
    for line in lines(question):
        print(line, file=out)
    print("Believe this root on this network? Type yes or no: ", end="", file=out, flush=True)
    try:
        return read().strip().lower() == "yes"
    except EOFError:
        return False

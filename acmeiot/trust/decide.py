"""Whether a root that a network shows is believed there. Pure: no store, no socket, no clock.

    what the network shows                      what happens
    two DHCP answers that differ                refused; what was believed stays       (A-4.2-1)
    another root than DHCP told                 refused
    another root than `expect` names            refused
    the root that is believed here              nothing new
    a root that is no home's (vetting)          refused
    a root named by `expect`                    believed, verified
    another root than is believed here          waits for a person; the old one stays  (A-4.7-2)
    a root believed behind the same router      believed: one entry, linked            (A-3.3-7)
    a first root, mode tofu                     believed, unverified                   (A-3.3-3)
    a first root, mode ask                      waits for a person
    a first root, mode managed                  refused

A changed root is never taken by itself, even if the old one vouches for it: the person is told so,
which makes it an easy yes (A-4.7-2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from acmeiot.trust.networks import Belief, Book, Known, KnownRoot, Pending
from acmeiot.trust.vetting import UnfitRoot, vet

if TYPE_CHECKING:
    from acmeiot.client.tls import Root

Mode = Literal["ask", "tofu", "managed"]
MODES: Final[tuple[Mode, ...]] = ("ask", "tofu", "managed")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of this machine says about belief; `expect` holds hex hashes of root keys."""

    mode: Mode = "ask"
    expect: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    unconstrained: bool = False
    on_public: bool = False

    def allows(self, sha256: str) -> bool:
        """Tell whether a root, believed once, still may be: a configured list is the last word."""
        return sha256 in self.expect or not (self.expect or self.mode == "managed")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a network shows: the root at the end of its server's TLS chain, and who led there.

    `told` is the hash that DHCP or DNS gave beside the name, `source` says who, for people.
    `vouches` tells whether a root believed before signed for this one.
    """

    root: Root
    url: str
    source: str
    told: str | None
    vouches: Callable[[KnownRoot], bool]


@dataclass(frozen=True, slots=True)
class Same:
    """The root is believed here already."""


@dataclass(frozen=True, slots=True)
class Believe:
    """Believe it now; `replaces` is the root that was believed so far."""

    belief: Belief
    replaces: KnownRoot | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Keep it until a person says yes; `replaces` is what is believed meanwhile."""

    pending: Pending
    replaces: KnownRoot | None = None
    elsewhere: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not believe it, and why."""

    why: str


Decision = Same | Believe | Ask | Refuse


def decide(book: Book, known: Known, shown: Shown, policy: Policy, now: int) -> Decision:
    """Return what to do about the root that a network shows at `now` (epoch seconds)."""
    root = shown.root
    replaces = book.roots[known.beliefs[0].sha256] if known.beliefs else None
    if shown.told is not None and shown.told != root.sha256:
        return Refuse(
            f"{shown.source} announces the root sha256:{shown.told}, but the server shows "
            f"sha256:{root.sha256}: somebody may be in the middle"
        )
    if policy.expect and root.sha256 not in policy.expect:
        return Refuse(
            f"the server shows the root sha256:{root.sha256}, which is not the expected one"
        )
    if not policy.allows(root.sha256):
        return Refuse(
            "only roots named with --expect are taken (mode managed); the server shows "
            f"sha256:{root.sha256}"
        )
    believed = next((one for one in known.beliefs if one.sha256 == root.sha256), None)
    if believed is not None and book.roots[root.sha256].not_after > now:
        return Same()
    try:
        vet(root, now, policy.domains, unconstrained=policy.unconstrained)
    except UnfitRoot as flaw:
        return Refuse(str(flaw))
    if believed is not None:  # the same key, in a certificate that has not expired
        return Believe(believed)
    if policy.expect:
        how = "managed" if policy.mode == "managed" else "expect"
        return Believe(Belief(root.sha256, how, True, now), replaces)
    return _first_or_changed(book, known, shown, policy, now)


def _first_or_changed(book: Book, known: Known, shown: Shown, policy: Policy, now: int) -> Decision:
    sha256 = shown.root.sha256
    if known.beliefs:  # A-4.7-2
        old = book.roots[known.beliefs[0].sha256]
        return Ask(Pending(sha256, now, shown.vouches(old)), old)
    for sibling in book.siblings(known):  # A-3.3-7
        for belief in sibling.beliefs:
            if belief.sha256 == sha256:
                return Believe(Belief(sha256, "linked", belief.verified, now))
    if policy.mode == "tofu":  # A-3.3-3
        return Believe(Belief(sha256, "tofu", False, now))
    return Ask(Pending(sha256, now, False), None, book.where(sha256))

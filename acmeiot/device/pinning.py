"""Whether a server's root is the one to trust on a network.

Trust on first use, unless the owner said which root to expect (A-3.4-3); from then on the pin is
checked on each visit (A-4.7-1). A root that has changed is followed only if the old one vouches
for it or the owner names it; else this device has nothing to do with that server, and says so
(A-4.7-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acmeiot.client import tls
from acmeiot.client.errors import AgentError
from acmeiot.client.tls import Root

FIRST_USE = "trusted on first use"
EXPECTED = "expected by the owner"
FOLLOWED = "vouched for by the root before"
FOLLOWED_FIRST = "vouched for by the root before, which was trusted on first use"
_UNVERIFIED = (FIRST_USE, FOLLOWED_FIRST)


class RootChanged(AgentError):
    """A known network shows a root that nobody vouches for: loud, and never passed over."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A root that is to be trusted, how it came about, and if it is new what to tell people."""

    root: Root
    how: str
    news: str | None = None


def first(root: Root, expected: str | None) -> Pin:
    """Return the pin for a network that is new; raise AgentError for an unexpected root.

    `expected` is the SHA-256 of the root's SPKI in hex, None to trust on first use.
    """
    if expected is None:
        return Pin(
            root,
            FIRST_USE,
            f"trusting the root {root.name} on first use; compare its fingerprint with the "
            f"router's: sha256:{root.sha256}, in words {root.words}",
        )
    if root.sha256 != expected:
        raise AgentError(_unexpected(root, expected))
    return Pin(root, EXPECTED, f"the root {root.name} is the expected one, sha256:{root.sha256}")


def known(pinned: Root, how: str, root: Root, chain: Sequence[bytes], expected: str | None) -> Pin:
    """Return the pin for a network with a pinned root; raise RootChanged, or AgentError.

    `chain` is what the server showed; the cross-certificates of a succession are in it.
    """
    doubted = how in _UNVERIFIED  # nobody has ever said that it is the right one, nor its heir
    if doubted and expected not in (None, root.sha256, pinned.sha256):
        raise AgentError(_unexpected(root, str(expected)))
    if root.sha256 == pinned.sha256:
        return Pin(root, EXPECTED if doubted and expected else how)
    change = f"from sha256:{pinned.sha256} to {root.name} sha256:{root.sha256} ({root.words})"
    if tls.vouched(pinned, root, chain):
        how = FOLLOWED_FIRST if doubted and expected is None else FOLLOWED
        return Pin(root, how, f"the root has changed {change}, which the old root vouches for")
    if root.sha256 == expected:
        return Pin(root, EXPECTED, f"the root has changed {change}, as the owner expects")
    raise RootChanged(
        f"THE ROOT OF THIS NETWORK HAS CHANGED {change}, and the old root does not vouch for it. "
        "Somebody may be in the middle, or the router was replaced or reset. Nothing more is asked "
        "of it; the old certificate stays. If the new root is yours, start this device once with "
        f"--expect sha256:{root.sha256}"
    )


def _unexpected(root: Root, expected: str) -> str:
    return (
        f"the server's root {root.name} is sha256:{root.sha256}, but sha256:{expected} is expected "
        "here; nothing more is asked of it"
    )

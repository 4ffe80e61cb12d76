"""Make the trust stores hold what they should: the roots of the networks joined now, no others.

One rule for joining, leaving, starting, stopping and what a crash left (A-3.3-4): compare what is
noted as placed with what should be there. A root that was in a store before this agent came is its
owner's and stays.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from acmeiot.client.errors import AgentError
from acmeiot.trust.networks import Book, KnownRoot, Placed
from acmeiot.trust.stores import Store

# Stores with room for one root: the current one of the preferred network.
ONE_ROOT: Final = ("cups",)
_FAILURES: Final = (AgentError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores there are on this system, and the names of those that are to be filled."""

    every: Sequence[Store]
    chosen: tuple[str, ...]


@dataclass
class Placing:
    """One pass over the stores. `save` puts the book on the disk, `said` hears what failed."""

    book: Book
    stores: Stores
    save: Callable[[], None]
    said: Callable[[str, str], None]  # store, what went wrong

    def bring(self, wanted: Mapping[str, KnownRoot], url_of: Mapping[str, str]) -> tuple[str, ...]:
        """Take out what is not wanted, then put in what is; return the stores that were changed.

        `url_of` has a server to try each root with. One store's failure stops no other.
        """
        self.book.troubles = {}
        changed = [*self._take_out(wanted), *self._put_in(wanted, url_of)]
        return tuple(dict.fromkeys(changed))

    def _take_out(self, wanted: Mapping[str, KnownRoot]) -> Iterable[str]:
        by_name = {store.name: store for store in self.stores.every}
        for placed in tuple(self.book.placed):
            if placed.sha256 in self._share(placed.store, wanted):
                continue
            store = by_name.get(placed.store)
            if store is None:
                self._failed(placed.store, f"is not on this system; {placed.nickname} is in it")
                continue
            try:
                store.remove(self._pem(placed.sha256), placed.nickname)
            except _FAILURES as error:
                self._failed(store.name, f"{placed.nickname} cannot be taken out: {error}")
                continue
            self.book.placed.remove(placed)
            self.save()
            yield store.name

    def _put_in(self, wanted: Mapping[str, KnownRoot], url_of: Mapping[str, str]) -> Iterable[str]:
        for store in self.stores.every:
            for root in self._share(store.name, wanted).values():
                try:
                    if self._add(store, root):
                        yield store.name
                    if root.sha256 in url_of:
                        self._prove(store, root.sha256, url_of[root.sha256])
                except _FAILURES as error:
                    self._failed(store.name, f"{root.name}: {error}")

    def _share(self, store: str, wanted: Mapping[str, KnownRoot]) -> Mapping[str, KnownRoot]:
        """Return what of the wanted roots a store is to have."""
        if store not in self.stores.chosen:
            return {}
        return dict(list(wanted.items())[:1]) if store in ONE_ROOT else wanted

    def _add(self, store: Store, root: KnownRoot) -> bool:
        """Put a root into a store, noted before; tell whether it was not there."""
        pem = root.pem.encode("ascii")
        if store.holds(pem):
            return False
        placed = Placed(store.name, root.sha256, nickname(root))
        if self._noted(store, root.sha256) is None:
            self.book.placed.append(placed)
            self.save()
        store.add(pem, placed.nickname)
        return True

    def _prove(self, store: Store, sha256: str, url: str) -> None:
        """Connect with the store's own roots, until that succeeded once."""
        placed = self._noted(store, sha256)
        if placed is not None and not placed.proven:
            store.verify(url)
            self.book.placed[self.book.placed.index(placed)] = replace(placed, proven=True)

    def _noted(self, store: Store, sha256: str) -> Placed | None:
        same = (one for one in self.book.placed if (one.store, one.sha256) == (store.name, sha256))
        return next(same, None)

    def _pem(self, sha256: str) -> bytes:
        return self.book.roots[sha256].pem.encode("ascii")

    def _failed(self, store: str, text: str) -> None:
        text = text.replace(f"{store}: ", "")  # stores name themselves, too
        self.book.troubles[store] = text
        self.said(store, text)


def nickname(root: KnownRoot) -> str:
    """Return the name of a root in the stores: no two homes have the same."""
    return f"acmeiot {root.name} {root.sha256[:8]}"

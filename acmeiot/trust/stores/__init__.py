"""The trust stores of a machine and of a person: one file each, all with the same few verbs.

What they promise together: `add` and `remove` may be repeated and may follow a crash in the middle
of the other; a root is known by its certificate, never by its name alone, so that no other home's
is ever taken out; nothing else in a store is touched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """A trust store. What fails raises AgentError that names the store and what was said."""

    @property
    def name(self) -> str:
        """Return its name, one word."""
        ...

    @property
    def tested(self) -> bool:
        """Tell whether it was ever tried on the system it is for."""
        ...

    def available(self) -> bool:
        """Tell whether it is there, and this user may change it."""
        ...

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Believe the root (one certificate, PEM) for TLS servers, and for nothing else."""
        ...

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Believe the root no more, if it was added under this nickname."""
        ...

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether the root is believed, whoever added it."""
        ...

    def verify(self, url: str) -> None:
        """Connect to an https URL with the store's own roots; raise AgentError if they refuse.

        Where no program at hand can do that, it does nothing.
        """
        ...


def all_stores(home: Path, environment: Mapping[str, str] = os.environ) -> tuple[Store, ...]:
    """Return the stores of this machine and of the person whose home it is, there or not.

    Root acts for another person as that person: in their home and for their programs' files.
    """
    from acmeiot.trust.stores import cups, debian, fedora, macos, nss, windows
    from acmeiot.trust.stores.programs import Person

    if sys.platform == "darwin":
        return (macos.Keychain(home),)
    if sys.platform == "win32":
        return (windows.CurrentUser(),)
    person = Person.of(home)
    return (
        debian.Debian(),
        fedora.Fedora(),
        nss.chromium(person, environment),
        nss.firefox(person, environment),
        cups.store(person, environment),
    )

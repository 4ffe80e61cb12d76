"""Two homes with real authorities, and what a store is asked from inside a test's namespace."""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.client.errors import AgentError
from acmeiot.trust.stores import Store
from acmeiot.trust.stores.debian import Debian
from acmeiot.trust.stores.nss import chromium, firefox
from acmeiot.trust.stores.programs import Person, pem_of

ROOT = Path(__file__).parents[3]
HOST = "router.lan"


@dataclass(frozen=True)
class Home:
    """A home's root and its server's key and chain, all PEM."""

    root: bytes
    der: bytes
    key: bytes
    chain: bytes

    @property
    def nickname(self) -> str:
        """Return the name that the agent gives the root."""
        return f"acmeiot Home CA {hashlib.sha256(self.der).hexdigest()[:6]} (eth0-525400000001)"


@cache
def home(number: int) -> Home:
    """Make a home with a server at router.lan, valid now; the same one for the same number."""
    now = int(time.time())
    with TemporaryDirectory(prefix=f"home-{number}-") as work:
        where = Path(work) / "ca"
        authority = Authority.open(where, AuthorityConfig(), now=now, record=lambda _: None)
        key, chain, _until = authority.issue_server([HOST], [], now)
    return Home(pem_of(authority.root_der), authority.root_der, key, chain)


def main(name: str, verb: str, *arguments: str) -> None:
    """Do one thing with a store of this namespace: NAME VERB [PEM-FILE NICKNAME | URL]."""
    person = Person.of(Path.home())
    stores: tuple[Store, ...] = (Debian(), chromium(person, {}), firefox(person, {}))
    (store,) = (each for each in stores if each.name == name)
    try:
        match verb:
            case "add" | "remove":
                getattr(store, verb)(Path(arguments[0]).read_bytes(), arguments[1])
            case "holds":
                print(store.holds(Path(arguments[0]).read_bytes()))
            case "verify":
                store.verify(arguments[0])
            case "available":
                print(store.available())
    except AgentError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""CUPS's site certificate: what `ipp` and `ipps` printing takes for the CA of this network.

By client.conf(5) and the source of CUPS 2.5 the file `_site_.crt` in the configuration directory's
`ssl` holds *one* certificate, and a printer is believed if the chain it shows ends with exactly
this text. A second certificate in the file would make CUPS refuse both, so where somebody has put
another one there, it stays, and adding ours is refused with these words. For the same reason a
printer must show its root: with the ACME certificate's alternate chain it does.

CUPS 2.4 and older read no such file (theirs is `site.crt`, which must hold the whole chain above
the printer's certificate, and only counts with `TrustOnFirstUse No`); they pin printers instead.
Since 2.5 CUPS asks the system's roots first. No released CUPS reads the file yet, so this was
tested against its rule, not with a printer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from acmeiot import durable
from acmeiot.client.errors import AgentError
from acmeiot.trust.stores.programs import Person, der_of, pem_of

_MAX_FILE: Final = 65536  # as CUPS itself


@dataclass(frozen=True)
class Cups:
    """The site certificate of one configuration directory of CUPS."""

    directory: Path
    person: Person

    name: ClassVar[str] = "cups"
    tested: ClassVar[bool] = False

    def available(self) -> bool:
        """Tell whether CUPS keeps its configuration there."""
        return self.directory.is_dir()

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Make the root the site certificate; raise AgentError if there is another one."""
        der = der_of(root_pem)
        content = self._content()
        if content == pem_of(der):
            return
        if content.strip():
            raise AgentError(
                f"cups: {self._path} holds another certificate, and CUPS takes only one; "
                "it was left as it is"
            )
        with self.person.acting():
            try:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                durable.write(self._path, pem_of(der), 0o644)
            except OSError as error:
                raise AgentError(f"cups: {error}") from None

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Remove the site certificate if it is this root, and nothing else; raise AgentError."""
        if self._content() == pem_of(der_of(root_pem)):
            with self.person.acting():
                try:
                    self._path.unlink(missing_ok=True)
                    durable.sync_directory(self._path.parent)
                except OSError as error:
                    raise AgentError(f"cups: {error}") from None

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether the root is the site certificate, to the letter; raise AgentError."""
        return self._content() == pem_of(der_of(root_pem))

    def verify(self, url: str) -> None:
        """Do nothing: CUPS's programs only speak with printers."""

    @property
    def _path(self) -> Path:
        return self.directory / "ssl" / "_site_.crt"

    def _content(self) -> bytes:
        with self.person.acting():
            try:
                with self._path.open("rb") as file:
                    return file.read(_MAX_FILE + 1)
            except FileNotFoundError:
                return b""
            except OSError as error:
                raise AgentError(f"cups: {error}") from None


def store(person: Person, environment: Mapping[str, str]) -> Cups:
    """Return the store of the person: root has the system's, as CUPS itself decides it."""
    if person.is_root:
        return Cups(Path("/etc/cups"), person)
    named = environment.get("XDG_CONFIG_HOME", "") if person.owner is None else ""
    if named.startswith("/"):
        return Cups(Path(named) / "cups", person)
    old = person.home / ".cups"
    return Cups(old if old.is_dir() else person.home / ".config/cups", person)

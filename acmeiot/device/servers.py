"""The directory of one ACME server: its pinned root, our account there, our certificates.

Whatever lies in `certs` beside the current certificate is a newer one on its way in or an old one
on its way out; there is no list that could disagree with the files after a power cut.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from acmeiot import durable
from acmeiot.device import files

MAX_CERTIFICATES: Final = 8  # the current one, one coming in, some going out
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one server; times are epoch seconds, 0 for not yet.

    `pinned` says how its root came to be trusted. `renew_at` is the moment in the server's renewal
    window that was chosen for the certificate `serial`, `ask_at` when to ask for the window again.
    """

    url: str = ""
    host: str = ""
    pinned: str = ""
    account: str = ""
    contacts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    serial: str = ""
    renew_at: int = 0
    ask_at: int = 0
    ordered_at: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its chain, both PEM, in `folder`; `key` is None once it was deleted."""

    folder: Path
    chain: bytes
    key: bytes | None

    @property
    def serial(self) -> str:
        """Return the certificate's serial in hex."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Server:
    """The directory of one server."""

    folder: Path

    @property
    def id(self) -> str:
        """Return the directory's name."""
        return self.folder.name

    def root(self) -> bytes:
        """Return the pinned root, PEM."""
        return files.read(self.folder / "root.pem")

    def pin(self, root_pem: bytes) -> None:
        """Pin a root from now on."""
        durable.write(self.folder / "root.pem", root_pem)

    def facts(self) -> Facts:
        """Return what is known of the server."""
        return files.load(self.folder / "server.json", Facts)

    def note(self, **changes: Any) -> Facts:
        """Change some of the facts; the file is written only if they are new (flash wears)."""
        old = self.facts()
        new = replace(old, **changes)
        if new != old:
            files.dump(self.folder / "server.json", asdict(new))
        return new

    def account_key(self) -> bytes | None:
        """Return the account's private key, PEM, None if there is none yet."""
        path = self.folder / "account.key"
        return files.read(path) if path.exists() else None

    def put_account_key(self, key_pem: bytes) -> None:
        """Keep a new account's private key; the account it was for is not known any more."""
        self.note(account="", contacts=())
        durable.write(self.folder / "account.key", key_pem)

    def current(self) -> Pair | None:
        """Return the pair in use."""
        try:
            serial = (self.folder / "current").readlink().name
        except FileNotFoundError:
            return None
        return self._pair(self.folder / "certs" / serial)

    def others(self) -> tuple[Pair, ...]:
        """Return every other pair, newest first."""
        current = self.current()
        found = [
            (folder.stat().st_mtime_ns, folder.name, pair)
            for folder in self._folders()
            if (current is None or folder != current.folder)
            and (pair := self._pair(folder)) is not None
        ]
        return tuple(pair for *_, pair in sorted(found, key=lambda each: each[:2], reverse=True))

    def add(self, serial: str, key_pem: bytes, chain_pem: bytes) -> Pair:
        """Keep a pair that was just issued, beside the one in use."""
        if not _SERIAL.fullmatch(serial):
            raise ValueError(f"a serial is up to 40 hex digits, not {serial!a}")
        certs = self.folder / "certs"
        certs.mkdir(mode=0o700, exist_ok=True)
        new = certs / f"{serial}{durable.TEMPORARY}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        try:
            durable.write_new(new / "key.pem", key_pem)
            durable.write_new(new / "chain.pem", chain_pem)
            durable.sync_directory(new)
            new.rename(certs / serial)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
        durable.sync_directory(certs)
        return Pair(certs / serial, chain_pem, key_pem)

    def use(self, pair: Pair) -> None:
        """Make a pair the one in use."""
        new = self.folder / f"current{durable.TEMPORARY}"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("certs") / pair.serial)
        new.replace(self.folder / "current")
        durable.sync_directory(self.folder)

    def remove(self, pair: Pair) -> None:
        """Forget a pair, the key first."""
        (pair.folder / "key.pem").unlink(missing_ok=True)
        durable.sync_directory(pair.folder)
        shutil.rmtree(pair.folder)
        durable.sync_directory(pair.folder.parent)

    def tidy(self) -> None:
        """Remove what a power cut left half written, and the oldest pairs beyond the bound."""
        for leftover in (self.folder / "certs").glob(f"*{durable.TEMPORARY}"):
            shutil.rmtree(leftover)
        for folder in self._folders():
            if self._pair(folder) is None:
                shutil.rmtree(folder)
        for pair in self.others()[MAX_CERTIFICATES - 1 :]:
            self.remove(pair)

    def _folders(self) -> list[Path]:
        return [f for f in (self.folder / "certs").glob("*") if _SERIAL.fullmatch(f.name)]

    def _pair(self, folder: Path) -> Pair | None:
        try:
            chain = files.read(folder / "chain.pem")
        except FileNotFoundError:
            return None
        key = folder / "key.pem"
        return Pair(folder, chain, files.read(key) if key.exists() else None)

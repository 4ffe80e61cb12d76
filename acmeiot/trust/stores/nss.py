"""NSS databases: of Chromium and its kin, and of Firefox and Thunderbird, through `certutil`.

One store is all databases of one browser family, snap's and flatpak's too, so that a profile made
tomorrow is found tomorrow. Running browsers notice a change when they start next, at the latest.

NSS keys certificates by subject: asked for one nickname it shows all certificates of that subject,
those of another nickname too. So a root is recognised by its fingerprint and its trust by what
stands beside it; only the deletion goes by nickname, which therefore must be one root's alone.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from acmeiot.client.errors import AgentError
from acmeiot.trust.stores.programs import Person, der_of, pem_of, run, said_by

_TRUSTED_CA: Final = "C,,"  # for TLS servers; not for mail, not for code
_MAX_DATABASES: Final = 64
_MAX_NICKNAMES: Final = 500
_MAX_NAME: Final = 120
_LISTED: Final = re.compile(r"(.*?)\s+([a-zA-Z]*),[a-zA-Z]*,[a-zA-Z]*\s*")
_SHOWN: Final = re.compile(
    r"Fingerprint \(SHA-256\):\s*([0-9A-F:\s]+?)\s*Fingerprint"
    r".*?SSL Flags:(.*?)Email Flags:",
    re.DOTALL,
)
_CHROMIUM_MARKS: Final = (
    "chromium", "google-chrome", "google-chrome-beta", "BraveSoftware", "microsoft-edge", "vivaldi",
)  # fmt: skip
_CHROMIUM_PROGRAMS: Final = (
    "chromium", "chromium-browser", "google-chrome", "brave-browser", "microsoft-edge", "vivaldi",
)  # fmt: skip
_FIREFOX_ROOTS: Final = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",  # since Firefox 147
    ".librewolf",
    ".thunderbird",
    "snap/firefox/common/.mozilla/firefox",
    "snap/thunderbird/common/.thunderbird",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    ".var/app/io.gitlab.librewolf-community/.librewolf",
    ".var/app/org.mozilla.Thunderbird/.thunderbird",
)
# Where tstclnt lies, beside the PATH: Fedora calls it unsupported.
_TOOLS: Final = ("/usr/lib64/nss/unsupported-tools", "/usr/lib/nss/unsupported-tools")


@dataclass(frozen=True)
class Nss:
    """The NSS databases of one browser family.

    `databases` finds their directories; `fresh` is one to make where there is none yet.
    """

    name: str
    person: Person
    databases: Callable[[], Iterable[Path]]
    wanted: Callable[[], bool]  # whether this person uses the browser at all
    fresh: Path | None = None
    certutil: str = "certutil"

    tested: ClassVar[bool] = True

    def available(self) -> bool:
        """Tell whether this person has a database, or a browser that will want one."""
        return bool(self._existing()) or (self.fresh is not None and self.wanted())

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Trust the root for TLS servers in every database; raise AgentError."""
        der = der_of(root_pem)
        existing = self._existing() or list(self._made())
        with tempfile.TemporaryDirectory(prefix="acmeiot-") as directory:
            file = Path(directory) / "root.pem"
            file.write_bytes(pem_of(der))
            for path in (file.parent, file):  # certutil may run as somebody else
                path.chmod(0o755 if path.is_dir() else 0o644)
            for database in existing:
                if not self._trusts(database, der):
                    words = ("-A", "-n", _plain(nickname), "-t", _TRUSTED_CA, "-i", file)
                    self._certutil(database, *words)

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Take the root out of every database where it has this nickname; raise AgentError."""
        der, name = der_of(root_pem), _plain(nickname)
        for database in self._existing():
            if der_hash(der) in self._named(database, name):
                self._certutil(database, "-D", "-n", name)
                if der_hash(der) in self._named(database, name):
                    raise AgentError(f"{self.name}: {database} still has {name} after deleting it")

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether every database trusts the root for TLS servers; raise AgentError."""
        der, existing = der_of(root_pem), self._existing()
        return bool(existing) and all(self._trusts(database, der) for database in existing)

    def verify(self, url: str) -> None:
        """Shake hands with the server of an https URL by NSS's own client; raise AgentError.

        Does nothing where that is not installed.
        """
        tstclnt = shutil.which("tstclnt") or shutil.which("tstclnt", path=":".join(_TOOLS))
        parts = urlsplit(url)
        if tstclnt is None or parts.hostname is None:
            return
        for database in self._existing():
            words = ["-d", f"sql:{database}", "-h", parts.hostname, "-p", str(parts.port or 443)]
            done = run(self.name, [tstclnt, *words, "-Q"], self.person, may_fail=True)
            if done.returncode != 0:
                raise AgentError(f"{self.name}: {url} with {database}: {said_by(done)}")

    def _existing(self) -> list[Path]:
        found = sorted({path for path in self.databases() if (path / "cert9.db").is_file()})
        return found[:_MAX_DATABASES]

    def _made(self) -> Iterator[Path]:
        """Make the first database, as the browser would; yield it."""
        if self.fresh is not None:
            with self.person.acting():
                try:
                    self.fresh.mkdir(mode=0o700, parents=True, exist_ok=True)
                except OSError as error:
                    raise AgentError(f"{self.name}: {error}") from None
            self._certutil(self.fresh, "-N", "--empty-password")
            yield self.fresh

    def _trusts(self, database: Path, der: bytes) -> bool:
        listed = self._certutil(database, "-L").splitlines()
        found = [match for line in listed if (match := _LISTED.fullmatch(line))]
        names = dict.fromkeys(match[1] for match in found if "C" in match[2])
        return any(
            self._named(database, name).get(der_hash(der), False)
            for name in list(names)[:_MAX_NICKNAMES]
        )

    def _named(self, database: Path, name: str) -> Mapping[str, bool]:
        """Return what a nickname shows: SHA-256 of each certificate, and whether it is trusted."""
        words = [self.certutil, "-d", f"sql:{database}", "-L", "-n", name]
        shown = run(self.name, words, self.person, may_fail=True).stdout
        return {
            re.sub(r"[:\s]", "", match[1]).lower(): "Trusted CA" in match[2]
            for match in _SHOWN.finditer(shown)
        }

    def _certutil(self, database: Path, *words: str | Path) -> str:
        if shutil.which(self.certutil) is None:
            raise AgentError(
                f"{self.name}: certutil is missing; install libnss3-tools (Debian) or nss-tools"
            )
        argv = [self.certutil, "-d", f"sql:{database}", *words]
        return run(self.name, argv, self.person).stdout


def der_hash(der: bytes) -> str:
    """Return the fingerprint as NSS knows it: SHA-256 of the whole certificate, in hex."""
    return hashlib.sha256(der).hexdigest()


def chromium(person: Person, environment: Mapping[str, str]) -> Nss:
    """Return the databases of Chromium, Chrome, Brave, Edge and Vivaldi.

    Before version 146 Chromium makes ~/.pki/nssdb, since then ~/.local/share/pki/nssdb; it uses
    the first where there is one. So that is made where there is neither, and only then: else a
    Chromium would turn its back to the certificates that its owner has in the second.
    """
    home = person.home

    def databases() -> Iterator[Path]:
        yield home / ".pki/nssdb"
        yield _data(person, environment) / "pki/nssdb"
        for pattern in (
            "snap/*/current/.pki/nssdb",
            "snap/*/current/.local/share/pki/nssdb",
            ".var/app/*/.pki/nssdb",
            ".var/app/*/data/pki/nssdb",
        ):
            yield from home.glob(pattern)

    def wanted() -> bool:
        used = any((home / ".config" / mark).is_dir() for mark in _CHROMIUM_MARKS)
        return used or any(shutil.which(program) for program in _CHROMIUM_PROGRAMS)

    return Nss("chromium", person, databases, wanted, home / ".pki/nssdb")


def firefox(person: Person, environment: Mapping[str, str]) -> Nss:
    """Return the profiles of Firefox, LibreWolf and Thunderbird."""

    def databases() -> Iterator[Path]:
        for root in _FIREFOX_ROOTS:
            yield from (path.parent for path in (person.home / root).glob("*/cert9.db"))

    return Nss("firefox", person, databases, lambda: False)


def _data(person: Person, environment: Mapping[str, str]) -> Path:
    """Return the XDG data directory; the environment is of another person if root acts for one."""
    named = environment.get("XDG_DATA_HOME", "") if person.owner is None else ""
    return Path(named) if named.startswith("/") else person.home / ".local/share"


def _plain(nickname: str) -> str:
    """Return the nickname as NSS can take it: a colon would separate the name of a token."""
    kept = "".join(c if " " <= c <= "~" and c != ":" else "_" for c in nickname)
    return " ".join(kept.split())[:_MAX_NAME].strip() or "acmeiot"

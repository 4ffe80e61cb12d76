r"""The root store of the current user of Windows, through certutil.exe. Never tried on Windows.

Written from Microsoft's documentation: `certutil -user -addstore Root FILE` adds to
CurrentUser\Root, `-delstore` takes out by thumbprint (SHA-1); Windows asks the person before both.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from acmeiot.trust.stores.programs import der_of, run

# By its whole path: NSS has a program of the same name.
_SYSTEM: Final = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"


@dataclass(frozen=True)
class CurrentUser:
    r"""The store CurrentUser\Root. Untested on the system it is for."""

    certutil: Path = _SYSTEM / "certutil.exe"
    curl: Path = _SYSTEM / "curl.exe"

    name: ClassVar[str] = "windows"
    tested: ClassVar[bool] = False

    def available(self) -> bool:
        """Tell whether this is Windows."""
        return self.certutil.exists()

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Trust the root; Windows asks the person. Raise AgentError if they refuse."""
        with tempfile.TemporaryDirectory(prefix="acmeiot-") as directory:
            file = Path(directory) / "root.cer"
            file.write_bytes(der_of(root_pem))
            self._certutil("-f", "-addstore", "Root", file)

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Take out the root; Windows asks the person. Raise AgentError if they refuse."""
        if self.holds(root_pem):
            self._certutil("-delstore", "Root", _thumb(root_pem))

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether the store has the root; raise AgentError."""
        argv: list[str | Path] = [self.certutil, "-user", "-store", "Root", _thumb(root_pem)]
        return run(self.name, argv, may_fail=True).returncode == 0

    def verify(self, url: str) -> None:
        """Connect by Windows' own curl, which asks this store; raise AgentError."""
        if self.curl.exists():
            run(self.name, [self.curl, "--silent", "--show-error", "--output", "NUL", url])

    def _certutil(self, *words: str | Path) -> None:
        run(self.name, [self.certutil, "-user", *words])


def _thumb(root_pem: bytes) -> str:
    return hashlib.sha1(der_of(root_pem), usedforsecurity=False).hexdigest()

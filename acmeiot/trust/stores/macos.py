"""The login keychain of macOS, through security(1). Never tried on a Mac.

Written from the manual page: `add-trusted-cert -r trustRoot -p ssl` adds the certificate to the
keychain and to the user's trust settings, after macOS has asked the person for a password or a
finger; `delete-certificate -Z HASH -t` takes out both.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from acmeiot.trust.stores.programs import certificates, der_of, pem_of, run


@dataclass(frozen=True)
class Keychain:
    """A person's login keychain. Untested on the system it is for."""

    home: Path
    security: str = "/usr/bin/security"

    name: ClassVar[str] = "macos"
    tested: ClassVar[bool] = False

    def available(self) -> bool:
        """Tell whether this is a Mac with a login keychain."""
        return Path(self.security).exists() and self._keychain.exists()

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Trust the root for TLS; macOS asks the person. Raise AgentError if they refuse."""
        with tempfile.TemporaryDirectory(prefix="acmeiot-") as directory:
            file = Path(directory) / "root.pem"
            file.write_bytes(pem_of(der_of(root_pem)))
            words = ("-r", "trustRoot", "-p", "ssl", "-k", self._keychain)
            self._security("add-trusted-cert", *words, file)

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Take out the root and what was trusted to it; raise AgentError."""
        if self.holds(root_pem):
            thumb = hashlib.sha1(der_of(root_pem), usedforsecurity=False).hexdigest().upper()
            self._security("delete-certificate", "-Z", thumb, "-t", self._keychain)

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether the keychain has the root; raise AgentError."""
        found = self._security("find-certificate", "-a", "-p", self._keychain)
        return der_of(root_pem) in certificates(found.encode())

    def verify(self, url: str) -> None:
        """Do nothing: macOS's own curl has roots of its own."""

    def _security(self, *words: str | Path) -> str:
        return run(self.name, [self.security, *words]).stdout

    @property
    def _keychain(self) -> Path:
        return self.home / "Library/Keychains/login.keychain-db"

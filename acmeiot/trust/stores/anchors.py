"""System stores that are a directory of roots and a program that makes bundles of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from acmeiot import durable
from acmeiot.client.errors import AgentError
from acmeiot.trust.stores.programs import certificates, der_of, pem_of, run

_CONNECT: Final = 10.0
_MAX_BUNDLE: Final = 16 << 20


@dataclass(frozen=True)
class Anchors:
    """A system store, which only root may change."""

    directory: Path
    bundle: Path
    program: str

    name: ClassVar[str]
    tested: ClassVar[bool] = True
    suffix: ClassVar[str]

    def available(self) -> bool:
        """Tell whether this system has the directory and the program, and this user may write."""
        return shutil.which(self.program) is not None and os.access(self.directory, os.W_OK)

    def add(self, root_pem: bytes, nickname: str) -> None:
        """Put the root into the directory and make the bundles anew; raise AgentError."""
        der = der_of(root_pem)
        path = self._path(der)
        try:
            durable.write(path, pem_of(der), 0o644)
            path.chmod(0o644)  # whatever the umask: everybody's programs read it
        except OSError as error:
            raise AgentError(f"{self.name}: {error}") from None
        self._update(None)
        if not self.holds(root_pem):
            raise AgentError(f"{self.name}: {self.program} did not put {path} into {self.bundle}")

    def remove(self, root_pem: bytes, nickname: str) -> None:
        """Take our file out of the directory and make the bundles anew; raise AgentError.

        Somebody's own file with the same root stays, and with it the root.
        """
        path = self._path(der_of(root_pem))
        if not path.exists() and not self.holds(root_pem):
            return
        try:
            path.unlink(missing_ok=True)
            durable.sync_directory(self.directory)
        except OSError as error:
            raise AgentError(f"{self.name}: {error}") from None
        self._update(path.name)

    def holds(self, root_pem: bytes) -> bool:
        """Tell whether the root is in the bundle that programs read; raise AgentError."""
        return der_of(root_pem) in certificates(self._bundle())

    def verify(self, url: str) -> None:
        """Shake hands with the server of an https URL, with the bundle's roots; raise AgentError.

        Waits ten seconds at most for each step.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cafile=self.bundle)
            with (
                socket.create_connection((host, port), timeout=_CONNECT) as plain,
                context.wrap_socket(plain, server_hostname=host),
            ):
                pass
        except OSError as error:
            raise AgentError(f"{self.name}: {url}: {error}") from None

    def _update(self, gone: str | None) -> None:
        """Have the bundles made from the directory; `gone` is the file that was taken out."""
        run(self.name, [self.program])

    def _path(self, der: bytes) -> Path:
        return self.directory / f"acmeiot-{hashlib.sha256(der).hexdigest()[:32]}{self.suffix}"

    def _bundle(self) -> bytes:
        try:
            with self.bundle.open("rb") as file:
                return file.read(_MAX_BUNDLE)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise AgentError(f"{self.name}: {error}") from None

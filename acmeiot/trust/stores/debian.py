"""The system store of Debian and its descendants: curl, wget, Python, Java and most daemons.

`update-ca-certificates` takes every `*.crt` below /usr/local/share/ca-certificates. When a file is
gone it makes a bundle without it, but leaves the links to it, and tells its hooks nothing, so that
Java would keep the root. Only a root that the configuration *excludes* is taken out everywhere; so
to remove one, the program is given the configuration with one line more. (`--fresh` would not tell
the hooks either, and leaves the whole machine without a single root for a second.)
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from acmeiot.client.errors import AgentError
from acmeiot.trust.stores.anchors import Anchors
from acmeiot.trust.stores.programs import run


@dataclass(frozen=True)
class Debian(Anchors):
    """The store that update-ca-certificates keeps."""

    directory: Path = Path("/usr/local/share/ca-certificates")
    bundle: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    program: str = "update-ca-certificates"
    configuration: Path = Path("/etc/ca-certificates.conf")

    name: ClassVar[str] = "debian"
    suffix: ClassVar[str] = ".crt"

    def _update(self, gone: str | None) -> None:
        if gone is None:
            run(self.name, [self.program])
            return
        with tempfile.NamedTemporaryFile(prefix="acmeiot-", suffix=".conf") as file:
            file.write(self._configured() + b"\n!" + gone.encode() + b"\n")
            file.flush()
            run(self.name, [self.program, "--certsconf", file.name])

    def _configured(self) -> bytes:
        try:
            return self.configuration.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise AgentError(f"{self.name}: {error}") from None

"""The system store of Fedora, RHEL and their descendants: p11-kit's, with Firefox and Chromium too.

Written from update-ca-trust(8): roots in /etc/pki/ca-trust/source/anchors, in PEM or DER, and
`update-ca-trust extract` makes the bundles below /etc/pki/ca-trust/extracted. The handling of the
files is tested with a stand-in for that program; on Fedora itself it was never tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from acmeiot.trust.stores.anchors import Anchors
from acmeiot.trust.stores.programs import run

_PKI: Final = Path("/etc/pki/ca-trust")


@dataclass(frozen=True)
class Fedora(Anchors):
    """The store that update-ca-trust keeps. Untested on the system it is for."""

    directory: Path = _PKI / "source/anchors"
    bundle: Path = _PKI / "extracted/pem/tls-ca-bundle.pem"
    program: str = "update-ca-trust"

    name: ClassVar[str] = "fedora"
    tested: ClassVar[bool] = False
    suffix: ClassVar[str] = ".pem"

    def _update(self, gone: str | None) -> None:
        run(self.name, [self.program, "extract"])

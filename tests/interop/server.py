"""Start the server under test as its own process, the way a person would."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.interop.home import ROUTER, Home

READY = re.compile(r"ready (https://router\.lan:\d+/acme/directory) sha256:([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where its directory is, and its root as clients get it."""

    home: Home
    state: Path
    directory: str
    http: str
    root: Path

    def pair(self) -> tuple[str, str]:
        """Have the server make one key for external account binding: its id and the key itself."""
        said = json.loads(
            self.home.router.run(
                sys.executable, "-m", "acmeiot", "pair", "--state", self.state, "--json"
            )
        )
        return str(said["kid"]), str(said["hmac"])


@contextmanager
def running(home: Home, work: Path, port: int, *options: str) -> Iterator[Server]:
    """Run a server on the router at `port`, with its plain HTTP listener one port above.

    Raises:
        AssertionError: it did not say in its one line that it is ready, or serves another root.
    """
    state, log, root = work / "state", work / "server.log", work / "root.pem"
    command: tuple[str | Path, ...] = (
        *(sys.executable, "-m", "acmeiot", "serve", "--state", state),
        *("--listen", f"{ROUTER}:{port}", "--http-listen", f"{ROUTER}:{port + 1}"),
        *("--name", "router.lan", "--name", "router.local", "--domain", "lan"),
        *("--domain", "internal", "--approval", "auto", "--policy", "challenge"),
        *("--resolver", ROUTER, "--limits", "off", *options),
    )
    with home.router.serving(*command, log=log, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        ready = READY.match(line)
        assert ready, f"{line!r} {log.read_text()}"
        http = f"http://router.lan:{port + 1}"
        root.write_text(home.printer.run("curl", "-sSf", f"{http}/root.pem"), encoding="ascii")
        assert key_digest(root) == ready[2], "the root served is not the root printed"
        home.trust(root)
        yield Server(home, state, ready[1], http, root)


def key_digest(certificate: Path) -> str:
    """Compute SHA-256 over a certificate's public key, in hex as the ready line has it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()

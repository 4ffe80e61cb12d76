"""Start the server under test as its own process, the way a person would."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.interop.home import ROUTER, Home


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


def start(home: Home, work: Path, port: int, *options: str) -> Server:
    """Start a server on the router at `port`, with its plain HTTP listener one port above.

    Raises:
        AssertionError: it did not say in its one line that it is ready, or serves another root.
    """
    state = work / "state"
    log = work / "server.log"
    process = home.router.start(
        *(sys.executable, "-m", "acmeiot", "serve", "--state", state),
        *("--listen", f"{ROUTER}:{port}", "--http-listen", f"{ROUTER}:{port + 1}"),
        *("--name", "router.lan", "--name", "router.local", "--domain", "lan"),
        *("--domain", "internal", "--approval", "auto", "--policy", "challenge"),
        *("--resolver", ROUTER, "--limits", "off", "--allow-loopback", *options),
        log=log,
        stdout=-1,
    )
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    ready = re.match(r"ready (https://router\.lan:\d+/acme/directory) sha256:([0-9a-f]{64})$", line)
    assert ready, f"{line!r} {log.read_text()}"
    http = f"http://router.lan:{port + 1}"
    root = work / "root.pem"
    root.write_text(home.printer.run("curl", "-sSf", f"{http}/root.pem"), encoding="ascii")
    key = x509.load_pem_x509_certificate(root.read_bytes()).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    assert digest.finalize().hex() == ready[2], "the root served is not the root printed"
    home.trust(root)
    return Server(home, state, ready[1], http, root)

"""Fifteen years of one process: everything follows itself, and nobody restarts it (specs 5.1)."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.ca.index import Certified
from acmeiot.config import load
from acmeiot.daemon import Daemon
from acmeiot.events import LogEvents
from tests.ports import free_ports

WEEK = 7 * 86400
YEARS = 15


class FakeTime:
    """The system's clock, as the test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = int(time.time())
        monkeypatch.setattr(time, "time", lambda: float(self.now))


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """Serve in another thread for as long as the block lasts."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join()


def served(port: int) -> bytes:
    """Return the certificate that a new connection is shown, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with plain, context.wrap_socket(plain) as sock:
        der = sock.getpeercert(binary_form=True)
    assert der is not None
    return der


def verified(chain: list[x509.Certificate], root: Path, at: int, folder: Path) -> bool:
    """Tell whether OpenSSL takes the chain at that time when it trusts this root alone."""
    leaf, rest = folder / "leaf.pem", folder / "rest.pem"
    leaf.write_bytes(chain[0].public_bytes(Encoding.PEM))
    rest.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain[1:]))
    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-attime", str(at), "-CAfile", str(root)),
            *("-untrusted", str(rest), "-verify_hostname", "router.lan", str(leaf)),
        ],
        capture_output=True,
    )
    return done.returncode == 0


def test_fifteen_years_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Server certificate, intermediate and root are succeeded in time, each by itself."""
    clock = FakeTime(monkeypatch)
    state = tmp_path / "state"
    port, http_port = free_ports()
    flags = {"state": str(state), "name": ["router.lan"], "listen": [f"127.0.0.1:{port}"]}
    config = load(None, {**flags, "http_listen": [f"127.0.0.1:{http_port}"]})
    daemon = Daemon.open(config, LogEvents(), lambda: False)
    assert daemon is not None
    daemon.listen()
    trusted = tmp_path / "root-0.pem"  # by a laptop that looks once in a while
    seen: set[bytes] = set()
    roots: set[bytes] = set()
    with running(daemon):
        for week in range(YEARS * 52):
            daemon.upkeep()
            chain = x509.load_pem_x509_certificates((state / "tls/server.pem").read_bytes())
            if week % 26 == 0:
                # Half a year later the laptop still knows the root of then, and no other.
                assert week == 0 or verified(chain, trusted, clock.now, tmp_path), week
                trusted.write_bytes(chain[-1].public_bytes(Encoding.PEM))
                assert served(port) == chain[0].public_bytes(Encoding.DER), week
            ends = [Certified(one).not_after for one in chain]
            assert ends[0] <= ends[1] <= ends[-1], "nothing outlives its issuer"
            assert ends[0] > clock.now + WEEK, "renewed in time"
            seen.add(chain[0].public_bytes(Encoding.DER))
            roots.add(chain[-1].public_bytes(Encoding.DER))
            clock.now += WEEK
    assert len(seen) > YEARS * 12
    assert len(roots) == 2, "succeeded once, at 80 % of ten years"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]

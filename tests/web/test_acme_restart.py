"""What survives a restart and a crash (R-36), and the files it lies in."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from tests.web.client import b64
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running

PAIR = ("printer.lan", "printer.local")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_client_goes_on_after_a_restart(
    make_server: Serve, house: House, number: signal.Signals
) -> None:
    """R-36, R-4: account, orders, proofs and certificates live; old nonces are refused cleanly."""
    running = make_server("--approval", "auto", "--limits", "off").start()
    client = running.client()
    issued = house.issue(client)
    before = client.post(issued.order["certificate"]).body
    pending = client.order("later.lan", "later.local")
    ready = client.order(*PAIR)
    assert ready.ok(201)["status"] == "ready"
    nonce, first = client.nonce(), (running.directory, running.root_hash)
    client.wire.close()

    assert running.stop(number) == (0 if number is not signal.SIGKILL else -9)
    running.start()
    assert (running.directory, running.root_hash) == first

    client.nonces.clear()
    refused = client.post(client.kid, nonce=nonce)
    refused.is_problem("badNonce", 400)
    client.post(client.kid, nonce=refused.header("Replay-Nonce")).ok()
    assert client.post(issued.order["certificate"]).body == before
    assert client.post(pending.header("Location") or "").ok() == pending.json
    house.prove(client, pending.json)
    client.finalize(pending.json).ok()
    client.finalize(ready.json).ok()
    answer = client.post(client.directory["revokeCert"], {"certificate": b64(issued.der)})
    assert answer.status == 200
    running.stop()


def test_secrets_are_the_owners_alone(make_server: Serve, house: House) -> None:
    """Specs 6 "root key theft", A-4.3-1: files 0600, directories 0700, whatever the umask."""
    running = make_server("--approval", "auto")
    running.umask = 0
    running.start()
    house.issue(running.client())
    running.ask("pair")
    running.ask("rotate")
    found = [running.state, *running.state.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found}
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
    assert {path.name for path in found} >= {"admin.sock", "acmeiot.sqlite", "server.pem", "ca"}
    assert not list(running.state.rglob("*.tmp"))
    running.stop()


def test_nothing_secret_is_logged(make_server: Serve, house: House) -> None:
    """Specs 6: neither keys of any kind, nor what proves a name, nor nonces."""
    running = make_server("--approval", "auto", "-v").start()
    pairing = running.ask("pair", "--note", "secretive")
    client = running.client()
    house.issue(client)
    client.order("x.com").is_problem("rejectedIdentifier", 403)
    for kind in ("http-01", "tls-alpn-01", "dns-01"):
        (url,) = client.order("fails.lan").ok(201)["authorizations"]
        authorization = client.post(url).ok()
        (one,) = (each for each in authorization["challenges"] if each["type"] == kind)
        house.bodies[f"/.well-known/acme-challenge/{one['token']}"] = b"another program"
        client.post(one["url"], {}).ok()
        assert client.poll(url).ok()["status"] == "invalid"
    running.admin("devices")
    running.stop()
    log = running.log.read_text()
    assert "issued: printer.lan, printer.local" in log
    assert pairing["kid"] in log
    secrets = [pairing["hmac"], "PRIVATE KEY", *client.nonces, client.key.thumbprint]
    secrets += [body.decode() for body in house.bodies.values() if b"." in body]
    key = (running.state / "tls/server.pem").read_text().splitlines()[1]
    for secret in (*secrets, key):
        assert secret not in log, secret


def test_leftovers_of_a_power_cut_are_swept(make_server: Serve) -> None:
    """R-36: half-written keys do not lie about."""
    running: Running = make_server("--approval", "auto").start()
    running.stop(signal.SIGKILL)
    left: Path = running.state / "tls/.server.pem.0badcafe.tmp"
    left.write_text("half a key")
    assert (running.state / "admin.sock").exists()
    running.start()
    assert not left.exists()
    running.stop()
    assert not (running.state / "admin.sock").exists()

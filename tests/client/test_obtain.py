"""Whole issuances: with this project's server and its owner, and with Pebble."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest
from cryptography import x509

from acmeiot.client import csr, tls
from acmeiot.client.dial import Unreachable
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled, Http
from acmeiot.client.objects import Challenge
from acmeiot.client.obtain import obtain
from acmeiot.client.problem import Refused
from acmeiot.client.signing import private_pem
from acmeiot.client.tls import presented_chain, root_of, split_pem, trusting, vouched
from acmeiot.protocol import names
from tests.ca import peers
from tests.client.answering import WELL_KNOWN, answering
from tests.client.conftest import LOOPBACK, Place, place
from tests.client.issuers import make
from tests.client.peer import Serve, answer
from tests.client.script import Script, Watch
from tests.web.house import House
from tests.web.running import Running

BOTH = [names.dns("printer.lan"), names.dns("printer.local")]
Start = Callable[..., Running]


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
def test_an_issuance(either: Place, house: House, kind: str) -> None:
    """From an account to a chain for the key, with either proof."""
    client, key = either.client(), csr.fresh_key()
    client.register()
    pem = obtain(client, BOTH, key, answering(house), kinds=["dns-77", kind])
    chain = x509.load_pem_x509_certificates(pem)
    assert chain[0].public_key() == key.public_key()
    assert csr.names_of(chain[0]) >= set(BOTH)
    chain[0].verify_directly_issued_by(chain[1])
    # Nothing of the proof is left behind.
    assert not [path for path in house.bodies if client.key.thumbprint in str(house.bodies[path])]


def test_an_issuance_that_verifies(home: Place, house: House, tmp_path: Path) -> None:
    """OpenSSL accepts it for the pinned root; the request had names and address (A-3.2.3-4)."""
    client, key = home.client(), csr.fresh_key()
    client.register()
    wanted = [*BOTH, names.ip(LOOPBACK)]
    chain = split_pem(obtain(client, wanted, key, answering(house)))
    leaf = x509.load_der_x509_certificate(chain[0])
    assert csr.names_of(leaf) == set(wanted)
    for name in ("printer.lan", "printer.local"):
        now = int(time.time())
        case = peers.Case(chain, private_pem(key), [home.root.der], name, tmp_path, now)
        peers.openssl(case)


def test_a_renewal(home: Place, house: House) -> None:
    """The successor names its predecessor; one that was replaced already is no obstacle."""
    client = home.client()
    client.register()
    first = split_pem(obtain(client, BOTH, csr.fresh_key(), answering(house)))[0]
    second = obtain(client, BOTH, csr.fresh_key(), answering(house), replaces=first)
    assert split_pem(second)[0] != first
    assert obtain(client, BOTH, csr.fresh_key(), answering(house), replaces=first)


# -- the owner


def test_the_owner_is_waited_for(start: Start, opened: ExitStack, house: House) -> None:
    """The agent says what it waits for, once, and goes on when the owner has spoken."""
    running = start("--approval", "ask", toml="approval_wait = 20\n")
    told: list[str] = []
    heard = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        heard.set()

    def owner() -> None:
        assert heard.wait(15)
        device = running.ask("devices")["devices"][0]
        running.admin("approve", device["id"])

    thread = threading.Thread(target=owner)
    thread.start()
    client = place(running, opened).client()
    client.register()
    pem = obtain(client, BOTH, csr.fresh_key(), answering(house), tell=tell)
    thread.join()
    assert split_pem(pem)
    assert len(told) == 1
    assert told[0].startswith("printer.lan: the name is proved, but the owner of this network")
    assert "acmeiot approve" in told[0]


def test_an_owner_who_says_nothing(start: Start, opened: ExitStack, house: House) -> None:
    """The refusal says that a person must act, and may pass by itself."""
    running = start("--approval", "ask", toml="approval_wait = 1\n")
    client = place(running, opened).client()
    client.register()
    with pytest.raises(Refused, match="not yet allowed this device") as refusal:
        obtain(client, BOTH, csr.fresh_key(), answering(house))
    assert (refusal.value.code, refusal.value.passing) == ("userActionRequired", True)
    # Who was approved in the meantime gets it the next time.
    running.admin("approve", running.ask("devices")["devices"][0]["id"])
    assert obtain(client, BOTH, csr.fresh_key(), answering(house))


def test_each_reason_is_told_once(serve: Serve) -> None:
    """However often the server is asked; and a slow server is followed through all states."""
    key, told = csr.fresh_key(), list[str]()
    leaf = make("x", make("root"), names=["printer.lan"], key=key, ca=False)

    def order(status: str) -> dict[str, object]:
        parts = {"identifiers": [], "authorizations": ["/a"], "finalize": "/f"}
        return {**parts, "status": status, "certificate": "/cert"}

    def waiting(detail: str, status: str = "pending") -> dict[str, object]:
        error = {"type": "urn:ietf:params:acme:error:userActionRequired", "detail": detail}
        challenge = {"type": "http-01", "url": "/c", "token": "t", "status": "processing"}
        identifier = BOTH[0].as_json()
        return {
            "status": status, "identifier": identifier,
            "challenges": [challenge | ({"error": error} if detail else {})],
        }  # fmt: skip

    details = ["", "", "the owner", "the owner", "the owner", "the moon"]
    lives = {
        "/a": iter([*map(waiting, details), waiting("", "valid")]),
        "/o": iter(map(order, ["pending", "pending", "ready", "processing", "valid"])),
    }
    script = Script(
        {
            "/order": lambda _: answer(json.dumps(order("pending")).encode(), "Location: /o"),
            "/c": waiting("")["challenges"][0],  # type: ignore[index]
            "/f": order("processing"), "/cert": tls.pem(leaf.der),
            **{path: _next(life) for path, life in lives.items()},
        }
    )  # fmt: skip
    script.peer = serve(script.talk)
    client = script.client(Watch())
    pem = obtain(client, BOTH[:1], key, lambda *_: nullcontext(), tell=told.append)
    assert split_pem(pem) == (leaf.der,)
    assert told == ["printer.lan: the owner", "printer.lan: the moon"]


def _next(pages: Iterator[dict[str, object]]) -> Callable[[object], bytes]:
    return lambda _: answer(json.dumps(next(pages)).encode())


# -- what goes wrong


def test_a_proof_that_is_not_there(either: Place, house: House) -> None:
    """The server's words on what it found, with the name."""
    client = either.client()
    client.register()

    @contextmanager
    def wrong(challenge: Challenge, _: str) -> Iterator[None]:
        house.bodies[WELL_KNOWN + challenge.token] = b"something else"
        yield

    with pytest.raises(Refused) as refusal:
        obtain(client, BOTH, csr.fresh_key(), wrong)
    assert refusal.value.code in ("incorrectResponse", "unauthorized")
    assert "something else" in str(refusal.value)
    assert not refusal.value.passing


def test_the_answer_ends_with_a_failure(home: Place) -> None:
    """Whatever happens, the device takes its answer back."""
    client, ended = home.client(), []
    client.register()

    @contextmanager
    def answer(challenge: Challenge, _: str) -> Iterator[None]:
        try:
            yield
        finally:
            ended.append(challenge.identifier.value)

    with pytest.raises(Refused):
        obtain(client, BOTH, csr.fresh_key(), answer)
    assert ended == ["printer.lan"]


def test_no_proof_that_this_device_can_give(home: Place) -> None:
    """Said with what would do."""
    client = home.client()
    client.register()
    with pytest.raises(AgentError, match=r"printer\.lan can be proved by .*; this device answers"):
        obtain(client, BOTH, csr.fresh_key(), lambda *_: nullcontext(), kinds=["dns-77"])


def test_single_names_are_refused_in_words(home: Place, house: House) -> None:
    """A-3.2.3-3: the server wants both names, and says so at the end."""
    client = home.client()
    client.register()
    with pytest.raises(Refused, match="local") as refusal:
        obtain(client, BOTH[:1], csr.fresh_key(), answering(house))
    assert not refusal.value.passing


@pytest.mark.parametrize(("key", "name", "said"), [
    ("another", "printer.lan", "another key"), ("ours", "scanner.lan", "lacks printer.lan"),
])  # fmt: skip
def test_a_certificate_for_something_else(serve: Serve, key: str, name: str, said: str) -> None:
    """What the server gives is looked at before it is installed."""
    ours, root = csr.fresh_key(), make("root")
    leaf = make("x", root, names=[name], key=ours if key == "ours" else None, ca=False)
    order = {
        "status": "valid", "identifiers": [], "authorizations": [], "finalize": "/f",
        "certificate": "/c",
    }  # fmt: skip
    body = json.dumps(order).encode()
    script = Script({"/order": lambda _: answer(body, "Location: /o"), "/c": tls.pem(leaf.der)})
    script.peer = serve(script.talk)
    with pytest.raises(Garbled, match=said):
        obtain(script.client(), BOTH, ours, lambda *_: nullcontext())


def test_an_order_that_ends_without_reason(serve: Serve) -> None:
    """Then that is what is said."""
    order = {"status": "invalid", "identifiers": [], "authorizations": [], "finalize": "/f"}
    body = json.dumps(order).encode()
    script = Script({"/order": lambda _: answer(body, "Location: /o")})
    script.peer = serve(script.talk)
    with pytest.raises(Refused, match="/o is invalid, no reason given"):
        obtain(script.client(Watch()), BOTH, csr.fresh_key(), lambda *_: nullcontext())


# -- a server's life


def test_a_root_that_is_succeeded(start: Start, opened: ExitStack, house: House) -> None:
    """After `acmeiot rotate`, who pinned the old root goes on with it, sees the new one in the
    handshake, and that the old one vouches for it (A-4.7-2, A-3.3-2)."""
    running = start("--approval", "auto")
    before = place(running, opened)
    client = before.client()
    client.register()
    obtain(client, BOTH, csr.fresh_key(), answering(house))
    running.admin("rotate")
    shown = _presented(running, before.root.sha256)
    root = root_of(shown)
    assert root.sha256 == running.ask("status")["root"]["sha256"]
    assert vouched(before.root, root, shown)
    old = before.client(client.key, client.account)  # a new connection, with the old pin
    with_old = obtain(old, BOTH, csr.fresh_key(), answering(house))
    with Http(trusting(root), lambda _host, _port: [LOOPBACK]) as http:
        assert http.request("GET", running.directory).status == 200
    assert len(split_pem(with_old)) >= 2


def _presented(running: Running, before: str) -> tuple[bytes, ...]:
    """Return the chain that is shown as soon as its root is another one."""
    ends = time.monotonic() + 10
    while True:
        shown = presented_chain(LOOPBACK, running.ports[0], "router.lan", 5)
        if root_of(shown).sha256 != before:
            return shown
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_server_that_is_away(start: Start, opened: ExitStack, house: House) -> None:
    """Unreachable while it is away; and when it is back, its old nonces are no obstacle."""
    running = start("--approval", "auto")
    client = place(running, opened).client()
    client.register()
    running.stop()
    with pytest.raises(Unreachable):
        client.order(BOTH)
    running.start()
    assert obtain(client, BOTH, csr.fresh_key(), answering(house))

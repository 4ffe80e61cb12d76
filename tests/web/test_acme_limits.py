"""Rate limits: one noisy device is told when to come back, and starves nobody (R-34)."""

from __future__ import annotations

import pytest

from tests.web.client import Answer, Client, Key, binding, identifier
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running

PAIR = ("printer.lan", "printer.local")


@pytest.fixture(scope="module")
def limited(make_server: Serve) -> Running:
    """A server with its limits on."""
    return make_server("--approval", "auto").start()


def is_limited(answer: Answer) -> str:
    """Assert that this is R-34's refusal, and return what it says."""
    problem = answer.is_problem("rateLimited", 429)
    assert int(answer.header("Retry-After") or "0") > 0
    assert answer.header("Replay-Nonce")
    return str(problem["detail"])


def test_new_accounts(limited: Running) -> None:
    """R-34: by address; who asks from another one is served."""
    client = limited.client("127.0.1.1", register=False)
    for _ in range(20):
        client.key = Key("EdDSA")
        client.register().ok(201)
    client.key = Key("EdDSA")
    assert "127.0.1.1" in is_limited(client.register())
    limited.client("127.0.1.2")


def test_new_orders(limited: Running) -> None:
    """R-34: by account; another account of the same address is served."""
    client = limited.client("127.0.1.3")
    for _ in range(60):
        client.order(*PAIR).ok(201)
    is_limited(client.order(*PAIR))
    is_limited(client.post(client.directory["newAuthz"], {"identifier": identifier("x.lan")}))
    client.other().order(*PAIR).ok(201)


def test_failed_proofs(limited: Running, house: House) -> None:
    """R-34, R-26: by account and name."""
    client = limited.client("127.0.1.4")

    def fail() -> Answer:
        (url,) = client.order("never.lan").ok(201)["authorizations"]
        (one,) = (c for c in client.post(url).ok()["challenges"] if c["type"] == "http-01")
        answer = client.post(one["url"], {})
        if answer.status == 200:
            assert client.poll(url).json["status"] == "invalid"
        return answer

    for _ in range(10):
        assert fail().status == 200
    is_limited(fail())
    house.prove(client, client.order("other.lan").ok(201))


def test_bad_signatures(limited: Running) -> None:
    """R-34: they cost arithmetic, so an address has few of them."""
    client = limited.client("127.0.1.5")
    good, client.key = client.key, Key("ES256")
    answer = client.post(client.kid)
    for _ in range(70):
        if answer.status == 429:
            break
        answer.is_problem("unauthorized", 401)
        answer = client.post(client.kid)
    is_limited(answer)
    client.key = good
    elsewhere = limited.client("127.0.1.6")
    elsewhere.post(elsewhere.kid).ok()


def test_wrong_pairing_keys(limited: Running) -> None:
    """R-34: a pairing key is not guessed."""
    client: Client = limited.client("127.0.1.7", register=False)
    url = client.directory["newAccount"]

    def guess() -> Answer:
        eab = binding("guess", bytes(16), client.key.jwk, url)
        return client.register(externalAccountBinding=eab)

    for _ in range(5):
        guess().is_problem("unauthorized", 403)
    is_limited(guess())

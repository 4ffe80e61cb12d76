"""Accounts: made, found, changed, ended; keys rolled over and bound (R-12 to R-18)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.client import Answer, Client, Json, Key, Payload, b64, binding, jws, unb64
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running


@pytest.fixture
def fresh(server: Running) -> Client:
    """A client without an account."""
    return server.client(register=False)


# --


def test_create(fresh: Client) -> None:
    """R-12: unknown members and the client's own `orders` are ignored."""
    answer = fresh.register(
        contact=["https://printer.local/", "mailto:owner@example.com"],
        termsOfServiceAgreed=True,
        orders="https://evil.example/",
        status="revoked",
        unknown={"deep": []},
    )
    account = answer.ok(201)
    assert account == {
        "status": "valid",
        "contact": ["https://printer.local/", "mailto:owner@example.com"],
        "orders": f"{answer.header('Location')}/orders",
    }
    assert fresh.post(fresh.kid).ok() == account


def test_find(fresh: Client) -> None:
    """R-13: the same key has the same account, as it was made."""
    made = fresh.register(contact=["mailto:a@b.c"])
    location = made.header("Location")
    for payload in ({}, {"onlyReturnExisting": True}, {"contact": ["mailto:x@y.z"]}):
        found = fresh.register(**payload)
        assert (found.status, found.header("Location")) == (200, location)
        assert found.json == made.json


def test_find_nobody(fresh: Client) -> None:
    """R-13: onlyReturnExisting makes no account."""
    for _ in range(2):
        fresh.register(onlyReturnExisting=True).is_problem("accountDoesNotExist", 400)
    fresh.register().ok(201)


@pytest.mark.parametrize("name", ["termsOfServiceAgreed", "onlyReturnExisting"])
def test_flags_are_flags(fresh: Client, name: str) -> None:
    """R-12."""
    fresh.register(**{name: "yes"}).is_problem("malformed", 400)


def test_terms_must_be_agreed_to_where_there_are_some(make_server: Serve) -> None:
    """R-12, R-2: and only then; an account that is there needs not agree again."""
    toml = 'terms = "https://router.lan/terms"\nwebsite = "https://router.lan/"\n'
    running = make_server("--limits", "off", toml=toml + 'caa = ["router.lan"]\n').start()
    client = running.client(register=False)
    meta = client.directory["meta"]
    assert meta["termsOfService"] == "https://router.lan/terms"
    assert (meta["website"], meta["caaIdentities"]) == ("https://router.lan/", ["router.lan"])
    problem = client.register().is_problem("userActionRequired", 403)
    assert "https://router.lan/terms" in problem["detail"]
    client.register(termsOfServiceAgreed=False).is_problem("userActionRequired", 403)
    client.register(termsOfServiceAgreed=True).ok(201)
    client.register().ok(200)
    running.stop()


# --


@pytest.mark.parametrize(
    "contact",
    ["https://printer.lan/", "https://printer.local", "HTTPS://Printer.LAN:8443/x?y",
     "https://192.168.1.20/", "https://[fd00::1]/", "mailto:a@example.com", "MAILTO:a@b",
     "mailto:o'brien+x@example.com"],
)  # fmt: skip
def test_contact(fresh: Client, contact: str) -> None:
    """R-14, A-3.2.2-1: https: of this home, or one plain mailto: address; echoed as it came."""
    assert fresh.register(contact=[contact]).ok(201)["contact"] == [contact]


@pytest.mark.parametrize(
    ("contact", "kind"),
    [
        ("tel:+1", "unsupportedContact"),
        ("ftp://printer.lan/", "unsupportedContact"),
        ("http://printer.lan/", "unsupportedContact"),
        ("", "unsupportedContact"),
        ("nobody", "unsupportedContact"),
        ("mailto:", "invalidContact"),
        ("mailto:a", "invalidContact"),
        ("mailto:@b", "invalidContact"),
        ("mailto:a@b,c@d", "invalidContact"),
        ("mailto:a@b?subject=x", "invalidContact"),
        ("mailto:a@b@c", "invalidContact"),
        ("mailto:A <a@b>", "invalidContact"),
        ("mailto:\u00e4@b", "invalidContact"),
        ("mailto:a@b\nX: y", "invalidContact"),
        (f"mailto:{'a' * 300}@b", "invalidContact"),
        ("https://printer.example.com/", "invalidContact"),
        ("https://8.8.8.8/", "invalidContact"),
        ("https://user:pass@printer.lan/", "invalidContact"),
        ("https://", "invalidContact"),
        ("https:printer.lan", "invalidContact"),
        ("https://printer.lan:99999/", "invalidContact"),
        ("https://[fd00::1/", "invalidContact"),
        ("https://lan/", "invalidContact"),
    ],
)
def test_contact_that_is_not_taken(fresh: Client, contact: str, kind: str) -> None:
    """R-14."""
    fresh.register(contact=[contact]).is_problem(kind, 400)
    fresh.register(onlyReturnExisting=True).is_problem("accountDoesNotExist", 400)


@pytest.mark.parametrize(
    ("contact", "kind"),
    [("mailto:a@b", "malformed"), ([1], "malformed"), (None, "malformed"), ({}, "malformed"),
     (["mailto:a@b"] * 11, "invalidContact")],
)  # fmt: skip
def test_contacts_are_a_short_list_of_texts(fresh: Client, contact: object, kind: str) -> None:
    """R-14."""
    fresh.register(contact=contact).is_problem(kind, 400)


# --


def test_update(client: Client) -> None:
    """R-15: contacts are replaced, other members stay as they are."""
    before = client.post(client.kid).ok()
    after = client.post(client.kid, {"contact": ["https://new.lan/"], "orders": "x"}).ok()
    assert after == {**before, "contact": ["https://new.lan/"]}
    assert client.post(client.kid, {}).ok() == after
    assert client.post(client.kid, {"status": "valid"}).ok() == after
    client.post(client.kid, {"contact": ["tel:1"]}).is_problem("unsupportedContact", 400)
    assert client.post(client.kid, {"contact": []}).ok() == {**after, "contact": []}
    client.post(client.kid, {"status": "revoked"}).is_problem("malformed", 400)
    assert client.post(client.kid).ok()["status"] == "valid"


def test_deactivate(client: Client, house: House) -> None:
    """R-16: afterwards nothing is signed by this account; its certificates stay good."""
    issued = house.issue(client, "over.lan", "over.local")
    pending = client.order("later.lan", "later.local")
    assert client.post(client.kid, {"status": "deactivated"}).ok()["status"] == "deactivated"
    for url in (client.kid, issued.url, pending.header("Location") or "", f"{client.kid}/orders"):
        client.post(url).is_problem("unauthorized", 401)
    client.order("more.lan", "more.local").is_problem("unauthorized", 401)
    client.post(pending.json["finalize"], {"csr": "AAAA"}).is_problem("unauthorized", 401)
    client.register().is_problem("unauthorized", 401)
    client.register(onlyReturnExisting=True).is_problem("unauthorized", 401)
    window = client.renewal_info(issued.leaf).ok()["suggestedWindow"]
    assert window["start"] > "2026"
    stranger = client.other()
    house.issue(stranger, "over.lan", "over.local")


def test_deactivated_account_does_not_lose_revocation_by_key(client: Client, house: House) -> None:
    """R-16, R-31: who holds the certificate's key can still revoke it."""
    key = Key("ES384")
    issued = house.issue(client, "rest.lan", "rest.local", key=key.private)
    client.post(client.kid, {"status": "deactivated"}).ok()
    client.key, client.kid = key, ""
    answer = client.post(client.directory["revokeCert"], {"certificate": b64(issued.der)})
    assert answer.status == 200


# --


def roll(client: Client, new: Key, inner: dict[str, Any] | None = None, **payload: Any) -> Answer:
    """Ask for a key change, with changes to the inner header and payload."""
    url = client.directory["keyChange"]
    header = {"alg": new.alg, "jwk": new.jwk, "url": url, **(inner or {})}
    header = {name: value for name, value in header.items() if value is not None}
    body = {"account": client.kid, "oldKey": client.key.jwk, **payload}
    return client.post(url, jws(header, body, new.sign))


@pytest.mark.parametrize("alg", ["ES256", "ES384", "EdDSA", "RS256"])
def test_key_change(client: Client, alg: str) -> None:
    """R-17: orders survive, the old key is dead, the new one is the account's."""
    order = client.order("roll.lan", "roll.local").header("Location") or ""
    old, new = client.key, Key(alg)
    assert roll(client, new).ok()["status"] == "valid"
    client.post(client.kid).is_problem("badPublicKey" if alg != "ES256" else "unauthorized",
                                       400 if alg != "ES256" else 401)  # fmt: skip
    client.key = new
    assert client.post(order).ok()["status"] == "pending"
    location = client.kid
    assert client.register().header("Location") == location
    client.key = old
    client.register(onlyReturnExisting=True).is_problem("accountDoesNotExist", 400)


def test_key_change_to_a_key_in_use(client: Client) -> None:
    """R-17: 409 with the account that has it."""
    other = client.other()
    answer = roll(client, other.key)
    answer.is_problem("malformed", 409)
    assert answer.header("Location") == other.kid
    client.post(client.kid).ok()


@pytest.mark.parametrize(
    ("inner", "payload", "kind", "status"),
    [
        ({"nonce": "AAAA"}, {}, "malformed", 400),
        ({"url": "https://router.lan/acme/x"}, {}, "malformed", 400),
        ({"jwk": None, "kid": "x"}, {}, "malformed", 400),
        ({"alg": "none"}, {}, "badSignatureAlgorithm", 400),
        ({"alg": "HS256"}, {}, "badSignatureAlgorithm", 400),
        ({}, {"account": "https://router.lan/acme/account/x"}, "malformed", 400),
        ({}, {"account": None}, "malformed", 400),
        ({}, {"oldKey": Key("ES256").jwk}, "malformed", 400),
        ({}, {"oldKey": None}, "malformed", 400),
        ({"jwk": Key("ES256").jwk}, {}, "unauthorized", 401),
    ],
)
def test_key_change_that_is_wrong(
    client: Client, inner: dict[str, Any], payload: dict[str, Any], kind: str, status: int
) -> None:
    """R-17: the inner JWS is by the new key, for this account and this old key."""
    roll(client, Key("ES256"), inner, **payload).is_problem(kind, status)
    client.post(client.kid).ok()


@pytest.mark.parametrize("payload", [{}, b"", {"protected": "", "payload": "", "signature": ""}])
def test_key_change_without_an_inner_jws(client: Client, payload: Payload) -> None:
    """R-17."""
    client.post(client.directory["keyChange"], payload).is_problem("malformed", 400)


# --


@pytest.fixture(scope="module")
def paired(make_server: Serve) -> Running:
    """A server that takes only devices with a pairing key."""
    return make_server("--limits", "off", toml="require_pairing_key = true\n").start()


Bind = Callable[..., Json]


@pytest.fixture
def newcomer(paired: Running) -> Client:
    return paired.client(register=False)


@pytest.fixture
def pairing(paired: Running) -> tuple[str, bytes]:
    """A pairing key, fresh from the owner."""
    answer = paired.ask("pair")
    return answer["kid"], unb64(answer["hmac"])


def test_binding_is_required(newcomer: Client) -> None:
    """R-18, R-2."""
    assert newcomer.directory["meta"]["externalAccountRequired"] is True
    newcomer.register().is_problem("externalAccountRequired", 403)


def test_binding(newcomer: Client, pairing: tuple[str, bytes], paired: Running) -> None:
    """R-18: echoed, and good once."""
    kid, secret = pairing
    url = newcomer.directory["newAccount"]
    eab = binding(kid, secret, newcomer.key.jwk, url)
    account = newcomer.register(externalAccountBinding=eab).ok(201)
    assert account["externalAccountBinding"] == eab
    assert newcomer.post(newcomer.kid).ok()["externalAccountBinding"] == eab
    newcomer.register().ok(200)
    second = paired.client(register=False)
    again = binding(kid, secret, second.key.jwk, url)
    second.register(externalAccountBinding=again).is_problem("unauthorized", 403)


@pytest.mark.parametrize(
    ("header", "kind", "status"),
    [
        ({"kid": "nobody"}, "unauthorized", 403),
        ({"url": "https://router.lan/acme/x"}, "malformed", 400),
        ({"nonce": "AAAA"}, "malformed", 400),
        ({"alg": "HS512"}, "badSignatureAlgorithm", 400),
        ({"alg": "none"}, "badSignatureAlgorithm", 400),
        ({"alg": "ES256"}, "badSignatureAlgorithm", 400),
    ],
)
def test_binding_that_is_wrong(
    newcomer: Client, pairing: tuple[str, bytes], header: dict[str, Any], kind: str, status: int
) -> None:
    """R-18: by its header; the key stays good for the right request."""
    kid, secret = pairing
    url = newcomer.directory["newAccount"]
    eab = binding(**{"kid": kid, "secret": secret, "jwk": newcomer.key.jwk, "url": url, **header})
    newcomer.register(externalAccountBinding=eab).is_problem(kind, status)
    eab = binding(kid, secret, newcomer.key.jwk, url)
    newcomer.register(externalAccountBinding=eab).ok(201)


def test_binding_by_the_wrong_secret_or_for_another_key(
    newcomer: Client, pairing: tuple[str, bytes]
) -> None:
    """R-18."""
    kid, secret = pairing
    url = newcomer.directory["newAccount"]
    for changed, jwk, kind, status in (
        (bytes(16), newcomer.key.jwk, "unauthorized", 403),
        (secret, Key("ES256").jwk, "malformed", 400),
        (secret, {}, "badPublicKey", 400),
    ):
        eab = binding(kid, changed, jwk, url)
        newcomer.register(externalAccountBinding=eab).is_problem(kind, status)
    junk: object
    for junk in ("x", [], {}, {"protected": "e30", "payload": "", "signature": ""}):
        answer = newcomer.register(externalAccountBinding=junk)
        assert answer.status == 400, answer.body
        assert json.loads(answer.body)["type"].endswith(("malformed", "badSignatureAlgorithm"))


def test_pairing_key_has_the_life_that_was_asked_for(paired: Running, newcomer: Client) -> None:
    """R-18: who has none that lives is told how to get one (test_daemon.py lets one expire)."""
    answer = paired.ask("pair", "--minutes", "1", "--note", "for the printer")
    assert answer["expires"] - paired.ask("status")["clock"]["now"] in range(58, 61)
    eab = binding("nobody", bytes(16), newcomer.key.jwk, newcomer.directory["newAccount"])
    problem = newcomer.register(externalAccountBinding=eab).is_problem("unauthorized", 403)
    assert "acmeiot pair" in problem["detail"]

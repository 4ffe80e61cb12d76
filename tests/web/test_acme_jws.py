"""Requests that are not what RFC 8555 section 6 says, each refused by its error (R-4 to R-8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.web.client import JOSE, Client, Json, Key, b64, jws, octets
from tests.web.running import Running

Mangle = Callable[[Client, Json], object]

ALGORITHMS = ["ES256", "ES384", "ES512", "EdDSA", "RS256"]


def send(client: Client, mangle: Mangle, **changes: Any) -> Any:
    """Send a good request to the account after `mangle` had it."""
    document = jws(client.header(client.kid, **changes), None, client.key.sign)
    body = mangle(client, document)
    return client.send(client.kid, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_the_good_request_is_good(client: Client) -> None:
    """What the cases below change is nothing else than what they say."""
    assert send(client, lambda _, document: document).ok()["status"] == "valid"


# -- nonces


def test_a_nonce_is_good_once_and_the_refusal_brings_a_good_one(client: Client) -> None:
    """R-4."""
    nonce = client.nonce()
    client.post(client.kid, nonce=nonce).ok()
    client.nonces.clear()
    again = client.post(client.kid, nonce=nonce)
    again.is_problem("badNonce", 400)
    client.post(client.kid, nonce=again.header("Replay-Nonce")).ok()


def test_a_nonce_is_spent_by_a_refused_request_too(client: Client) -> None:
    """R-4: else a wrong request could be sent again and again."""
    nonce = client.nonce()
    client.post(client.kid, {"contact": 1}, nonce=nonce).is_problem("malformed", 400)
    client.post(client.kid, nonce=nonce).is_problem("badNonce", 400)


@pytest.mark.parametrize(
    ("nonce", "kind"),
    [
        (None, "badNonce"),
        (b64(bytes(22)), "badNonce"),
        (b64(bytes(40)), "badNonce"),
        ("", "badNonce"),
        ("not base64url!", "malformed"),
        ("AAAA====", "malformed"),
        (7, "malformed"),
    ],
)
def test_a_nonce_of_nobody(client: Client, nonce: object, kind: str) -> None:
    """R-4: missing, unknown, or no nonce at all."""
    answer = client.post(client.kid, nonce=nonce)
    answer.is_problem(kind, 400)
    client.post(client.kid, nonce=answer.header("Replay-Nonce")).ok()


def test_nonces_are_bounded_but_not_driven_out(client: Client) -> None:
    """R-4: a flood of newNonce does not make an honest client's nonce bad."""
    nonce = client.nonce()
    for _ in range(300):
        client.get(client.directory["newNonce"], "HEAD")
    client.post(client.kid, nonce=nonce).ok()


# -- shape


def header_of(document: Json, client: Client, **more: Any) -> Json:
    """Return the request with members more in its protected header, signed rightly."""
    return jws(client.header(client.kid, **more), None, client.key.sign)


SHAPES: dict[str, Mangle] = {
    "compact": lambda _, d: f"{d['protected']}.{d['payload']}.{d['signature']}".encode(),
    "general": lambda _, d: {
        "payload": d["payload"],
        "signatures": [{"protected": d["protected"], "signature": d["signature"]}],
    },
    "flattened and general": lambda _, d: {**d, "signatures": []},
    "several signatures": lambda _, d: {
        "payload": d["payload"],
        "signatures": [{"protected": d["protected"], "signature": d["signature"]}] * 2,
    },
    "unprotected header": lambda _, d: {**d, "header": {"kid": "x"}},
    "empty unprotected header": lambda _, d: {**d, "header": {}},
    "no protected": lambda _, d: {k: v for k, v in d.items() if k != "protected"},
    "no payload": lambda _, d: {k: v for k, v in d.items() if k != "payload"},
    "detached payload": lambda _, d: {**d, "payload": None},
    "no signature": lambda _, d: {k: v for k, v in d.items() if k != "signature"},
    "signature is no text": lambda _, d: {**d, "signature": 1},
    "padded": lambda _, d: {**d, "signature": d["signature"] + "=="},
    "standard alphabet": lambda _, d: {**d, "signature": "+/" + d["signature"][2:]},
    "blanks": lambda _, d: {**d, "signature": d["signature"][:4] + "\n" + d["signature"][4:]},
    "impossible length": lambda _, d: {**d, "payload": "YWJjZ"},
    "trailing junk": lambda _, d: json.dumps(d).encode() + b"x",
    "two documents": lambda _, d: json.dumps(d).encode() * 2,
    "member twice": lambda _, d: json.dumps(d).encode()[:-1] + b',"payload":""}',
    "not an object": lambda _, d: [d],
    "nothing": lambda _, __: b"",
    "not UTF-8": lambda _, d: json.dumps(d).encode()[:-1] + b',"x":"\xff"}',
    "UTF-16": lambda _, d: json.dumps(d).encode("utf-16"),
    "byte order mark": lambda _, d: b"\xef\xbb\xbf" + json.dumps(d).encode(),
    "NaN": lambda _, d: json.dumps(d).encode()[:-1] + b',"x":NaN}',
    "nested to death": lambda _, __: b"[" * 30000,
    "nested objects to death": lambda _, __: b'{"x":' * 10000,
    "header is no JSON": lambda _, d: {**d, "protected": b64(b"no")},
    "header is an array": lambda _, d: {**d, "protected": b64(b"[]")},
    "header has a member twice": lambda _, d: {
        **d,
        "protected": b64(b'{"alg":"ES256","alg":"none"}'),
    },
    "b64 false": lambda c, d: header_of(d, c, b64=False, crit=["b64"]),
    "b64 true": lambda c, d: header_of(d, c, b64=True),
    "critical extension": lambda c, d: header_of(d, c, crit=["exp"], exp=1),
    "no url": lambda c, d: header_of(d, c, url=None),
    "url is no text": lambda c, d: header_of(d, c, url=[]),
    "kid is no text": lambda c, d: header_of(d, c, kid=1),
    "jwk is no object": lambda c, d: header_of(d, c, kid=None, jwk="x"),
    "jwk and kid": lambda c, d: header_of(d, c, jwk=c.key.jwk),
    "neither jwk nor kid": lambda c, d: header_of(d, c, kid=None),
    "jwk where kid belongs": lambda c, d: header_of(d, c, kid=None, jwk=c.key.jwk),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(client: Client, shape: str) -> None:
    """R-5, R-6: anything but the flattened JSON of one signature is malformed."""
    send(client, SHAPES[shape]).is_problem("malformed", 400)
    client.post(client.kid).ok()


# -- who signed, and for what


def test_only_a_key_makes_an_account(client: Client) -> None:
    """R-6: kid is not for newAccount."""
    client.post(client.directory["newAccount"], {}).is_problem("malformed", 400)


@pytest.mark.parametrize("kid", ["{}x", "{}/", "x", "", "http", "/acme/account/1", "{}?a", "{}#a"])
def test_kid_is_the_exact_account_url(client: Client, kid: str) -> None:
    """R-6."""
    wrong = kid.format(client.kid) if kid != "http" else client.kid.replace("https:", "http:")
    client.post(client.kid, kid=wrong).is_problem("accountDoesNotExist", 400)


def test_the_signature_is_checked(client: Client) -> None:
    """R-6: another key, or a bit of header, payload or signature changed."""
    other = Key("ES256")
    document = jws(client.header(client.kid), None, other.sign)
    client.send(client.kid, json.dumps(document).encode()).is_problem("unauthorized", 401)
    for member in ("signature", "payload"):
        document = jws(client.header(client.kid), {"contact": []}, client.key.sign)
        text = document[member]
        document[member] = text[:6] + ("A" if text[6] != "A" else "B") + text[7:]
        answer = client.send(client.kid, json.dumps(document).encode())
        answer.is_problem("unauthorized", 401)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 72])
def test_a_signature_has_its_length(client: Client, length: int) -> None:
    """R-6: a DER signature, or one that is cut off, is none (RFC 7518 section 3.4)."""
    document = jws(client.header(client.kid), None, lambda _: b"\1" * length)
    client.send(client.kid, json.dumps(document).encode()).is_problem("unauthorized", 401)


@pytest.mark.parametrize(
    "change", ["{}/", "{}?x=1", "http{}", "https://router.local:1/acme/account/x", "", "HTTPS{}"]
)
def test_the_url_is_the_requests_own(client: Client, change: str) -> None:
    """R-6: compared as text."""
    url = change.format(client.kid[5:] if "{}" in change and change != "{}/" else client.kid)
    client.post(client.kid, url=url).is_problem("unauthorized", 403)


def test_the_url_has_the_query(client: Client) -> None:
    """R-6: a signature for one page of a list is not one for another page."""
    orders = f"{client.kid}/orders"
    client.post(f"{orders}?after=x").ok()
    document = jws(client.header(orders), None, client.key.sign)
    answer = client.send(f"{orders}?after=x", json.dumps(document).encode())
    answer.is_problem("unauthorized", 403)


def test_a_request_is_for_one_server_name_only(server: Running, client: Client) -> None:
    """R-6: what was signed for router.lan is not good at router.local."""
    document = jws(client.header(client.kid), None, client.key.sign)
    elsewhere = client.kid.replace("router.lan", "router.local")
    client.send(elsewhere, json.dumps(document).encode()).is_problem("unauthorized", 403)


# -- algorithms and keys


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_algorithm(server: Running, alg: str) -> None:
    """R-7: a whole account life with each algorithm that is supported."""
    client = server.client(register=False)
    client.key = Key(alg)
    assert client.register(contact=["mailto:a@b.c"]).ok(201)["status"] == "valid"
    assert client.post(client.kid).ok()["contact"] == ["mailto:a@b.c"]
    assert client.register().status == 200


@pytest.mark.parametrize(
    "alg", ["none", "HS256", "RS384", "PS256", "ES256K", "Ed25519", "", None, 1, ["ES256"]]
)
def test_algorithm_that_is_not_supported(client: Client, alg: object) -> None:
    """R-7: with the list of those that are."""
    problem = client.post(client.kid, alg=alg).is_problem("badSignatureAlgorithm", 400)
    assert sorted(problem["algorithms"]) == sorted(ALGORITHMS)


@pytest.mark.parametrize(
    ("alg", "said"), [("ES256", "ES384"), ("ES384", "ES256"), ("RS256", "ES256")]
)
def test_the_algorithm_is_the_keys(server: Running, alg: str, said: str) -> None:
    """R-7: ES256 with a P-384 key, and the like."""
    client = server.client(register=False)
    client.key = Key(alg)
    header = client.header(client.directory["newAccount"], alg=said)
    document = jws(header, {}, client.key.sign)
    answer = client.send(client.directory["newAccount"], json.dumps(document).encode())
    answer.is_problem("badPublicKey", 400)


def rsa_key(bits: int, exponent: int) -> Key:
    key = Key("ES256")
    key.alg, key.private = "RS256", rsa.generate_private_key(exponent, bits)
    return key


def weak_modulus() -> Json:
    """Return an RSA key of 1024 bits, which no library here would make."""
    n = (1 << 1023) | 1
    return {"kty": "RSA", "n": b64(n.to_bytes(128, "big")), "e": "AQAB"}


P256 = Key("ES256").jwk
KEYS: dict[str, tuple[str, Json, str]] = {
    "RSA 1024": ("RS256", weak_modulus(), "badPublicKey"),
    "RSA e=3": ("RS256", rsa_key(2048, 3).jwk, "badPublicKey"),
    "RSA e=1": ("RS256", {**rsa_key(2048, 65537).jwk, "e": "AQ"}, "badPublicKey"),
    "RSA 16384": ("RS256", {"kty": "RSA", "n": b64(b"\xff" * 2048), "e": "AQAB"}, "badPublicKey"),
    "secp256k1": ("ES256", {**P256, "crv": "secp256k1"}, "badPublicKey"),
    "unknown curve": ("ES256", {**P256, "crv": "P-999"}, "badPublicKey"),
    "not on the curve": ("ES256", {**P256, "x": b64(b"\1" * 32)}, "badPublicKey"),
    "origin": ("ES256", {**P256, "x": b64(bytes(32)), "y": b64(bytes(32))}, "badPublicKey"),
    "short coordinate": ("ES256", {**P256, "x": b64(b"\1" * 31)}, "badPublicKey"),
    "Ed448": ("EdDSA", {"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57))}, "badPublicKey"),
    "Ed25519 cut off": ("EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": b64(b"1")}, "badPublicKey"),
    "unknown kind": ("ES256", {"kty": "AKP"}, "badPublicKey"),
    "symmetric": ("ES256", {"kty": "oct", "k": "AAAA"}, "malformed"),
    "private": ("ES256", {**P256, "d": "AAAA"}, "malformed"),
    "no y": ("ES256", {k: v for k, v in P256.items() if k != "y"}, "malformed"),
    "padded": ("ES256", {**P256, "x": P256["x"] + "="}, "malformed"),
    "number": ("ES256", {**P256, "x": 7}, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_key_that_is_not_taken(server: Running, name: str) -> None:
    """R-7."""
    alg, jwk, kind = KEYS[name]
    client = server.client(register=False)
    url = client.directory["newAccount"]
    document = jws(client.header(url, alg=alg, jwk=jwk), {}, lambda _: bytes(64))
    client.send(url, json.dumps(document).encode()).is_problem(kind, 400)


def test_a_key_has_one_account_however_it_is_spelled(server: Running) -> None:
    """R-7: more members, or zeros in front of the modulus, make no second account."""
    client = server.client(register=False)
    client.key = Key("RS256")
    client.register().ok(201)
    location, client.kid = client.kid, ""
    n = b64(b"\0" + int_of(client.key).to_bytes(256, "big"))
    for change in ({"n": n}, {"use": "sig"}, {"kid": "x"}):
        url = client.directory["newAccount"]
        answer = client.post(url, {}, jwk={**client.key.jwk, **change})
        assert (answer.status, answer.header("Location")) == (200, location)


def int_of(key: Key) -> int:
    assert isinstance(key.private, rsa.RSAPrivateKey)
    return key.private.public_key().public_numbers().n


def test_account_keys_need_not_be_p384(client: Client) -> None:
    """R-7: the draft's rule is for certificates; most clients' accounts are P-256."""
    assert isinstance(client.key.private, ec.EllipticCurvePrivateKey)
    assert client.key.private.key_size == 256


# -- what a request is made of


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/jose", "", "text/plain", f"{JOSE}; charset=utf-8",
     f"{JOSE}, {JOSE}", JOSE.upper()],
)  # fmt: skip
def test_content_type_is_exact(client: Client, content_type: str) -> None:
    """R-8."""
    document = jws(client.header(client.kid), None, client.key.sign)
    answer = client.send(client.kid, json.dumps(document).encode(), content_type)
    answer.is_problem("malformed", 415)


def test_a_body_has_a_limit(client: Client) -> None:
    """R-8: 64 KiB pass, more is refused before it is looked at."""
    client.post(client.kid, {"x": "x" * 40000}).ok()
    answer = client.send(client.kid, b"{" + b" " * 65536 + b"}")
    assert answer.status == 413
    client.post(client.kid).ok()


def test_a_payload_is_an_object(client: Client) -> None:
    """R-8: JSON in UTF-8, and an object."""
    for payload in (b"[]", b"1", b"null", b'"x"', b"{", b"\xff", b'{"a":1,"a":2}', b"{}x"):
        client.post(client.directory["newOrder"], payload).is_problem("malformed", 400)


# -- POST-as-GET


def test_an_empty_object_is_no_reading(client: Client) -> None:
    """R-10: `{}` is a request to change something."""
    order = client.order("empty.lan", "empty.local")
    url = order.header("Location") or ""
    assert client.post(url, None).ok()["status"] == "pending"
    client.post(url, {}).is_problem("malformed", 400)
    assert octets(None) == b""


def test_every_object_is_its_accounts_only(client: Client) -> None:
    """R-10, R-24, R-30, R-35: another account is refused, whatever it knows."""
    stranger = client.other()
    made = client.order("mine.lan", "mine.local")
    order = made.ok(201)
    authorization = client.post(order["authorizations"][0]).ok()
    for url in (
        client.kid, f"{client.kid}/orders", made.header("Location") or "",
        order["authorizations"][0], authorization["challenges"][0]["url"],
    ):  # fmt: skip
        stranger.post(url).is_problem("unauthorized", 403)
    for url, payload in (
        (order["finalize"], {"csr": "AAAA"}),
        (client.kid, {"status": "deactivated"}),
        (order["authorizations"][0], {"status": "deactivated"}),
        (authorization["challenges"][0]["url"], {}),
    ):
        stranger.post(url, payload).is_problem("unauthorized", 403)
    assert client.post(order["authorizations"][0]).ok()["status"] == "pending"


def test_what_is_not_there(client: Client, server: Running) -> None:
    """R-10: an id of nobody is 404, and says no more."""
    for path in ("order/x", "authz/x", "challenge/x/http-01", "cert/x", "cert/x/1"):
        client.post(server.url(f"/acme/{path}")).is_problem("malformed", 404)
    client.post(server.url("/acme/order/x/finalize"), {"csr": "AA"}).is_problem("malformed", 404)
    # Another account's list is refused whether it exists or not.
    client.post(server.url("/acme/account/x")).is_problem("unauthorized", 403)

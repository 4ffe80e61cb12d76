"""The gate: who signed, and that nothing is computed before shape, URL and nonce (R-4 to R-7)."""

from __future__ import annotations

from typing import Any

import pytest

from acmeiot.core import limits
from acmeiot.core.requests import Signed, Signer
from acmeiot.protocol.errors import (
    AccountDoesNotExist,
    AcmeError,
    BadNonce,
    BadPublicKey,
    BadSignatureAlgorithm,
    Malformed,
    RateLimited,
    SignatureInvalid,
    Unauthorized,
)
from acmeiot.protocol.jose import Jwk
from tests.core.conftest import MakeHome
from tests.core.home import ACCOUNT, BASE, Client, Home
from tests.core.keys import AccountKey, to_json

URL = BASE + "/acme/new-order"
REMOTE = "192.168.1.20"


@pytest.fixture
def client(home: Home) -> Client:
    return home.client()


def send(client: Client, payload: bytes = b"{}", **header: Any) -> Signed:
    """Sign with the account, but for what `header` says otherwise, and go through the gate."""
    return knock(client.home, body(client, payload, **header))


def body(client: Client, payload: bytes = b"{}", **header: Any) -> bytes:
    whole: dict[str, Any] = {"url": URL, "nonce": client.home.nonces.issue()}
    whole |= {"kid": ACCOUNT + client.account.id, **header}
    return to_json(client.key.sign(payload, **{k: v for k, v in whole.items() if v is not None}))


def knock(home: Home, data: bytes, signer: Signer = Signer.EITHER, remote: str = REMOTE) -> Signed:
    return home.gate.open(data, URL, signer, remote, ACCOUNT)


def test_an_account_signs(client: Client) -> None:
    signed = send(client, b'{"a": 1}')
    assert signed.account == client.account
    assert signed.jwk == client.key.jwk
    assert signed.kid == ACCOUNT + client.account.id
    assert signed.payload == b'{"a": 1}'
    assert not signed.as_get
    assert not send(client, b"{}").as_get  # an empty object is no empty payload
    assert send(client, b"").as_get


def test_a_key_signs(client: Client) -> None:
    stranger = AccountKey()
    data = stranger.sign(b"{}", url=URL, nonce=client.home.nonces.issue(), jwk=stranger.members)
    signed = knock(client.home, to_json(data), Signer.KEY)
    assert (signed.account, signed.kid, signed.jwk) == (None, None, stranger.jwk)


def test_each_resource_takes_its_kind_of_key(client: Client) -> None:
    nonce = client.home.nonces.issue()
    by_key = to_json(client.key.sign(b"{}", url=URL, nonce=nonce, jwk=client.key.members))
    with pytest.raises(Malformed, match="kid, not jwk"):
        knock(client.home, by_key, Signer.ACCOUNT)
    with pytest.raises(Malformed, match="jwk, not kid"):
        knock(client.home, body(client), Signer.KEY)
    knock(client.home, by_key)  # neither refusal cost the nonce


def test_the_url_is_compared_as_a_string(client: Client) -> None:
    for url in (URL + "/", URL + "?", URL.upper(), URL.replace(":8555", ""), "", "é"):
        with pytest.raises(Unauthorized, match="the JWS is for") as caught:
            send(client, url=url)
        assert caught.value.status == 403


def test_a_long_url_is_not_echoed_whole(client: Client) -> None:
    with pytest.raises(Unauthorized) as caught:
        send(client, url="x" * 10_000)
    assert len(caught.value.detail) < 500


def test_a_nonce_is_good_for_one_request(client: Client) -> None:
    data = body(client)
    knock(client.home, data)
    with pytest.raises(BadNonce):
        knock(client.home, data)
    with pytest.raises(BadNonce, match="no nonce"):
        send(client, nonce=None)


def test_a_failed_signature_costs_the_nonce(client: Client) -> None:
    data = body(client).replace(b'"payload": "e30"', b'"payload": "W10"')
    with pytest.raises(SignatureInvalid) as caught:
        knock(client.home, data)
    assert caught.value.status == 401
    with pytest.raises(BadNonce):
        knock(client.home, data)


@pytest.mark.parametrize(
    "kid",
    [
        "ID", "http://router.lan:8555/acme/acct/ID", BASE + "/acme/acct/ID/orders", ACCOUNT,
        BASE + "/acme/acct/nobody", BASE + "/acme/acctID", BASE + "/acme/order/ID",
        "https:///acme/acct/ID", BASE + "/ACME/acct/ID", BASE + "/x/acme/acct/ID",
        BASE + "//acme/acct/ID", BASE + "/acme/acct/ID?x", "",
    ],
)  # fmt: skip
def test_only_an_account_url_is_a_kid(client: Client, kid: str) -> None:
    with pytest.raises(AccountDoesNotExist):
        send(client, kid=kid.replace("ID", client.account.id))


def test_an_account_is_known_by_every_name_of_the_server(client: Client) -> None:
    for host in ("router.local:8555", "192.168.1.1", "[fd00::1]:8555"):
        assert send(client, kid=f"https://{host}/acme/acct/{client.account.id}").account


def test_another_accounts_kid_does_not_verify(client: Client) -> None:
    other = client.home.register("192.168.1.30")
    with pytest.raises(SignatureInvalid):
        send(client, kid=ACCOUNT + other.account.id)


def test_the_algorithm_must_be_the_keys(client: Client) -> None:
    with pytest.raises(BadPublicKey, match="ES256 key"):
        send(client, alg="ES384")
    for alg in ("none", "HS256", None):
        with pytest.raises(BadSignatureAlgorithm) as caught:
            send(client, alg=alg or "PS256")
        assert "ES256" in str(caught.value.extra["algorithms"])


def test_a_bad_jwk_is_refused_after_the_nonce(client: Client) -> None:
    with pytest.raises(BadPublicKey):
        send(client, kid=None, jwk={"kty": "oct-ish"})


# Cheap first: nothing cryptographic before shape, URL, kind of key and nonce.


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ({"url": "elsewhere"}, Unauthorized),
        ({"nonce": "A" * 30}, BadNonce),
        ({"nonce": None}, BadNonce),
        ({"alg": "none"}, BadSignatureAlgorithm),
        ({"jwk": {}}, Malformed),  # and kid
        ({"kid": None}, Malformed),
        ({"crit": ["x"]}, Malformed),
        ({"kid": "elsewhere"}, AccountDoesNotExist),
    ],
)
def test_a_cheap_refusal_costs_no_arithmetic(
    client: Client, monkeypatch: pytest.MonkeyPatch, header: dict[str, Any], error: type[AcmeError]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("arithmetic for a request that is refused for its shape")

    client.home.accounts.drop_cached(client.account.id)
    data = body(client, **header)
    monkeypatch.setattr(Jwk, "verify", never)
    monkeypatch.setattr(Jwk, "parse", never)
    with pytest.raises(error):
        knock(client.home, data)


def test_bad_signatures_are_limited_before_the_nonce(make_home: MakeHome) -> None:
    home = make_home(limits=True)
    client = home.client()
    for _ in range(limits.BAD_SIGNATURES.burst):
        with pytest.raises(SignatureInvalid):
            knock(home, body(client).replace(b'"payload": "e30"', b'"payload": "W10"'))
    data = body(client)
    with pytest.raises(RateLimited, match="bad signatures"):
        knock(home, data)
    knock(home, data, remote="192.168.1.21")  # the nonce is still good, and others go on
    for _ in range(limits.BAD_SIGNATURES.burst):
        with pytest.raises(BadPublicKey):  # a wrong algorithm counts too
            knock(home, body(client, alg="ES384"), remote="192.168.1.22")
    with pytest.raises(RateLimited):
        knock(home, body(client), remote="192.168.1.22")


def test_good_signatures_are_not_limited(make_home: MakeHome) -> None:
    home = make_home(limits=True)
    client = home.client()
    for _ in range(2 * limits.BAD_SIGNATURES.burst):
        send(client)

"""What a client signs, judged by the server's reader and by josepy."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from josepy.jwk import JWK
from josepy.jws import JWS

from acmeiot.client import signing
from acmeiot.client.errors import AgentError
from acmeiot.client.signing import AccountKey
from acmeiot.protocol import jose

URL = "https://router.lan/acme/new-order"
CURVES: list[type[ec.EllipticCurve]] = [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1]


@pytest.mark.parametrize(("curve", "alg"), [*zip(CURVES, ["ES256", "ES384", "ES512"], strict=True)])
@pytest.mark.parametrize("account", [None, "https://router.lan/acme/account/1"])
def test_requests(curve: type[ec.EllipticCurve], alg: str, account: str | None) -> None:
    """Key or account in the header, never both; nonce and URL beside it (RFC 8555 6.2)."""
    key = AccountKey.of(ec.generate_private_key(curve()))
    for _ in range(20):  # r and s are short now and then
        body = signing.request(key, account, URL, "nonce", {"a": 1})
        jws = jose.parse(body)
        key.jwk.verify(jws)
        signed = JWS.from_json(json.loads(body))
        assert signed.verify(JWK.load(_public(key)))
    assert (jws.alg, jws.nonce, jws.url, jws.kid) == (alg, "nonce", URL, account)
    assert jws.jwk == (None if account else key.jwk.members)
    assert json.loads(jws.payload) == {"a": 1}
    assert jose.parse(signing.request(key, account, URL, "n", None)).payload == b""
    assert jose.parse(signing.request(key, account, URL, "n", {})).payload == b"{}"


def _public(key: AccountKey) -> bytes:
    return key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_the_thumbprint_is_josepys() -> None:
    """RFC 7638, as an independent library has it."""
    key = AccountKey.generate()
    theirs = JWK.load(_public(key)).thumbprint()
    assert key.thumbprint == jose.b64encode(theirs)


def test_keys_come_back_from_their_files() -> None:
    """What is stored is what was; the private half is in no repr."""
    key = AccountKey.generate()
    assert key.pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert AccountKey.read(key.pem).thumbprint == key.thumbprint
    assert "private" not in repr(key)


def test_keys_that_cannot_sign() -> None:
    """Each is told what it is not."""
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(AgentError, match="no elliptic curve key"):
        AccountKey.read(other)
    for junk in (b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(AgentError, match="no PEM private key"):
            AccountKey.read(junk)
    with pytest.raises(AgentError, match="curve 'secp256k1' is not supported"):
        AccountKey.of(ec.generate_private_key(ec.SECP256K1()))


def test_bindings() -> None:
    """The account's public key, under the pairing key's MAC (RFC 8555 section 7.3.4)."""
    key, secret = AccountKey.generate(), b"\xfb" * 32
    for text in (jose.b64encode(secret), jose.b64encode(secret) + "="):
        document: dict[str, Any] = dict(signing.binding(key, "kid-1", text, URL))
        jws = jose.from_document(document, ("HS256",))
        jose.verify_mac(jws, secret)
        signing_input = f"{document['protected']}.{document['payload']}".encode()
        assert hmac.digest(secret, signing_input, "sha256") == jws.signature
        assert (jws.kid, jws.url, jws.nonce) == ("kid-1", URL, None)
        assert json.loads(jws.payload) == key.jwk.members
    with pytest.raises(AgentError, match="pairing key cannot be used"):
        signing.binding(key, "kid-1", "not base64!", URL)


def test_key_changes() -> None:
    """The new key signs what names the old one, and no nonce (RFC 8555 section 7.3.5)."""
    old, new = AccountKey.generate(), AccountKey.generate()
    inner = jose.from_document(signing.key_change(old, new, "https://router.lan/account", URL))
    new.jwk.verify(inner)
    assert (inner.jwk, inner.nonce, inner.url) == (new.jwk.members, None, URL)
    assert json.loads(inner.payload) == {
        "account": "https://router.lan/account", "oldKey": old.jwk.members,
    }  # fmt: skip

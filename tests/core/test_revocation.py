"""Revocation three ways, and when to renew (R-31, RFC 9773)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.ca.roots import Authority
from acmeiot.core.records import Certificate
from acmeiot.core.revocation import REASONS
from acmeiot.protocol.ari import Window
from acmeiot.protocol.errors import (
    AlreadyRevoked,
    BadRevocationReason,
    Malformed,
    NotFound,
    Unauthorized,
)
from acmeiot.protocol.jose import Jwk, b64encode
from tests.core.conftest import MakeHome
from tests.core.fakes import DAY, NOW
from tests.core.home import Client, Home
from tests.core.keys import leaf_key, to_json

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def client(home: Home) -> Client:
    return home.client()


def ask(certificate: Certificate, **members: Any) -> bytes:
    return to_json({"certificate": b64encode(certificate.der), **members})


def stored(home: Home, certificate: Certificate) -> Certificate:
    found = home.store.certificate(certificate.id)
    assert found is not None
    return found


def jwk_of(key: ec.EllipticCurvePrivateKey) -> Jwk:
    point = key.public_key().public_numbers()
    x, y = (b64encode(number.to_bytes(48, "big")) for number in (point.x, point.y))
    return Jwk.parse({"kty": "EC", "crv": "P-384", "x": x, "y": y})


def test_its_account_revokes(client: Client) -> None:
    home, certificate = client.home, client.obtain(*BOTH)
    home.clock.wait(5)
    home.revocations.by_account(client.account, ask(certificate, reason=4))
    kept = stored(home, certificate)
    assert (kept.revoked_at, kept.reason) == (NOW + 5, 4)
    assert home.audited("revoke") == [certificate.serial]
    (entry,) = (e for e in home.store.audit(9) if e.event == "revoke")
    assert entry.detail == {"reason": "superseded", "by": f"account {client.account.id}"}
    assert home.events.said("revoked: printer.lan, printer.local", certificate.serial, "superseded")
    assert home.store.revoked(certificate.issuer_id, NOW) == [kept]


def test_its_key_revokes(client: Client) -> None:
    key, other = leaf_key(), leaf_key()
    order = client.prove(client.order(*BOTH))
    certificate = client.certificate(client.finalize(order, key))
    with pytest.raises(Unauthorized, match="not signed with the certificate's key") as caught:
        client.home.revocations.by_key(jwk_of(other), ask(certificate))
    assert caught.value.status == 403
    client.home.revocations.by_key(jwk_of(key), ask(certificate, reason=1))
    assert stored(client.home, certificate).reason == 1


def test_who_has_all_its_names_revokes(client: Client) -> None:
    home, certificate = client.home, client.obtain(*BOTH)
    other = home.register(client.address)
    payload = ask(certificate)
    revocations = home.revocations
    with pytest.raises(Unauthorized, match="has not proved all its names"):
        revocations.by_account(other.account, payload)
    order = other.order(*BOTH)
    other.answer(order.authorizations[0])
    with pytest.raises(Unauthorized):  # one name is not all
        revocations.by_account(other.account, payload)
    other.answer(order.authorizations[1])
    home.clock.wait(3600)
    with pytest.raises(Unauthorized):  # and an hour ago is not now
        revocations.by_account(other.account, payload)
    other.prove(other.order(*BOTH))
    revocations.by_account(other.account, payload)
    assert stored(home, certificate).reason == 0


def test_a_wildcard_is_a_name_of_its_own(client: Client) -> None:
    home = client.home
    order = client.order(*BOTH, "*.printer.lan")
    for authorization_id, kind in zip(
        order.authorizations, ("http-01", "http-01", "dns-01"), strict=True
    ):
        client.answer(authorization_id, kind)
    certificate = client.certificate(client.finalize(order))
    other = home.register(client.address)
    other.prove(other.order(*BOTH))
    with pytest.raises(Unauthorized):
        home.revocations.by_account(other.account, ask(certificate))
    other.prove(other.order("*.printer.lan"), "dns-01")
    home.revocations.by_account(other.account, ask(certificate))


def test_twice_is_once_too_often(client: Client) -> None:
    certificate = client.obtain(*BOTH)
    client.home.revocations.by_account(client.account, ask(certificate, reason=3))
    with pytest.raises(AlreadyRevoked) as caught:
        client.home.revocations.by_account(client.account, ask(certificate, reason=1))
    assert caught.value.status == 400
    assert stored(client.home, certificate).reason == 3
    assert len(client.home.audited("revoke")) == 1


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_reasons_that_a_device_may_give(client: Client, reason: int) -> None:
    certificate = client.obtain(*BOTH)
    client.home.revocations.by_account(client.account, ask(certificate, reason=reason))
    assert stored(client.home, certificate).reason == reason
    assert set(REASONS) == {0, 1, 3, 4, 5, 9}


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, 11, -1, 10**9])
def test_reasons_that_are_not_a_devices(client: Client, reason: int) -> None:
    certificate = client.obtain(*BOTH)
    with pytest.raises(BadRevocationReason, match="1 keyCompromise") as caught:
        client.home.revocations.by_account(client.account, ask(certificate, reason=reason))
    assert caught.value.status == 400
    assert stored(client.home, certificate).revoked_at is None


def test_what_is_not_ours_is_not_found(
    client: Client, make_home: MakeHome, own_authority: Authority
) -> None:
    own_authority.rotate(NOW)
    stranger = make_home(own_authority).client()
    foreign = stranger.obtain(*BOTH)
    with pytest.raises(NotFound, match="did not issue"):
        client.home.revocations.by_account(client.account, ask(foreign))
    own = client.obtain(*BOTH)
    forged = bytearray(own.der)
    forged[-1] ^= 1  # our serial, somebody else's signature
    payload = to_json({"certificate": b64encode(bytes(forged))})
    with pytest.raises(NotFound):
        client.home.revocations.by_account(client.account, payload)
    for der in (b"", b"\x30\x00", own.der + b"\0", own.der[:-1]):
        payload = to_json({"certificate": b64encode(der)})
        with pytest.raises(Malformed):
            client.home.revocations.by_account(client.account, payload)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"certificate": 1}'])
def test_a_request_without_a_certificate_is_malformed(client: Client, payload: bytes) -> None:
    with pytest.raises(Malformed):
        client.home.revocations.by_key(client.key.jwk, payload)


@pytest.mark.parametrize("reason", ["1", 1.5, True])
def test_a_reason_is_a_number(client: Client, reason: Any) -> None:
    with pytest.raises(Malformed, match="reason"):
        client.home.revocations.by_account(client.account, ask(client.obtain(*BOTH), reason=reason))


def test_the_owner_revokes_all_that_lives(client: Client) -> None:
    home = client.home
    old = client.obtain(*BOTH)
    home.clock.wait(20 * DAY)
    middle, gone = client.obtain(*BOTH), client.obtain(*BOTH)
    home.revocations.by_owner(gone)
    home.clock.wait(10 * DAY)  # the first one has expired now
    assert home.revocations.all_of(client.account.id) == 1
    assert stored(home, old).revoked_at is None
    assert (stored(home, middle).revoked_at, stored(home, middle).reason) == (NOW + 30 * DAY, 9)
    assert home.revocations.all_of(client.account.id) == 0
    with pytest.raises(AlreadyRevoked):
        home.revocations.by_owner(gone)


# Renewal information, RFC 9773 section 4


def test_a_good_certificate_is_renewed_after_two_thirds(client: Client) -> None:
    certificate = client.obtain(*BOTH)
    life = certificate.not_after - certificate.not_before
    window = client.home.revocations.renewal(certificate.ari_id)
    assert window.start == certificate.not_before + life * 2 // 3
    assert window.start < window.end < certificate.not_after


def test_a_revoked_certificate_is_renewed_at_once(client: Client) -> None:
    certificate = client.obtain(*BOTH)
    client.home.revocations.by_account(client.account, ask(certificate))
    window = client.home.revocations.renewal(certificate.ari_id)
    assert window == Window(NOW - 3600, NOW - 60)


def test_a_superseded_issuer_moves_all_on(make_home: MakeHome, own_authority: Authority) -> None:
    home = make_home(own_authority)
    client = home.client()
    old = client.obtain(*BOTH)
    own_authority.rotate(NOW)
    assert home.revocations.renewal(old.ari_id).end < NOW
    assert home.revocations.renewal(client.obtain(*BOTH).ari_id).start > NOW


def test_an_unknown_certificate_has_no_window(client: Client) -> None:
    with pytest.raises(NotFound):
        client.home.revocations.renewal("AAAA.AAAA")
    for text in ("", "x", "a.b.c", "A" * 500):
        with pytest.raises(Malformed):
            client.home.revocations.renewal(text)

"""Accounts: made, found, changed, given up, and pairing keys (R-12 to R-18)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from acmeiot.core import accounts as module
from acmeiot.core import limits
from acmeiot.core.accounts import AccountExists, AccountRules
from acmeiot.core.ports import StoreFull
from acmeiot.core.records import EabKey
from acmeiot.protocol.errors import (
    AccountDoesNotExist,
    AcmeError,
    BadPublicKey,
    ExternalAccountRequired,
    InvalidContact,
    Malformed,
    RateLimited,
    SignatureInvalid,
    Unauthorized,
    UnsupportedContact,
    UserActionRequired,
)
from acmeiot.protocol.states import AccountStatus, Event, OrderStatus
from tests.core.conftest import MakeHome
from tests.core.fakes import DAY, NOW
from tests.core.home import ACCOUNT, KEY_CHANGE, NEW_ACCOUNT, Client, Home
from tests.core.keys import AccountKey, mac, to_json

REMOTE = "192.168.1.20"


# newAccount, RFC 8555 section 7.3


def test_an_account_is_made(home: Home) -> None:
    key = AccountKey()
    contact = ["mailto:owner@example.org", "https://printer.lan/", "https://192.168.1.20/"]
    payload = to_json({"contact": contact, "orders": "x", "unknown": 1})  # both ignored
    account, made = home.accounts.register(key.jwk, payload, NEW_ACCOUNT, REMOTE)
    assert made
    assert account.status is AccountStatus.VALID
    assert account.contact == tuple(contact)  # A-3.2.2-1
    assert (account.created, account.eab, account.eab_kid) == (NOW, None, None)
    assert account.jwk == key.members
    assert len(account.id) >= 16  # 96 bits at least
    assert home.store.account(account.id) == account
    assert home.events.said("account:", account.id, REMOTE, "owner@example.org")


def test_no_contact_is_fine(home: Home) -> None:
    client = home.register(REMOTE)
    assert client.account.contact == ()
    assert home.events.said(client.account.id, "no contact")


def test_the_same_key_finds_its_account(home: Home) -> None:
    client = home.register(REMOTE, contact=["mailto:a@b.c"])
    for members in ({}, {"onlyReturnExisting": True}, {"contact": ["mailto:new@b.c"]}):
        found = home.accounts.register(client.key.jwk, to_json(members), NEW_ACCOUNT, REMOTE)
        assert found == (client.account, False)  # and its contacts stay
    assert home.store.count_accounts() == 1


def test_only_return_existing_makes_none(home: Home) -> None:
    with pytest.raises(AccountDoesNotExist) as caught:
        home.register(REMOTE, onlyReturnExisting=True)
    assert caught.value.status == 400
    assert home.store.count_accounts() == 0


def test_two_requests_with_one_key_make_one_account(home: Home) -> None:
    # The second is between its look and its transaction when the first one's account comes.
    key = AccountKey()
    first: list[Client] = []
    home.store.meanwhile.append(lambda: first.append(home.register(REMOTE, key)))
    account, made = home.accounts.register(key.jwk, b"{}", NEW_ACCOUNT, REMOTE)
    assert (account, made) == (first[0].account, False)
    assert home.store.count_accounts() == 1


def test_terms_must_be_agreed_to_where_there_are_any(make_home: MakeHome) -> None:
    home = make_home(accounts=AccountRules(terms="https://router.lan/terms"))
    with pytest.raises(UserActionRequired, match=r"https://router\.lan/terms"):
        home.register(REMOTE)
    with pytest.raises(UserActionRequired):
        home.register(REMOTE, termsOfServiceAgreed=False)
    home.register(REMOTE, termsOfServiceAgreed=True)


@pytest.mark.parametrize(
    ("contact", "error"),
    [
        (["tel:+1"], UnsupportedContact),
        (["ftp://printer.lan"], UnsupportedContact),
        (["mailto:a@b.c?subject=x"], InvalidContact),
        (["mailto:a@b.c,d@e.f"], InvalidContact),
        (["https://example.com/"], InvalidContact),
        (["https://printer.lan.example.com/"], InvalidContact),
        (["https://lan/"], InvalidContact),
        (["https://8.8.8.8/"], InvalidContact),
        (["https://"], InvalidContact),
        ("mailto:a@b.c", Malformed),
    ],
)
def test_bad_contacts_are_refused(home: Home, contact: Any, error: type[AcmeError]) -> None:
    with pytest.raises(error):
        home.register(REMOTE, contact=contact)
    assert home.store.count_accounts() == 0
    client = home.register(REMOTE)
    with pytest.raises(error):
        home.accounts.update(client.account, to_json({"contact": contact}))


def test_accounts_are_capped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 3)
    known = [home.register(REMOTE) for _ in range(3)]
    with pytest.raises(Unauthorized, match="3 accounts, its limit"):  # specs 6: mass enrolment
        home.register(REMOTE)
    home.accounts.register(known[0].key.jwk, b"{}", NEW_ACCOUNT, REMOTE)
    home.clock.wait(300)  # in which they could have begun
    with pytest.raises(Unauthorized):
        home.register(REMOTE)
    assert home.store.count_accounts() == 3


def test_who_never_proved_a_name_makes_place(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 4)
    monkeypatch.setattr(module, "_PLACES", 2)
    printer = home.client()
    printer.obtain("printer.lan", "printer.local")
    made_up = [home.register(REMOTE) for _ in range(3)]
    home.accounts.signer(made_up[0].account.id)  # it is remembered
    home.clock.wait(301)
    late = home.register("192.168.1.30")
    for each in made_up[:2]:  # RFC 8555 section 7.3.1 of what the server does not know
        with pytest.raises(AccountDoesNotExist):
            home.accounts.signer(each.account.id)
    for each in (printer, made_up[2], late):
        home.accounts.signer(each.account.id)
    assert home.events.said("account: 2 that never proved a name made place: 4 is the limit")
    home.register(REMOTE)  # the other place


def test_a_wrong_pairing_key_makes_no_place(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(accounts=AccountRules(eab_required=True))
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 0)
    with pytest.raises(ExternalAccountRequired):
        home.register(REMOTE)


def test_a_full_disk_makes_no_account(home: Home) -> None:
    home.store.full = True
    with pytest.raises(StoreFull):
        home.register(REMOTE)
    home.store.full = False
    home.register(REMOTE)


# Update and deactivation, RFC 8555 sections 7.3.2 and 7.3.6


def test_contacts_are_replaced_and_the_rest_stays(home: Home) -> None:
    client = home.register(REMOTE, contact=["mailto:a@b.c"])
    update = to_json({"contact": ["mailto:d@e.f"], "termsOfServiceAgreed": True})
    changed = home.accounts.update(client.account, update)
    assert changed.contact == ("mailto:d@e.f",)
    assert changed.thumbprint == client.account.thumbprint
    assert home.accounts.signer(client.account.id)[0] == changed
    assert home.accounts.update(changed, b"{}") == changed
    assert home.accounts.update(changed, b'{"status": "valid"}') == changed
    assert home.accounts.update(changed, b'{"contact": []}').contact == ()


def test_a_deactivated_account_is_dead(home: Home) -> None:
    client = home.client()
    certificate = client.obtain("printer.lan", "printer.local")
    pending = client.order("printer.lan", {"type": "ip", "value": REMOTE})
    ready = client.order("printer.lan", "printer.local")
    home.accounts.signer(client.account.id)
    ended = home.accounts.update(client.account, b'{"status": "deactivated"}')
    assert ended.status is AccountStatus.DEACTIVATED
    assert home.events.said(client.account.id, "deactivated")
    with pytest.raises(SignatureInvalid, match="deactivated by its holder") as caught:
        home.accounts.signer(client.account.id)
    assert caught.value.status == 401
    with pytest.raises(SignatureInvalid):
        home.accounts.register(client.key.jwk, b"{}", NEW_ACCOUNT, REMOTE)
    for order in (pending, ready):  # what was open is cancelled
        kept = home.store.order(order.id)
        assert kept is not None
        assert kept.status is OrderStatus.INVALID
        assert "deactivated" in str(kept.error)
    kept_certificate = home.store.certificate(certificate.id)
    assert kept_certificate is not None
    assert kept_certificate.revoked_at is None  # and certificates are not revoked


def test_every_open_order_is_cancelled_however_many(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    client = home.client()
    orders = [client.order("printer.lan") for _ in range(5)]
    home.accounts.end(client.account, Event.REVOKE)
    assert {home.store.order(o.id).status for o in orders} == {OrderStatus.INVALID}  # type: ignore[union-attr]


def test_what_the_owner_ended_says_so(home: Home) -> None:
    client = home.client()
    home.accounts.end(client.account, Event.REVOKE)
    with pytest.raises(SignatureInvalid, match="revoked by the owner"):
        home.accounts.signer(client.account.id)


def test_nothing_rises_from_the_dead(home: Home) -> None:
    """A request that was authenticated before the end of its account must not undo the end."""
    client = home.register(REMOTE)
    new = AccountKey()
    home.accounts.end(client.account, Event.REVOKE)
    for act in (
        lambda: home.accounts.update(client.account, b'{"contact": []}'),
        lambda: home.accounts.update(client.account, b'{"status": "deactivated"}'),
        lambda: change_key(client, new),
    ):
        with pytest.raises(SignatureInvalid, match="revoked"):
            act()
    kept = home.store.account(client.account.id)
    assert kept is not None
    assert kept.status is AccountStatus.REVOKED
    assert home.store.account_by_thumbprint(new.jwk.thumbprint) is None


def test_an_old_record_does_not_bring_an_old_key_back(home: Home) -> None:
    client = home.register(REMOTE)
    new = AccountKey()
    change_key(client, new)
    home.accounts.update(client.account, b'{"contact": ["mailto:a@b.c"]}')  # an older request
    account, jwk = home.accounts.signer(client.account.id)
    assert jwk == new.jwk
    assert account.contact == ("mailto:a@b.c",)


def test_an_account_is_not_remembered_as_it_was_before_its_end(home: Home) -> None:
    client = home.register(REMOTE)
    reading = home.store.account

    def ended_meanwhile(account_id: str) -> Any:
        account = reading(account_id)
        home.store.account = reading  # type: ignore[method-assign]
        home.accounts.end(client.account, Event.REVOKE)
        return account

    home.store.account = ended_meanwhile  # type: ignore[method-assign]
    home.accounts.signer(client.account.id)  # this request came just before the end
    with pytest.raises(SignatureInvalid):
        home.accounts.signer(client.account.id)


def test_signers_are_remembered_but_not_for_ever(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CACHED_KEYS", 3)
    clients = [home.register(REMOTE) for _ in range(5)]
    for client in clients:
        assert home.accounts.signer(client.account.id) == (client.account, client.key.jwk)
    assert len(home.accounts._keys) == 3
    monkeypatch.setattr(home.store, "account", None)  # and not read again
    home.accounts.signer(clients[4].account.id)


def test_an_unknown_account_is_not_there(home: Home) -> None:
    with pytest.raises(AccountDoesNotExist, match="newAccount"):
        home.accounts.signer("nobody")


# Key change, RFC 8555 section 7.3.5


def change_key(client: Client, new: AccountKey, **changes: Any) -> Any:
    """Change the key, but for what `changes` says otherwise (of header or payload)."""
    payload = {"account": ACCOUNT + client.account.id, "oldKey": client.key.members}
    header: dict[str, Any] = {"jwk": new.members, "url": KEY_CHANGE}
    for name, value in changes.items():
        (payload if name in payload else header)[name] = value
    signer = changes.get("signer", new)
    header.pop("signer", None)
    inner = signer.sign(to_json(payload), **header)
    own = ACCOUNT + client.account.id
    return client.home.accounts.change_key(
        client.account, client.key.jwk, to_json(inner), KEY_CHANGE, own
    )


def test_a_key_is_changed(home: Home) -> None:
    client, new = home.client(), AccountKey()
    order = client.order("printer.lan", "printer.local")
    home.accounts.signer(client.account.id)
    changed = change_key(client, new)
    assert changed.thumbprint == new.jwk.thumbprint
    assert home.accounts.signer(client.account.id) == (changed, new.jwk)
    found = home.accounts.register(new.jwk, b'{"onlyReturnExisting": true}', NEW_ACCOUNT, REMOTE)
    assert found == (changed, False)
    with pytest.raises(AccountDoesNotExist):  # the old key is dead
        home.accounts.register(client.key.jwk, b'{"onlyReturnExisting": true}', "", REMOTE)
    client.key, client.account = new, changed
    assert client.finalize(client.prove(order)).certificate_id  # pending orders survive


def test_a_key_in_use_conflicts(home: Home) -> None:
    client, other = home.register(REMOTE), home.register(REMOTE)
    with pytest.raises(AccountExists, match="another account") as caught:
        change_key(client, other.key)
    assert (caught.value.status, caught.value.account_id) == (409, other.account.id)
    with pytest.raises(AccountExists, match="this account") as caught:
        change_key(client, client.key)
    assert caught.value.account_id == client.account.id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"account": ACCOUNT + "other"}, Malformed),
        ({"account": 7}, Malformed),
        ({"oldKey": AccountKey().members}, Malformed),
        ({"oldKey": "x"}, Malformed),
        ({"url": NEW_ACCOUNT}, Malformed),
        ({"nonce": "A" * 30}, Malformed),
        ({"jwk": None, "kid": ACCOUNT}, Malformed),
        ({"jwk": {"kty": "none"}}, BadPublicKey),
        ({"signer": AccountKey()}, SignatureInvalid),
        ({"alg": "ES384"}, BadPublicKey),
    ],
)
def test_a_wrong_inner_request_changes_nothing(
    home: Home, changes: dict[str, Any], error: type[AcmeError]
) -> None:
    client = home.register(REMOTE)
    with pytest.raises(error):
        change_key(client, AccountKey(), **changes)
    assert home.store.account(client.account.id) == client.account


def test_of_two_key_changes_at_once_one_counts(home: Home) -> None:
    client, first = home.register(REMOTE), AccountKey()
    home.store.meanwhile.append(lambda: change_key(client, first))
    with pytest.raises(Malformed, match="oldKey"):
        change_key(client, AccountKey())
    assert home.accounts.signer(client.account.id)[1] == first.jwk


# External account binding, RFC 8555 section 7.3.4


@pytest.fixture
def pairing(make_home: MakeHome) -> Home:
    return make_home(accounts=AccountRules(eab_required=True))


def bind(home: Home, pairing_key: EabKey, key: AccountKey, **changes: Any) -> dict[str, str]:
    """Return the binding, but for what `changes` says otherwise."""
    header: dict[str, Any] = {"kid": pairing_key.kid, "url": NEW_ACCOUNT}
    bound = changes.pop("bound", key.members)
    secret = changes.pop("secret", pairing_key.key)
    header.update(changes)
    header = {name: value for name, value in header.items() if value is not None}
    return mac(secret, to_json(bound), **header)


def test_a_pairing_key_binds_one_account_once(pairing: Home) -> None:
    pairing_key = pairing.accounts.make_pairing_key(3600, "the printer")
    assert (pairing_key.created, pairing_key.expires) == (NOW, NOW + 3600)
    assert len(pairing_key.key) == 32  # specs 6: 128 bits at least; RFC 7518 section 3.2: 256
    key = AccountKey()
    eab = bind(pairing, pairing_key, key)
    client = pairing.register(REMOTE, key, externalAccountBinding=eab)
    assert client.account.eab == eab  # echoed
    assert client.account.eab_kid == pairing_key.kid
    kept = pairing.store.eab_key(pairing_key.kid)
    assert kept is not None
    assert kept.used_by == client.account.id
    other = AccountKey()
    eab = bind(pairing, pairing_key, other)
    with pytest.raises(Unauthorized, match="unknown, used or expired"):
        pairing.register(REMOTE, other, externalAccountBinding=eab)
    (entry,) = (e for e in pairing.store.audit(9) if e.event == "pair")
    assert entry.subject == pairing_key.kid
    assert entry.detail == {"expires": NOW + 3600, "note": "the printer"}  # and never the key


def test_a_pairing_key_is_asked_for_where_it_is_needed(pairing: Home) -> None:
    with pytest.raises(ExternalAccountRequired, match="acmeiot pair") as caught:
        pairing.register(REMOTE)
    assert caught.value.status == 403


def test_a_pairing_key_is_checked_where_it_is_not_needed(home: Home) -> None:
    pairing_key, key = home.accounts.make_pairing_key(60, ""), AccountKey()
    eab = bind(home, pairing_key, key, secret=bytes(16))
    with pytest.raises(Unauthorized):
        home.register(REMOTE, key, externalAccountBinding=eab)
    home.register(REMOTE, key, externalAccountBinding=bind(home, pairing_key, key))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"secret": bytes(16)}, Unauthorized, "MAC is wrong"),
        ({"kid": "unknown"}, Unauthorized, "'unknown' is unknown"),
        ({"kid": None, "jwk": {}}, Malformed, "kid"),
        ({"url": KEY_CHANGE}, Malformed, "newAccount URL"),
        ({"nonce": "A" * 30}, Malformed, "no nonce"),
        ({"bound": AccountKey().members}, Malformed, "not the account's key"),
        ({"bound": {}}, BadPublicKey, "key type"),
    ],
)
def test_a_wrong_binding_makes_no_account(
    pairing: Home, changes: dict[str, Any], error: type[AcmeError], words: str
) -> None:
    pairing_key, key = pairing.accounts.make_pairing_key(60, ""), AccountKey()
    eab = bind(pairing, pairing_key, key, **changes)
    with pytest.raises(error, match=words):
        pairing.register(REMOTE, key, externalAccountBinding=eab)
    assert pairing.store.count_accounts() == 0
    pairing.register(REMOTE, key, externalAccountBinding=bind(pairing, pairing_key, key))


def test_only_hs256_binds(pairing: Home) -> None:
    key = AccountKey()
    eab = key.sign(to_json(key.members), kid="x", url=NEW_ACCOUNT)
    with pytest.raises(AcmeError, match="HS256"):
        pairing.register(REMOTE, key, externalAccountBinding=eab)


def test_a_pairing_key_expires(pairing: Home) -> None:
    pairing_key, key = pairing.accounts.make_pairing_key(60, ""), AccountKey()
    eab = bind(pairing, pairing_key, key)
    pairing.clock.wait(60)
    with pytest.raises(Unauthorized, match="expired"):
        pairing.register(REMOTE, key, externalAccountBinding=eab)
    pairing.clock.wait(-1)
    pairing.register(REMOTE, key, externalAccountBinding=eab)


def test_wrong_pairing_keys_are_limited(make_home: MakeHome) -> None:
    home = make_home(limits=True, accounts=AccountRules(eab_required=True))
    pairing_key, key = home.accounts.make_pairing_key(DAY, ""), AccountKey()
    wrong = bind(home, pairing_key, key, secret=bytes(16))
    right = bind(home, pairing_key, key)
    for _ in range(limits.EAB_FAILURES.burst):
        with pytest.raises(Unauthorized):
            home.register(REMOTE, key, externalAccountBinding=wrong)
    with pytest.raises(RateLimited, match="wrong pairing keys"):
        home.register(REMOTE, key, externalAccountBinding=right)
    home.register("192.168.1.21", key, externalAccountBinding=right)


def test_of_two_devices_with_one_pairing_key_one_gets_in(pairing: Home) -> None:
    pairing_key = pairing.accounts.make_pairing_key(60, "")
    keys, made = [AccountKey() for _ in range(8)], []

    def register(key: AccountKey) -> None:
        try:
            eab = bind(pairing, pairing_key, key)
            made.append(pairing.register(REMOTE, key, externalAccountBinding=eab))
        except Unauthorized:
            pass

    threads = [threading.Thread(target=register, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == pairing.store.count_accounts() == 1

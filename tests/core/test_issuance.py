"""finalize: the CSR, the last look, the certificate, and what can come between (R-23)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from acmeiot.core.policy import BACKDATE, Policy
from acmeiot.core.ports import StoreFull
from acmeiot.core.records import AuditEntry, Order
from acmeiot.protocol.errors import (
    AcmeError,
    BadCsr,
    Malformed,
    NotFound,
    OrderNotReady,
    SignatureInvalid,
    Unauthorized,
)
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.states import Event, OrderStatus
from tests.core.conftest import MakeHome
from tests.core.fakes import DAY, NOW
from tests.core.home import Client, Home
from tests.core.keys import AccountKey, csr, leaf_key

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def client(home: Home) -> Client:
    return home.client()


def ready(client: Client) -> Order:
    order = client.prove(client.order(*BOTH))
    assert order.status is OrderStatus.READY
    return order


def entries(home: Home, event: str) -> list[AuditEntry]:
    return [entry for entry in home.store.audit(1000) if entry.event == event]


def test_a_certificate_is_issued(client: Client) -> None:
    home, key, order = client.home, leaf_key(), ready(client)
    done = client.finalize(order, key)
    assert done.status is OrderStatus.VALID
    certificate = client.certificate(done)
    assert certificate.order_id == order.id
    assert certificate.account_id == client.account.id
    assert certificate.identifiers == order.identifiers
    assert (certificate.revoked_at, certificate.reason, certificate.replaced) == (None, None, False)
    assert certificate.not_before == NOW - BACKDATE
    assert certificate.not_after == NOW - BACKDATE + 30 * DAY
    leaf = x509.load_der_x509_certificate(certificate.der)
    assert f"{leaf.serial_number:x}" == certificate.serial
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(BOTH)
    (entry,) = entries(home, "issue")
    assert entry.subject == certificate.serial
    assert entry.detail["names"] == list(BOTH)
    assert entry.detail["account"] == client.account.id
    assert entry.detail["from"] == client.address
    assert home.events.said("issued:", *BOTH, client.address, certificate.serial, "EC P-384")
    assert home.store.verify_audit() is None


def test_finalize_again_gives_the_same_certificate(client: Client) -> None:
    order = ready(client)
    first = client.finalize(order)
    assert client.finalize(order) == first  # after a lost answer
    assert client.finalize(order, der=b"anything") == first
    assert len(client.home.store.certificates()) == 1


def test_an_order_that_is_not_ready_is_not_finished(client: Client) -> None:
    order = client.order(*BOTH)
    with pytest.raises(OrderNotReady, match="pending") as caught:
        client.finalize(order)
    assert caught.value.status == 403
    client.home.authorizations.deactivate(client.account, order.authorizations[0])
    with pytest.raises(OrderNotReady, match="invalid"):
        client.finalize(order)


# A bad CSR leaves the order ready


def forged(signed: bytes) -> bytes:
    """Return it with another signature, whose last octet is never what it was."""
    return signed[:-1] + bytes([signed[-1] ^ 1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: csr(leaf_key(ec.SECP256R1()), *BOTH), "--elliptic-curve secp384r1"),
        (lambda: csr(rsa.generate_private_key(65537, 2048), *BOTH), "RSA 2048 is below"),
        (lambda: csr(leaf_key(), "printer.lan"), "lacks names"),
        (lambda: csr(leaf_key(), *BOTH, "nas.lan"), "more than the order"),
        (lambda: csr(leaf_key(), *BOTH, common_name="nas.lan"), "common name"),
        (lambda: forged(csr(leaf_key(), *BOTH)), "CSR"),
        (lambda: b"\x30\x00", "PKCS #10"),
    ],
)
def test_a_bad_csr_leaves_the_order_ready(
    client: Client, make: Callable[[], bytes], words: str
) -> None:
    order = ready(client)
    with pytest.raises(BadCsr, match=words):
        client.finalize(order, der=make())
    assert client.read(order).status is OrderStatus.READY
    assert client.home.events.said("refused: CSR for printer.lan, printer.local", words)
    done = client.finalize(order, der=csr(leaf_key(), *BOTH, common_name="printer.lan"))
    assert done.status is OrderStatus.VALID


@pytest.mark.parametrize("payload", [b"{}", b"", b'{"csr": 7}', b'{"csr": "-----BEGIN"}'])
def test_a_csr_that_is_none_is_malformed(client: Client, payload: bytes) -> None:
    order = ready(client)
    with pytest.raises(Malformed):
        client.home.orders.finalize(client.account, order.id, payload)
    assert client.read(order).status is OrderStatus.READY


def test_one_name_is_for_compat(make_home: MakeHome) -> None:
    client = make_home(policy=Policy(offer_compat=True)).client()
    order = client.prove(client.order("printer.lan"))
    with pytest.raises(BadCsr, match="names a device twice"):  # A-3.2.3-3
        client.finalize(order)
    compat = client.order("printer.lan", profile="compat")
    done = client.finalize(compat, leaf_key(ec.SECP256R1()))
    assert client.certificate(done).profile == "compat"


def test_rsa_keys_get_key_encipherment(client: Client) -> None:
    key = rsa.generate_private_key(65537, 3072)
    certificate = client.certificate(client.finalize(ready(client), key))
    leaf = x509.load_der_x509_certificate(certificate.der)
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    plain = x509.load_der_x509_certificate(client.obtain(*BOTH).der)
    assert not plain.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment


def test_a_p521_key_is_taken_with_a_warning(client: Client) -> None:
    client.finalize(ready(client), leaf_key(ec.SECP521R1()))
    assert any("P-521 key keeps Chrome" in line for line in client.home.events.warnings)
    client.obtain(*BOTH)
    assert len(client.home.events.warnings) == 1


# Keys, decision 7


def test_a_key_of_another_account_is_refused(client: Client) -> None:
    key = leaf_key()
    client.finalize(ready(client), key)
    client.finalize(ready(client), key)  # its own it may keep
    nas = client.home.client("nas", "192.168.1.30", "02::30")
    names = ("nas.lan", "nas.local")
    order = nas.prove(nas.order(*names))
    with pytest.raises(BadCsr, match="in another account's certificate; make a fresh key"):
        nas.finalize(order, key)
    assert nas.finalize(order).status is OrderStatus.VALID


def test_a_key_of_a_forgotten_device_is_refused_for_ever(client: Client) -> None:
    key = leaf_key()
    client.finalize(ready(client), key)
    client.home.owner.forget("printer.lan")
    again = client.home.register(client.address)
    with pytest.raises(BadCsr, match="another account"):  # specs 6: sold device
        again.finalize(ready(again), key)


@pytest.mark.parametrize("whose", ["own", "other", "older"])
def test_an_account_key_is_refused(client: Client, whose: str) -> None:
    curve = ec.SECP384R1()
    key = leaf_key(curve)
    point = key.public_key().public_numbers()
    x, y = (b64encode(number.to_bytes(48, "big")) for number in (point.x, point.y))
    members = {"kty": "EC", "crv": "P-384", "x": x, "y": y}

    class P384Account(AccountKey):
        @property
        def members(self) -> dict[str, str]:
            return members

    home = client.home
    holder = home.register(client.address if whose == "own" else "192.168.1.99", P384Account())
    asker = holder if whose == "own" else client
    if whose == "older":
        home.accounts.end(holder.account, Event.DEACTIVATE)
    order = ready(asker)
    with pytest.raises(BadCsr, match="account key"):
        asker.finalize(order, key)
    assert asker.read(order).status is OrderStatus.READY


# What comes between: before the CSR is read, and while the leaf is signed


def forget(client: Client) -> None:
    client.home.owner.forget("printer.lan")


def block(client: Client) -> None:
    client.home.owner.block("printer.lan")


def block_the_mac(client: Client) -> None:
    """Block another account that is the same device."""
    twin = client.home.register(client.address)
    twin.prove(twin.order(*BOTH))
    client.home.devices.block(client.home.device(twin).id)


def give_up(client: Client) -> None:
    (order,) = (o for o in client.home.orders.list(client.account, None, 9))
    authorization = client.home.orders.read(client.account, order).authorizations[0]
    client.home.authorizations.deactivate(client.account, authorization)


def end_account(client: Client) -> None:
    client.home.accounts.update(client.account, b'{"status": "deactivated"}')


def let_it_expire(client: Client) -> None:
    client.home.clock.wait(3600)


def prune(client: Client) -> None:
    client.home.store.delete("authorizations")


def prune_order(client: Client) -> None:
    client.home.store.delete("orders")


def use_key_elsewhere(client: Client) -> None:
    nas = client.home.client("nas", "192.168.1.30", "02::30")
    order = nas.prove(nas.order("nas.lan", "nas.local"))
    nas.finalize(order, KEY)


KEY = leaf_key()
BETWEEN: list[tuple[Callable[[Client], None], type[AcmeError], str]] = [
    (block, Unauthorized, "has blocked this device"),
    (block_the_mac, Unauthorized, "has blocked this device"),
    (let_it_expire, OrderNotReady, "printer.lan, printer.local is no longer valid"),
    (prune, OrderNotReady, "one of its names is no longer valid"),
    (use_key_elsewhere, BadCsr, "another account"),
]
GONE: list[tuple[Callable[[Client], None], type[AcmeError], str]] = [
    (give_up, OrderNotReady, "invalid"),
    (forget, OrderNotReady, "invalid"),
    (end_account, OrderNotReady, "invalid"),
    (prune_order, NotFound, "order"),
]


@pytest.mark.parametrize(("act", "error", "words"), [*BETWEEN, *GONE])
def test_what_changed_before_finalize_counts(
    client: Client,
    act: Callable[[Client], None],
    error: type[AcmeError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = ready(client)
    act(client)
    mine = client.home.store.certificates_of(client.account.id)
    monkeypatch.setattr(client.home.issuer, "issue", None)  # nothing is signed in vain
    with pytest.raises(error, match=words):
        client.finalize(order, KEY)
    assert client.home.store.certificates_of(client.account.id) == mine


@pytest.mark.parametrize(("act", "error", "words"), [*BETWEEN, *GONE])
def test_what_changed_while_the_leaf_was_signed_counts(
    client: Client, act: Callable[[Client], None], error: type[AcmeError], words: str
) -> None:
    order, home = ready(client), client.home
    signing = home.issuer.issue
    signed = []

    def sign(request: Any) -> Any:
        home.orders._issuance._issuer = home.issuer
        act(client)
        signed.append(signing(request))
        return signed[0]

    class Slow:
        read_csr, longest, issue = home.issuer.read_csr, home.issuer.longest, staticmethod(sign)

    home.orders._issuance._issuer = Slow()  # type: ignore[assignment]
    with pytest.raises(error, match=words):
        client.finalize(order, KEY)
    assert signed  # and thrown away: nobody ever saw it
    assert home.store.certificates_of(client.account.id) == []
    assert home.store.certificate_by_serial(signed[0].serial) is None
    subjects = {entry.subject for entry in entries(home, "issue")}
    assert signed[0].serial not in subjects
    assert home.store.verify_audit() is None


def test_an_ended_account_gets_nothing_even_for_an_open_order(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order's own state is one lock, the account's another."""
    order, home = ready(client), client.home
    monkeypatch.setattr(home.accounts, "_cancel_orders", lambda account: None)
    end_account(client)
    with pytest.raises(SignatureInvalid, match="deactivated"):
        client.finalize(order)


def test_a_device_that_nobody_knows_gets_nothing(client: Client) -> None:
    order = ready(client)
    client.home.devices.forget(client.home.device(client).id)
    with pytest.raises(Unauthorized, match="this device is forgotten"):
        client.finalize(order)


# At the same time


def at_once(client: Client, order: Order, act: Callable[[], Any], when: str) -> Order:
    """Finalize, and let `act` come while the CSR is read or the leaf is signed."""
    home = client.home
    issuance = home.orders._issuance
    doing = getattr(home.issuer, when)

    def do(argument: Any) -> Any:
        issuance._issuer = home.issuer
        act()
        return doing(argument)

    class Slow:
        read_csr, longest, issue = home.issuer.read_csr, home.issuer.longest, home.issuer.issue

    setattr(Slow, when, staticmethod(do))
    issuance._issuer = Slow()  # type: ignore[assignment]
    return client.finalize(order)


def test_finalize_while_another_signs_is_processing(client: Client) -> None:
    order = ready(client)
    seen: list[Order] = []

    def again() -> None:
        seen.append(client.read(order))
        seen.append(client.finalize(order))
        seen.append(client.read(order))

    done = at_once(client, order, again, "issue")
    assert [each.status for each in seen] == [OrderStatus.PROCESSING] * 3
    assert client.read(order) == done
    assert len(client.home.store.certificates()) == 1


def test_the_slower_of_two_finalizes_gives_the_same_certificate(client: Client) -> None:
    order = ready(client)
    seen: list[Order] = []
    done = at_once(client, order, lambda: seen.append(client.finalize(order)), "read_csr")
    assert done == seen[0]
    assert len(client.home.store.certificates()) == 1  # one order, one certificate
    assert len(entries(client.home, "issue")) == 1


def test_finalize_while_another_reads_a_csr_is_processing(client: Client) -> None:
    order = ready(client)
    orders = client.home.orders
    orders._finishing.add(order.id)
    shown = client.finalize(order)
    assert shown.status is OrderStatus.PROCESSING
    orders._finishing.clear()
    late: list[Order] = []

    def begin() -> None:
        orders._finishing.add(order.id)

    late.append(at_once(client, order, begin, "read_csr"))
    assert late[0].status is OrderStatus.PROCESSING
    orders._finishing.clear()
    assert client.finalize(order).status is OrderStatus.VALID


# The store, R-36


def test_a_full_disk_keeps_nothing_and_hands_nothing_out(client: Client) -> None:
    home, order = client.home, ready(client)
    home.store.full = True
    with pytest.raises(StoreFull):
        client.finalize(order)
    home.store.full = False
    assert home.store.certificates() == []
    assert entries(home, "issue") == []
    assert client.read(order).status is OrderStatus.READY
    assert client.finalize(order).status is OrderStatus.VALID


def test_a_serial_that_is_there_already_is_never_issued_twice(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = client.home
    first = client.obtain(*BOTH)
    monkeypatch.setattr(home.issuer, "_random", lambda n: bytes(range(1, n + 1)))
    client.obtain(*BOTH)
    order = ready(client)
    with pytest.raises(ValueError, match="serial"):
        client.finalize(order)
    assert len(home.store.certificates()) == 2
    monkeypatch.undo()
    assert client.finalize(order).status is OrderStatus.VALID
    assert client.certificate(client.read(order)).serial != first.serial


def test_all_of_an_issuance_is_kept_over_a_restart(client: Client) -> None:
    certificate = client.obtain(*BOTH)
    client.home.start()
    assert client.home.orders.certificate(client.account, certificate.id) == certificate
    assert client.home.accounts.signer(client.account.id)[0] == client.account

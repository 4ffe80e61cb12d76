"""What is forgotten, what never is, and what the caps take first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    DeviceStatus,
    OrderStatus,
)
from acmeiot.store import prune
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples
from tests.store.samples import DAY, NOW

OLD = NOW - 400 * DAY


def cap(monkeypatch: pytest.MonkeyPatch, table: str, most: int) -> None:
    """Lower one cap, and let nothing grow too old meanwhile."""
    rules = tuple(
        replace(rule, cap=most, old="0") if rule.table == table else rule for rule in prune.RULES
    )
    monkeypatch.setattr(prune, "RULES", rules)


def test_orders(store: SqliteStore) -> None:
    alive = samples.certificate("a", not_after=NOW)
    dead = samples.certificate("a", not_after=NOW - 1)
    store.put_certificate(alive)
    store.put_certificate(dead)
    pending, ready = OrderStatus.PENDING, OrderStatus.READY
    valid, invalid = OrderStatus.VALID, OrderStatus.INVALID
    kept = [
        samples.order("a", created=OLD, expires=NOW - DAY, status=pending),
        samples.order("a", created=OLD, expires=NOW - DAY, status=ready),
        samples.order("a", created=NOW - 7 * DAY, expires=OLD, status=invalid),
        samples.order("a", created=NOW - 7 * DAY, expires=OLD, status=valid),
        samples.order("a", created=OLD, expires=OLD, status=valid, certificate_id=alive.id),
    ]
    gone = [
        samples.order("a", created=OLD, expires=NOW - DAY - 1, status=pending),
        samples.order("a", created=OLD, expires=NOW - DAY - 1, status=ready),
        samples.order("a", created=NOW - 7 * DAY - 1, status=invalid),
        samples.order("a", created=NOW - 7 * DAY - 1, status=valid, certificate_id=dead.id),
        samples.order("a", created=NOW - 7 * DAY - 1, status=valid, certificate_id="pruned"),
    ]
    for each in (*kept, *gone):
        store.put_order(each)
    assert store.prune(NOW) == len(gone)
    assert [each for each in gone if store.order(each.id)] == []
    assert [each for each in kept if not store.order(each.id)] == []


def test_authorizations(store: SqliteStore) -> None:
    status = AuthorizationStatus
    kept = [
        samples.authorization("a", created=OLD, expires=NOW - DAY),
        samples.authorization("a", created=OLD, status=status.VALID, expires=NOW - 7 * DAY),
        *(
            samples.authorization("a", created=NOW - 7 * DAY, status=each, expires=OLD)
            for each in (status.INVALID, status.DEACTIVATED, status.EXPIRED, status.REVOKED)
        ),
    ]
    gone = [
        samples.authorization("a", created=OLD, expires=NOW - DAY - 1),
        samples.authorization("a", created=OLD, status=status.VALID, expires=NOW - 7 * DAY - 1),
        *(
            samples.authorization("a", created=NOW - 7 * DAY - 1, status=each)
            for each in (status.INVALID, status.DEACTIVATED, status.EXPIRED, status.REVOKED)
        ),
    ]
    for each in (*kept, *gone):
        store.put_authorization(each)
    assert store.prune(NOW) == len(gone)
    assert store.authorizations([each.id for each in (*gone, *kept)]) == kept


def test_certificates(store: SqliteStore) -> None:
    """A CRL names what is revoked and unexpired, so that stays, however old the decision."""
    kept = [
        samples.certificate("a", not_before=OLD, not_after=NOW - 90 * DAY),
        samples.certificate("a", not_before=OLD, revoked_at=OLD),
    ]
    gone = samples.certificate("a", not_after=NOW - 90 * DAY - 1, revoked_at=OLD)
    for each in (*kept, gone):
        store.put_certificate(each)
    assert store.prune(NOW) == 1
    assert store.certificates() == kept


def test_devices_and_eab_keys(store: SqliteStore) -> None:
    forgotten = DeviceStatus.FORGOTTEN
    tied = samples.device("a", status=forgotten, last_seen=OLD)
    kept = [
        tied,
        samples.device("a", status=DeviceStatus.BLOCKED, last_seen=OLD),
        samples.device("a", status=DeviceStatus.APPROVED, last_seen=OLD),
        samples.device("a", status=forgotten, last_seen=OLD, decided_at=NOW - 180 * DAY),
        samples.device("a", status=DeviceStatus.PENDING, last_seen=NOW - 7 * DAY),
    ]
    gone = [
        samples.device("a", status=forgotten, last_seen=NOW, decided_at=NOW - 180 * DAY - 1),
        samples.device("a", status=forgotten, last_seen=OLD),
        samples.device("a", status=DeviceStatus.PENDING, last_seen=NOW - 7 * DAY - 1),
    ]
    for each in (*kept, *gone):
        store.put_device(each)
    store.put_tie(samples.tie(tied.id))
    young = samples.eab_key(expires=NOW - 30 * DAY)
    old = samples.eab_key(expires=NOW - 30 * DAY - 1)
    store.put_eab_key(young)
    store.put_eab_key(old)
    assert store.prune(NOW) == len(gone) + 1
    assert store.devices() == kept
    assert store.eab_key(young.kid) == young
    assert store.eab_key(old.kid) is None


def test_accounts(store: SqliteStore) -> None:
    """An account with anything of its own stays; so does one the owner took away."""
    names = ["order", "certificate", "device", "tie", "revoked", "young", "unused", "left"]
    accounts = {name: samples.account(id=name, created=NOW - 30 * DAY - 1) for name in names}
    accounts["young"] = replace(accounts["young"], created=NOW - 30 * DAY)
    accounts["revoked"] = replace(accounts["revoked"], status=AccountStatus.REVOKED)
    accounts["left"] = replace(accounts["left"], status=AccountStatus.DEACTIVATED)
    for each in accounts.values():
        store.put_account(each)
    store.put_order(samples.order("order"))
    store.put_certificate(samples.certificate("certificate"))
    store.put_device(samples.device("device", status=DeviceStatus.BLOCKED))
    store.put_tie(samples.tie("x", account_id="tie"))
    assert store.prune(NOW) == 2
    assert [each.id for each in store.accounts()] == names[:-2]


def test_an_account_goes_with_the_last_of_what_it_had(store: SqliteStore) -> None:
    store.put_account(samples.account(id="a", created=OLD))
    store.put_order(samples.order("a", created=OLD, expires=OLD))
    assert store.prune(NOW) == 2
    assert store.count_accounts() == 0


def test_nothing_to_do_writes_nothing(store: SqliteStore) -> None:
    store.put_account(samples.account())
    before = store._database._connection.total_changes
    assert store.prune(NOW) == 0
    assert store._database._connection.total_changes == before


def test_one_call_takes_a_batch(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule is a transaction of its own and bounded, so that an order never waits long."""
    monkeypatch.setattr(prune, "BATCH", 3)
    for _ in range(8):
        store.put_order(samples.order("a", expires=OLD))
    assert [store.prune(NOW) for _ in range(4)] == [3, 3, 2, 0]


def test_cap_of_orders(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the final ones, then the oldest requests; never one whose certificate lives."""
    alive = samples.certificate("a")
    store.put_certificate(alive)
    issued = samples.order("a", status=OrderStatus.VALID, certificate_id=alive.id)
    waiting = [samples.order("a") for _ in range(3)]
    failed = samples.order("a", status=OrderStatus.INVALID)
    for each in (issued, *waiting, failed):
        store.put_order(each)
    cap(monkeypatch, "orders", 4)
    assert store.prune(NOW) == 1
    assert store.order(failed.id) is None
    cap(monkeypatch, "orders", 2)
    assert store.prune(NOW) == 2
    assert [store.order(each.id) for each in waiting] == [None, None, waiting[2]]
    cap(monkeypatch, "orders", 0)
    assert store.prune(NOW) == 1
    assert store.order(issued.id) == issued


def test_cap_of_authorizations(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = samples.authorization("a", status=AuthorizationStatus.VALID)
    pending = samples.authorization("a")
    failed = samples.authorization("a", status=AuthorizationStatus.INVALID)
    for each in (valid, pending, failed):
        store.put_authorization(each)
    for most, left in ((2, [valid, pending]), (1, [valid])):
        cap(monkeypatch, "authorizations", most)
        assert store.prune(NOW) == 1
        assert store.authorizations([valid.id, pending.id, failed.id]) == left


def test_cap_of_certificates_spares_the_living(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = [samples.certificate("a", not_after=NOW - age) for age in (1, 2)]
    living = [samples.certificate("a"), samples.certificate("a", revoked_at=NOW)]
    for each in (*dead, *living):
        store.put_certificate(each)
    cap(monkeypatch, "certificates", 3)
    assert store.prune(NOW) == 1
    assert store.certificates() == [dead[0], *living]
    cap(monkeypatch, "certificates", 0)
    assert store.prune(NOW) == 1
    assert store.certificates() == living


def test_cap_of_devices(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of strangers ends here, and what the owner decided does not go with it."""
    decided = [
        samples.device("a", status=each) for each in (DeviceStatus.APPROVED, DeviceStatus.BLOCKED)
    ]
    old = samples.device("b", last_seen=NOW - 5)
    new = samples.device("c")
    forgotten = samples.device("d", status=DeviceStatus.FORGOTTEN)
    for each in (*decided, old, new, forgotten):
        store.put_device(each)
    for most, left in ((4, [*decided, old, new]), (3, [*decided, new]), (0, decided)):
        cap(monkeypatch, "devices", most)
        assert store.prune(NOW) == 1
        assert store.devices() == left


def test_cap_of_eab_keys(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, used = samples.eab_key(), samples.eab_key(used_by="a")
    for each in (waiting, used):
        store.put_eab_key(each)
    cap(monkeypatch, "eab_keys", 0)
    assert store.prune(NOW) == 1
    assert store.eab_key(waiting.kid) == waiting


def test_cap_of_accounts(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, early, late = samples.account(), samples.account(created=NOW - 1), samples.account()
    for each in (busy, late, early):
        store.put_account(each)
    store.put_device(samples.device(busy.id))
    cap(monkeypatch, "accounts", 2)
    assert store.prune(NOW) == 1
    assert store.accounts() == [busy, late]
    cap(monkeypatch, "accounts", 0)
    assert store.prune(NOW) == 1
    assert store.accounts() == [busy]


def test_accounts_that_never_proved_a_name(store: SqliteStore) -> None:
    """First those without an order, then the oldest; never one that has or had something."""
    new = samples.account()
    ordered, old = samples.account(created=OLD), samples.account(created=NOW - 1)
    device, certificate, tied = (samples.account(created=OLD) for _ in range(3))
    paired = samples.account(created=OLD, eab_kid="key")
    ended = samples.account(created=OLD, status=AccountStatus.REVOKED)
    busy = [new, device, certificate, tied, paired, ended]
    for each in (ordered, old, *busy):
        store.put_account(each)
    store.put_order(samples.order(ordered.id))
    store.put_device(samples.device(device.id, status=DeviceStatus.PENDING))
    store.put_certificate(samples.certificate(certificate.id))
    store.put_tie(samples.tie("x", account_id=tied.id))
    assert store.drop_unproved_accounts(NOW, 1) == 1
    assert store.account(old.id) is None
    assert store.accounts() == [ordered, *busy]
    assert store.drop_unproved_accounts(NOW, 9) == 1
    assert store.accounts() == busy
    assert store.drop_unproved_accounts(NOW, 9) == 0

"""Every verb of core.ports.Store keeps its contract."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from acmeiot.core import ports
from acmeiot.core.records import AuditEntry
from acmeiot.protocol.names import Identifier, dns
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    DeviceStatus,
    OrderStatus,
)
from acmeiot.store import rows
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples
from tests.store.doubting import DoubtingStore
from tests.store.samples import DAY, NOW, PRINTER

VALID = AuthorizationStatus.VALID


def test_it_is_the_port(store: SqliteStore) -> None:
    """The type checker compares every signature; this line is what it looks at."""
    port: ports.Store = store
    assert port.count_accounts() == 0


# kind: (how to put one, how to read it back by its own key)
VERBS: dict[str, tuple[Callable[[SqliteStore, Any], None], Callable[[SqliteStore, Any], Any]]] = {
    "accounts": (SqliteStore.put_account, lambda s, r: s.account(r.id)),
    "orders": (SqliteStore.put_order, lambda s, r: s.order(r.id)),
    "authorizations": (SqliteStore.put_authorization, lambda s, r: s.authorization(r.id)),
    "certificates": (SqliteStore.put_certificate, lambda s, r: s.certificate(r.id)),
    "devices": (SqliteStore.put_device, lambda s, r: s.device(r.id)),
    "ties": (SqliteStore.put_tie, lambda s, r: s.tie(r.name)),
    "eab_keys": (SqliteStore.put_eab_key, lambda s, r: s.eab_key(r.kid)),
}


def test_what_was_undone_is_not_remembered(store: SqliteStore) -> None:
    kept, lost = samples.order("a"), samples.order("a")
    store.put_order(kept)
    with pytest.raises(_TakenBackError), store.writing():  # noqa: PT012
        store.put_order(replace(kept, status=OrderStatus.INVALID))
        store.put_order(lost)
        raise _TakenBackError
    assert (store.order(kept.id), store.order(lost.id)) == (kept, None)


def test_what_is_deleted_is_not_remembered(store: SqliteStore) -> None:
    order, tie = samples.order("a", expires=NOW), samples.tie("device")
    store.put_order(order)
    store.put_tie(tie)
    store.drop_ties(tie.device_id)
    store.prune(NOW + 30 * DAY)
    assert (store.order(order.id), store.tie(tie.name)) == (None, None)


def test_a_record_that_is_not_remembered_is_replaced(store: SqliteStore) -> None:
    """More are written than are remembered: one that is known is none twice."""
    orders = [samples.order("a") for _ in range(100)]
    for order in orders:
        store.put_order(order)
    for order in orders:
        store.put_order(replace(order, status=OrderStatus.READY))
    assert store.orders_of("a", None, 1000) == [order.id for order in orders]
    assert {store.order(order.id).status for order in orders} == {OrderStatus.READY}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", VERBS)
def test_a_record_comes_back_as_it_went(kind: str) -> None:
    """Put, read, put another under the same key, read: whatever the fields' types admit."""
    put, get = VERBS[kind]
    strategy = getattr(samples, kind)
    key = "name" if kind == "ties" else "kid" if kind == "eab_keys" else "id"

    with tempfile.TemporaryDirectory() as folder:
        store = DoubtingStore(Path(folder))

        @given(strategy, strategy)
        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        def trip(one: Any, other: Any) -> None:
            with pytest.raises(_TakenBackError), store.writing():  # noqa: PT012
                assert get(store, one) is None
                put(store, one)
                assert get(store, one) == one
                other = replace(other, **{key: getattr(one, key)})
                put(store, other)
                assert get(store, one) == other
                raise _TakenBackError  # so that the examples do not meet each other
            assert get(store, one) is None

        trip()
        store.close()


class _TakenBackError(Exception):
    pass


def test_what_is_not_there(store: SqliteStore) -> None:
    """A read of what is not there returns None or an empty list."""
    reads: list[object] = [
        store.account("x"), store.account_by_thumbprint("x"), store.order("x"),
        store.authorization("x"), store.usable_authorization("x", PRINTER, NOW),
        store.certificate("x"), store.certificate_by_serial("ab"), store.certificate_by_ari("a.b"),
        store.spki_owner("00" * 32), store.device("x"), store.device_of("x"), store.tie("x"),
        store.eab_key("x"), store.fact("x"), store.verify_audit(),
    ]  # fmt: skip
    assert reads == [None] * len(reads)
    lists: list[list[Any]] = [
        store.accounts(), store.orders_of("x", None, 9), store.orders_with("x"),
        store.authorizations(["x"]), store.valid_authorizations_of("x", NOW),
        store.certificates_of("x"), store.certificates(), store.revoked("x", NOW),
        store.devices(), store.audit(9),
    ]  # fmt: skip
    assert lists == [[]] * len(lists)
    assert store.count_open_orders("x", NOW) == store.newest_issue() == 0
    assert store.audit_head() == (0, "00" * 32)


@pytest.mark.parametrize("text", ["", "xyz", "0a", "AB", "-1", " 1", "1_0", "٣", "1" * 5000])
def test_texts_that_no_certificate_can_have(store: SqliteStore, text: str) -> None:
    """These come out of URLs; they find nothing and break nothing."""
    assert store.certificate_by_serial(text) is None
    assert store.certificate_by_ari(text) is None
    assert store.certificate_by_ari(f"AAAA.{text}") is None
    assert store.spki_owner(text) is None


def test_accounts(store: SqliteStore) -> None:
    one, two = samples.account(), samples.account()
    store.put_account(one)
    store.put_account(two)
    assert store.count_accounts() == 2
    assert store.accounts() == [one, two]
    assert store.account_by_thumbprint(two.thumbprint) == two
    rolled = replace(one, thumbprint="new", status=AccountStatus.DEACTIVATED)
    store.put_account(rolled)
    assert store.account_by_thumbprint("new") == rolled
    assert store.account_by_thumbprint(one.thumbprint) is None


def test_two_accounts_never_share_a_key(store: SqliteStore) -> None:
    """R-17: the store is the last gate, for whoever comes second."""
    one, two = samples.account(), samples.account()
    store.put_account(one)
    with pytest.raises(ValueError, match="thumbprint"):
        store.put_account(replace(two, thumbprint=one.thumbprint))
    store.put_account(two)
    with pytest.raises(ValueError, match="thumbprint"):
        store.put_account(replace(two, thumbprint=one.thumbprint))
    assert store.accounts() == [one, two]


def test_orders_of_pages_oldest_first_without_invalid_ones(store: SqliteStore) -> None:
    orders = [samples.order("a", created=NOW - number) for number in range(5)]
    for each in orders:
        store.put_order(each)
        store.put_order(samples.order("b"))
    store.put_order(replace(orders[1], status=OrderStatus.INVALID))
    store.put_order(replace(orders[0], status=OrderStatus.VALID))  # does not change its place
    ids = [orders[number].id for number in (0, 2, 3, 4)]
    assert store.orders_of("a", None, 9) == ids
    assert store.orders_of("a", None, 2) == ids[:2]
    assert store.orders_of("a", ids[1], 9) == ids[2:]
    assert store.orders_of("a", orders[1].id, 9) == ids[1:]
    assert store.orders_of("a", "no such order", 9) == []


def test_orders_with(store: SqliteStore) -> None:
    """Only open orders, only whole ids: `authorization-1` is not in `authorization-11`."""
    short = samples.authorization("a", id="authorization")
    longer = samples.authorization("a", id="authorization-x")
    for each in (short, longer):
        store.put_authorization(each)
    both = samples.order("a", authorizations=(short.id, longer.id))
    ready = samples.order("a", authorizations=(short.id,), status=OrderStatus.READY)
    done = samples.order("a", authorizations=(short.id,), status=OrderStatus.VALID)
    other = samples.order("a", authorizations=(longer.id,))
    for order in (both, ready, done, other):
        store.put_order(order)
    assert store.orders_with(short.id) == [both, ready]
    assert store.orders_with(longer.id) == [both, other]
    store.put_order(replace(both, status=OrderStatus.INVALID))
    assert store.orders_with(longer.id) == [other]


def test_order_replacing(store: SqliteStore) -> None:
    """RFC 9773 section 5: one successor; an order that failed is none."""
    first = samples.order("a", replaces="old", status=OrderStatus.VALID)
    second = samples.order("b", replaces="old")
    for each in (first, second, samples.order("a", replaces="other"), samples.order("a")):
        store.put_order(each)
    assert store.order_replacing("old") == second
    store.put_order(replace(second, status=OrderStatus.INVALID))
    assert store.order_replacing("old") == first
    assert store.order_replacing("new") is None


def test_count_open_orders(store: SqliteStore) -> None:
    for status in OrderStatus:
        store.put_order(samples.order("a", status=status))
        store.put_order(samples.order("a", status=status, expires=NOW))
    store.put_order(samples.order("b"))
    assert store.count_open_orders("a", NOW) == 2
    assert store.count_open_orders("a", NOW - 1) == 4


def test_authorizations_keep_the_order_asked_for(store: SqliteStore) -> None:
    one, two = samples.authorization("a"), samples.authorization("b")
    store.put_authorization(one)
    store.put_authorization(two)
    assert store.authorizations([two.id, "gone", one.id]) == [two, one]


def test_usable_authorization(store: SqliteStore) -> None:
    """Exactly this identifier of this account: valid, unexpired, no wildcard."""
    good = samples.authorization("a", status=VALID)
    for wrong in (
        replace(good, id="1", account_id="b"),
        replace(good, id="2", identifier=dns("printer.local")),
        replace(good, id="3", identifier=Identifier("ip", PRINTER.value)),
        replace(good, id="4", expires=NOW),
        replace(good, id="5", wildcard=True),
        *(
            replace(good, id=status.value, status=status)
            for status in AuthorizationStatus
            if status is not VALID
        ),
    ):
        store.put_authorization(wrong)
    assert store.usable_authorization("a", PRINTER, NOW) is None
    store.put_authorization(good)
    assert store.usable_authorization("a", PRINTER, NOW) == good
    assert store.usable_authorization("a", PRINTER, NOW, subdomains=True) is None
    wide = replace(good, id="wide", subdomains=True, expires=NOW + 1)
    store.put_authorization(wide)
    assert store.usable_authorization("a", PRINTER, NOW, subdomains=True) == wide
    assert store.usable_authorization("a", PRINTER, NOW) == good  # lasts longer
    store.put_authorization(replace(good, status=AuthorizationStatus.REVOKED))
    assert store.usable_authorization("a", PRINTER, NOW) == wide


def test_valid_authorizations_of(store: SqliteStore) -> None:
    good = samples.authorization("a", status=VALID)
    star = samples.authorization("a", status=VALID, wildcard=True)
    for each in (
        good,
        star,
        samples.authorization("a"),
        samples.authorization("b", status=VALID),
        samples.authorization("a", status=VALID, expires=NOW),
    ):
        store.put_authorization(each)
    assert {each.id for each in store.valid_authorizations_of("a", NOW)} == {good.id, star.id}


def test_processing_is_never_stored(store: SqliteStore) -> None:
    """A crash must leave a challenge that can be tried again."""
    running = samples.challenge(status=ChallengeStatus.PROCESSING)
    with pytest.raises(ValueError, match="processing"):
        store.put_authorization(samples.authorization("a", challenges=(running,)))


def test_certificates(store: SqliteStore) -> None:
    old = samples.certificate("a", not_after=NOW - 1)
    new, other = samples.certificate("a"), samples.certificate("b")
    for each in (old, new, other):
        store.put_certificate(each)
        assert store.certificate_by_serial(each.serial) == each
        assert store.certificate_by_ari(each.ari_id) == each
    assert store.certificates_of("a") == [old, new]
    assert store.certificates() == [old, new, other]
    assert store.certificates(unexpired_at=NOW) == [new, other]
    assert store.certificates(unexpired_at=NOW - 1) == [old, new, other]
    assert store.certificate_by_ari("AAAA." + new.ari_id.partition(".")[2]) is None


def test_a_serial_belongs_to_one_certificate(store: SqliteStore) -> None:
    one = samples.certificate("a")
    store.put_certificate(one)
    with pytest.raises(ValueError, match="serial"):
        store.put_certificate(replace(one, id="another"))
    store.put_certificate(replace(one, revoked_at=NOW, reason=1))
    assert [each.id for each in store.certificates()] == [one.id]


def test_a_refused_put_leaves_the_transaction_whole(store: SqliteStore) -> None:
    one, two = samples.certificate("a"), samples.account()
    store.put_certificate(one)
    with store.writing():
        with pytest.raises(ValueError, match="serial"):
            store.put_certificate(replace(one, id="another"))
        store.put_account(two)
    assert store.accounts() == [two]


def test_an_ari_id_names_its_serial(store: SqliteStore) -> None:
    one, two = samples.certificate("a"), samples.certificate("a")
    with pytest.raises(ValueError, match="ARI id"):
        store.put_certificate(replace(one, ari_id=two.ari_id))
    with pytest.raises(ValueError, match="base64url"):
        store.put_certificate(replace(one, ari_id="a.?"))


def test_revoked_lists_what_a_crl_must_name(store: SqliteStore) -> None:
    kept = samples.certificate("a", revoked_at=NOW, reason=4)
    for each in (
        kept,
        samples.certificate("a"),
        samples.certificate("a", revoked_at=NOW, not_after=NOW - 1),
        samples.certificate("a", revoked_at=NOW, issuer_id="another"),
    ):
        store.put_certificate(each)
    assert store.revoked("issuer-1", NOW) == [kept]
    assert len(store.revoked("issuer-1", NOW - 1)) == 2


def test_spki_owner_is_the_first(store: SqliteStore) -> None:
    """Decision 7: a key seen on another account is refused, so the first one keeps it."""
    first = samples.certificate("a")
    store.put_certificate(first)
    store.put_certificate(samples.certificate("b", spki_sha256=first.spki_sha256))
    store.put_certificate(replace(first, revoked_at=NOW))
    assert store.spki_owner(first.spki_sha256) == "a"


def test_device_of_is_the_one_not_forgotten(store: SqliteStore) -> None:
    old = samples.device("a", status=DeviceStatus.FORGOTTEN)
    store.put_device(old)
    assert store.device_of("a") is None
    new = samples.device("a", status=DeviceStatus.BLOCKED)
    store.put_device(new)
    assert store.device_of("a") == new
    assert store.devices() == [old, new]
    store.put_device(replace(new, status=DeviceStatus.FORGOTTEN))
    assert store.device_of("a") is None


def test_a_device_is_dropped(store: SqliteStore) -> None:
    one, other = samples.device("a"), samples.device("b")
    store.put_device(one)
    store.put_device(other)
    store.drop_device(one.id)
    assert store.device(one.id) is None
    assert store.devices() == [other]


def test_ties(store: SqliteStore) -> None:
    one, two, other = samples.tie("d"), samples.tie("d"), samples.tie("e")
    for each in (one, two, other):
        store.put_tie(each)
    moved = replace(two, device_id="e", last_issued=NOW + 1)
    store.put_tie(moved)
    assert store.tie(two.name) == moved
    store.drop_ties("e")
    assert [store.tie(each.name) for each in (one, moved, other)] == [one, None, None]


def test_facts(store: SqliteStore) -> None:
    store.put_fact("crl_number", "1")
    store.put_fact("crl_number", "2")
    store.put_fact("other", "")
    assert (store.fact("crl_number"), store.fact("other")) == ("2", "")


def test_newest_issue_leaves_out_the_servers_own(store: SqliteStore) -> None:
    store.put_certificate(samples.certificate("a"))
    store.put_certificate(samples.certificate("server", not_before=NOW + DAY, order_id=None))
    assert store.newest_issue() == NOW


def test_fields_are_bounded(store: SqliteStore) -> None:
    long = "x" * rows.MAX_TEXT
    with pytest.raises(ValueError, match="bytes of JSON"):
        store.put_account(samples.account(contact=(long,)))
    with pytest.raises(ValueError, match="bytes of JSON"):
        store.append_audit(AuditEntry(NOW, "issue", "x", {"text": long}))
    with pytest.raises(ValueError, match="certificate of"):
        store.put_certificate(samples.certificate("a", der=bytes(rows.MAX_DER + 1)))
    with pytest.raises(ValueError, match="leading zeros"):
        store.put_certificate(replace(samples.certificate("a", number=10), serial="0a"))


# The verbs a client can make the server call; none of them may read a whole table.
HOT: dict[str, Callable[[SqliteStore], object]] = {
    "account": lambda s: s.account("x"),
    "account_by_thumbprint": lambda s: s.account_by_thumbprint("x"),
    "order": lambda s: s.order("x"),
    "orders_with": lambda s: s.orders_with("x"),
    "order_replacing": lambda s: s.order_replacing("x"),
    "count_open_orders": lambda s: s.count_open_orders("x", 1),
    "authorizations": lambda s: s.authorizations(["x"]),
    "usable_authorization": lambda s: s.usable_authorization("x", PRINTER, 1),
    "valid_authorizations_of": lambda s: s.valid_authorizations_of("x", 1),
    "certificate": lambda s: s.certificate("x"),
    "certificate_by_serial": lambda s: s.certificate_by_serial("ab"),
    "certificate_by_ari": lambda s: s.certificate_by_ari("AAAA.Cg"),
    "revoked": lambda s: s.revoked("x", 1),
    "spki_owner": lambda s: s.spki_owner("00" * 32),
    "device": lambda s: s.device("x"),
    "device_of": lambda s: s.device_of("x"),
    "tie": lambda s: s.tie("x"),
    "eab_key": lambda s: s.eab_key("x"),
    "fact": lambda s: s.fact("x"),
    "put_order": lambda s: s.put_order(samples.order("x")),
    "put_certificate": lambda s: s.put_certificate(samples.certificate("x")),
    "append_audit": lambda s: s.append_audit(AuditEntry(1, "x", "x")),
    "put_fact": lambda s: s.put_fact("x", "y"),
}


@pytest.mark.parametrize("verb", HOT)
def test_hot_verbs_find_by_index(store: SqliteStore, verb: str) -> None:
    said: list[str] = []
    connection = store._database._connection
    connection.set_trace_callback(said.append)
    HOT[verb](store)
    connection.set_trace_callback(None)
    statements = [sql for sql in said if sql.split()[0] in ("SELECT", "UPDATE", "INSERT")]
    assert statements
    for sql in statements:
        for *_, plan in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
            # the newest entry of the audit is the end of its own tree: one step
            assert not plan.startswith("SCAN") or plan == "SCAN audit", sql


def test_a_closed_store_says_so(state: Path) -> None:
    store = SqliteStore(state)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.account("x")

"""Rate limits: buckets that refill, that say when to come back, and that are bounded (R-34)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core import limits
from acmeiot.core.limits import Limits, Rate
from acmeiot.protocol.errors import RateLimited
from tests.core.conftest import MakeHome
from tests.core.fakes import FakeClock
from tests.core.keys import AccountKey

RATE = Rate("tries", burst=3, every=10)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_burst_then_one_each_interval(clock: FakeClock) -> None:
    table = Limits(clock)
    for _ in range(3):
        table.take(RATE, "a")
    with pytest.raises(RateLimited) as caught:
        table.take(RATE, "a")
    assert caught.value.status == 429
    assert caught.value.headers == {"Retry-After": "11"}
    assert "too many tries (a); try again in 11 seconds" in caught.value.detail
    clock.wait(int(caught.value.headers["Retry-After"]))
    table.take(RATE, "a")
    with pytest.raises(RateLimited):
        table.take(RATE, "a")


@given(waits=st.lists(st.integers(0, 25), max_size=30))
def test_who_waits_as_told_is_let_in(waits: list[int]) -> None:
    clock = FakeClock()
    table = Limits(clock)
    for wait in waits:
        try:
            table.take(RATE, "a")
        except RateLimited as refused:
            clock.wait(int(refused.headers["Retry-After"]))
            table.take(RATE, "a")
        clock.wait(wait)


def test_the_clock_of_the_wall_does_not_count(clock: FakeClock) -> None:
    table = Limits(clock)
    for _ in range(3):
        table.take(RATE, "a")
    clock.jump(10_000)
    with pytest.raises(RateLimited):
        table.take(RATE, "a")


def test_keys_and_kinds_do_not_share_a_bucket(clock: FakeClock) -> None:
    table = Limits(clock)
    for _ in range(3):
        table.take(RATE, "a")
    table.take(RATE, "b")
    table.take(Rate("others", 3, 10), "a")


def test_check_takes_nothing_and_note_complains_of_nothing(clock: FakeClock) -> None:
    table = Limits(clock)
    for _ in range(100):
        table.check(RATE, "a")
    for _ in range(3):
        table.check(RATE, "a")
        table.note(RATE, "a")
    table.note(RATE, "a")
    with pytest.raises(RateLimited):
        table.check(RATE, "a")
    clock.wait(11)
    table.check(RATE, "a")


def test_the_table_is_bounded(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_BUCKETS", 8)
    table = Limits(clock)
    for number in range(100):
        table.take(RATE, str(number))
    assert len(table._spent) == 8
    assert ("tries", "99") in table._spent


def test_limits_can_be_off_for_benchmarks(clock: FakeClock) -> None:
    table = Limits(clock, enabled=False)
    for _ in range(100):
        table.take(RATE, "a")
        table.check(RATE, "a")


# what is limited, each at the rule that counts it.


def test_new_accounts_of_one_address(make_home: MakeHome) -> None:
    home = make_home(limits=True)
    for _ in range(limits.NEW_ACCOUNTS.burst):
        home.register("192.168.1.66")
    with pytest.raises(RateLimited, match="new accounts"):
        home.register("192.168.1.66")
    with pytest.raises(RateLimited, match="new accounts"):  # before any arithmetic
        home.accounts.check_rate("192.168.1.66")
    known = home.accounts.register(home.register("192.168.1.67").key.jwk, b"{}", "", "192.168.1.66")
    assert known[1] is False  # who has an account may always find it
    home.register("192.168.1.20", AccountKey())


def test_new_orders_of_one_account(make_home: MakeHome) -> None:
    client = make_home(limits=True).client()
    for _ in range(limits.NEW_ORDERS.burst):
        client.order("printer.lan")
    with pytest.raises(RateLimited, match="new orders of one account"):
        client.order("printer.lan")
    client.home.clock.wait(61)
    client.order("printer.lan")


def test_new_orders_from_one_address(make_home: MakeHome) -> None:
    first = make_home(limits=True).client()
    clients = [first, *(first.home.register(first.address) for _ in range(2))]
    for number in range(limits.ORDERS_FROM.burst):
        clients[number % 3].order("printer.lan")
    with pytest.raises(RateLimited, match="new orders from one address"):
        clients[0].order("printer.lan")
    payload = b'{"identifier": {"type": "dns", "value": "printer.lan"}}'
    with pytest.raises(RateLimited, match="new orders from one address"):
        first.home.orders.authorize(first.account, payload, first.address)


def test_failed_proofs_of_one_name(make_home: MakeHome) -> None:
    client = make_home(limits=True).client()
    client.home.lan.elsewhere["printer.lan"] = ("8.8.8.8",)
    for _ in range(limits.FAILED_PROOFS.burst):
        assert client.prove(client.order("printer.lan")).status.value == "invalid"
    order = client.order("printer.lan")
    with pytest.raises(RateLimited, match="failed validations of one name"):  # bounded
        client.prove(order)
    del client.home.lan.elsewhere["printer.lan"]
    client.home.clock.wait(121)
    assert client.prove(order).status.value == "ready"

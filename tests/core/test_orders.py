"""newOrder and newAuthz: names, times, reuse, `replaces`, room (R-19 to R-22, R-25, R-35)."""

from __future__ import annotations

from typing import Any

import pytest

from acmeiot.ca.roots import Authority
from acmeiot.core import orders as module
from acmeiot.core.orders import ORDER_LIFE
from acmeiot.core.policy import BACKDATE, MAX_LIFE, Policy
from acmeiot.protocol.errors import (
    AcmeError,
    AlreadyReplaced,
    Compound,
    InvalidProfile,
    Malformed,
    NotFound,
    RateLimited,
    RejectedIdentifier,
    Unauthorized,
    Unavailable,
    UnsupportedIdentifier,
)
from acmeiot.protocol.messages import rfc3339
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import AuthorizationStatus, OrderStatus
from tests.core.conftest import MakeHome
from tests.core.fakes import DAY, NOW
from tests.core.home import Client, Home
from tests.core.keys import to_json

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def client(home: Home) -> Client:
    return home.client()


def test_a_new_order_is_pending(client: Client) -> None:
    order = client.order("Printer.LAN.", "printer.local", "192.168.1.20", "printer.lan")
    assert order.status is OrderStatus.PENDING
    assert (order.created, order.expires) == (NOW, NOW + ORDER_LIFE)
    assert [str(i) for i in order.identifiers] == [*BOTH, "192.168.1.20"]  # normalised
    assert len(order.authorizations) == 3
    assert (order.profile, order.remote) == ("strict", client.address)
    assert (order.not_before, order.not_after, order.replaces) == (None, None, None)
    assert client.read(order) == order
    assert len(order.id) >= 16
    assert client.home.events.said("debug order", order.id, "printer.lan, printer.local")


def test_the_states_of_an_order(client: Client) -> None:
    order = client.order(*BOTH)
    seen = [order.status]
    for authorization_id in order.authorizations:
        client.answer(authorization_id)
        seen.append(client.read(order).status)
    done = client.finalize(order)
    seen.append(done.status)
    names = ["pending", "pending", "ready", "valid"]
    assert [status.value for status in seen] == names
    assert (done.identifiers, done.authorizations) == (order.identifiers, order.authorizations)
    assert client.read(order) == done


def test_an_order_expires(client: Client) -> None:
    pending = client.order("printer.lan")
    ready = client.prove(client.order("printer.local"))
    done = client.finalize(client.prove(client.order(*BOTH)))
    client.home.clock.wait(ORDER_LIFE - 1)
    assert client.read(ready).status is OrderStatus.READY
    client.home.clock.wait(1)
    assert client.read(pending).status is OrderStatus.INVALID
    assert client.read(ready).status is OrderStatus.INVALID
    assert client.read(done).status is OrderStatus.VALID


def test_an_order_is_its_accounts_alone(client: Client) -> None:
    order = client.order("printer.lan")
    certificate = client.obtain(*BOTH)
    other = client.home.register("192.168.1.30")
    orders = client.home.orders
    for act in (
        lambda: orders.read(other.account, order.id),
        lambda: orders.finalize(other.account, order.id, b"{}"),
        lambda: orders.certificate(other.account, certificate.id),
    ):
        with pytest.raises(Unauthorized, match="another account's"):
            act()
    for act in (
        lambda: orders.read(client.account, "nothing"),
        lambda: orders.certificate(client.account, "nothing"),
    ):
        with pytest.raises(NotFound):
            act()
    assert orders.certificate(client.account, certificate.id) == certificate
    assert orders.list(other.account, None, 10) == []


def test_orders_are_listed_page_by_page(client: Client) -> None:
    ids = [client.order("printer.lan").id for _ in range(5)]
    orders = client.home.orders
    assert orders.list(client.account, None, 3) == ids[:3]
    assert orders.list(client.account, ids[2], 3) == ids[3:]


def test_proofs_of_the_hour_are_used_again(client: Client) -> None:
    first = client.prove(client.order(*BOTH))
    second = client.order(*BOTH)
    assert second.status is OrderStatus.READY  # ready at once
    assert second.authorizations == first.authorizations
    third = client.order(*BOTH, "192.168.1.20")
    assert third.status is OrderStatus.PENDING
    assert third.authorizations[:2] == first.authorizations
    client.home.clock.wait(3600)
    assert client.order(*BOTH).status is OrderStatus.PENDING


def test_a_wildcard_is_proved_each_time(client: Client) -> None:
    client.prove(client.order("*.printer.lan"), "dns-01")
    assert client.order("*.printer.lan").status is OrderStatus.PENDING
    assert client.order("printer.lan").status is OrderStatus.PENDING  # and proves no other name


# Refusals, R-19, R-20


@pytest.mark.parametrize(
    ("identifiers", "error"),
    [
        ([], Malformed), (None, Malformed), ("printer.lan", Malformed), ([7], Malformed),
        ([{"type": "email", "value": "a@b"}], UnsupportedIdentifier),
        ([{"type": "dns", "value": "a..lan"}], Malformed),
        ([{"type": "dns", "value": "a\0.lan"}], Malformed),
        ([{"type": "dns", "value": "x" * 64 + ".lan"}], Malformed),
        ([{"type": "dns", "value": f"n{n}.lan"} for n in range(11)], RejectedIdentifier),
    ],
)  # fmt: skip
def test_bad_identifiers(client: Client, identifiers: Any, error: type[AcmeError]) -> None:
    payload = to_json({"identifiers": identifiers})
    with pytest.raises(error):
        client.home.orders.create(client.account, payload, client.address)


def test_every_bad_name_has_its_subproblem(client: Client) -> None:
    with pytest.raises(RejectedIdentifier) as caught:
        client.order("printer.lan", "router.lan", "x.evil.com", "8.8.8.8", "nobody.lan")
    bad = ["router.lan", "x.evil.com", "8.8.8.8", "nobody.lan"]
    assert [str(problem.identifier) for problem in caught.value.subproblems] == bad
    document = caught.value.problem()
    assert "identifier" not in document
    assert isinstance(document["subproblems"], list)
    assert client.home.events.said("refused: 192.168.1.20", *bad)
    assert client.home.orders.list(client.account, None, 9) == []


def test_one_bad_name_is_named_too(client: Client) -> None:
    with pytest.raises(RejectedIdentifier) as caught:
        client.order("printer.lan", "router.lan")
    (part,) = caught.value.subproblems
    assert part.identifier == Identifier("dns", "router.lan")


def test_malformed_and_unsupported_together_are_compound(client: Client) -> None:
    with pytest.raises(Compound) as caught:
        client.order({"type": "dns", "value": "a..lan"}, {"type": "x", "value": "y"})
    assert len(caught.value.subproblems) == 2


def test_a_name_outside_the_roots_constraints_is_refused(make_home: MakeHome) -> None:
    home = make_home(policy=Policy(domains=("lan", "internal")))
    client = home.client()
    client.home.lan.elsewhere["printer.internal"] = (client.address,)
    with pytest.raises(RejectedIdentifier, match=r"outside what this home's root may sign.*rotate"):
        client.order("printer.internal")


def test_profiles(client: Client) -> None:
    assert client.order("printer.lan", profile="shortlived").profile == "shortlived"
    with pytest.raises(InvalidProfile, match="the owner has not allowed it"):
        client.order("printer.lan", profile="compat")


# Times, R-21


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, None), (0, None), (-BACKDATE, 1), (0, 1), (0, MAX_LIFE),
        (30 * DAY, 30 * DAY + MAX_LIFE), (None, MAX_LIFE - BACKDATE), (None, 1),
    ],
)  # fmt: skip
def test_times_are_honoured_exactly(client: Client, before: int | None, after: int | None) -> None:
    asked = {"notBefore": before, "notAfter": after}
    members = {k: rfc3339(NOW + v) for k, v in asked.items() if v is not None}
    order = client.order(*BOTH, **members)
    certificate = client.certificate(client.finalize(client.prove(order)))
    if before is not None:
        assert certificate.not_before == NOW + before
    if after is not None:
        assert certificate.not_after == NOW + after
    assert certificate.not_after - certificate.not_before <= MAX_LIFE  # A-3.2.4-1


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"notBefore": -BACKDATE - 1}, "in the past"),
        ({"notBefore": 30 * DAY + 1}, "30 days ahead"),
        ({"notAfter": 0}, "must lie after notBefore"),
        ({"notAfter": -DAY}, "must lie after"),
        ({"notBefore": DAY, "notAfter": DAY}, "must lie after notBefore"),
        ({"notAfter": MAX_LIFE - BACKDATE + 1}, "three months"),
        ({"notBefore": 0, "notAfter": MAX_LIFE + 1}, "three months"),
        ({"notAfter": 6 * DAY, "profile": "shortlived"}, "not after"),
    ],
)
def test_times_that_cannot_be_are_refused(
    client: Client, members: dict[str, Any], words: str
) -> None:
    texts = {k: rfc3339(NOW + v) if isinstance(v, int) else v for k, v in members.items()}
    with pytest.raises(Malformed, match=words):
        client.order("printer.lan", **texts)


def test_a_short_life_may_be_asked_for_exactly(client: Client) -> None:
    end = NOW - BACKDATE + 6 * DAY
    order = client.order("printer.lan", profile="shortlived", notAfter=rfc3339(end))
    assert order.not_after == end


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-15", "2027-01-15T08:00:00", 7, ""])
def test_times_are_rfc_3339(client: Client, text: Any) -> None:
    for name in ("notBefore", "notAfter"):
        with pytest.raises(Malformed, match=name):
            client.order("printer.lan", **{name: text})


def test_nothing_is_taken_while_the_clock_is_doubted(client: Client) -> None:
    client.home.clock.reason = "the clock says 1970"
    with pytest.raises(Unavailable, match="nothing is signed yet: the clock says 1970") as caught:
        client.order("printer.lan")  # decision 9
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "60"})
    client.home.clock.reason = None
    order = client.prove(client.order(*BOTH))
    client.home.clock.reason = "the clock went back"
    with pytest.raises(Unavailable):
        client.finalize(order)
    client.home.clock.reason = None
    assert client.finalize(order).certificate_id


# replaces, RFC 9773 section 5


def test_an_order_replaces_a_certificate_once(client: Client) -> None:
    old = client.obtain(*BOTH)
    order = client.order(*BOTH, replaces=old.ari_id)
    assert order.replaces == old.ari_id
    with pytest.raises(AlreadyReplaced) as caught:  # by an order under way
        client.order(*BOTH, replaces=old.ari_id)
    assert caught.value.status == 409
    client.finalize(client.prove(order))
    kept = client.home.store.certificate(old.id)
    assert kept is not None
    assert kept.replaced
    client.home.clock.wait(ORDER_LIFE)
    with pytest.raises(AlreadyReplaced):  # and for ever
        client.order(*BOTH, replaces=old.ari_id)


def test_an_order_that_came_to_nothing_replaces_nothing(client: Client) -> None:
    old = client.obtain(*BOTH)
    failed = client.order(*BOTH, "192.168.1.20", replaces=old.ari_id)
    client.home.authorizations.deactivate(client.account, failed.authorizations[2])
    left = client.order(*BOTH, "192.168.1.20", replaces=old.ari_id)
    client.home.clock.wait(ORDER_LIFE)
    assert client.read(left).status is OrderStatus.INVALID
    client.obtain(*BOTH, replaces=old.ari_id)


def test_of_two_successors_at_once_one_is_taken(client: Client) -> None:
    old = client.obtain(*BOTH)

    def first() -> None:
        client.order(*BOTH, replaces=old.ari_id)

    client.home.store.meanwhile.append(first)
    with pytest.raises(AlreadyReplaced):
        client.order(*BOTH, replaces=old.ari_id)


@pytest.mark.parametrize(
    ("replaces", "error", "words"),
    [
        ("AAAA.AAAA", Malformed, "no certificate of this server"),
        ("AAAA", Malformed, "certificate id"),
        ("", Malformed, "certificate id"),
        (7, Malformed, "replaces"),
    ],
)
def test_a_certificate_that_is_none_is_not_replaced(
    client: Client, replaces: Any, error: type[AcmeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        client.order("printer.lan", replaces=replaces)


def test_only_ones_own_and_related_certificate_is_replaced(client: Client) -> None:
    old = client.obtain(*BOTH)
    client.home.lan.lease("scan", client.address, "02::20")
    with pytest.raises(Malformed, match="shares no name"):
        client.order("scan.lan", replaces=old.ari_id)
    client.order("scan.lan", "printer.lan", replaces=old.ari_id)
    other = client.home.client("nas", "192.168.1.30", "02::30")
    with pytest.raises(Unauthorized, match="another account"):
        other.order("nas.lan", replaces=old.ari_id)


# Room


def test_open_orders_are_capped(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    orders = [client.order("printer.lan") for _ in range(3)]
    with pytest.raises(RateLimited, match="3 open orders") as caught:  # specs 6: mass enrolment
        client.order("printer.lan")
    assert caught.value.headers == {"Retry-After": "3600"}
    client.home.register(client.address).order("printer.lan")
    client.home.authorizations.deactivate(client.account, orders[0].authorizations[0])
    client.order("printer.lan")
    client.home.clock.wait(ORDER_LIFE)
    client.order("printer.lan")


# newAuthz, R-25


def authorize(client: Client, **identifier: Any) -> Any:
    payload = to_json({"identifier": identifier})
    return client.home.orders.authorize(client.account, payload, client.address)


def test_a_name_is_authorized_beforehand(client: Client) -> None:
    authorization = authorize(client, type="dns", value="printer.lan")
    assert authorization.status is AuthorizationStatus.PENDING
    assert not authorization.subdomains
    client.answer(authorization.id)
    assert authorize(client, type="dns", value="printer.lan").id == authorization.id
    assert client.order("printer.lan").authorizations == (authorization.id,)
    assert authorize(client, type="ip", value="192.168.1.20").challenges


def test_what_cannot_be_authorized_beforehand(client: Client) -> None:
    with pytest.raises(Malformed, match="wildcard"):
        authorize(client, type="dns", value="*.printer.lan")
    with pytest.raises(RejectedIdentifier):
        authorize(client, type="dns", value="router.lan")
    with pytest.raises(UnsupportedIdentifier):
        authorize(client, type="email", value="a@b")


# RFC 9444: a device's name vouches for names below it


def below(value: str, ancestor: str) -> dict[str, str]:
    return {"type": "dns", "value": value, "ancestorDomain": ancestor}


def test_one_proof_covers_what_is_below(client: Client) -> None:
    names = [f"{x}.printer.{s}" for s in ("lan", "local") for x in ("a", "*.b")]
    wanted = [below(name, f"printer.{name.rpartition('.')[2]}") for name in names]
    order = client.order("printer.lan", *wanted)
    shown = [client.authorization(order, n) for n in range(len(order.authorizations))]
    assert [str(a.identifier) for a in shown] == ["printer.lan", "printer.local"]
    assert all(a.subdomains and not a.wildcard for a in shown)
    certificate = client.certificate(client.finalize(client.prove(order)))
    assert {str(i) for i in certificate.identifiers} == {"printer.lan", *names}
    again = client.order(below("c.printer.lan", "printer.lan"))
    assert again.status is OrderStatus.READY


def test_a_plain_proof_covers_nothing_below(client: Client) -> None:
    client.prove(client.order("printer.lan"))
    assert client.order(below("a.printer.lan", "printer.lan")).status is OrderStatus.PENDING
    beforehand = authorize(client, type="dns", value="printer.local", subdomainAuthAllowed=True)
    assert beforehand.subdomains
    client.answer(beforehand.id)
    assert client.order(below("a.printer.local", "printer.local")).status is OrderStatus.READY


@pytest.mark.parametrize("suffix", ["lan", "local"])
def test_a_suffix_vouches_for_nobody(client: Client, suffix: str) -> None:
    with pytest.raises(RejectedIdentifier) as caught:  # specs 4: never the local suffix itself
        client.order(below(f"nas.{suffix}", suffix))
    assert f"{suffix} cannot vouch for nas.{suffix}" in caught.value.detail
    (part,) = caught.value.subproblems
    assert part.identifier == Identifier("dns", f"nas.{suffix}")


def test_a_domain_inside_another_vouches_for_nobody(make_home: MakeHome) -> None:
    home = make_home(rule="challenge", policy=Policy(domains=("lan", "guest.lan")))
    client = home.client("guest")
    for wanted in (below("nas.guest.lan", "guest.lan"), "guest.lan", "*.guest.lan"):
        with pytest.raises(RejectedIdentifier, match="one of this home's domains"):
            client.order(wanted)


def test_who_vouches_must_have_the_name(client: Client) -> None:
    client.home.lan.lease("nas", "192.168.1.30", "02::30")
    with pytest.raises(RejectedIdentifier, match=r"nas\.lan cannot vouch.*belongs to 192"):
        client.order(below("a.nas.lan", "nas.lan"))
    with pytest.raises(RejectedIdentifier, match=r"router\.lan cannot vouch.*ACME server"):
        client.order(below("a.router.lan", "router.lan"))
    with pytest.raises(Malformed, match="not above"):
        client.order(below("a.nas.lan", "printer.lan"))


def test_under_auto_a_name_below_that_is_anothers_is_refused(home: Home) -> None:
    home.client("cam.nas", "192.168.1.40", "02::40").obtain("cam.nas.lan", "cam.nas.local")
    nas = home.client("nas", "192.168.1.30", "02::30")
    with pytest.raises(RejectedIdentifier, match="belongs to device"):
        nas.order(below("cam.nas.lan", "nas.lan"))


# What it costs, decision 10


FIVE = (*BOTH, "192.168.1.20", "scanner.lan", "scanner.local")


@pytest.mark.parametrize("names", [BOTH[:1], BOTH, FIVE])
def test_two_transactions_for_a_certificate(make_home: MakeHome, names: tuple[str, ...]) -> None:
    """The order, and the certificate with all proofs; the first brings its device along."""
    home = make_home(policy=Policy(offer_compat=True))
    client = home.client()
    home.lan.lease("scanner", client.address, "02::20")
    for _ in range(2):
        before = home.store.transactions
        order = client.order(*names, profile="compat")
        assert home.store.transactions - before == 1
        client.finalize(client.prove(order))
        assert home.store.transactions - before == 2
        home.clock.wait(3600)  # a renewal that proves everything anew


def test_polling_writes_nothing(client: Client) -> None:
    order = client.order(*BOTH)
    before = client.home.store.transactions
    for _ in range(5):
        client.read(order)
        client.authorization(order)
        client.home.orders.list(client.account, None, 5)
    assert client.home.store.transactions == before


def test_a_leaf_never_outlives_its_issuer(client: Client, authority: Authority) -> None:
    end = authority.longest()
    client.home.clock.jump(end - NOW - 7 * DAY)
    assert client.obtain(*BOTH).not_after == end  # specs 5.1
    with pytest.raises(Malformed, match=f"not after {rfc3339(end)}"):
        client.order(*BOTH, notAfter=rfc3339(end + 1))
    assert client.obtain(*BOTH, notAfter=rfc3339(end)).not_after == end

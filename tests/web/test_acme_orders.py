"""Orders: made, dated, followed to their end, listed (R-19, R-21, R-22, R-25, R-35)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.web.client import Client, Json, identifier, lifetime
from tests.web.house import House
from tests.web.keys import names_of
from tests.web.running import Running

DAY = 86400
PAIR = ("printer.lan", "printer.local")


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.fixture
def ready(client: Client, house: House) -> Json:
    """An order whose names are proved."""
    order = client.order(*PAIR)
    house.prove(client, order.json)
    shown = client.post(order.header("Location") or "").ok()
    assert shown["status"] == "ready"
    return shown


# --


def test_new_order(client: Client) -> None:
    """R-19: the object, its URL, one authorization a name."""
    answer = client.order(*PAIR)
    order = answer.ok(201)
    assert order["status"] == "pending"
    assert order["identifiers"] == [identifier(name) for name in PAIR]
    assert order["profile"] == "strict"
    assert len(order["authorizations"]) == 2
    assert set(order) == {
        "status", "expires", "identifiers", "profile", "authorizations", "finalize",
    }  # fmt: skip
    assert 0 < seconds(order["expires"]) - time.time() <= DAY
    assert client.post(answer.header("Location") or "").ok() == order


def test_identifiers_are_normalised(client: Client) -> None:
    """R-19, R-20: small letters, no final dot, each once, in the order they came."""
    order = client.order("Printer.LOCAL", "printer.lan.", "PRINTER.lan", "printer.local").ok(201)
    assert names_of(order) == ["printer.local", "printer.lan"]
    assert len(order["authorizations"]) == 2


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"identifiers": []},
        {"identifiers": "printer.lan"},
        {"identifiers": {"type": "dns", "value": "printer.lan"}},
        {"identifiers": [None]},
        {"identifiers": [{"type": "dns"}]},
        {"identifiers": [{"value": "printer.lan"}]},
        {"identifiers": [{"type": "dns", "value": 7}]},
        {"identifiers": [{"type": 7, "value": "printer.lan"}]},
        {"identifiers": [identifier("printer.lan")], "notBefore": "tomorrow"},
        {"identifiers": [identifier("printer.lan")], "notAfter": 1700000000},
        {"identifiers": [identifier("printer.lan")], "notAfter": "2030-01-01T00:00:00"},
        {"identifiers": [identifier("printer.lan")], "profile": 1},
        {"identifiers": [identifier("printer.lan")], "replaces": 1},
        {"identifiers": [identifier("printer.lan")], "replaces": "x"},
    ],
)
def test_order_that_is_malformed(client: Client, payload: Json) -> None:
    """R-19."""
    client.post(client.directory["newOrder"], payload).is_problem("malformed", 400)


# --


def test_times_are_honoured_exactly(client: Client, house: House) -> None:
    """R-21."""
    start, end = int(time.time()) + 60, int(time.time()) + 10 * DAY
    issued = house.issue(client, notBefore=rfc3339(start), notAfter=rfc3339(end))
    assert (issued.order["notBefore"], issued.order["notAfter"]) == (rfc3339(start), rfc3339(end))
    assert lifetime(issued.leaf) == (start, end)


def test_times_in_another_zone_are_the_same_times(client: Client) -> None:
    """R-21: RFC 3339 offsets."""
    end = int(time.time()) + DAY
    text = rfc3339(end + 7200).replace("Z", "+02:00")
    assert client.order(*PAIR, notAfter=text).ok(201)["notAfter"] == rfc3339(end)


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [(None, -1), (None, -DAY), (None, 90), (-2, None), (40, None), (2, 1), (1, 1), (0, 90)],
)  # fmt: skip
def test_times_that_cannot_be(
    client: Client, not_before: int | None, not_after: int | None
) -> None:
    """R-21, A-3.2.4-1: in the past, over 89 days, the wrong way round; in days from now."""
    ends = {"notBefore": not_before, "notAfter": not_after}
    times = {
        name: rfc3339(time.time() + value * DAY)
        for name, value in ends.items()
        if value is not None
    }
    client.order(*PAIR, **times).is_problem("malformed", 400)


def test_the_longest_life_is_89_days(client: Client, house: House) -> None:
    """A-3.2.4-1: the whole life counts, back-dating included."""
    now = int(time.time())
    client.order(*PAIR, notAfter=rfc3339(now + 89 * DAY)).is_problem("malformed", 400)
    issued = house.issue(client, notAfter=rfc3339(now + 89 * DAY - 3700))
    start, end = lifetime(issued.leaf)
    assert end == now + 89 * DAY - 3700
    assert end - start <= 89 * DAY


def test_default_life_is_thirty_days(client: Client, house: House) -> None:
    start, end = lifetime(house.issue(client).leaf)
    assert end - start == 30 * DAY
    assert 3500 <= time.time() - start <= 3700  # a device's clock may be an hour behind


# -- profiles


def test_profile_shortlived(client: Client, house: House) -> None:
    """Profiles: what was asked for is echoed and obeyed."""
    issued = house.issue(client, profile="shortlived")
    assert issued.order["profile"] == "shortlived"
    start, end = lifetime(issued.leaf)
    assert end - start == 6 * DAY
    answer = client.order(*PAIR, profile="shortlived", notAfter=rfc3339(time.time() + 10 * DAY))
    answer.is_problem("malformed", 400)


def test_profile_that_is_not_offered(client: Client, compat: Running) -> None:
    """Profiles: with those that are."""
    problem = client.order(*PAIR, profile="compat").is_problem("invalidProfile", 400)
    assert "strict" in problem["detail"]
    client.order(*PAIR, profile="nonsense").is_problem("invalidProfile", 400)
    easy = compat.client()
    assert set(easy.directory["meta"]["profiles"]) == {"strict", "compat", "shortlived"}
    assert easy.order("printer.lan").ok(201)["profile"] == "compat"
    assert easy.order(*PAIR, profile="strict").ok(201)["profile"] == "strict"


# --


def test_states(client: Client, house: House) -> None:
    """R-22: pending, ready, valid; what was shown once stays as it was."""
    made = client.order("states.lan", "states.local")
    url, before = made.header("Location") or "", made.json
    for number, authorization in enumerate(before["authorizations"]):
        assert client.post(url).ok()["status"] == "pending", number
        one = client.post(authorization).ok()
        client.post(house.answer(client, one)["url"], {}).ok()
        client.poll(authorization)
    assert client.post(url).ok() == {**before, "status": "ready"}
    done = client.finalize(before).ok()
    assert done == client.post(url).ok()
    assert done.pop("certificate").startswith(client.directory_url[:20])
    assert done == {**before, "status": "valid"}


def test_a_fresh_proof_is_used_again(client: Client, house: House, ready: Json) -> None:
    """R-22: the next order for these names is ready at once, another account's is not."""
    again = client.order(*PAIR).ok(201)
    assert (again["status"], again["authorizations"]) == ("ready", ready["authorizations"])
    some = client.order("printer.lan", "other.lan").ok(201)
    assert some["status"] == "pending"
    assert some["authorizations"][0] == ready["authorizations"][0]
    assert client.other().order(*PAIR).ok(201)["status"] == "pending"


def test_an_order_dies_with_one_of_its_proofs(client: Client, house: House) -> None:
    """R-22: with the error that says why; its other orders live."""
    made = client.order("half.lan", "half.local")
    good, bad = (client.post(url).ok() for url in made.json["authorizations"])
    client.post(house.answer(client, good)["url"], {}).ok()
    client.post(bad["challenges"][0]["url"], {}).ok()
    order = client.poll(made.header("Location") or "").ok()
    assert order["status"] == "invalid"
    assert order["error"]["type"].endswith(":incorrectResponse")
    client.finalize(made.json).is_problem("orderNotReady", 403)
    assert client.order("half.lan").ok(201)["status"] == "ready"


# --


def test_new_authz(client: Client, house: House) -> None:
    """R-25: proved beforehand, the order is ready at once."""
    answer = client.post(client.directory["newAuthz"], {"identifier": identifier("pre.lan")})
    authorization = answer.ok(201)
    assert (authorization["status"], "wildcard" in authorization) == ("pending", False)
    client.post(house.answer(client, authorization)["url"], {}).ok()
    assert client.poll(answer.header("Location") or "").ok()["status"] == "valid"
    assert client.order("pre.lan").ok(201)["status"] == "ready"
    again = client.post(client.directory["newAuthz"], {"identifier": identifier("pre.lan")})
    assert again.header("Location") == answer.header("Location")


@pytest.mark.parametrize(
    ("payload", "kind", "status"),
    [
        ({"identifier": identifier("*.x.lan")}, "malformed", 400),
        ({"identifier": identifier("x.com")}, "rejectedIdentifier", 403),
        ({"identifier": identifier("8.8.8.8")}, "rejectedIdentifier", 403),
        ({"identifier": {"type": "email", "value": "a@b"}}, "unsupportedIdentifier", 400),
        ({"identifier": "x.lan"}, "malformed", 400),
        ({}, "malformed", 400),
        ({"identifier": {**identifier("x.lan"), "subdomainAuthAllowed": 1}}, "malformed", 400),
    ],
)
def test_new_authz_that_is_refused(client: Client, payload: Json, kind: str, status: int) -> None:
    """R-25."""
    client.post(client.directory["newAuthz"], payload).is_problem(kind, status)


# --


def test_orders_are_listed_page_by_page(client: Client) -> None:
    """R-35: oldest first, with the next page in Link; another account sees nothing of them."""
    made = [client.order("list.lan").header("Location") for _ in range(55)]
    listed = client.post(f"{client.kid}/orders")
    assert listed.ok()["orders"] == made[:50]
    (more,) = listed.links("next")
    rest = client.post(more)
    assert rest.ok()["orders"] == made[50:]
    assert rest.links("next") == []
    other = client.other()
    assert other.post(f"{other.kid}/orders").ok() == {"orders": []}
    other.post(more).is_problem("unauthorized", 403)

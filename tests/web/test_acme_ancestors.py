"""One proof for a device and the names below it (RFC 9444)."""

from __future__ import annotations

import pytest

from tests.web.client import Client, identifier
from tests.web.house import House


def test_a_device_vouches_for_names_below_it(client: Client, house: House) -> None:
    """RFC 9444: one proof for nas.lan covers x.nas.lan, where it was asked for."""
    below = {"type": "dns", "value": "files.nas.lan", "ancestorDomain": "nas.lan"}
    made = client.post(client.directory["newOrder"], {"identifiers": [below]})
    order = made.ok(201)
    assert order["identifiers"] == [identifier("files.nas.lan")]
    (url,) = order["authorizations"]
    authorization = client.post(url).ok()
    assert authorization["identifier"] == identifier("nas.lan")
    assert authorization["subdomainAuthAllowed"] is True
    house.prove(client, order)
    assert client.post(made.header("Location") or "").ok()["status"] == "ready"
    deep = {"type": "dns", "value": "a.b.nas.lan", "ancestorDomain": "nas.lan"}
    again = client.post(client.directory["newOrder"], {"identifiers": [deep]}).ok(201)
    assert again["status"] == "ready"
    # What did not ask for it is not covered.
    assert client.order("files.nas.lan").ok(201)["status"] == "pending"


def test_new_authz_for_names_below(client: Client, house: House) -> None:
    """RFC 9444 section 4.2."""
    wanted = {**identifier("hub.lan"), "subdomainAuthAllowed": True}
    answer = client.post(client.directory["newAuthz"], {"identifier": wanted})
    authorization = answer.ok(201)
    assert authorization["subdomainAuthAllowed"] is True
    client.post(house.answer(client, authorization)["url"], {}).ok()
    client.poll(answer.header("Location") or "").ok()
    below = {"type": "dns", "value": "x.hub.lan", "ancestorDomain": "hub.lan"}
    order = client.post(client.directory["newOrder"], {"identifiers": [below]}).ok(201)
    assert order["status"] == "ready"


@pytest.mark.parametrize(
    ("name", "ancestor", "kind", "status"),
    [
        ("x.lan", "lan", "rejectedIdentifier", 403),
        ("x.local", "local", "rejectedIdentifier", 403),
        ("x.y.lan", "router.lan", "malformed", 400),
        ("x.router.lan", "router.lan", "rejectedIdentifier", 403),
        ("x.y.lan", "z.lan", "malformed", 400),
        ("x.lan", "x.lan", "malformed", 400),
        ("x.y.com", "y.com", "rejectedIdentifier", 403),
        ("x.y.lan", "", "malformed", 400),
        ("x.y.lan", 7, "malformed", 400),
        ("192.168.1.1", "y.lan", "malformed", 400),
    ],
)
def test_ancestor_that_cannot_vouch(
    client: Client, name: str, ancestor: object, kind: str, status: int
) -> None:
    """RFC 9444: the local suffix itself never, another's name never."""
    wanted = {**identifier(name), "ancestorDomain": ancestor}
    answer = client.post(client.directory["newOrder"], {"identifiers": [wanted]})
    answer.is_problem(kind, status)

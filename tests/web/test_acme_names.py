"""Which names and addresses this home certifies (R-20, A-1-1, A-3.2.3-5, A-4.1)."""

from __future__ import annotations

import pytest

from tests.web.client import Client
from tests.web.house import House

MALFORMED_NAMES = [
    "", ".", "a..lan", ".lan", "-a.lan", "a-.lan", "a_b.lan", "a b.lan", "a\0b.lan", "\u00e4.lan",
    "x" * 64 + ".lan", ".".join(["x" * 60] * 5) + ".lan", "xn--.lan", "xn--a.lan", "xn--99999.lan",
    "ab--c.lan", "a*.lan", "*a.lan", "a.*.lan", "*.*.lan", "**.lan", "1.2.3.4", "http://a.lan",
    "a.lan:80", "a.lan/", "a@b.lan", "a.lan\n", "xn--MNCHEN-3YA.lan"[:6] + "!.lan",
]  # fmt: skip

REJECTED_NAMES = [
    "lan", "local", "printer.com", "x.evil.com", "x.local.evil.com", "x.lan.evil.com", "xlan",
    "x.xlan", "notlocal", "x.notlocal", "printer.home.arpa", "printer.arpa",  # A-4.1-2
    "localhost", "LOCALHOST", "localhost.lan", "localhost.local", "Localhost.LAN.",  # A-3.2.3-5
    "router.lan", "ROUTER.local", "router.guest.lan", "router.x.y.local",  # A-4.1-3
    "wpad.lan", "isatap.local", "gateway.lan", "dns.lan", "ntp.local",  # specs 6
    "*.router.lan", "*.lan", "*.local",
]  # fmt: skip

REJECTED_ADDRESSES = [
    "8.8.8.8", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "172.32.0.1", "192.169.0.1",
    "2001:db8::1", "2606:4700::1", "::", "ff02::1", "fec0::1",
]  # fmt: skip

MALFORMED_ADDRESSES = [
    "192.168.1", "192.168.001.1", "192.168.1.256", "0xc0a80101", "3232235777", "fd00::1%eth0",
    "fd00:0::1", "[fd00::1]", "printer.lan", "", "192.168.1.0/24", " 192.168.1.1",
]  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED_NAMES)
def test_name_that_is_none(client: Client, name: str) -> None:
    """R-20: with the name in a subproblem's words, and no order made."""
    answer = client.post(
        client.directory["newOrder"], {"identifiers": [{"type": "dns", "value": name}]}
    )
    answer.is_problem("malformed", 400)
    assert client.post(f"{client.kid}/orders").ok() == {"orders": []}


@pytest.mark.parametrize("name", REJECTED_NAMES)
def test_name_that_no_device_may_have(client: Client, name: str) -> None:
    """R-20, A-1-1, A-4.1-2, A-4.1-3: each refusal has the identifier in a subproblem (R-32)."""
    problem = client.order(name).is_problem("rejectedIdentifier", 403)
    (part,) = problem["subproblems"]
    assert part["type"] == problem["type"]
    assert part["identifier"] == {"type": "dns", "value": name.lower().removesuffix(".")}


@pytest.mark.parametrize("address", REJECTED_ADDRESSES)
def test_address_that_no_device_may_have(client: Client, address: str) -> None:
    """A-4.1-4."""
    problem = client.order(address).is_problem("rejectedIdentifier", 403)
    assert problem["subproblems"][0]["identifier"] == {"type": "ip", "value": address}


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "::ffff:192.168.1.1", "::ffff:c0a8:101"])
def test_an_ipv4_address_has_one_spelling(client: Client, address: str) -> None:
    """A-4.1-4: CPython 3.13 writes mapped addresses another way; both ways are refused."""
    answer = client.order(address)
    assert (answer.status, answer.json["type"].rpartition(":")[2]) in (
        (400, "malformed"),
        (403, "rejectedIdentifier"),
    )


@pytest.mark.parametrize("address", MALFORMED_ADDRESSES)
def test_address_that_is_none(client: Client, address: str) -> None:
    """RFC 8738 section 3: one spelling for each address."""
    answer = client.post(
        client.directory["newOrder"], {"identifiers": [{"type": "ip", "value": address}]}
    )
    answer.is_problem("malformed", 400)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.20", "169.254.1.1", "127.0.0.2",
     "fd00::1", "fc00::2", "fe80::1", "::1"],
)  # fmt: skip
def test_address_of_a_home(client: Client, address: str) -> None:
    """A-4.1-4, RFC 8738: http-01 and tls-alpn-01, never dns-01."""
    order = client.order(address).ok(201)
    assert order["identifiers"] == [{"type": "ip", "value": address}]
    authorization = client.post(order["authorizations"][0]).ok()
    kinds = {one["type"] for one in authorization["challenges"]}
    assert kinds == {"http-01", "tls-alpn-01"}


def test_alabels_and_deep_names_are_names(client: Client) -> None:
    """R-20."""
    client.order("xn--mnchen-3ya.lan", "a.b.c.d.local", "1.lan", "x" * 63 + ".lan").ok(201)


def test_a_refusal_says_which_of_several_names(client: Client) -> None:
    """R-19: one subproblem a name; good names are not mentioned."""
    problem = client.order("good.lan", "a.com", "router.lan").is_problem("rejectedIdentifier", 403)
    named = [part["identifier"]["value"] for part in problem["subproblems"]]
    assert named == ["a.com", "router.lan"]


def test_an_order_has_at_most_ten_names(client: Client) -> None:
    """R-20."""
    names = [f"n{number}.lan" for number in range(11)]
    client.order(*names[:10]).ok(201)
    client.order(*names).is_problem("rejectedIdentifier", 403)


def test_wildcards_are_proved_by_dns_only(client: Client, house: House) -> None:
    """R-20, R-24."""
    order = client.order("*.cam.lan").ok(201)
    (url,) = order["authorizations"]
    authorization = client.post(url).ok()
    assert authorization["wildcard"] is True
    assert authorization["identifier"] == {"type": "dns", "value": "cam.lan"}
    assert [one["type"] for one in authorization["challenges"]] == ["dns-01"]
    house.prove(client, order, "dns-01")
    # A wildcard's proof is none for the name itself, and the other way round.
    plain = client.order("cam.lan").ok(201)
    assert plain["status"] == "pending"

"""Which Host headers are ours, and who is asking."""

from __future__ import annotations

import ipaddress

import pytest

from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.names import IPAddress
from acmeiot.web.site import Site

OWN = {ipaddress.ip_address(text) for text in ("192.168.1.1", "fd00::1")}


def is_own(address: IPAddress) -> bool:
    return address in OWN


SITE = Site("https", frozenset({"router.lan", "router.local"}), "https://router.lan:8555", is_own)


@pytest.mark.parametrize(
    "host",
    ["router.lan", "router.lan:8555", "router.local:1", "192.168.1.1", "192.168.1.1:8555",
     "[fd00::1]", "[fd00::1]:8555", "[fd00:0::1]"],
)  # fmt: skip
def test_ours(host: str) -> None:
    assert SITE.base({"HTTP_HOST": host}) == f"https://{host}"


def test_capitals_are_folded() -> None:
    assert SITE.base({"HTTP_HOST": "Router.LAN:8555"}) == "https://router.lan:8555"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "router.lan.evil.example", "xrouter.lan", "lan", "192.168.1.2", "8.8.8.8",
     "[fd00::2]", "fd00::1", "[fd00::1", "[fd00::1]evil", "[fd00::1]:x", "router.lan:x",
     "router.lan:-1", "router.lan:1\u0663", "router.lan:80:80", "router.lan/x", "router.lan, x",
     "u@router.lan", "router.lan\t", "0300.0250.1.1", "0xc0a80101", "x" * 10000],
)  # fmt: skip
def test_not_ours(host: str) -> None:
    """Specs 6: 421, which names the host in few characters, and says what is right."""
    with pytest.raises(Malformed) as refused:
        SITE.base({"HTTP_HOST": host})
    assert refused.value.status == 421
    assert SITE.default_base in refused.value.detail
    assert len(refused.value.detail) < 200


def test_no_host_is_nobody() -> None:
    with pytest.raises(Malformed):
        SITE.base({})


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("192.168.1.20", "192.168.1.20"),
        ("::ffff:192.168.1.20", "192.168.1.20"),
        ("fd00::5", "fd00::5"),
        ("fe80::1%br-lan", "fe80::1"),
        ("", ""),
    ],
)
def test_remote(address: str, remote: str) -> None:
    """A device has one IPv4 address, whichever socket it came through."""
    assert SITE.remote({"REMOTE_ADDR": address}) == remote

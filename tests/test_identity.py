"""The server's names and addresses."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from acmeiot.config import ConfigError, load
from acmeiot.identity import Names
from acmeiot.lan import interfaces

OWN = tuple(map(ipaddress.ip_address, ("fd00::5", "192.168.1.1", "10.0.0.1")))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "own_addresses", lambda: OWN)
    monkeypatch.setattr(socket, "gethostname", lambda: "OpenWrt")


def names(**flags: Any) -> Names:
    return Names.of(load(None, flags))


def test_every_address_of_the_lan_is_named() -> None:
    """IPv4 first: that is what a person types."""
    assert names().addresses == ("192.168.1.1", "10.0.0.1", "fd00::5", "127.0.0.1", "::1")
    assert names().url == "192.168.1.1"


def test_only_what_is_listened_on_is_named() -> None:
    found = names(listen=["10.0.0.1:8555", "[fd00::0:5]:8555", "[fe80::1%eth0]:8555", "8.8.8.8:1"])
    assert found.addresses == ("10.0.0.1", "fd00::5")
    assert names(listen=["[fd00::5]:8555"]).url == "[fd00::5]"


def test_the_root_bears_every_domain() -> None:
    """A-3.2.1-5: the server's name in .local and in each local domain; the first is in URLs."""
    assert names(domain=["lan", "internal"]).names == (
        "openwrt.lan",
        "openwrt.internal",
        "openwrt.local",
    )
    found = names(name=["gate.internal", "www.lan"], domain=["lan", "internal"])
    assert found.names == ("gate.internal", "www.lan", "gate.lan", "gate.local")
    assert found.url == "gate.internal"


@pytest.mark.parametrize("hostname", ["localhost", "", "a_b", "-", "x" * 64, "\u00fc"])
def test_a_machine_without_a_good_name(monkeypatch: pytest.MonkeyPatch, hostname: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    assert names().names == ("acme.lan", "acme.local")


def test_a_name_is_of_the_home() -> None:
    for name in ("router.example.com", "router", "lan", "router.xlan"):
        with pytest.raises(ConfigError, match=f"name: {name} ends in none of the local domains"):
            names(name=[name])


def test_a_machine_without_a_lan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "own_addresses", lambda: ())
    assert names().addresses == ("127.0.0.1", "::1")
    assert names(listen=["8.8.8.8:8555"]).addresses == ("127.0.0.1",)

"""What the owner sets in UCI is what the server reads, or is told in the log as wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from acmeiot import config
from tests.shell.router import Router

SOURCES = ". /lib/functions.sh; . /usr/lib/acmeiot/settings.sh; . /usr/lib/acmeiot/config.sh"


def section(**options: str | list[str]) -> str:
    """Return /etc/config/acmeiot with these options, quoted as UCI does it."""

    def quoted(text: str) -> str:
        return "'" + text.replace("'", "'\\''") + "'"

    lines = ["config acmeiot main", "\toption enabled 1"]
    for name, value in options.items():
        if isinstance(value, list):
            lines += [f"\tlist {name} {quoted(each)}" for each in value]
        else:
            lines.append(f"\toption {name} {quoted(value)}")
    return "\n".join([*lines, ""])


def made(router: Router, **options: str | list[str]) -> dict[str, Any]:
    """Return the server's file as TOML reads it."""
    router.write("/etc/config/acmeiot", section(**options))
    router.sh(f"{SOURCES}; load_settings && make_user && make_state && write_config")
    return tomllib.loads(router.read("/var/run/acmeiot/config.toml"))


HEARD = "/var/run/acmeiot/clock-set"


def complaint(router: Router, **options: str | list[str]) -> str:
    """Return what is said of options that cannot be."""
    router.write("/etc/config/acmeiot", section(**options))
    return router.sh(f"{SOURCES}; load_settings", fails=True)


def test_the_defaults(router: Router, tmp_path: Path) -> None:
    assert made(router) == {
        "state": "/etc/acmeiot",
        "name": ["openwrt.lan"],
        "domain": ["lan"],
        "listen": ["192.168.1.1:8555", "[fd00:1::1]:8555"],
        "http_listen": ["192.168.1.1:8556", "[fd00:1::1]:8556"],
        "approval": "ask",
        "policy": "lease",
        "profile": "strict",
        "pairing_window": 3600,
        "leaf_days": 30,
        "lease_files": ["/tmp/dhcp.leases"],
        "hosts_files": ["/etc/hosts", "/tmp/hosts/*"],
        "dhcp_number": 0,
        "status_file": "/var/run/acmeiot/server/status.json",
        "announced": [
            "/var/run/acmeiot/told/cfg01411c.json", "/var/run/acmeiot/told/odhcpd.json",
        ],
        "syslog": "/dev/log",
        "verbose": False,
    }  # fmt: skip
    # The server takes it: every option is one of its own.
    copy = tmp_path / "config.toml"
    copy.write_text(router.read("/var/run/acmeiot/config.toml"))
    assert config.load(copy, {}).name == ("openwrt.lan",)


def test_the_file_as_it_is_shipped_changes_no_default(router: Router) -> None:
    before = made(router)
    shipped = (Path(__file__).parents[2] / "files/router/etc/config/acmeiot").read_text()
    router.write("/etc/config/acmeiot", shipped.replace("enabled '0'", "enabled '1'"))
    router.sh(f"{SOURCES}; load_settings && make_user && make_state && write_config")
    assert tomllib.loads(router.read("/var/run/acmeiot/config.toml")) == before


@pytest.mark.parametrize(
    "state",
    [
        '/srv/a "quoted" one', "/srv/it's", "/srv/back\\slash\\", "/srv/$(touch /tmp/hit)`id`",
        "/srv/ü and 家", "/srv/#no comment", "/srv/a]b[c=1", "/srv/*", "/srv/-n -e", "/srv/%s%d",
    ],
)  # fmt: skip
def test_a_quote_breaks_nothing(router: Router, state: str) -> None:
    assert made(router, state=state)["state"] == state
    assert router.sh("ls /tmp/hit 2>/dev/null || :") == ""


def test_a_router_without_a_clock_waits_for_ntp(router: Router) -> None:
    router.write("/sbin/hwclock", "#!/bin/sh\nexit 1\n", "0755")
    assert made(router)["clock_set_file"] == HEARD


@pytest.mark.parametrize(
    ("event", "is_set"),
    [
        ("step 16", True), ("stratum 1", True), ("stratum 15", True), ("periodic 3", True),
        ("stratum 16", False), ("periodic 16", False), ("unsync 3", False), ("stratum", False),
    ],
)  # fmt: skip
def test_ntp_has_set_the_clock(router: Router, event: str, is_set: bool) -> None:
    """By the events of busybox's ntpd; procd sources the file for each."""
    action, _, stratum = event.partition(" ")
    environ = {"ACTION": action} | ({"stratum": stratum} if stratum else {})
    for _ in range(2):
        router.sh(". /etc/hotplug.d/ntp/60-acmeiot", env=environ)
        assert router.sh(f"[ -e {HEARD} ] && echo there || :") == "there\n" * is_set


def test_options_are_taken(router: Router) -> None:
    router.uci("network.guest.x=1")
    found = made(
        router, network=["lan", "guest"], label="Tower", domain=["home.arpa", "lan"],
        approval="auto", profile="compat", pairing_window="0", leaf_days="89", https_port="14000",
        http_port="14001", dhcp_number="224", verbose="on",
    )  # fmt: skip
    assert found["name"] == ["Tower.home.arpa"]
    assert found["domain"] == ["home.arpa", "lan"]
    assert found["listen"] == ["192.168.1.1:14000", "[fd00:1::1]:14000", "192.168.9.1:14000"]
    assert found["http_listen"][0] == "192.168.1.1:14001"
    assert (found["approval"], found["profile"], found["verbose"]) == ("auto", "compat", True)
    assert (found["pairing_window"], found["leaf_days"], found["dhcp_number"]) == (0, 89, 224)


def test_the_router_s_own_domain_and_name(router: Router) -> None:
    router.uci("dhcp.@dnsmasq[0].domain=fritz.box", "system.@system[0].hostname=Living Room!")
    found = made(router)
    assert (found["domain"], found["name"]) == (["fritz.box"], ["router.fritz.box"])
    router.uci("dhcp.@dnsmasq[0].domain=local")
    assert made(router)["domain"] == ["lan"]


def test_every_table_of_leases(router: Router) -> None:
    """A second dnsmasq has its own; from 25.12 on so has odhcpd; a path with blanks is none."""
    router.uci("dhcp.work=dnsmasq", "dhcp.work.leasefile=/tmp/dhcp.leases.work")
    router.uci("dhcp.odd=dnsmasq", "dhcp.odd.leasefile=/tmp/a b", "dhcp.odhcpd.leasefile=")
    assert made(router)["lease_files"] == [
        "/tmp/dhcp.leases", "/tmp/dhcp.leases.work", "/tmp/odhcpd.leases",
    ]  # fmt: skip


def test_ipv6_only(router: Router) -> None:
    """Of IPv6 the home's own prefix: a global address is the Internet's, too."""
    router.sh("ip address del 192.168.1.1/24 dev br-lan")
    router.sh("ip address add 2001:db8::1/64 dev br-lan nodad")
    assert made(router)["listen"] == ["[fd00:1::1]:8555"]


def test_a_network_that_is_down_is_waited_for(router: Router) -> None:
    said = complaint(router, network="wan")
    assert "network: wan has no address yet; starting when it has" in said
    assert made(router, network=["wan", "lan"])["listen"][0] == "192.168.1.1:8555"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("enabled", "maybe", "enabled: 'maybe' is not 0 or 1"),
        ("network", "lna", "network: there is no network lna"),
        ("network", "a;b", "network: 'a;b' is not a network's name"),
        ("network", "*", "network: '*' is not a network's name"),
        ("label", "a.b", "label: 'a.b' is not one word of letters, digits and hyphens"),
        ("label", '"', "label: '\"' is not one word of letters, digits and hyphens"),
        ("domain", "a..b", "domain: 'a..b' is not the name of a domain"),
        ("domain", "a\"b", "domain: 'a\"b' is not the name of a domain"),
        ("approval", "yes", "approval: 'yes' is not one of: ask auto"),
        ("profile", "", None),
        ("pairing_window", "-1", "pairing_window: '-1' is not a number from 0 to 86400"),
        ("pairing_window", "86401", "pairing_window: 86401 is not 0 to 86400"),
        ("leaf_days", "90", "leaf_days: 90 is not 1 to 89"),
        ("leaf_days", "030", "leaf_days: '030' is not a number from 1 to 89"),
        ("https_port", "443", "https_port: 443 is not 1024 to 65535"),
        ("https_port", "8556", "http_port: 8556 is https_port, too"),
        ("http_port", "http", "http_port: 'http' is not a number from 1024 to 65535"),
        ("dhcp_number", "252", "dhcp_number: 252 is not 0 or one of 224 to 254 but 249 and 252"),
        ("state", "acmeiot", "state: 'acmeiot' is not a directory such as /etc/acmeiot"),
        ("state", "/etc/../root", "state: /etc/../root: write it without . and .."),
        ("state", "/a/b\ac", "state: no line breaks and the like"),
        ("verbose", "2", "verbose: '2' is not 0 or 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(router: Router, option: str, value: str, said: str | None) -> None:
    if said is None:  # an empty option is one that is not set
        assert made(router, **{option: value})[option] == "strict"
    else:
        assert f"acmeiot: {said}" in complaint(router, **{option: value}).splitlines()
        assert said in router.log


def test_a_directory_of_others_is_not_taken(router: Router) -> None:
    router.write("/etc/config/acmeiot", section(state="/etc/config"))
    said = router.sh(f"{SOURCES}; load_settings && make_user && make_state", fails=True)
    assert "state: /etc/config has other files in it; name a directory of its own" in said


def test_a_link_in_the_state_leads_nowhere(router: Router) -> None:
    """The server may put links there; root gives it nothing that lies behind one."""
    made(router)
    router.sh("chown 1:1 /etc/hosts; cd /etc/acmeiot; mkdir ca; ln -s /etc/hosts tls")
    made(router)
    assert router.sh("stat -c %u /etc/hosts").strip() == "1"

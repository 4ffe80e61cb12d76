"""Networks told apart (A-3.3-5, A-4.7-1), in real ones; NetworkManager is a stub of its CLI."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acmeiot.client import network as client_network
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.client.network import Network, Survey, Watch, networks, survey
from acmeiot.client.networkmanager import why_public
from acmeiot.lan import router
from acmeiot.lan.interfaces import Interface
from tests.lan.network import Network as Lan

ROUTER = "52:54:00:00:00:01"
OTHER = "52:54:00:00:00:02"


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A home: a router, and a laptop with a default route through it."""
    with Lan() as made:
        made.router("router", "192.168.1.1/24", "fd00::1/64")
        made.run("router", "ip", "link", "set", "br-lan", "address", ROUTER)
        made.host("laptop", "192.168.1.20/24")
        made.run("laptop", "ip", "route", "add", "default", "via", "192.168.1.1")
        yield made


def here(lan: Lan, name: str = "laptop") -> tuple[Network, ...]:
    """Return the networks of a host."""
    return lan.call(name, networks)


# -- identity


def test_joined(lan: Lan) -> None:
    """A-4.7-1: the identity is the interface and the router's MAC, its address is not."""
    (found,) = here(lan)
    assert found == Network("eth0", ROUTER, gateway="192.168.1.1")
    assert found.key == "eth0-525400000001"
    assert str(found) == "eth0 (router 52:54:00:00:00:01 at 192.168.1.1)"
    # The same router at another address, for IPv6 now, is the same network.
    lan.run("laptop", "ip", "address", "flush", "dev", "eth0", "scope", "global")
    lan.run("laptop", "ip", "address", "add", "fd00::20/64", "dev", "eth0", "nodad")
    lan.run("laptop", "ip", "-6", "route", "add", "default", "via", "fd00::1")
    (again,) = here(lan)
    assert (again.gateway, again.key) == ("fd00::1", found.key)


def test_another_router(lan: Lan) -> None:
    """A-3.3-5: with another MAC it is another network, though everything else is the same."""
    (before,) = here(lan)
    lan.run("router", "ip", "link", "set", "br-lan", "address", OTHER)
    (after,) = here(lan)
    assert (before.gateway, before.interface) == (after.gateway, after.interface)
    assert (before.key, after.key) == ("eth0-525400000001", "eth0-525400000002")


def test_two_interfaces_of_one_router(lan: Lan) -> None:
    """A-3.3-7: both are reported, by the same router, the preferred one first."""
    lan.run("laptop", "ip", "link", "add", "eth1", "link", "eth0", "type", "macvlan")
    lan.run("laptop", "ip", "address", "add", "192.168.1.21/24", "dev", "eth1")
    lan.run("laptop", "ip", "link", "set", "eth1", "up")
    words = ("default", "via", "192.168.1.1", "dev", "eth1", "metric", "50")
    lan.run("laptop", "ip", "route", "add", *words)
    assert [(each.interface, each.router) for each in here(lan)] == [
        ("eth0", ROUTER),
        ("eth1", ROUTER),
    ]
    assert [each.interface for each in lan.call("laptop", networks, "eth1")] == ["eth1"]


def test_silent_router(lan: Lan) -> None:
    """A router that does not answer gives no identity, and surely not one without a router."""
    lan.run("laptop", "ip", "route", "replace", "default", "via", "192.168.1.9")
    found = lan.call("laptop", survey, patience=0.3)
    assert found == Survey((), ("eth0: its router 192.168.1.9 does not answer",))


def without_route(lan: Lan) -> None:
    """Take the laptop's default route away."""
    lan.run("laptop", "ip", "route", "del", "default")


def test_dhcp_server_for_the_router(lan: Lan) -> None:
    """Without a default route the DHCP server's MAC tells the network, if it is on the link."""
    without_route(lan)
    (found,) = lan.call("laptop", networks, servers={"eth0": "192.168.1.1"})
    assert found == Network("eth0", ROUTER, gateway="192.168.1.1")
    lan.run("router", "ip", "address", "add", "fe80::1/64", "dev", "br-lan", "nodad")
    (found,) = lan.call("laptop", networks, servers={"eth0": "fe80::1%eth0"})
    assert found.router == ROUTER
    (relayed,) = lan.call("laptop", networks, servers={"eth0": "10.0.0.1", "eth9": "192.168.1.1"})
    assert relayed.router is None


def test_prefix_for_the_router(lan: Lan) -> None:
    """With neither, the prefix must do; a unique local one of IPv6 is the best."""
    without_route(lan)
    (found,) = here(lan)
    assert found == Network("eth0", None, prefix="192.168.1.0/24")
    assert found.key == "eth0-net-192_168_1_0_24"
    assert str(found) == "eth0 (no router, 192.168.1.0/24)"
    lan.run("laptop", "ip", "address", "add", "fd12:3456:789a::5/64", "dev", "eth0", "nodad")
    assert [each.key for each in here(lan)] == ["eth0-net-fd12_3456_789a_64"]


def test_link_local_only(lan: Lan) -> None:
    """169.254/16 is everywhere: it tells nothing."""
    lan.run("laptop", "ip", "address", "flush", "dev", "eth0", "scope", "global")
    lan.run("laptop", "ip", "address", "add", "169.254.7.7/16", "dev", "eth0")
    assert here(lan) == ()


def test_containers_are_no_networks(lan: Lan) -> None:
    """A bridge without a router does not count beside a real network."""
    lan.run("laptop", "ip", "link", "add", "docker0", "type", "veth", "peer", "c1")
    lan.run("laptop", "ip", "link", "set", "c1", "up")
    lan.run("laptop", "ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    lan.run("laptop", "ip", "link", "set", "docker0", "up")
    assert [each.interface for each in here(lan)] == ["eth0"]
    assert [each.key for each in lan.call("laptop", networks, "docker0")] == [
        "docker0-net-172_17_0_0_16"
    ]


def test_not_joined(lan: Lan) -> None:
    """No carrier, no network, and no router to wait for."""
    lan.run("router", "ip", "link", "set", "to-laptop", "down")
    assert lan.call("laptop", survey) == Survey((), ())


def test_no_such_interface() -> None:
    """A wrong name is told with the right ones."""
    with pytest.raises(UsageError, match=r"there is no interface eht0; there are .*lo"):
        networks("eht0")


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is said with the way to get it."""
    lo = Interface(1, "lo", 0, ())

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")

    monkeypatch.setattr(router, "gateways", missing)
    monkeypatch.setattr(client_network, "_joined", lambda name: [lo])
    with pytest.raises(AgentError, match=r"without pyroute2: pip install 'acmeiot\[agents\]'"):
        networks()


@pytest.mark.parametrize(
    ("network", "key"),
    [
        (Network("eth0.7", ROUTER), "eth0.7-525400000001"),
        (Network("wlan0", ROUTER, "Home"), "wifi-486f6d65-525400000001"),
        (Network("wlan1", ROUTER, "Home"), "wifi-486f6d65-525400000001"),
        (Network("wlan0", ROUTER, "../../etc"), "wifi-2e2e2f2e2e2f657463-525400000001"),
        (Network("..", ROUTER), "-525400000001"),
        (Network("a:b", ROUTER), "a%3ab-525400000001"),
    ],
)
def test_keys_are_file_names(network: Network, key: str) -> None:
    """A key names a file, whatever an interface or a Wi-Fi is called."""
    assert network.key == key


def test_longest_key() -> None:
    """32 octets that are no text still fit into a file name."""
    assert len(Network("wlan0", ROUTER, "ÿ" * 32).key) < 200


def test_bad_networks() -> None:
    """An identity without content cannot be built."""
    with pytest.raises(ValueError, match="'nonsense' is no MAC like"):
        Network("eth0", "nonsense")
    with pytest.raises(ValueError, match="eth0: a network has a router or a prefix"):
        Network("eth0", None)


def test_wifi_for_people() -> None:
    """A network's name cannot fake more than a name."""
    shown = str(Network("wlan0", ROUTER, 'x"\n\x1b[2J'))
    assert shown == 'Wi-Fi "x\\"\\n\\u001b[2J" on wlan0 (router 52:54:00:00:00:01)'


# -- public networks

NMCLI = """\
#!/bin/sh
[ "$LC_ALL" = C ] || exit 9
case "$*" in
"-g GENERAL.METERED device show eth0") echo "$METERED" ;;
"-g IN-USE,SECURITY device wifi list ifname eth0 --rescan no")
	printf ' :WPA2\\n*:%s\\n :\\n' "$SECURITY" ;;
*) echo "Error: invalid arguments: $*" >&2; exit 2 ;;
esac
"""


@pytest.fixture
def nmcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program that answers as nmcli does; the environment tells it what."""
    program = tmp_path / "nmcli"
    program.write_text(NMCLI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("METERED", "unknown")
    monkeypatch.setenv("SECURITY", "WPA2")
    return program


@pytest.mark.parametrize(
    ("metered", "public"),
    [
        ("yes", "metered"),
        ("yes (guessed)", "metered"),
        ("no", None),
        ("no (guessed)", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_metered(
    lan: Lan,
    nmcli: Path,
    monkeypatch: pytest.MonkeyPatch,
    metered: str,
    public: str | None,
) -> None:
    """A metered network is a public one, whether set or guessed."""
    monkeypatch.setenv("METERED", metered)
    assert [each.public for each in here(lan)] == [public]


@pytest.mark.parametrize(
    ("security", "public"),
    [("", "open Wi-Fi"), ("--", "open Wi-Fi"), ("OWE", "open Wi-Fi"), ("WPA2 WPA3", None)],
)
def test_open(
    nmcli: Path, monkeypatch: pytest.MonkeyPatch, security: str, public: str | None
) -> None:
    """A Wi-Fi without a password is a public one; only the access point in use counts."""
    monkeypatch.setenv("SECURITY", security)
    assert why_public("eth0", wifi=True) == public
    assert why_public("eth0", wifi=False) is None


def test_networkmanager_not_running(nmcli: Path) -> None:
    """Installed and not running, or another's interface: nothing is known."""
    assert why_public("eth7", wifi=True) is None
    nmcli.write_text("#!/nonexistent\n")
    assert why_public("eth0", wifi=True) is None
    assert why_public("eth0", wifi=True, program="nmcli-that-is-not-there") is None


def test_a_wifis_name_is_harmless_to_a_terminal() -> None:
    """Its 32 octets are whatever a stranger likes; the key tells all of them apart."""
    network = Network("wlan0", ROUTER, ssid='a"\x1b[2J\x9b2J\u202e\n')
    assert str(network) == f'Wi-Fi "a\\"\\u001b[2J?2J?\\n" on wlan0 (router {ROUTER})'
    assert network.key == f"wifi-{network.ssid.encode().hex()}-525400000001"  # type: ignore[union-attr]


# -- the watch


def changed(words: list[str], timeout: float) -> tuple[bool, float]:
    """Run `ip` after a moment and tell whether the watch saw it, and when; on a host."""
    with Watch() as watch:
        start = time.monotonic()
        later = threading.Timer(0.2, lambda: subprocess.check_output(["ip", *words]))
        later.start()
        seen = watch.wait(timeout)
        spent = time.monotonic() - start
        later.join()
        # The burst was read to its end.
        assert not seen or not watch.wait(0)
    return seen, spent


@pytest.mark.parametrize(
    "words",
    [
        ["link", "set", "eth0", "down"],
        ["address", "add", "192.168.1.77/24", "dev", "eth0"],
        ["address", "add", "fd00::77/64", "dev", "eth0", "nodad"],
        ["route", "del", "default"],
        ["-6", "route", "add", "fd77::/64", "dev", "eth0"],
    ],
)
def test_watch(lan: Lan, words: list[str]) -> None:
    """A-3.3-1, A-3.4-1: links, addresses and routes of both families are watched."""
    assert lan.call("laptop", changed, words, 20.0)[0]


def test_watch_ends(lan: Lan) -> None:
    """What is no change is none; the wait is as long as asked."""
    # A LAN just made still has things to say: addresses are checked, routers found.
    for _ in range(10):
        seen, spent = lan.call("laptop", changed, ["link", "show"], 0.5)
        if not seen:
            break
    assert (seen, spent >= 0.5) == (False, True)


def test_wake() -> None:
    """Another thread, or a signal, ends a wait; also one that has not begun."""
    with Watch() as watch:
        for _ in range(100_000):  # more than any buffer takes
            watch.wake()
        assert watch.wait(20)
        assert not watch.wait(0)
        old = signal.set_wakeup_fd(watch.wakeup_fd())
        before = signal.signal(signal.SIGHUP, lambda *_: None)
        try:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGHUP)).start()
            assert watch.wait(20)
        finally:
            signal.set_wakeup_fd(old)
            signal.signal(signal.SIGHUP, before)


def test_import_is_light() -> None:
    """pyroute2 comes with the first question, not with the module."""
    code = "import sys, acmeiot.client.network; print('pyroute2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def hook(folder: Path, value: str) -> None:
    """Leave a file as `acmeiot-saw` does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".eth0.udhcpc").write_text(value)
    (folder / ".eth0.udhcpc").replace(folder / "eth0.udhcpc")


@pytest.mark.parametrize("there", [True, False])
def test_watch_sees_what_dhcp_clients_leave(tmp_path: Path, there: bool) -> None:
    """A-3.1-1: an answer without a new address, and the first one of all, are a change."""
    folder = tmp_path / "acmeiot/dhcp"
    if there:
        hook(folder, "one")
    with Watch(folder, tmp_path / "leases") as watch:
        assert not watch.wait(0.1)
        later = threading.Timer(0.2, hook, (folder, "two"))
        later.start()
        start = time.monotonic()
        assert watch.wait(20)
        assert time.monotonic() - start < 10
        later.join()
        assert not watch.wait(0.1)
        hook(folder, "the same length, the same moment"[:3])
        assert watch.wait(0), "what happened between two waits counts"
        (folder / "eth0.udhcpc").unlink()
        assert watch.wait(0)


def test_watch_sleeps_between_its_glances(tmp_path: Path) -> None:
    """Nothing happens, and nothing is done for it."""
    with Watch(tmp_path) as watch:
        before = time.process_time()
        assert not watch.wait(2.5)
        assert time.process_time() - before < 0.2

"""`acmeiot discover` in a home of its own: a real dnsmasq, and this project's server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acmeiot.protocol import dhcp, dnssd, fingerprint
from acmeiot.protocol.dhcp import Advertisement
from tests.client import dnsmasq
from tests.lan.network import Network
from tests.web.running import READY, acmeiot

ROUTER = "192.168.1.1"
RANGE = "dhcp-range=192.168.1.100,192.168.1.150,1h"
NAMES = ("domain=lan", "local=/lan/local/", f"address=/router.lan/{ROUTER}")


class Home:
    """A router that serves ACME, and a laptop."""

    def __init__(self, lan: Network, work: Path) -> None:
        self.lan, self.work = lan, work
        self.root = ""

    def serve(self) -> None:
        """Start the server on its own port."""
        log = self.work / "server.log"
        self.lan.start(
            *("router", sys.executable, "-m", "acmeiot", "serve", "--state", self.work / "state"),
            *("--listen", f"{ROUTER}:8555", "--http-listen", f"{ROUTER}:8556"),
            *("--name", "router.lan", "--name", "router.local", "--resolver", ROUTER),
            log=log,
        )
        dnsmasq.wait_for(log, "ready https://")
        found = READY.search(log.read_text())
        assert found is not None
        self.root = found[2]

    def discover(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command on the laptop, which has no hooks."""
        return self.lan.call("laptop", discover, str(self.work / "none"), *options)


def discover(sightings: str, *options: str) -> subprocess.CompletedProcess[str]:
    return acmeiot("discover", "--sightings", sightings, *options)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home without services yet."""
    with Network() as lan:
        lan.router("router", f"{ROUTER}/24")
        lan.host("laptop", "192.168.1.20/24")
        lan.settle()
        yield Home(lan, tmp_path)


def test_dhcp_and_dns(home: Home, tmp_path: Path) -> None:
    """Every source is told with its answer, and which one wins; root in hex and in words."""
    home.serve()
    ad = Advertisement("router.lan", "/acme/directory", bytes.fromhex(home.root), 8555)
    dnsmasq.start(
        *(home.lan, "router", tmp_path / "dns", RANGE, *NAMES),
        dnsmasq.raw(125, dhcp.option125(ad)),
        f"srv-host={dnssd.SERVICE}.lan,router.lan,8555",
    )
    done = home.discover("--probe")
    assert done.returncode == 0, done.stderr
    words = fingerprint.words(bytes.fromhex(home.root))
    told = f"router.lan port 8555 path /acme/directory root sha256:{home.root}"
    for line in (
        f"winner     {told} (DHCP option 125 from {ROUTER} (probe on eth0))",
        f"passed by  router.lan port 8555 (SRV record {dnssd.SERVICE}.lan (the resolver {ROUTER}))",
        "directory  https://router.lan:8555/acme/directory",
        f"address    {ROUTER}",
        f"           sha256:{home.root}",
        f"           {words}",
    ):
        assert line in done.stdout.splitlines()
    said = as_json(home.discover("--probe", "--json"))
    assert [one["kind"] for one in said["candidates"]] == ["dhcp", "srv"]
    assert said["server"]["url"] == "https://router.lan:8555/acme/directory"
    assert said["server"]["addresses"] == [ROUTER]
    assert said["server"]["root"]["sha256"] == home.root
    assert said["server"]["root"]["words"] == words
    assert (said["error"], said["conflict"], said["rivals"]) == (None, None, [])
    unseen = as_json(home.discover("--probe", "--json", "--no-connect"))
    assert (unseen["server"], unseen["error"]) == (None, None)


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_bare_name(home: Home, tmp_path: Path) -> None:
    """A-3.1-2, A-5.1-1: option 60 with a name and nothing else is enough."""
    home.serve()
    line = dnsmasq.raw(60, dhcp.option60(Advertisement("router.lan")))
    dnsmasq.start(home.lan, "router", tmp_path / "dns", RANGE, *NAMES, line)
    said = as_json(home.discover("--probe", "--json", "--interface", "eth0"))
    assert said["server"]["url"] == "https://router.lan:8555/.well-known/acme"
    assert said["server"]["root"]["sha256"] == home.root


def test_wrong_root(home: Home, tmp_path: Path) -> None:
    """Sub-option 3 says another root: refused, exit 1, one line."""
    home.serve()
    ad = Advertisement("router.lan", None, b"\0" * 32, 8555)
    line = dnsmasq.raw(125, dhcp.option125(ad))
    dnsmasq.start(home.lan, "router", tmp_path / "dns", RANGE, *NAMES, line)
    done = home.discover("--probe", "--json")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert done.stderr.startswith("acmeiot: ")
    assert done.stderr.count("\n") == 1
    assert as_json(done)["error"] in done.stderr


def test_local_name(home: Home, tmp_path: Path) -> None:
    """A-4.5-1: the host of a DHCP answer is found by multicast DNS, and that is said; what goes
    out asks for that host, never for the service (A-3.1-4)."""
    home.serve()
    ad = Advertisement("router.local", None, None, 8555)
    line = dnsmasq.raw(125, dhcp.option125(ad))
    dnsmasq.start(home.lan, "router", tmp_path / "dns", RANGE, *NAMES, line)
    words = (sys.executable, "-m", "tests.lan.responder", "router.local", ROUTER)
    home.lan.start("router", *words, log=tmp_path / "responder")
    home.lan.start("laptop", sys.executable, "-m", "tests.client.sniffer", log=tmp_path / "sniffed")
    dnsmasq.wait_for(tmp_path / "responder", "ready")
    dnsmasq.wait_for(tmp_path / "sniffed", "sniffing")
    done = home.discover("--probe", "--domain", "lan")
    assert done.returncode == 0, done.stderr
    assert "directory  https://router.local:8555/.well-known/acme" in done.stdout
    assert "NOTE       router.local was found by multicast DNS" in done.stdout
    lines = (tmp_path / "sniffed").read_text().splitlines()
    sent = [line for line in lines if line.startswith("mdns sent")]
    assert sent
    assert all(b"\6router\5local\0".hex() in line for line in sent)
    assert not [line for line in sent if b"_acme".hex() in line]


def test_conflict(home: Home, tmp_path: Path) -> None:
    """Two DHCP servers that disagree: exit 1, and both are named."""
    home.lan.host("rogue", "192.168.1.66/24")
    for host, link in (("router", "br-lan"), ("rogue", "eth0")):
        line = dnsmasq.raw(125, dhcp.option125(Advertisement(f"{host}.lan")))
        dnsmasq.start(home.lan, host, tmp_path / host, RANGE, line, interface=link)
    done = home.discover("--probe", "--json")
    assert done.returncode == 1
    said = as_json(done)
    assert {one["host"] for one in said["rivals"]} == {"router.lan", "rogue.lan"}
    assert said["conflict"] in done.stderr
    assert (said["server"], said["candidates"]) == (None, [])


def test_nothing_found(home: Home) -> None:
    """Exit 1 with one line that says where it looked."""
    done = home.discover("--domain", "lan", "--resolver", ROUTER)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"the resolver {ROUTER}" in done.stderr
    assert "--probe asks the DHCP server itself" in done.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--resolver", "8.8.8.8"), "not on this LAN"),
        (("--resolver", "router"), "--resolver: 'router'"),
        (("--resolver", "127.0.0.1:x"), "--resolver: "),
        (("--resolver", "127.0.0.1:70000"), "--resolver: "),
        (("--number", "255"), "--number: 255"),
        (("--number", "0"), "--number: 0"),
        (("--domain", "a b"), "--domain: "),
        (("--domain", "local"), "multicast DNS"),
    ],
)
def test_usage(tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    """Exit 2 names the option and what would be right."""
    done = discover(str(tmp_path), *options)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:5300", "127.0.0.1 port 5300"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:5300", "::1 port 5300"),
        ("fe80::1%lo", "fe80::1%lo"),
    ],
)
def test_resolvers(tmp_path: Path, text: str, shown: str) -> None:
    """Nobody listens there; what was asked is said."""
    done = discover(str(tmp_path), "--domain", "lan", "--resolver", text)
    assert f"the resolver {shown} " in done.stderr

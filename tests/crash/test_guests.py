"""A guest network whose firewall lets everything in: it does not get to the server all the same."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.network import Network

AT = ("192.168.1.1", "[fd00:1::1]")
PROBE = ("curl", "-s", "--max-time", "5", "--interface", "eth0", "-o", "/dev/null", "-w", "%{json}")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A router that serves its LAN, a printer on it, and a guest beside."""
    with Network() as made:
        made.router("router", "192.168.1.1/24", "fd00:1::1/64")
        made.run("router", "ip", "link", "add", "br-guest", "type", "bridge")
        made.run("router", "ip", "address", "add", "192.168.3.1/24", "dev", "br-guest")
        made.run("router", "ip", "address", "add", "fd00:3::1/64", "dev", "br-guest", "nodad")
        made.run("router", "ip", "link", "set", "br-guest", "up")
        made.host("printer", "192.168.1.20/24", "fd00:1::20/64")
        made.host("guest", "192.168.3.20/24", "fd00:3::20/64")
        made.run("router", "ip", "link", "set", "to-guest", "master", "br-guest")
        made.run("guest", "ip", "route", "add", "default", "via", "192.168.3.1")
        made.run("guest", "ip", "route", "add", "default", "via", "fd00:3::1")
        made.settle()
        listen = [w for at in AT for w in ("--listen", f"{at}:8555", "--http-listen", f"{at}:8556")]
        serve = (sys.executable, "-m", "acmeiot", "serve", "--state", tmp_path / "state")
        made.start("router", *serve, *listen, "--name", "router.lan", log=tmp_path / "log")
        _until_served(made, tmp_path / "log")
        yield made


def _until_served(network: Network, log: Path) -> None:
    ends = time.monotonic() + 20
    while _status(network, "printer", f"http://{AT[0]}:8556/root.pem") != 200:
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.1)


def _status(network: Network, host: str, url: str) -> int:
    """Return the HTTP status, 0 if the connection was closed instead; raise if none was made."""
    command = ["sh", "-c", '"$@" || true', "sh", *PROBE, "-k", url]
    said = json.loads(network.run(host, *command))
    refused = said["exitcode"] in (7, 28)
    assert not refused or host == "printer", f"the guest's packets end before: {said}"
    return int(said["http_code"])


def test_guests_are_not_served(network: Network, tmp_path: Path) -> None:
    """The LAN and the router itself are, at each listener and in both families."""
    for at in AT:
        for url in (f"https://{at}:8555/acme/directory", f"http://{at}:8556/root.pem"):
            assert _status(network, "printer", url) == 200
            assert _status(network, "guest", url) == 0
    with pytest.raises(AssertionError, match="end before"):
        _status(network, "guest", "http://192.168.1.1:8599/")  # what this test would not notice
    own = network.run("router", "curl", "-sk", "https://192.168.1.1:8555/acme/directory")
    assert "newOrder" in own
    log = (tmp_path / "log").read_text()
    assert log.count("this server is not for the network behind br-guest") == 1, log


def test_who_listens_everywhere(network: Network, tmp_path: Path) -> None:
    """Without addresses there is no network to be told from another."""
    serve = (sys.executable, "-m", "acmeiot", "serve", "--state", tmp_path / "other")
    ports = ("--listen", "0.0.0.0:9555", "--http-listen", "0.0.0.0:9556")
    network.start("router", *serve, *ports, "--name", "router.lan", log=tmp_path / "other.log")
    ends = time.monotonic() + 20
    while _status(network, "printer", "http://192.168.1.1:9556/root.pem") != 200:
        assert time.monotonic() < ends, (tmp_path / "other.log").read_text()
        time.sleep(0.1)
    assert _status(network, "guest", "http://192.168.3.1:9556/root.pem") == 200

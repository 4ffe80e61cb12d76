"""Connecting on a real link: devices that are off, behind another network, or link-local only."""

import ipaddress
import sys
import time
from collections.abc import Iterator

import pytest

from acmeiot.lan.deadline import Deadline
from acmeiot.lan.interfaces import lan_interfaces
from acmeiot.protocol import names
from acmeiot.protocol.errors import ConnectionFailed
from acmeiot.validate.dial import Dialler, quote
from tests.lan.network import Network

SERVE = """\
import socket, sys
listener = socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    listener.accept()[0].close()
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A router and a printer with a server on port 8080, reachable by link-local address only."""
    log = tmp_path_factory.mktemp("dial") / "log"
    with Network() as made:
        made.router("router", "192.168.1.1/24", "fd00::1/64")
        made.host("printer", "192.168.1.20/24", "fd00::20/64")
        made.settle()
        made.start("printer", sys.executable, "-c", SERVE, log=log)
        for _ in range(50):
            if dial_in(made, "fd00::20")[0] == "fd00::20":
                break
            time.sleep(0.1)
        yield made


def dial(port: int, limit: float, addresses: list[str]) -> tuple[str, float]:
    """Connect; return the address or the error, and the seconds it took."""
    dialler = Dialler(lambda: [each.index for each in lan_interfaces()])
    began = time.monotonic()
    checked = [ipaddress.ip_address(address) for address in addresses]
    try:
        made, address = dialler.connect(names.dns("printer.lan"), checked, port, Deadline(limit))
    except ConnectionFailed as error:
        return error.detail, time.monotonic() - began
    with made:
        return str(address), time.monotonic() - began


def dial_in(network: Network, *addresses: str, port: int = 8080) -> tuple[str, float]:
    """Connect on the router."""
    return network.call("router", dial, port, 2.0, list(addresses))


def test_link_local(network: Network) -> None:
    """An address fe80:: is looked for on each LAN interface; no zone has to be written."""
    shown = network.run("printer", "ip", "-6", "-o", "address", "show", "dev", "eth0")
    fe80 = next(word for word in shown.split() if word.startswith("fe80")).partition("/")[0]
    assert dial_in(network, fe80)[0] == fe80
    # Behind addresses that say which link they are on.
    assert dial_in(network, fe80, "fd00::20", "192.168.1.20")[0] == "fd00::20"


def no_link() -> str:
    """Connect to a link-local address from a machine without a LAN."""
    with pytest.raises(ConnectionFailed) as caught:
        Dialler(list).connect(
            names.dns("printer.lan"), [ipaddress.ip_address("fe80::1")], 80, Deadline(1)
        )
    return caught.value.detail


def test_link_local_without_a_lan() -> None:
    """It is said, not guessed."""
    assert no_link().endswith("this server has no LAN interface to look for it")


def test_off_and_elsewhere(network: Network) -> None:
    """In words: nobody at that address, another network, a port that is closed; within the time."""
    network.run("printer", "ip", "address", "add", "192.168.1.50/32", "dev", "lo")
    said, took = dial_in(network, "192.168.1.99", "10.9.9.9", "fd99::1", "192.168.1.20", port=81)
    assert took < 3
    assert "printer.lan (10.9.9.9) port 81: this server is not on the network of this" in said
    assert "printer.lan (fd99::1) port 81: this server is not on the network of this" in said
    assert "printer.lan (192.168.1.20) port 81: connection refused; is the client" in said
    assert (
        "printer.lan (192.168.1.99) port 81: no answer; is the device on, and does its firewall "
        "let port 81 in?"
    ) in said


def test_a_dead_ipv6_address_leaves_time_for_ipv4(network: Network) -> None:
    """R-27: one address that swallows everything does not use up the limit."""
    assert dial_in(network, "fd00::99", "192.168.1.20")[0] == "192.168.1.20"


def test_quote() -> None:
    """Specs 6: at most 100 characters of what a device sent, printable ones only."""
    assert quote(b"a\0\r\n\x1b\xffz") == '"a.....z"'
    assert quote("\N{GREEK SMALL LETTER ALPHA}" + "x" * 200) == '".' + "x" * 99 + '"...'
    assert quote("") == '""'

"""The owner's word, as a device with an ordinary client meets it."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop import chain
from tests.interop.clients import Lego
from tests.interop.home import PRINTER, Home
from tests.interop.server import Server, running

BOTH = ("printer.lan", "printer.local")
HTTP = ["--http"]


@pytest.fixture
def asking(home: Home, tmp_path: Path) -> Iterator[Server]:
    """A server that asks its owner and believes the DHCP server's leases."""
    link = json.loads(home.printer.run("ip", "-json", "link", "show", "lan"))[0]
    leases = tmp_path / "leases"
    printer = f"0 {link['address']} {PRINTER} printer *\n"
    leases.write_text(printer + "0 02:00:00:00:00:30 192.168.1.30 camera *\n")
    config = tmp_path / "acmeiot.toml"
    config.write_text(f'lease_files = ["{leases}"]\napproval_wait = 1\n')
    choice = ("--approval", "ask", "--policy", "lease", "--config", str(config))
    with running(home, tmp_path, 8575, *choice) as server:
        yield server


def owner(asking: Server, *words: str) -> Any:
    """Run an admin command on the router and return what it says to programs."""
    command: tuple[str | Path, ...] = (
        sys.executable,
        "-m",
        "acmeiot",
        *words,
        "--state",
        asking.state,
        "--json",
    )
    return json.loads(asking.home.router.run(*command))


def test_ask_approve_block(home: Home, asking: Server, state: Path) -> None:
    """The words that the client shows lead to the device; blocked, it is revoked and stays out."""
    lego = Lego(home, asking.directory, asking.root, state / "lego")
    with pytest.raises(AssertionError, match="userActionRequired") as refusal:
        lego.run(HTTP, *BOTH)
    found = re.search(r"acmeiot approve (\S+)", str(refusal.value))
    assert found
    (device,) = owner(asking, "devices")["devices"]
    assert (device["id"], device["address"], device["status"]) == (found[1], PRINTER, "pending")
    owner(asking, "approve", found[1])
    issued = chain.read(asking, lego.run(HTTP, *BOTH))
    issued.assert_good(*BOTH)
    owner(asking, "block", "printer.lan")
    issued.assert_revoked()
    with pytest.raises(AssertionError, match=r"unauthorized|rejectedIdentifier"):
        lego.renew(HTTP, *BOTH)


def test_pairing_key_is_the_owners_word(home: Home, asking: Server, state: Path) -> None:
    lego = Lego(home, asking.directory, asking.root, state / "lego")
    issued = chain.read(asking, lego.run(HTTP, *BOTH, eab=asking.pair()))
    issued.assert_good(*BOTH)


def test_lease_of_another_device(home: Home, asking: Server, state: Path) -> None:
    """The challenge would pass, for the resolver says so: the lease table says otherwise."""
    lego = Lego(home, asking.directory, asking.root, state / "lego")
    with pytest.raises(AssertionError, match=r"camera\.lan belongs to 192\.168\.1\.30"):
        lego.run(HTTP, "camera.lan", "camera.local", eab=asking.pair())

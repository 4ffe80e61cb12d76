"""uacme, the client of OpenWrt itself, against the server."""

from pathlib import Path

import pytest

from tests.interop import chain
from tests.interop.clients import Uacme
from tests.interop.home import PRINTER, Home
from tests.interop.server import Server

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def uacme(home: Home, strict: Server, state: Path) -> Uacme:
    """A uacme that knows the strict server."""
    return Uacme(home, strict.directory, strict.root, state)


def test_obtain_renew_revoke(strict: Server, uacme: Uacme, webroot: Path) -> None:
    """It keeps its key when it renews, which the same account may (A-3.2.3, no reused keys)."""
    first = chain.read(strict, uacme.obtain("http-01", *BOTH))
    first.assert_good(*BOTH)
    kept = uacme.obtain("http-01", *BOTH, force=True)
    second = chain.read(strict, kept)
    second.assert_good(*BOTH)
    assert second.serial != first.serial
    uacme.revoke(kept)
    second.assert_revoked()
    assert first.status() == "good"


def test_address(strict: Server, uacme: Uacme, webroot: Path) -> None:
    """RFC 8738: an address beside the names."""
    chain.read(strict, uacme.obtain("http-01", *BOTH, PRINTER)).assert_good(*BOTH, PRINTER)


def test_address_by_tls(home: Home, strict: Server, uacme: Uacme, state: Path) -> None:
    """R-29: the challenge for an address asks for its reverse name."""
    ualpn = ("ualpn", "-v", "-b", f"{PRINTER}@443", "-c", "127.0.0.1@1", "-s", uacme.socket)
    with home.printer.serving(*ualpn, "-p", state / "ualpn.pid", log=state / "ualpn.log"):
        home.printer.wait_for('[ -S "$1" ]', uacme.socket)
        issued = chain.read(strict, uacme.obtain("tls-alpn-01", *BOTH, PRINTER))
        issued.assert_good(*BOTH, PRINTER)

"""certbot against the server."""

from pathlib import Path

import pytest

from tests.interop import chain
from tests.interop.clients import Certbot
from tests.interop.home import PRINTER, Home
from tests.interop.server import Server

BOTH = ("printer.lan", "printer.local")


@pytest.fixture
def certbot(home: Home, strict: Server, state: Path) -> Certbot:
    """A certbot that knows the strict server."""
    return Certbot(home, strict.directory, strict.root, state)


def test_obtain_renew_revoke(strict: Server, certbot: Certbot) -> None:
    certbot.obtain(*BOTH)
    first = chain.read(strict, certbot.chain)
    first.assert_good(*BOTH)
    certbot.renew()
    second = chain.read(strict, certbot.chain)
    second.assert_good(*BOTH)
    assert second.serial != first.serial
    certbot.revoke()
    second.assert_revoked()
    assert first.status() == "good"


def test_internal_domain(strict: Server, certbot: Certbot) -> None:
    certbot.obtain("printer.internal", "printer.local")
    chain.read(strict, certbot.chain).assert_good("printer.internal", "printer.local")


def test_address(strict: Server, certbot: Certbot) -> None:
    """RFC 8738: an address beside the names."""
    certbot.obtain(*BOTH, PRINTER)
    chain.read(strict, certbot.chain).assert_good(*BOTH, PRINTER)


def test_refusal_names_the_switch(certbot: Certbot) -> None:
    """A-3.2.3-2: the key that certbot makes by default is refused with the words that mend it."""
    said = certbot.obtain(*BOTH, key="secp256r1", fails=True)
    assert "--elliptic-curve secp384r1" in said


def test_defaults_pass_in_compat(home: Home, compat: Server, state: Path) -> None:
    certbot = Certbot(home, compat.directory, compat.root, state)
    certbot.obtain("printer.lan", key="secp256r1")
    chain.read(compat, certbot.chain).assert_good("printer.lan")

"""lego, Debian 12's and a later one, against the server, over each challenge."""

from pathlib import Path

import pytest

from tests.interop import chain
from tests.interop.clients import LaterLego, Lego
from tests.interop.home import PRINTER, Home
from tests.interop.server import Server

BOTH = ("printer.lan", "printer.local")
HTTP, TLS, DNS = ["--http"], ["--tls"], ["--dns", "rfc2136"]


@pytest.fixture(params=[Lego, LaterLego])
def lego(request: pytest.FixtureRequest, home: Home, strict: Server, state: Path) -> Lego:
    """A lego that knows the strict server."""
    made: Lego = request.param(home, strict.directory, strict.root, state)
    return made


@pytest.mark.parametrize("how", [HTTP, TLS, DNS], ids=["http-01", "tls-alpn-01", "dns-01"])
def test_obtain_renew_revoke(strict: Server, lego: Lego, how: list[str]) -> None:
    first = chain.read(strict, lego.run(how, *BOTH))
    first.assert_good(*BOTH)
    second = chain.read(strict, lego.renew(how, *BOTH))
    second.assert_good(*BOTH)
    assert second.serial != first.serial
    lego.revoke(*BOTH)
    second.assert_revoked()
    assert first.status() == "good"


@pytest.mark.parametrize("how", [HTTP, TLS], ids=["http-01", "tls-alpn-01"])
@pytest.mark.parametrize("lego", [LaterLego], indirect=True)
def test_address(strict: Server, lego: Lego, how: list[str]) -> None:
    """RFC 8738: beside the names."""
    chain.read(strict, lego.run(how, *BOTH, PRINTER)).assert_good(*BOTH, PRINTER)


@pytest.mark.parametrize("lego", [Lego], indirect=True)
def test_address_sent_as_a_name(lego: Lego) -> None:
    """RFC 8738 3: this lego calls an address a DNS name; the refusal says what it must be."""
    with pytest.raises(AssertionError, match=r"192\.168\.1\.20.*\bip\b"):
        lego.run(HTTP, *BOTH, PRINTER)


def test_internal_domain(strict: Server, lego: Lego) -> None:
    names = ("printer.internal", "printer.local")
    chain.read(strict, lego.run(HTTP, *names)).assert_good(*names)


def test_external_account_binding(strict: Server, lego: Lego) -> None:
    """R-18: with the key that `acmeiot pair` makes."""
    chain.read(strict, lego.run(HTTP, *BOTH, eab=strict.pair())).assert_good(*BOTH)


def test_foreign_binding_is_refused(strict: Server, lego: Lego) -> None:
    """R-18: a key that the server never made."""
    with pytest.raises(AssertionError, match="unauthorized"):
        lego.run(HTTP, *BOTH, eab=("unknown", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))

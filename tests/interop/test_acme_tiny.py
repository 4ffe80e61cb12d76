"""acme-tiny against the server."""

from pathlib import Path

from tests.interop import chain
from tests.interop.clients import AcmeTiny, Certbot
from tests.interop.home import Home
from tests.interop.server import Server


def test_obtain_renew_revoke(home: Home, strict: Server, state: Path, webroot: Path) -> None:
    """It cannot revoke: certbot does so for it, by the certificate's own key (R-31)."""
    tiny = AcmeTiny(home, strict.directory, strict.root, state)
    names = ("printer.lan", "printer.local")
    first = chain.read(strict, tiny.obtain(*names))
    first.assert_good(*names)
    second = chain.read(strict, tiny.obtain(*names))
    second.assert_good(*names)
    assert second.serial != first.serial
    certbot = Certbot(home, strict.directory, strict.root, state / "certbot")
    certbot.revoke("--cert-path", second.leaf, "--key-path", tiny.key)
    second.assert_revoked()
    assert first.status() == "good"

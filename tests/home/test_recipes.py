"""The scripts of `acmeiot recipes`, run as the owner would on a device that knows nothing yet."""

import os
from pathlib import Path

import pytest

from acmeiot import recipes
from tests.home import service
from tests.home.network import PRINTER_MAC, PROJECT, Machine, Router, Street

PEERS = PROJECT / ".peers"
PATH = f"{PROJECT / '.venv-certbot/bin'}:{PEERS / 'usr/bin'}:{os.environ['PATH']}"


@pytest.fixture
def printer(street: Street, router: Router) -> Machine:
    """A printer on the network of a server whose owner has just enabled it."""
    router.serve("--pairing-window", "3600", "--profile", "compat")
    machine = street.machine("printer", PRINTER_MAC)
    machine.join(router, "printer")
    return machine


def follow(router: Router, device: Machine, client: str, **env: str) -> None:
    """Run the recipe on the device under the name that the router gives it."""
    script = device.work / f"{client}.sh"
    script.write_text(router.owner_prints("recipes", client))
    device.host.run("sh", script, "printer", env={"HOME": str(device.home), "PATH": PATH, **env})


def assert_good(device: Machine, chain: str | Path, key: str | Path) -> None:
    """Check that the pair serves both names to who knows only the root of the recipe."""
    serve = (service.__file__, key, chain, "8443")
    with device.host.serving("python3", *serve, log=device.work / "service.log"):
        device.host.wait_for("ss -ltn | grep -q :8443")
        for name in ("printer.lan", "printer.local"):
            curl = ("curl", "-sSf", "--cacert", "/etc/ssl/acmeiot-root.pem")
            assert device.run(*curl, f"https://{name}:8443/") == service.PAGE


def test_certbot(router: Router, printer: Machine) -> None:
    follow(router, printer, "certbot")
    live = "/etc/letsencrypt/live/printer"
    assert_good(printer, f"{live}/fullchain.pem", f"{live}/privkey.pem")


def test_lego(router: Router, printer: Machine) -> None:
    follow(router, printer, "lego")
    made = "/var/lib/lego/certificates/printer.lan"
    assert_good(printer, f"{made}.crt", f"{made}.key")
    printer.run("/etc/cron.daily/acmeiot-lego")


def test_uacme(router: Router, printer: Machine) -> None:
    www = printer.work / "www"
    www.mkdir()
    web = ("busybox", "httpd", "-f", "-p", "80", "-h", www)
    with printer.host.serving(*web, log=printer.work / "httpd.log"):
        follow(router, printer, "uacme", WWW=str(www))
        follow(router, printer, "uacme", WWW=str(www))  # again: nothing to renew, and no error
    state = "/etc/ssl/uacme"
    assert_good(printer, f"{state}/printer.lan/cert.pem", f"{state}/private/printer.lan/key.pem")


def test_acme_sh(router: Router, printer: Machine) -> None:
    path = f"{PEERS / 'acme.sh/usr/share/acme.sh'}:{PATH}"
    for _ in range(2):  # again: nothing to renew, and no error
        follow(router, printer, "acme.sh", PATH=path)
    made = printer.home / ".acme.sh/printer.lan_ecc"
    assert_good(printer, made / "fullchain.cer", made / "printer.lan.key")


def test_caddy(router: Router, printer: Machine) -> None:
    """One certificate a name, so the owner has to have allowed profile compat."""
    follow(router, printer, "caddy", CADDYFILE="/etc/caddy/Caddyfile", SITE="respond hello")
    home = ("env", f"HOME={printer.home}", "XDG_DATA_HOME=", "XDG_CONFIG_HOME=")
    caddy = (*home, PEERS / "usr/bin/caddy", "run", "--config", "/etc/caddy/Caddyfile")
    with printer.host.serving(*caddy, log=printer.work / "caddy.log"):
        for name in ("printer.lan", "printer.local"):
            curl = "curl -sf --cacert /etc/ssl/acmeiot-root.pem"
            # It asks for both names at once, and waits before it tries again.
            printer.host.wait_for(f"{curl} https://{name}/ | grep -q hello")


def test_acme_common(router: Router, printer: Machine) -> None:
    """OpenWrt's own is not here: what the script does is, with uci and the service as stubs."""
    stubs = printer.work / "stubs"
    stubs.mkdir()
    (stubs / "uci").write_text(f'#!/bin/sh\n[ "$1" = batch ] && cat >{stubs}/uci.said\n')
    (stubs / "uci").chmod(0o755)
    printer.run("sh", "-c", f"printf '#!/bin/sh\\necho $1 >{stubs}/acme.said' >/etc/init.d/acme")
    printer.run("chmod", "755", "/etc/init.d/acme")
    script = printer.work / "acme-common.sh"
    script.write_text(router.owner_prints("recipes", "acme-common"))
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    for _ in range(2):
        printer.run("sh", script, "printer", PATH=f"{stubs}:{PATH}")
        root = printer.run("cat", "/etc/ssl/acmeiot-root.pem")
        assert printer.run("cat", bundle).count(root) == 1, "the root is there, once"
    said = (stubs / "uci.said").read_text()
    assert f"set acme.acmeiot.acme_server={router.directory}\n" in said
    assert "add_list acme.acmeiot.domains=printer.local\n" in said
    assert (stubs / "acme.said").read_text() == "restart\n"


def test_names_are_listed(router: Router) -> None:
    assert router.acmeiot("recipes").split() == list(recipes.CLIENTS)


def test_without_a_server(router: Router, tmp_path: Path) -> None:
    said = router.acmeiot("recipes", "certbot", "--state", tmp_path, fails=True)
    assert said.startswith("acmeiot: no server is running on the state")
    assert said.count("\n") == 1

"""What people have and do at home: a printer with a page, a laptop with a browser, and looking."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tests.home.browser import visit
from tests.home.network import ACMEIOT, LAPTOP_MAC, PRINTER_MAC, Machine, Router, Street
from tests.home.service import PAGE

KEY: Final = "/etc/printer/key.pem"
CHAIN: Final = "/etc/printer/chain.pem"
NAMES: Final = ("printer.lan", "printer.local")


class Printer:
    """A machine with the device agent, and a service on port 443 once it is switched on."""

    def __init__(self, street: Street, name: str = "printer", mac: str = PRINTER_MAC) -> None:
        self.machine = street.machine(name, mac)
        self.name = name
        self.machine.run("mkdir", "-p", "/etc/printer")

    def agent(self, verb: str, *options: str, fails: bool = False, later: str = "") -> str:
        """Run the device agent's command, or see it run `later` ("7 days", by a false clock).

        All but `status` name the files of the printer's service.
        """
        how = [] if verb == "status" else ["--key", KEY, "--cert", CHAIN]
        if verb in ("once", "reset"):
            how += ["--name", self.name]
        clock = ("faketime", f"+{later}") if later else ()
        command = (*clock, *ACMEIOT, "device", verb, *how, *options)
        return self.machine.run(*command, fails=fails)

    def status(self) -> Mapping[str, Any]:
        """Return what the agent says of the network that it is on, or was on last."""
        return dict(json.loads(self.agent("status", "--json"))["networks"][-1])

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the page, with what the files hold at each connection."""
        served = (sys.executable, "-m", "tests.home.service", KEY, CHAIN)
        with self.machine.host.serving(*served, log=self.machine.work / "service.log"):
            self.machine.host.wait_for("ss -ltn | grep -q :443")
            yield


class Laptop:
    """A machine with the trust agent, curl and Chromium."""

    def __init__(self, street: Street) -> None:
        self.machine = street.machine("laptop", LAPTOP_MAC)

    def agent(self, verb: str, *options: str, fails: bool = False) -> str:
        """Run the trust agent's command."""
        return self.machine.acmeiot("trust", verb, *options, fails=fails)

    def status(self) -> Mapping[str, Any]:
        """Return all that the agent knows."""
        return dict(json.loads(self.agent("status", "--json")))

    def believes(self) -> list[str]:
        """Return the roots of the joined networks, by the hash of their keys."""
        joined = [each for each in self.status()["networks"] if each["joined"]]
        return [each["root"]["sha256"] for each in joined if each["root"]]

    def accepts(self, *names: str, browser: bool = True) -> None:
        """Check that curl and Chromium show the page of each name."""
        for name in names:
            assert self.machine.run("curl", "-sS", f"https://{name}/") == PAGE
            if browser:
                assert PAGE in visit(self.machine, f"https://{name}/")

    def refuses(self, *names: str, browser: bool = True) -> None:
        """Check that neither shows it, because of who signed."""
        for name in names:
            said = self.machine.run("curl", "-sS", f"https://{name}/", fails=True)
            assert "certificate" in said, said
            if browser:
                assert visit(self.machine, f"https://{name}/") == "ERR_CERT_AUTHORITY_INVALID"


def serial(router: Router, name: str) -> str:
    """Return the serial of the newest good certificate for a name."""
    certs = router.asked("certs")["certs"]
    good = [each for each in certs if name in each["names"] and each["revoked_at"] is None]
    return str(good[0]["serial"])


def revoked(router: Router) -> list[str]:
    """Return the serials that the router has revoked."""
    certs = router.asked("certs")["certs"]
    return [str(each["serial"]) for each in certs if each["revoked_at"] is not None]


def shared(machine: Machine) -> str:
    """Return the text of the certificate that the machine's files hold."""
    return machine.run("openssl", "x509", "-in", CHAIN, "-noout", "-text")

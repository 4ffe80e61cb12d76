"""The story in one minute: a home, a printer and a laptop join, and a second home believes nothing.

Everything happens in network namespaces that are gone afterwards; nothing of this computer's own
network, files or trust is touched.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.home.browser import visit
from tests.home.network import LAPTOP_MAC, PRINTER_MAC, Machine, Plan, Router, Street
from tests.home.service import PAGE

KEY, CHAIN = "/etc/printer/key.pem", "/etc/printer/chain.pem"
NAMES: Final = ("printer.lan", "printer.local")
_STARTED: Final = time.monotonic()


def main() -> None:
    """Play it."""
    with tempfile.TemporaryDirectory() as work, Street(Path(work)) as street:
        ours = _build(street, Plan())
        printer = street.machine("printer", PRINTER_MAC)
        _printer_joins(printer, ours)
        served = ("-m", "tests.home.service", KEY, CHAIN)
        with printer.host.serving(sys.executable, *served, log=printer.work / "service.log"):
            printer.host.wait_for("ss -ltn | grep -q :443")
            laptop = street.machine("laptop", LAPTOP_MAC)
            _laptop_joins(laptop, ours)
            _expect(laptop, accepted=True)
            theirs = _build(street, Plan("neighbours", "52:54:00:00:02:01", "192.168.2", "fd00:2:"))
            _move(laptop, printer, theirs)
            _expect(laptop, accepted=False)
            _device(printer)
            _tell("the printer got a second certificate, for this home; both are kept apart")
            _expect(laptop, accepted=True)
    _tell("end: the namespaces are gone")


def _tell(line: str) -> None:
    print(f"{time.monotonic() - _STARTED:5.1f} s  {line}", flush=True)


def _build(street: Street, plan: Plan) -> Router:
    router = street.router(plan)
    router.serve("--pairing-window", "3600")
    router.announce()
    status = router.asked("status")
    _tell(f"{plan.name}: {router.ready}")
    _tell(f"{plan.name}: its root is {status['root']['name']}; the LAN is told by DHCP and DNS")
    return router


def _printer_joins(printer: Machine, router: Router) -> None:
    plugged = time.monotonic()
    printer.join(router, "printer")
    leased = time.monotonic()
    _tell(f"printer: plugged in, the DHCP client took {leased - plugged:.1f} s")
    _device(printer)
    _tell(f"printer: has its certificate, {time.monotonic() - leased:.1f} s after the lease")


def _device(printer: Machine) -> None:
    printer.run("mkdir", "-p", "/etc/printer")
    printer.acmeiot("device", "once", "--name", "printer", "--key", KEY, "--cert", CHAIN)


def _laptop_joins(laptop: Machine, router: Router) -> None:
    laptop.join(router, "laptop")
    _tell("laptop: joined; its browser knows no root of this home yet")
    _believe(laptop)


def _believe(laptop: Machine) -> None:
    laptop.acmeiot("trust", "once", "--mode", "tofu")
    status = json.loads(laptop.acmeiot("trust", "status", "--json"))
    _tell(f"laptop: believes {status['networks'][-1]['root']['words']}, on this network only")


def _move(laptop: Machine, printer: Machine, router: Router) -> None:
    for machine, name in ((laptop, "laptop"), (printer, "printer")):
        machine.unplug()
        machine.join(router, name)
    _tell("laptop and printer were carried to the neighbours")
    _believe(laptop)


def _expect(laptop: Machine, *, accepted: bool) -> None:
    for name in NAMES:
        url = f"https://{name}/"
        said = laptop.run("curl", "-sS", url, fails=not accepted)
        assert not accepted or said == PAGE, said
        page = visit(laptop, url)
        assert (PAGE in page) == accepted, page
        word = "accept" if accepted else "refuse"
        _tell(f"laptop: curl and Chromium {word} {url}" + ("" if accepted else f" ({page})"))


if __name__ == "__main__":
    main()

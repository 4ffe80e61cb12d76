"""The device agent as a service: it stays, and acts by itself when something happens."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.home.network import ACMEIOT, PRINTER_MAC, Machine, Plan, Router, Street
from tests.home.people import revoked

STATE = "/var/lib/acmeiot/device"
KEY, CHAIN = "/etc/printer/key.pem", "/etc/printer/cert.pem"


@pytest.fixture
def home(router: Router) -> Router:
    """A home whose owner has just enabled the server."""
    router.serve("--pairing-window", "3600")
    router.announce()
    return router


@pytest.fixture
def printer(street: Street) -> Machine:
    """A printer whose cable is in nothing."""
    machine = street.machine("printer", PRINTER_MAC)
    machine.run("mkdir", "-p", "/etc/printer")
    return machine


@contextmanager
def running(printer: Machine, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent as its unit does."""
    command = (*ACMEIOT, "device", "run", "--name", "printer", "--key", KEY, "--cert", CHAIN)
    log = printer.work / "agent.log"
    with printer.host.serving(*command, *options, log=log) as process:
        yield process
        assert process.poll() is None, log.read_text()


def status(printer: Machine) -> dict[str, Any]:
    """Return what the agent says of itself."""
    said = json.loads(printer.acmeiot("device", "status", "--json"))
    assert isinstance(said, dict)
    return said


def wait(printer: Machine, wanted: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < ends, (printer.work / "agent.log").read_text()
        time.sleep(0.1)


def names(printer: Machine) -> str:
    """Return the names in the service's certificate, nothing if there is none."""
    text = printer.run("sh", "-c", f"openssl x509 -in {CHAIN} -noout -ext subjectAltName 2>&1; :")
    return " ".join(re.findall(r"DNS:(\S+?)(?:,|$)", text, re.MULTILINE))


def test_from_the_cable_to_the_certificate(
    home: Router, printer: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A-3.4-1: a network is joined while it runs; what follows needs nobody."""
    with running(printer):
        wait(printer, lambda: printer.run("sh", "-c", f"ls {STATE} 2>&1; :").find("lock") >= 0)
        started = time.monotonic()
        printer.join(home, "printer")
        joined = time.monotonic()
        target = printer.run("sh", "-c", f"until [ -s {CHAIN} ]; do sleep 0.02; done; echo there")
        assert target == "there\n"
        done = time.monotonic()
        with capsys.disabled():
            print(f" [DHCP {joined - started:.1f} s, then {done - joined:.1f} s]", end=" ")
    assert names(printer) == "printer.lan printer.local"


def test_it_goes_with_the_device_from_home_to_home(
    street: Street, home: Router, printer: Machine
) -> None:
    """A-4.8-2: each home's certificate is in use there, and in no other home."""
    other = street.router(Plan("other", "52:54:00:00:02:02", "192.168.7", "fd00:7:"))
    other.serve("--pairing-window", "3600")
    other.announce()
    seen: dict[str, list[str]] = {}
    with running(printer):
        for router in (home, other, home, other):
            printer.join(router, "printer")
            root = printer.work / f"{router.plan.name}.pem"
            address = router.plan.addresses[0]
            root.write_text(router.run("curl", "-sSf", f"http://{address}:8556/root.pem"))
            verify = f"openssl verify -CAfile {root} -untrusted {CHAIN} {CHAIN} >/dev/null 2>&1"
            wait(printer, partial(holds, printer, verify))
            serial = printer.run("openssl", "x509", "-in", CHAIN, "-noout", "-serial")
            seen.setdefault(router.plan.name, []).append(serial)
            printer.unplug()
    (one, same), (two, again) = seen.values()
    assert (one, two) == (same, again)
    assert one != two
    assert len(status(printer)["remembered"]) == 2


def holds(printer: Machine, test: str) -> bool:
    """Tell whether a shell test holds."""
    return printer.run("sh", "-c", f"{test} && echo yes; :") == "yes\n"


def test_commands_wake_the_agent_that_runs(street: Street, home: Router) -> None:
    """A-4.6-2, A-4.4-1: by the agent itself, with the options that it has."""
    camera = street.machine("camera", "52:54:00:00:00:40")
    camera.run("mkdir", "-p", "/etc/printer")
    camera.join(home, "camera")
    with running(camera, "--name", "camera"):
        wait(camera, lambda: names(camera) == "camera.lan camera.local")
        assert status(camera)["running"]
        assert "at work" in camera.acmeiot("device", "once", fails=True)
        camera.dhcp("garden")
        said = camera.acmeiot("device", "rename", "garden")
        assert "garden.lan garden.local" in said
        assert names(camera) == "garden.lan garden.local"
        assert len(revoked(home)) == 1
        key = camera.run("cat", KEY)
        camera.dhcp("camera")
        assert "camera.lan camera.local" in camera.acmeiot("device", "reset")
        assert camera.run("cat", KEY) != key
        assert names(camera) == "camera.lan camera.local"
        assert len(revoked(home)) == 2
        camera.acmeiot("device", "reset", "--leave")
        assert camera.run("ls", "-A", "/etc/printer") == ""
        assert len(revoked(home)) == 3


def test_a_full_flash(home: Router, printer: Machine) -> None:
    """The old pair stays, the reason is said, and the next try goes well."""
    printer.join(home, "printer")
    printer.run("mkdir", "-p", STATE)
    printer.run("mount", "-t", "tmpfs", "-o", "size=96k,mode=700", "none", STATE)
    once = ("device", "once", "--name", "printer", "--key", KEY, "--cert", CHAIN)
    printer.acmeiot(*once)
    before = printer.run("cat", KEY, CHAIN)
    home.owner("revoke", "printer.lan")
    printer.run("sh", "-c", f"cat /dev/zero > {STATE}/ballast; :")
    later = ("faketime", "+2 hours", *ACMEIOT)
    said = printer.run(*later, *once, fails=True)
    assert "No space left on device" in said
    assert printer.run("cat", KEY, CHAIN) == before
    printer.run("rm", f"{STATE}/ballast")
    printer.run(*later, *once)
    assert printer.run("cat", KEY, CHAIN) != before
    kept = printer.run("sh", "-c", f"ls {STATE}/servers/*/certs")
    assert len(kept.split()) == 1


def test_memory(home: Router, printer: Machine) -> None:
    """An agent that waits is small enough for a camera."""
    printer.join(home, "printer")
    with running(printer):
        wait(printer, lambda: names(printer) != "")
        time.sleep(1)
        pid = status(printer)["running"]
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert resident
        assert int(resident[1]) < 64 * 1024

"""A home around the router under test: what its owner does there, and who is on its LAN."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.home.network import Machine, Street
from tests.home.people import Laptop, Printer
from tests.rig.package import Built
from tests.rig.readme import told
from tests.rig.switch import LAN_ADDRESS
from tests.rig.target import PROBED, Target, typing

DIRECTORY: Final = f"https://{LAN_ADDRESS}:8555/acme/directory"
STATE: Final = "/etc/acmeiot"
NAMES: Final = ("printer.lan", "printer.local")
PID: Final = "/var/run/acmeiot.pid"


class Home:
    """The router, and the machines that come to its LAN."""

    def __init__(self, street: Street, router: Target, packages: Built, work: Path) -> None:
        self.street, self.router, self.packages, self.work = street, router, packages, work
        self.told = told()
        self._listeners = 0

    # -- the owner

    def install(self) -> str:
        """Install both packages, by README where it can be followed; return what was said."""
        packages = (self.packages.server, self.packages.luci)
        if not self.router.by_readme:
            return self.router.install(*packages)
        for package in packages:
            self.router.put(package, f"/tmp/{package.name}")
        said = self.router.typed(*self.told.install)
        self.router.sh("rm " + " ".join(f"/tmp/{package.name}" for package in packages))
        return said

    def enable(self) -> tuple[float, float]:
        """Switch it on by README, and wait until the network has been told.

        Return the seconds until it served, by the wall and of QEMU's CPU.
        """
        seconds = self.router.seconds_to_ready(typing(*self.told.enable))
        self.until_announced()
        return seconds

    def remove(self) -> str:
        """Take both packages away, by README where it can be followed; return what was said."""
        names = ("luci-app-acmeiot", "acmeiot")
        [uninstall, _] = self.told.remove
        if self.router.by_readme:
            return self.router.typed(uninstall)
        return self.router.remove(*names)

    def forget(self) -> str:
        """Do as README says about what the packages leave behind."""
        [_, forget] = self.told.remove
        return self.router.typed(forget)

    def until_announced(self) -> None:
        """Wait until the network has been told, and dnsmasq is back."""
        told = "grep -qs 'acmeiot announce' /tmp/dnsmasq*.d/*"
        self.router.until(f"{told} && ! ps w | grep -q '[a]cmeiot announce'", 90)
        self.router.until("pidof dnsmasq >/dev/null")

    def owner(self, command: str, *argv: str, fails: bool = False) -> str:
        """Run one of the owner's commands on the router."""
        words = " ".join((command, "--state", STATE, *argv))
        return self.router.sh(f"acmeiot {words}", timeout=120, fails=fails)

    def asked(self, command: str) -> Any:
        """Return the JSON answer of one of the owner's commands."""
        return json.loads(self.owner(command, "--json"))

    def serials(self, *, good: bool = False) -> list[str]:
        """Return the serials of the certificates that the router knows, or of the good ones."""
        certs = self.asked("certs")["certs"]
        return [str(c["serial"]) for c in certs if not good or c["revoked_at"] is None]

    def memory(self) -> dict[str, int]:
        """Return KiB of the server's memory by the names that /proc has for them."""
        # The newest that is called so: a jail's number is in the pid file. Not every busybox has
        # a pgrep.
        newest = "ps w | awk '/[a]cmeiot serve/ { pid = $1 } END { print pid }'"
        text = self.router.sh(f"cat /proc/$({newest})/status")
        return {name: int(kib) for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}

    # -- the LAN

    def printer(self) -> Printer:
        """Bring a printer and plug it in."""
        made = Printer(self.street)
        made.machine.join(self.router.switch, "printer")
        return made

    def laptop(self) -> Laptop:
        """Bring a laptop whose owner believes the router at first sight."""
        made = Laptop(self.street)
        made.machine.join(self.router.switch, "laptop")
        made.agent("once", "--mode", "tofu")
        return made

    def root(self) -> Path:
        """Return the root as the LAN gets it now."""
        path = self.work / "root.pem"
        path.write_text(self.router.switch.run("curl", "-sSf", PROBED))
        return path

    @contextmanager
    def issuing(self, machine: Machine, count: int) -> Iterator[subprocess.Popen[bytes]]:
        """Let a bare client on a machine get certificates; its lines are on its stdout."""
        command = (sys.executable, "-m", "tests.rig.issuing", DIRECTORY, self.root(), str(count))
        log = self.work / "issuing.log"
        with machine.host.serving(*command, *NAMES, log=log, stdout=subprocess.PIPE) as client:
            yield client

    def issued(self, machine: Machine, count: int) -> list[float]:
        """Get certificates by a bare client, all of them, and return the seconds of each."""
        with self.issuing(machine, count) as client:
            assert client.stdout is not None
            lines = client.stdout.read().decode().split("\n")[:-1]
            assert client.wait() == 0, (self.work / "issuing.log").read_text()
        return [float(line.split()[0]) for line in lines]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """Bring a machine that hears what DHCP servers send it."""
        self._listeners += 1
        name = f"listener{self._listeners}"
        machine = self.street.machine(name, f"52:54:00:00:00:5{self._listeners}")
        machine.plug(self.router.switch)
        log = self.work / f"{name}.log"
        log.write_text("")
        with machine.host.serving(sys.executable, "-m", "tests.rig.offers", log=log):
            heard = Heard(machine, log)
            heard.until(lambda text: "listening" in text)
            yield heard


class Heard:
    """A machine on the LAN, and the DHCP messages that came to it."""

    def __init__(self, machine: Machine, log: Path) -> None:
        self.machine, self._log = machine, log

    def until(self, test: Any, seconds: float = 20) -> str:
        """Wait until what was heard passes a test, and return it."""
        end = time.monotonic() + seconds
        while not test(text := self._log.read_text()):
            assert time.monotonic() < end, text
            time.sleep(0.05)
        return text

    def messages(self, version: int, kind: int) -> list[bytes]:
        """Return the messages of DHCP for IPv4 or IPv6 that are of a kind."""
        lines = (line.split() for line in self._log.read_text().splitlines())
        found = [bytes.fromhex(line[1]) for line in lines if line[0] == str(version)]
        if version == 6:
            return [each for each in found if each[0] == kind]
        return [each for each in found if bytes((53, 1, kind)) in each[240:]]

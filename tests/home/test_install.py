"""`files/install` on machines: what it puts there works, and comes off without a trace.

Real DHCP clients join a real home after it. tests/test_install.py has the many kinds of machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acmeiot import __version__
from tests.home.network import LAPTOP_MAC, PRINTER_MAC, PROJECT, Machine, Router, Street

INSTALL = PROJECT / "files/install"
USERS = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be one user and another")
# What programs that change users leave beside the files.
BACKUPS = ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock")
PLACES = ("/etc", "/opt", "/usr/bin", "/usr/lib", "/var")


def changed(machine: Machine) -> set[str]:
    """Return what differs on this machine from this computer, its own resolv.conf aside."""
    found: set[str] = set()
    for place in PLACES:
        upper = machine.work / f"fs{place.replace('/', '-')}"
        for path in upper.rglob("*"):
            name = f"{place[1:]}/{path.relative_to(upper)}"
            system = Path("/", name)
            if name in BACKUPS or (path.is_dir() and system.is_dir()):
                continue
            same = (
                path.is_file() and system.is_file()
                and path.read_bytes() == system.read_bytes()
                and path.stat().st_mode == system.stat().st_mode
            )  # fmt: skip
            if not same:
                found.add(name)
    return found


@contextmanager
def computer(street: Street, name: str, mac: str) -> Iterator[Machine]:
    """Make a machine with a program of its own as /usr/bin/acmeiot, as a package would bring it."""
    machine = street.machine(name, mac)
    for place in ("/opt", "/usr/bin"):
        machine._overlay(place)
    program = Path("/usr/bin/acmeiot")
    script = f'#!/bin/sh\ncd {PROJECT} && exec {sys.executable} -m acmeiot "$@"\n'
    machine.run("sh", "-c", f'printf %s "$0" >{program} && chmod 755 {program}', script)
    yield machine


@pytest.fixture
def printer(street: Street) -> Iterator[Machine]:
    with computer(street, "printer", PRINTER_MAC) as machine:
        yield machine


@pytest.fixture
def laptop(street: Street) -> Iterator[Machine]:
    with computer(street, "laptop", LAPTOP_MAC) as machine:
        yield machine


@pytest.fixture
def home(router: Router) -> Router:
    """One home with its server, announced."""
    router.serve()
    router.announce()
    return router


def found(machine: Machine, client: str) -> None:
    """Check that the machine finds the server, and that this client's hook was enough for it."""
    machine.host.wait_for(f"test -s /run/acmeiot/dhcp/eth0.{client}")
    answer = json.loads(machine.run("/usr/bin/acmeiot", "discover", "--json"))
    told = answer["candidates"][0]
    assert (told["kind"], told["host"]) == ("dhcp", "router.lan")
    assert client in told["source"]


def test_dhclient_tells(home: Router, printer: Machine) -> None:
    printer.run(INSTALL, "device", "--no-start")
    printer.plug(home)
    files = ("-lf", "/run/dhclient.leases", "-pf", "/run/dhclient.pid")
    with printer.host.serving("dhclient", "-d", *files, "eth0", log=printer.work / "dhclient.log"):
        found(printer, "dhclient")


def test_dhcpcd_tells(home: Router, printer: Machine) -> None:
    """On an interface that is not the one for which the owner's file ends."""
    owners = "noarp\nnodelay\ninterface wlan0\nmetric 100\n"
    printer.run("sh", "-c", 'printf %s "$0" >>/etc/dhcpcd.conf', owners)
    printer.run("mkdir", "-p", "/var/lib/dhcpcd")
    printer.run("mount", "-t", "sysfs", "-o", "ro", "none", "/sys")
    printer.run(INSTALL, "device", "--no-start")
    printer.plug(home)
    with printer.host.serving("dhcpcd", "-B", "eth0", log=printer.work / "dhcpcd.log"):
        found(printer, "dhcpcd")


def test_udhcpc_tells(home: Router, printer: Machine) -> None:
    printer.run(INSTALL, "device", "--no-start")
    printer.plug(home)
    command = ("busybox", "udhcpc", "-f", "-i", "eth0")
    with printer.host.serving(*command, log=printer.work / "udhcpc.log"):
        found(printer, "udhcpc")


@USERS
def test_device_on_and_off(printer: Machine) -> None:
    before = changed(printer)
    said = printer.run(INSTALL, "device")
    assert "make the user acmeiot-device\n" in said
    assert "systemctl enable acmeiot-device.service\n" in said
    assert "pip" not in said
    name = printer.run("uname", "-n").strip().lower().partition(".")[0]
    assert said.endswith(f'such as\n    name = "{name}"\n')
    assert "enabled" in printer.run("systemctl", "is-enabled", "acmeiot-device")
    assert printer.run("stat", "-c", "%U", "/usr/lib/acmeiot/acmeiot-saw") == "root\n"
    assert printer.run(INSTALL, "device") == "nothing to do\n"
    printer.run("install", "-d", "-o", "acmeiot-device", "/var/lib/acmeiot/device")
    assert "kept: /var/lib/acmeiot/device" in printer.run(INSTALL, "device", "--remove")
    printer.run("id", "acmeiot-device")  # they are still somebody's
    printer.run(INSTALL, "device", "--remove", "--purge")
    assert changed(printer) == before


@USERS
def test_removed_trust_leaves_no_root(home: Router, laptop: Machine) -> None:
    """A-4.4-1: what was installed goes, and every root that came by it goes first."""
    laptop._overlay("/root")  # where this interpreter may lie
    laptop.run("chmod", "755", "/root")
    laptop.run("useradd", "--create-home", "--home-dir", "/var/alice", "alice")
    before = changed(laptop)
    laptop.run(INSTALL, "trust")
    laptop.join(home, "laptop")
    nss = "sql:/var/alice/.pki/nssdb"
    laptop.run("su", "alice", "-c", "mkdir -p ~/.pki/nssdb")
    laptop.run("su", "alice", "-c", f"certutil -N -d {nss} --empty-password")
    laptop.run("/usr/bin/acmeiot", "trust", "once", "--expect", f"sha256:{home.root}")
    laptop.run("su", "alice", "-c", f"acmeiot trust once --expect sha256:{home.root}")
    url = home.directory
    laptop.run("curl", "-sSf", url)
    assert "acmeiot" in laptop.run("certutil", "-L", "-d", nss)

    said = laptop.run(INSTALL, "trust", "--remove")
    assert "acmeiot trust reset\n" in said
    assert "acmeiot trust reset, for alice\n" in said
    laptop.run("curl", "-sSf", url, fails=True)
    assert "acmeiot" not in laptop.run("certutil", "-L", "-d", nss)
    # Debian's own programs leave records, and alice keeps the places for what is hers.
    others = ("var/log/", "var/lib/dpkg/", "var/alice/.pki")
    left = {name for name in changed(laptop) - before if not name.startswith(others)}
    assert left == {"var/alice/.local", "var/alice/.local/state"}


def test_a_root_that_stays_stops_the_removal(laptop: Machine) -> None:
    laptop.run(INSTALL, "trust")
    laptop.run("sh", "-c", "mkdir -p /var/lib/acmeiot/trust; echo exit 1 >/usr/bin/acmeiot")
    said = laptop.run(INSTALL, "trust", "--remove", fails=True)
    assert "files/install: not gone on: roots may be left in the system's stores" in said
    laptop.run("test", "-e", "/usr/lib/acmeiot/acmeiot-saw")


@USERS
def test_only_root(laptop: Machine) -> None:
    before = changed(laptop)
    as_nobody = ("setpriv", "--reuid", "65534", "--clear-groups", "dash")
    said = laptop.run(*as_nobody, INSTALL, "device", fails=True)
    assert said == "files/install: only root can do this; try it with sudo\n"
    assert changed(laptop) == before


def test_without_the_program_nothing_is_started(laptop: Machine) -> None:
    laptop.run("rm", "/usr/bin/acmeiot")
    said = laptop.run(INSTALL, "device", "--without-python")
    assert "nothing is started: /usr/bin/acmeiot is not there\n" in said
    assert "systemctl" not in said


def test_something_else_in_opt_is_left_alone(laptop: Machine) -> None:
    """Such as a clone of this repository."""
    laptop.run("rm", "/usr/bin/acmeiot")
    laptop.run("mkdir", "/opt/acmeiot")
    before = changed(laptop)
    said = laptop.run(INSTALL, "device", fails=True)
    assert said == "files/install: /opt/acmeiot is something else; move it away\n"
    laptop.run(INSTALL, "device", "--remove")
    assert changed(laptop) == before


def test_the_program_itself(tmp_path: Path) -> None:
    """With all its libraries, as a person has it; pip asks this computer's own package index."""
    script = tmp_path / "script"
    layers = "".join(
        f"mkdir {tmp_path}/up{n} {tmp_path}/work{n}; mount -t overlay overlay -o "
        f"lowerdir={place},upperdir={tmp_path}/up{n},workdir={tmp_path}/work{n} {place};\n"
        for n, place in enumerate(("/etc", "/opt", "/usr/bin", "/usr/lib"))
    )
    script.write_text(
        f"set -e\n{layers}cd /\n{INSTALL} device --no-start\n"
        "acmeiot --version\n/opt/acmeiot/bin/python -c 'import pyroute2'\n"
        f"acmeiot device status --state {tmp_path}/state || :\n"
        f"{INSTALL} device --no-start\n{INSTALL} device --remove\n"
        "[ ! -e /opt/acmeiot ] && [ ! -L /usr/bin/acmeiot ]\n"
    )
    mapped = ["--map-root-user"] if os.geteuid() else []
    done = subprocess.run(
        ["unshare", "--mount", *mapped, "dash", script],
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"acmeiot {__version__}\n" in done.stdout
    line = "install the program and its libraries into /opt/acmeiot, with pip\n"
    assert done.stdout.count(line) == 2

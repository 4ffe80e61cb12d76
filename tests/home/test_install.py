"""`files/install`: what it puts on a machine works there, and comes off it without a trace.

Trees made up for it show the many kinds of machines; real DHCP clients join a real home after it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acmeiot import __version__
from tests.home.network import LAPTOP_MAC, PRINTER_MAC, PROJECT, Machine, Router, Street

FILES = PROJECT / "files"
INSTALL = FILES / "install"
BEGIN = "# >>> acmeiot: files/install wrote this, and its --remove takes it out\n"
END = "# <<< acmeiot\n"
USERS = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be one user and another")
SHELLS = pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox ash"])

Tree = dict[str, tuple[int, bytes | str]]


def below(top: Path) -> Tree:
    """Return mode and content (of a link: where it leads) of all that is there."""
    found: Tree = {}
    for path in sorted(top.rglob("*")):
        content: bytes | str = ""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(top))] = (path.lstat().st_mode, content)
    return found


def make(top: Path, *places: str, **files: str) -> Path:
    """Make a tree of directories, where their names end with a slash, and of files."""
    for place in places:
        (top / place).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)
    return top


DHCLIENT_CONF = 'request routers;\n#lease {\n#  interface "eth0";\n#}\n'
DHCPCD_CONF = "hostname\ninterface eth0\nmetric 100\n"


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """A tree with every DHCP client of Debian's, and systemd."""
    return make(
        tmp_path / "debian",
        *("etc/dhcp/dhclient-exit-hooks.d", "usr/lib/dhcpcd/dhcpcd-hooks"),
        *("etc/NetworkManager/dispatcher.d", "usr/lib/systemd/system", "usr/lib/systemd/user"),
        "usr/lib/sysusers.d",
        **{
            "etc/dhcp/dhclient.conf": DHCLIENT_CONF,
            "etc/dhcpcd.conf": DHCPCD_CONF,
            "etc/udhcpc/default.script": "#!/bin/sh\n:\n",
            "etc/systemd/network/20-wired.network": "[Match]\nName=eth0\n",
        },
    )


def run(shell: str, *arguments: str | Path, fails: int = 0, install: Path = INSTALL) -> str:
    """Run the program in that shell and return all it said."""
    done = subprocess.run(
        [*shell.split(), install, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == fails, done.stdout
    return done.stdout


@SHELLS
def test_on_and_off_again(debian: Path, shell: str) -> None:
    before = below(debian)
    would = run(shell, "both", "--prefix", debian, "--dry-run")
    assert below(debian) == before
    said = run(shell, "both", "--prefix", debian)
    assert would == "".join(
        line if line.startswith("left to you") else f"would {line}"
        for line in said.splitlines(keepends=True)
    )
    there = below(debian)
    for place, source, mode in (
        ("usr/lib/acmeiot/acmeiot-saw", "dhcp/acmeiot-saw", 0o755),
        ("usr/lib/acmeiot/udhcpc", "dhcp/udhcpc", 0o644),
        ("etc/dhcp/acmeiot.conf", "dhcp/dhclient.conf", 0o644),
        ("etc/dhcp/dhclient-exit-hooks.d/acmeiot", "dhcp/dhclient", 0o644),
        ("usr/lib/dhcpcd/dhcpcd-hooks/70-acmeiot", "dhcp/dhcpcd", 0o644),
        ("etc/NetworkManager/dispatcher.d/90-acmeiot", "dhcp/networkmanager", 0o755),
        ("usr/lib/sysusers.d/acmeiot-device.conf", "sysusers.d/acmeiot-device.conf", 0o644),
        ("usr/lib/systemd/system/acmeiot-device.service",
         "systemd/acmeiot-device.service", 0o644),
        ("usr/lib/systemd/user/acmeiot-trust.service", "systemd/acmeiot-trust.service", 0o644),
        ("etc/NetworkManager/dispatcher.d/90-acmeiot-trust",
         "NetworkManager/dispatcher.d/90-acmeiot-trust", 0o755),
    ):  # fmt: skip
        assert there[place] == (0o100000 | mode, (FILES / source).read_bytes())
        assert f"install /{place}\n" in said
    own = (FILES / "dhcp/dhcpcd.conf").read_text()
    assert (debian / "etc/dhcpcd.conf").read_text() == BEGIN + own + END + DHCPCD_CONF
    include = 'include "/etc/dhcp/acmeiot.conf";\n'
    conf = (debian / "etc/dhcp/dhclient.conf").read_text()
    assert conf == DHCLIENT_CONF + BEGIN + include + END
    assert "systemd-networkd asks for no DHCP option; see" in said

    assert run(shell, "both", "--prefix", debian).endswith("nothing to do\n")
    assert below(debian) == there
    run(shell, "both", "--prefix", debian, "--remove", "--dry-run")
    assert below(debian) == there
    run(shell, "both", "--prefix", debian, "--remove")
    assert below(debian) == before
    assert run(shell, "both", "--prefix", debian, "--remove") == "nothing to do\n"


def test_one_of_two_leaves_the_other_its_hooks(debian: Path) -> None:
    before = below(debian)
    run("sh", "trust", "--prefix", debian)
    trust = below(debian)
    assert "usr/lib/systemd/system/acmeiot-device.service" not in trust
    run("sh", "device", "--prefix", debian)
    run("sh", "device", "--prefix", debian, "--remove")
    assert below(debian) == trust
    run("sh", "trust", "--prefix", debian, "--remove")
    assert below(debian) == before


@SHELLS
@pytest.mark.parametrize(
    "text", ["", "\n", "a", "a\n", "a\n\n", "\n\na\\n%s", "tab\t\r\n \\", END.rstrip() + "x\n"]
)
def test_owners_lines_stay_to_the_octet(tmp_path: Path, text: str, shell: str) -> None:
    """A file may be private, a link, and without an end of its last line."""
    conf = {"etc/dhcp/real.conf": text, "etc/dhcpcd.conf": text}
    clients = ("etc/dhcp/dhclient-exit-hooks.d", "lib/dhcpcd/dhcpcd-hooks")
    top = make(tmp_path / "top", *clients, "usr/lib", **conf)
    (top / "etc/dhcp/dhclient.conf").symlink_to("real.conf")
    (top / "etc/dhcp/real.conf").chmod(0o640)
    os.chown(top / "etc/dhcp/real.conf", 7 if os.geteuid() == 0 else -1, -1)
    before, owner = below(top), (top / "etc/dhcp/real.conf").stat().st_uid
    run(shell, "device", "--prefix", top)
    there = below(top)
    lines = (top / "etc/dhcp/dhclient.conf").read_text().splitlines()
    assert lines[-2:] == ['include "/etc/dhcp/acmeiot.conf";', END.rstrip()]
    run(shell, "device", "--prefix", top)
    assert below(top) == there
    assert (top / "etc/dhcp/real.conf").stat().st_uid == owner
    run(shell, "device", "--prefix", top, "--remove")
    assert below(top) == before


def test_what_the_owner_adds_later_stays(debian: Path) -> None:
    run("sh", "device", "--prefix", debian)
    for name in ("etc/dhcp/dhclient.conf", "etc/dhcpcd.conf"):
        with (debian / name).open("a") as file:
            file.write("later")
    run("sh", "device", "--prefix", debian)
    run("sh", "device", "--prefix", debian, "--remove")
    assert (debian / "etc/dhcp/dhclient.conf").read_text() == DHCLIENT_CONF + "later"
    assert (debian / "etc/dhcpcd.conf").read_text() == DHCPCD_CONF + "later"


@pytest.mark.parametrize("broken", [BEGIN, END])
def test_half_a_block_is_the_owners_to_mend(debian: Path, broken: str) -> None:
    (debian / "etc/dhcpcd.conf").write_text("a\n" + broken + "b\n")
    for more in ((), ("--remove",)):
        said = run("sh", "device", "--prefix", debian, *more, fails=1)
        assert "/etc/dhcpcd.conf: '# >>> acmeiot" in said
        assert (debian / "etc/dhcpcd.conf").read_text() == "a\n" + broken + "b\n"


def test_an_upgrade_is_running_it_again(debian: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(FILES, newer)
    for name in ("dhcp/dhclient", "dhcp/dhcpcd.conf"):
        with (newer / name).open("a") as file:
            file.write("# newer\n")
    run("sh", "device", "--prefix", debian)
    said = run("sh", "device", "--prefix", debian, install=newer / "install")
    assert said.splitlines()[:2] == [
        "install /etc/dhcp/dhclient-exit-hooks.d/acmeiot", "put lines into /etc/dhcpcd.conf",
    ]  # fmt: skip
    text = (debian / "etc/dhcpcd.conf").read_text()
    assert text == BEGIN + (newer / "dhcp/dhcpcd.conf").read_text() + END + DHCPCD_CONF


def test_openwrt(tmp_path: Path) -> None:
    top = make(tmp_path / "openwrt", "etc/init.d", "usr/lib",
               **{"etc/openwrt_release": "", "etc/rc.common": ""})  # fmt: skip
    before = below(top)
    run("busybox ash", "device", "--prefix", top)
    assert {str(path.relative_to(top)) for path in top.rglob("*acmeiot*") if path.is_file()} == {
        "etc/init.d/acmeiot-device", "etc/udhcpc.user.d/acmeiot", "etc/odhcp6c.user.d/acmeiot",
        "usr/lib/acmeiot/acmeiot-saw",
    }  # fmt: skip
    state = make(top / "etc/acmeiot/device", key="secret")
    said = run("busybox ash", "device", "--prefix", top, "--remove")
    assert "kept: /etc/acmeiot/device, this device's keys" in said
    assert (state / "key").exists()
    run("busybox ash", "device", "--prefix", top, "--remove", "--purge")
    (top / "etc/acmeiot").rmdir()
    assert below(top) == before


@pytest.mark.parametrize(
    "arguments",
    [(), ("router",), ("device", "--purge"), ("--remove", "--purge"), ("--remove",),
     ("device", "--prefix"), ("device", "--prefix", "/nonexistent"), ("device", "--prefix", "/"),
     ("device", "--help")],
)  # fmt: skip
def test_wrong_words(arguments: tuple[str, ...]) -> None:
    said = run("sh", "--dry-run", *arguments, fails=2)
    assert said.startswith("usage: files/install device|trust|both [")


def test_shellcheck() -> None:
    scripts = [str(FILES / name) for name in ("install", "placing.sh", "hooks.sh")]
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=PROJECT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


# -- on machines


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
    """On an interface that the owner's file has settings for, too."""
    owners = "noarp\nnodelay\ninterface eth0\nmetric 100\n"
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

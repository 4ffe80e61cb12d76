"""`files/install` on made-up trees of many kinds: what is put there comes off without a trace.

On machines, where what it put there is at work, it is tested in tests/home/test_install.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FILES = PROJECT / "files"
INSTALL = FILES / "install"
BEGIN = "# >>> acmeiot: files/install wrote this, and its --remove takes it out\n"
END = "# <<< acmeiot\n"
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
    """Make a tree of directories (`places`) and files."""
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
    top = make(
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
    (top / "lib").symlink_to("usr/lib")
    return top


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

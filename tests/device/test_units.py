"""The service files: what systemd and a shell make of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from acmeiot.device import verbs

PROJECT = Path(__file__).parents[2]
PEERS = PROJECT / ".peers"
UNIT = PROJECT / "files/systemd/acmeiot-device.service"
USERS = PROJECT / "files/sysusers.d/acmeiot-device.conf"
INIT = PROJECT / "files/init.d/acmeiot-device"

# What rc.common and procd are to the script: they write down what they are told.
PROCD = """
for name in open_instance close_instance set_param append_param add_raw_trigger send_signal; do
    eval "procd_$name() { echo $name \\"\\$*\\"; }"
done
restart() { echo restart; }
mkdir() { echo mkdir "$*"; }
chmod() { echo chmod "$*"; }
"""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    libraries = ":".join(map(str, PEERS.glob("usr/lib/*/systemd")))
    return subprocess.run(
        [PEERS / "usr/bin/systemd-analyze", *arguments],
        env={"LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/acmeiot", "/usr/bin/env"))
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/acmeiot", "/usr/bin/env"))
    done = analyze("security", "--offline=true", "--threshold=25", unit)
    assert done.returncode == 0, done.stdout  # systemd's own exposure level, 2.5 of 10


def test_the_unit_and_its_user_are_of_one_mind() -> None:
    (user,) = re.findall(r"^User=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert re.search(rf"^u {user} ", USERS.read_text(), re.MULTILINE)
    assert str(verbs.CONFIG) in UNIT.read_text()


def test_the_init_script_is_clean() -> None:
    subprocess.run(["shellcheck", "-s", "sh", INIT], check=True)
    assert INIT.stat().st_mode & 0o111


def said(call: str) -> list[str]:
    """Return what procd is told by a call of the init script, in busybox's shell."""
    script = INIT.read_text().partition("\n")[2]
    done = subprocess.run(
        ["busybox", "sh", "-eu"],
        input=f"{PROCD}\n{script}\n{call}\n",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_procd_is_told_what_to_run() -> None:
    lines = said("start_service")
    assert "chmod 700 /etc/acmeiot/device" in lines
    assert "set_param command /usr/bin/acmeiot device run --state /etc/acmeiot/device" in lines
    assert f"set_param file {verbs.CONFIG}" in lines
    assert lines[-1] == "close_instance "


def test_procd_wakes_it() -> None:
    assert said("wake") == ["send_signal acmeiot-device * HUP"]
    assert said("reload_service") == ["restart"]
    (trigger,) = said("service_triggers")
    assert trigger.endswith("acmeiot-device wake")

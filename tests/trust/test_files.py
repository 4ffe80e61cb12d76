"""What is installed beside the program: NetworkManager's dispatcher, the systemd unit."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PEERS = PROJECT / ".peers"  # what tests/apt-install only unpacks
FILES = PROJECT / "files"
DISPATCHER = FILES / "NetworkManager/dispatcher.d/90-acmeiot-trust"
UNIT = FILES / "systemd/acmeiot-trust.service"

# Notes how it was called, and takes its time: as long as `held` is there.
PROGRAM = """\
#!/bin/sh
here=$(dirname "$0")
echo "start $*" >>"$here/log"
while [ -e "$here/held" ]; do sleep 0.05; done
echo end >>"$here/log"
echo "why it failed" >&2
exit 1
"""
LOGGER = '#!/bin/sh\necho "logged $*" >>"$(dirname "$0")/log"\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in (("acmeiot", PROGRAM), ("logger", LOGGER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def dispatch(place: Path, event: str, interface: str = "wlan0") -> None:
    """Call the dispatcher as NetworkManager does, and see that it does not wait."""
    env = {
        "PATH": f"{place}:{os.environ['PATH']}",
        "ACMEIOT_RUN": str(place / "run"),
    }
    subprocess.run([DISPATCHER, interface, event], env=env, check=True, timeout=20)


def lines(place: Path, count: int) -> list[str]:
    """Wait for so many lines of the log, and return them."""
    ends = time.monotonic() + 20
    while True:
        log = place / "log"
        found = log.read_text().splitlines() if log.exists() else []
        if len(found) >= count or time.monotonic() > ends:
            return found
        time.sleep(0.02)


@pytest.mark.parametrize("event", ["up", "down", "reapply", "dhcp4-change", "dhcp6-change"])
def test_each_change_of_the_network_has_the_stores_follow(place: Path, event: str) -> None:
    """A-3.3-1, A-3.3-4."""
    dispatch(place, event)
    assert lines(place, 3) == [
        "start trust once",
        "end",
        "logged -t acmeiot-trust -- why it failed",
    ]


@pytest.mark.parametrize("event", ["hostname", "connectivity-change", "pre-up", ""])
def test_other_events_are_none_of_its_business(place: Path, event: str) -> None:
    dispatch(place, event)
    time.sleep(0.3)
    assert not (place / "log").exists()


def test_it_keeps_nobody_waiting_and_runs_once_more_after_the_last_event(place: Path) -> None:
    (place / "held").touch()
    dispatch(place, "up")
    assert lines(place, 1) == ["start trust once"]
    for _ in range(5):
        dispatch(place, "dhcp4-change")
    time.sleep(0.5)
    assert lines(place, 1) == ["start trust once"]
    (place / "held").unlink()
    one = ["start trust once", "end", "logged -t acmeiot-trust -- why it failed"]
    assert lines(place, 6) == one * 2
    time.sleep(0.3)
    assert lines(place, 6) == one * 2


def test_what_it_makes_is_open_to_whom_it_is_for(place: Path) -> None:
    """In /run/acmeiot is what the hooks of DHCP clients leave, for the agents of other users; the
    locks are nobody's to hold, and the system's stores are everybody's to read."""
    script = PROGRAM.replace("echo end", 'umask >"$here/umask"\necho end')
    (place / "acmeiot").write_text(script)
    before = os.umask(0o077)
    try:
        dispatch(place, "up")
    finally:
        os.umask(before)
    lines(place, 3)
    assert (place / "run").stat().st_mode & 0o777 == 0o755
    locks = [path.stat().st_mode & 0o777 for path in sorted((place / "run").iterdir())]
    assert locks == [0o600, 0o600]
    assert int((place / "umask").read_text(), 8) == 0o022


def test_the_shell_is_clean() -> None:
    subprocess.run(["shellcheck", DISPATCHER], check=True)
    assert os.access(DISPATCHER, os.X_OK)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/acmeiot", "/usr/bin/env"))
    libraries = ":".join(map(str, PEERS.glob("usr/lib/*/systemd")))
    done = subprocess.run(
        [PEERS / "usr/bin/systemd-analyze", "--user", "verify", unit],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")

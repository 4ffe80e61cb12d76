"""The console of a real OpenWrt: between Enter and its shell is a login."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tests.rig.guest import Guest

INVITATION: Final = "Please press Enter to activate this console."
LOGIN: Final = f"""
import os, subprocess, time
print({INVITATION!r}, flush=True)
os.read(0, 1)
time.sleep(1)
os.read(0, 65536)
subprocess.run(["sh", "-i"], stderr=subprocess.STDOUT)
"""


def test_what_login_drops_is_typed_again(tmp_path: Path) -> None:
    """The first command runs, although login drops what was typed before the shell reads."""
    guest = Guest([sys.executable, "-c", LOGIN], tmp_path / "log")
    try:
        guest.press_enter(INVITATION.encode(), 20)
        assert guest.run("echo $((6 * 7))") == "42\n"
    finally:
        guest.close()

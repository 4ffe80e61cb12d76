"""The console of a real OpenWrt: between Enter and its shell is a login, and it edits lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rig.guest import Guest

INVITATION: Final = "Please press Enter to activate this console."
LOGIN: Final = f"""
import os, pty, time
print({INVITATION!r}, flush=True)
os.read(0, 1)
time.sleep(1)
os.read(0, 65536)
pty.spawn(["busybox", "ash"])
"""


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """What drops and cuts as it does, without a router around it."""
    made = Guest([sys.executable, "-c", LOGIN], tmp_path / "log")
    try:
        made.press_enter(INVITATION.encode(), 20)
        yield made
    finally:
        made.close()


def test_what_login_drops_is_typed_again(guest: Guest) -> None:
    """The first command runs, although login drops what was typed before the shell reads."""
    assert guest.run("echo $((6 * 7))") == "42\n"


def test_a_long_line_is_whole(guest: Guest) -> None:
    """Busybox's line editor cuts what is longer than 512 (Debian's: 1024) characters."""
    assert guest.run(f"x={'y' * 2000}; echo ${{#x}}") == "2000\n"

"""The rig itself: what hangs is given up, and a router that panics fails its test."""

from __future__ import annotations

import pytest

from tests.rig.home import Home


def test_what_hangs_is_given_up_and_a_panic_is_told(home: Home) -> None:
    """Every wait has an end, and a panic is not taken for a program that did not answer."""
    with pytest.raises(TimeoutError):
        home.router.sh(f"sleep {3 * home.router.patience}", timeout=1)
    with pytest.raises(AssertionError, match="Kernel panic"):
        home.router.sh("echo 7 >/proc/sys/kernel/printk; echo c >/proc/sysrq-trigger")
    home.router.end()

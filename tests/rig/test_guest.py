"""The rig itself: what hangs is given up, and a router that panics fails its test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.rig.home import Home

MakeHome = Callable[[int], AbstractContextManager[Home]]


def test_a_command_that_hangs_is_given_up(make_home: MakeHome) -> None:
    """Every wait has an end."""
    with pytest.raises(TimeoutError), make_home(128) as home:
        home.router.sh("sleep 100", timeout=1)


def test_a_panic_is_a_failure(make_home: MakeHome) -> None:
    """It is told as such, and not as a program that did not answer."""
    with pytest.raises(AssertionError, match="Kernel panic"), make_home(128) as home:
        home.router.sh("echo 7 >/proc/sys/kernel/printk; echo c >/proc/sysrq-trigger")

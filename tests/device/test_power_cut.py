"""A power cut at every step of a change of name: always one good pair, and nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot.durable import TEMPORARY
from tests.device.rig import HOME, NAMES, Rig, certs
from tests.web.running import Running

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def lives(rig: Rig, server: Running) -> list[dict[str, object]]:
    """What was there after each cut, and after the next start."""
    known = len(certs(server))
    assert known == 0
    command = (
        *(sys.executable, "-m", "tests.device.cuts", str(rig.folder)),
        *(str(rig.lan.dns_port), rig.lan.servers[HOME.key], str(rig.port)),
    )
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_at_every_step(lives: list[dict[str, object]], server: Running) -> None:
    assert len(lives) > 40
    assert [one["ended"] for one in lives] == [9] * (len(lives) - 1) + [0]
    before = sorted(NAMES)
    kept = set()
    for one in lives:
        half, whole = one["half"], one["whole"]
        assert isinstance(half, dict)
        assert isinstance(whole, dict)
        new = [f"cut-{one['at']}-12cd56.lan", f"cut-{one['at']}-12cd56.local"]
        assert half["fits"], one
        assert half["names"] in (before, new), one
        assert whole["fits"], one
        assert whole["names"] == whole["names_kept"] == new, one
        assert whole["kept"] == [whole["serial"]] == [whole["current"]], one
        kept |= {serial for serial in half["kept"] if not serial.endswith(TEMPORARY)}
        before = new
    # Of all certificates that this device ever had whole, the last one lives and the others are
    # revoked (A-4.6-2). What was issued and did not arrive before the cut has no key; it expires.
    last = lives[-1]["whole"]
    assert isinstance(last, dict)
    issued = certs(server)
    living = {serial for serial in kept if issued[serial]["revoked_at"] is None}
    assert living <= {last["serial"]}
    lost = [s for s, one in issued.items() if one["revoked_at"] is None and s != last["serial"]]
    assert len(lost) < len(lives) // 4

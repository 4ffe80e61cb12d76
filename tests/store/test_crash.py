"""kill -9 at any point: what was promised is there, what was not is there whole or not at all."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from acmeiot.store.sqlite import SqliteStore

ROOT = Path(__file__).parent.parent.parent
KILLS = 25


def killed_after(state: Path, start: int, seconds: float) -> list[int]:
    """Let a writer run for a while after its first promise; return all it promised."""
    command = [sys.executable, "-m", "tests.store.victim", "commit", str(state), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        # a line the kill cut in two was still promised only when it is whole
        lines = (first + process.stdout.read()).split("\n")[:-1]
    return [int(line) for line in lines]


def test_kill_at_random_points(state: Path) -> None:
    """No promise lost, no block in part, no serial twice, and nobody has to repair anything."""
    chance = random.Random(8555)
    promised: list[int] = []
    for _ in range(KILLS):
        start = promised[-1] + 2 if promised else 1  # one may be there without its promise
        told = killed_after(state, start, chance.uniform(0, 0.06))
        assert told[0] == start
        promised += told

        store = SqliteStore(state)
        for number in promised:
            assert store.order(f"order-{number}") is not None
            assert store.certificate(f"certificate-{number}") is not None
        orders = set(store.orders_of("a", None, 1 << 30))
        certificates = store.certificates()
        assert {f"certificate-{o.removeprefix('order-')}" for o in orders} == {
            each.id for each in certificates
        }
        assert len({each.serial for each in certificates}) == len(certificates)
        entries = store.audit(1 << 30)
        assert {f"order-{entry.subject}" for entry in entries} == orders
        assert store.fact("last") == entries[-1].subject
        assert store.verify_audit() is None
        assert 0 <= len(orders) - len(promised) <= KILLS
        store.close()
    assert len(promised) > KILLS * 5  # it did get somewhere between the kills


def test_kill_in_the_first_start(state: Path) -> None:
    """Wherever the making of the file is cut off, the next start makes or finds it."""
    command = [sys.executable, "-m", "tests.store.victim", "commit", str(state), "1"]
    for step in range(12):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
            deadline = time.monotonic() + 10
            while not state.exists() and time.monotonic() < deadline:
                time.sleep(0.0005)
            time.sleep(step * 0.001)
            process.kill()
        store = SqliteStore(state)
        assert store.verify_audit() is None
        store.close()
        for path in state.iterdir():
            path.unlink()
        state.rmdir()


def test_kill_while_something_waits(state: Path) -> None:
    """What waits for the next transaction is undone whole; what was promised is there."""
    command = [sys.executable, "-m", "tests.store.victim", "wait", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.kill()
    store = SqliteStore(state, create=False)
    assert store.orders_of("a", None, 9) == ["order-along", "order-promised"]
    assert [entry.subject for entry in store.audit(9)] == ["along", "promised"]
    assert store.verify_audit() is None
    store.close()

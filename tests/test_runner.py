"""Threads for validations: bounded, not in anybody's way, not in the way of the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from acmeiot.runner import _AT_ONCE, _STAYING, _WAITING, ThreadRunner


class Gate:
    """A job that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.done = threading.Semaphore(0)

    def __call__(self) -> None:
        self.entered.release()
        self.open.wait(10)
        self.done.release()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_a_quick_job_has_ended_when_start_returns() -> None:
    runner, done = ThreadRunner(), []
    for number in range(20):
        assert runner.start(lambda number=number: done.append(number), 5)  # type: ignore[misc]
    assert done == list(range(20))
    assert runner.stop(0)


def test_a_slow_job_is_left_behind(gate: Gate) -> None:
    runner, began = ThreadRunner(), time.monotonic()
    assert runner.start(gate, 0.05)
    assert 0.04 < time.monotonic() - began < 5
    assert not gate.done.acquire(blocking=False)
    gate.open.set()
    assert gate.done.acquire(timeout=5)


def test_too_many_jobs_are_refused(gate: Gate) -> None:
    """So many at once, so many in the queue; when some have ended there is room again."""
    runner, room = ThreadRunner(), _AT_ONCE + _WAITING
    taken = [runner.start(gate, 0) for _ in range(room + 10)]
    assert taken == [True] * room + [False] * 10
    for _ in range(_AT_ONCE):
        assert gate.entered.acquire(timeout=5)
    assert not gate.entered.acquire(timeout=0.1)
    gate.open.set()
    for _ in range(room):
        assert gate.done.acquire(timeout=5)
    assert runner.stop(5)
    assert runner.start(gate, 0) is False


def test_only_some_requests_stay_for_their_proof(gate: Gate) -> None:
    """Slow devices hold up a few of the web server's threads, never all."""
    runner = ThreadRunner()
    staying = [threading.Thread(target=runner.start, args=(gate, 10)) for _ in range(_STAYING)]
    for one in staying:
        one.start()
        assert gate.entered.acquire(timeout=5)
    began = time.monotonic()
    assert runner.start(gate, 10)
    assert time.monotonic() - began < 5
    gate.open.set()
    for one in staying:
        one.join(5)
        assert not one.is_alive()


def test_the_end_waits_for_what_runs_and_drops_what_waits(gate: Gate) -> None:
    runner = ThreadRunner()
    for _ in range(_AT_ONCE + 4):
        assert runner.start(gate, 0)
    for _ in range(_AT_ONCE):
        assert gate.entered.acquire(timeout=5)
    assert runner.stop(0.05) is False
    assert runner.start(gate, 0) is False
    gate.open.set()
    assert runner.stop(5) is True
    assert not gate.entered.acquire(timeout=0.1)


def test_the_threads_do_not_hold_up_the_end_of_the_process(gate: Gate) -> None:
    runner = ThreadRunner()
    runner.start(gate, 0)
    assert gate.entered.acquire(timeout=5)
    workers = [one for one in threading.enumerate() if one.name.startswith("validate-")]
    assert workers
    assert all(one.daemon for one in workers)

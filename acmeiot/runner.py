"""The threads in which devices are asked for their proofs, so that no request waits for one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

# Each may wait ten seconds for a slow device, and so would all that queue behind it. A thread that
# waits costs some 40 KiB.
_AT_ONCE: Final = 32
_WAITING: Final = 32  # more than these are refused with Retry-After
# Requests that stay for their proof; the others answer `processing` at once, so that slow devices
# never hold all of the web server's threads.
_STAYING: Final = 3

Job = Callable[[], None]


class ThreadRunner:
    """The runner port: a few threads, made as validations come, that do not hold up the end."""

    def __init__(self) -> None:
        # Each job with a lock that is free when it is done. One thread wakes for one job.
        self._jobs: SimpleQueue[tuple[Job, threading.Lock]] = SimpleQueue()
        self._ended = threading.Condition()
        self._staying = threading.Semaphore(_STAYING)
        self._under_way = 0  # jobs, waiting ones included
        self._threads = 0
        self._stopped = False

    def start(self, job: Job, wait: float) -> bool:
        """Run the job, which never raises, beside the caller; wait `wait` seconds for its end.

        Return False, without running it, when too many are under way or the end has come.
        """
        done = threading.Lock()
        done.acquire()
        with self._ended:
            if self._stopped or self._under_way >= _AT_ONCE + _WAITING:
                return False
            self._under_way += 1
            self._jobs.put((job, done))
            if self._threads < min(self._under_way, _AT_ONCE):
                self._threads += 1
                name = f"validate-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        if self._staying.acquire(blocking=False):
            try:
                done.acquire(timeout=wait)
            finally:
                self._staying.release()
        return True

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                job()
            finally:
                self._end()
                done.release()

    def _end(self) -> None:
        with self._ended:
            self._under_way -= 1
            self._ended.notify_all()

    def stop(self, seconds: float) -> bool:
        """Take no more jobs and drop those that wait; tell whether the others ended in time."""
        with self._ended:
            self._stopped = True
            with suppress(Empty):
                while self._jobs.get_nowait():
                    self._under_way -= 1
            return self._ended.wait_for(lambda: self._under_way == 0, seconds)

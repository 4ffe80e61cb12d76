"""A process that is there to be killed, starved or locked out: `python -m tests.store.victim`.

It prints one line for each thing that has been promised to be on the disk.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from acmeiot.core.ports import StoreFull
from acmeiot.core.records import AuditEntry
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples
from tests.store.samples import NOW


def issue(store: SqliteStore, name: str, *, later: bool = False) -> None:
    """Write what one certificate writes, in one block, all of it named after `name`."""
    with store.writing(later=later):
        store.put_order(samples.order("a", id=f"order-{name}"))
        store.put_certificate(samples.certificate("a", id=f"certificate-{name}"))
        store.append_audit(AuditEntry(NOW, "issue", name))
        store.put_fact("last", name)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def commit_for_ever(state: Path, start: str) -> None:
    """Print each name when its block has ended, until somebody kills this process."""
    store = SqliteStore(state)
    number = int(start)
    while True:
        # serials must differ from those of earlier runs, whose counter began at one too
        samples._numbers = iter(range(number * 10 + 1, 1 << 60))  # type: ignore[assignment]
        issue(store, str(number))
        say(str(number))
        number += 1


def wait_for_ever(state: Path) -> None:
    """Leave something uncommitted until somebody kills this process."""
    store = SqliteStore(state)
    issue(store, "along", later=True)
    issue(store, "promised")
    issue(store, "waiting", later=True)
    say("waits")
    signal.pause()


def write_until_refused(store: SqliteStore, prefix: str, most: int = 3000) -> None:
    """Write until the disk will not take it; print what was taken and why not the rest."""
    for number in range(most):
        try:
            issue(store, f"{prefix}{number}")
        except StoreFull as error:
            say(f"refused {prefix}{number} {error}")
            return
        say(f"took {prefix}{number}")
    say("never refused")


def fill_the_disk(state: Path) -> None:
    """Run out of space, get some back, go on; `state` lies on a small file system."""
    store = SqliteStore(state)
    issue(store, "first")
    ballast = state.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError as error:
            say(f"disk {error.strerror}")
    write_until_refused(store, "full-")
    write_until_refused(store, "still-", 1)
    say(f"read {store.order('order-first') is not None}")
    ballast.unlink()
    issue(store, "after")
    say("took after")
    store.close()


def break_the_device(state: Path) -> None:
    """Let every write that makes a file longer fail, then work again."""
    store = SqliteStore(state)
    issue(store, "first")
    longest = max(path.stat().st_size for path in state.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest + 4096, resource.RLIM_INFINITY))
    write_until_refused(store, "broken-")
    say(f"read {store.order('order-first') is not None}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    issue(store, "after")
    say("took after")
    store.close()


def open_once(state: Path) -> None:
    """Open, write and close; print the refusal instead."""
    try:
        store = SqliteStore(state)
        issue(store, "opened")
        store.close()
        say("took opened")
    except StoreFull as error:
        say(f"refused {error}")


if __name__ == "__main__":
    verb, where, *rest = sys.argv[1:]
    match verb:
        case "commit":
            commit_for_ever(Path(where), *rest)
        case "wait":
            wait_for_ever(Path(where))
        case "fill":
            fill_the_disk(Path(where))
        case "break":
            break_the_device(Path(where))
        case "open":
            open_once(Path(where))

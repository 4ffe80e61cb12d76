"""A disk that is full, read-only or broken: a clear error, nothing lost, and on it goes after."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot.core.ports import StoreFull
from acmeiot.store.database import DATABASE
from acmeiot.store.sqlite import SqliteStore
from tests.store.victim import issue

ROOT = Path(__file__).parent.parent.parent
# A mount namespace of its own; who is not root gets it in a user namespace of its own.
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-Ur", "--mount"]


def victim(verb: str, state: Path) -> str:
    return shlex.join([sys.executable, "-m", "tests.store.victim", verb, str(state)])


def lines_of(script: str) -> list[str]:
    run = subprocess.run(
        [*UNSHARE, "sh", "-ec", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def check_whole(state: Path, lines: list[str]) -> None:
    """What was taken is there, what was refused is not, and the chain has no gap."""
    store = SqliteStore(state, create=False)
    taken = {line.split()[1] for line in lines if line.startswith("took")} | {"first"}
    assert {entry.subject for entry in store.audit(1 << 20)} == taken
    assert set(store.orders_of("a", None, 1 << 20)) == {f"order-{name}" for name in taken}
    assert {each.id for each in store.certificates()} == {f"certificate-{n}" for n in taken}
    assert store.fact("last") == "after"
    assert store.verify_audit() is None
    store.close()


def test_full_disk(tmp_path: Path) -> None:
    small, saved = tmp_path / "small", tmp_path / "saved"
    small.mkdir()
    state = small / "state"
    lines = lines_of(
        f"mount -t tmpfs -o size=1m none {small}; {victim('fill', state)}; cp -a {state} {saved}"
    )
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 2
    for line in refused:
        assert f"cannot write {state / DATABASE}: no space left on the device (ENOSPC)" in line
    assert "read True" in lines
    assert lines[-1] == "took after"
    check_whole(saved, lines)


def test_broken_device(state: Path) -> None:
    lines = lines_of(victim("break", state))
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 1
    assert f"cannot write {state / DATABASE}: the device reports an input/output" in refused[0]
    assert "read True" in lines
    assert lines[-1] == "took after"
    check_whole(state, lines)


@pytest.mark.parametrize("with_state", [False, True])
def test_read_only_at_the_start(tmp_path: Path, with_state: bool) -> None:
    home, state = tmp_path / "home", tmp_path / "home" / "state"
    home.mkdir()
    if with_state:
        SqliteStore(state).close()
    lines = lines_of(
        f"mount --bind {home} {home}; mount -o remount,bind,ro {home}; {victim('open', state)};"
        f"mount -o remount,bind,rw {home}; {victim('open', state)}"
    )
    assert lines[0].startswith("refused cannot ")
    assert str(state) in lines[0]
    assert "ead-only" in lines[0] or "EROFS" in lines[0]
    assert lines[1:] == ["took opened"]


def test_read_only_while_it_runs(store: SqliteStore, state: Path) -> None:
    """A file system that turns read-only under us, as ext4 does after an error."""
    issue(store, "first")
    connection = store._database._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFull, match=rf"cannot write {state / DATABASE}: it is read-only"):
        issue(store, "refused")
    with pytest.raises(StoreFull, match="EROFS"):
        store.put_fact("a", "1")
    assert store.order("order-first") is not None
    connection.execute("PRAGMA query_only = OFF")
    issue(store, "after")
    assert [entry.subject for entry in store.audit(9)] == ["first", "after"]


def test_who_swallows_the_refusal_commits_nothing(store: SqliteStore) -> None:
    """SQLite has rolled the block back by itself; what comes after must not become durable."""
    connection = store._database._connection

    def swallow() -> None:
        with store.writing():
            store.put_fact("before", "1")
            connection.execute("PRAGMA max_page_count = 1")  # as full as a disk can be
            with contextlib.suppress(StoreFull):
                for number in range(1000):
                    store.put_fact(f"fact-{number}", "y" * 500)
            connection.execute("PRAGMA max_page_count = 1000000")
            assert not connection.in_transaction
            with contextlib.suppress(StoreFull):
                store.put_fact("after", "1")

    with pytest.raises(StoreFull, match="ENOSPC"):
        swallow()
    assert (store.fact("before"), store.fact("after"), store.audit(9)) == (None, None, [])
    assert not connection.in_transaction
    store.put_fact("after", "2")
    assert store.fact("after") == "2"


def test_a_full_disk_in_the_middle_of_sqlite_keeps_its_code() -> None:
    """translated() reads sqlite_errorcode, which Python has had since 3.11."""
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect("/nonexistent/x")
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN

"""Transactions, the lock, the file: what holds whatever the tables are."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from acmeiot.core.ports import StoreFull
from acmeiot.core.records import AuditEntry
from acmeiot.store import database
from acmeiot.store.database import DATABASE
from acmeiot.store.errors import DamagedError, StateError
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples
from tests.store.samples import NOW


def test_a_block_is_all_or_nothing(store: SqliteStore, state: Path) -> None:
    with pytest.raises(KeyError), store.writing():  # noqa: PT012
        store.put_fact("a", "1")
        raise KeyError
    assert store.fact("a") is None
    with store.writing():
        store.put_fact("a", "2")
        store.put_account(samples.account())
    assert store.fact("a") == "2"
    assert store.count_accounts() == 1


def test_blocks_nest_into_the_outermost(store: SqliteStore) -> None:
    with pytest.raises(KeyError), store.writing():  # noqa: PT012
        with store.writing():
            store.put_fact("a", "1")
        store.append_audit(AuditEntry(NOW, "x", "y"))  # opens a block of its own
        raise KeyError
    assert store.fact("a") is None
    assert store.audit(9) == []


def test_an_inner_block_that_raised_dooms_the_outer(store: SqliteStore) -> None:
    """Else half of the inner block would become durable."""

    def swallow() -> None:
        with store.writing():
            store.put_fact("a", "1")
            with contextlib.suppress(KeyError), store.writing():
                store.put_fact("b", "1")
                raise KeyError("inner")

    with pytest.raises(KeyError, match="inner"):
        swallow()
    assert (store.fact("a"), store.fact("b")) == (None, None)
    store.put_fact("a", "2")
    assert store.fact("a") == "2"


def test_a_write_outside_a_block_is_durable(state: Path) -> None:
    """The bytes are in the log when the verb returns, not when the store is closed."""
    store = SqliteStore(state)
    store.put_fact("a-fact-to-find", "1")
    assert b"a-fact-to-find" in (state / f"{DATABASE}-wal").read_bytes()
    store.close()
    assert b"a-fact-to-find" in (state / DATABASE).read_bytes()
    assert [path.name for path in state.iterdir()] == [DATABASE]


def later(store: SqliteStore, key: str = "waits") -> None:
    """Write what waits for the next transaction."""
    with store.writing(later=True):
        store.put_fact(key, "seen")


def on_disk(state: Path, key: str) -> bool:
    return key.encode() in (state / f"{DATABASE}-wal").read_bytes()


def test_what_waits_is_seen_and_goes_with_the_next_transaction(
    store: SqliteStore, state: Path
) -> None:
    later(store)
    later(store, "waits too")
    assert (store.fact("waits"), store.fact("waits too")) == ("seen", "seen")
    assert not on_disk(state, "waits")
    with store.writing():
        store.put_fact("a", "1")
    assert on_disk(state, "waits")
    assert on_disk(state, "waits too")


def test_what_waits_goes_with_a_write_outside_a_block(store: SqliteStore, state: Path) -> None:
    later(store)
    store.put_fact("a", "1")
    assert on_disk(state, "waits")


def test_later_means_the_outermost_block(store: SqliteStore, state: Path) -> None:
    with store.writing():
        later(store)
    assert on_disk(state, "waits")


def test_what_waits_is_not_undone_with_the_next_block(store: SqliteStore, state: Path) -> None:
    """A refusal of the rules is no failure of the disk, in an inner block either."""
    later(store)
    for kind in (False, True):
        with pytest.raises(KeyError), store.writing(later=kind), store.writing():  # noqa: PT012
            store.put_fact("a", "1")
            raise KeyError
    assert (store.fact("waits"), store.fact("a")) == ("seen", None)
    store.put_fact("b", "1")
    assert on_disk(state, "waits")
    assert store.fact("a") is None


def test_a_block_that_waits_is_all_or_nothing(store: SqliteStore) -> None:
    with pytest.raises(KeyError), store.writing(later=True):  # noqa: PT012
        store.put_fact("a", "1")
        raise KeyError
    store.put_fact("b", "1")
    assert store.fact("a") is None


def test_a_disk_that_fails_takes_what_waits(store: SqliteStore) -> None:
    """SQLite wants everything undone then; it was promised to nobody."""
    later(store)
    connection = store._database._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFull):
        store.put_fact("a", "1")
    connection.execute("PRAGMA query_only = OFF")
    assert (store.fact("waits"), connection.in_transaction) == (None, False)
    later(store)
    store.put_fact("a", "1")
    assert store.fact("waits") == "seen"


def test_what_waits_goes_into_a_snapshot(store: SqliteStore, state: Path) -> None:
    later(store)
    assert b"waits" in store.snapshot()
    assert on_disk(state, "waits")


def test_what_waits_is_kept_at_the_end(state: Path) -> None:
    store = SqliteStore(state)
    later(store)
    store.close()
    store = SqliteStore(state)
    assert store.fact("waits") == "seen"
    store.close()


def test_the_end_on_a_disk_that_fails(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreFull

    store = SqliteStore(state)
    store.put_fact("a", "1")
    later(store)
    monkeypatch.setattr(store._database, "_run", refuse)
    store.close()
    store = SqliteStore(state)
    assert (store.fact("a"), store.fact("waits")) == ("1", None)
    store.close()


def test_every_commit_is_flushed(store: SqliteStore) -> None:
    """synchronous=FULL, no shared memory, no mapping: see the module's docstring."""

    def setting(name: str) -> object:
        return store._database._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert setting("synchronous") == 2
    assert setting("journal_mode") == "wal"
    assert setting("locking_mode") == "exclusive"
    assert setting("mmap_size") == 0
    assert setting("page_size") == 512


def test_no_shared_memory_file(store: SqliteStore, state: Path) -> None:
    """JFFS2 cannot map one."""
    store.put_fact("a", "1")
    assert sorted(path.name for path in state.iterdir()) == [DATABASE, f"{DATABASE}-wal"]


def test_the_log_stays_small(store: SqliteStore, state: Path) -> None:
    largest = 0
    for _ in range(400):
        with store.writing():
            store.put_order(samples.order("a"))
            store.put_authorization(samples.authorization("a"))
        largest = max(largest, (state / f"{DATABASE}-wal").stat().st_size)
    assert 100 << 10 < largest <= 256 << 10


def test_modes(store: SqliteStore, state: Path) -> None:
    store.put_fact("a", "1")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for path in state.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_second_server_is_refused(store: SqliteStore, state: Path) -> None:
    with pytest.raises(StateError, match=f"another acmeiot serve uses {state}; stop it first"):
        SqliteStore(state)
    program = (
        "import sys, pathlib; from acmeiot.store.sqlite import SqliteStore;"
        "SqliteStore(pathlib.Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(state)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert f"another acmeiot serve uses {state}" in run.stderr
    store.put_fact("a", "1")
    store.close()
    again = SqliteStore(state)
    assert again.fact("a") == "1"
    store.close()  # once more: it must not take away the lock of the other one
    with pytest.raises(StateError, match="another acmeiot serve"):
        SqliteStore(state)
    again.close()


def test_another_program_with_the_file_open(state: Path) -> None:
    SqliteStore(state).close()
    other = sqlite3.connect(state / DATABASE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateError, match="another"):
        SqliteStore(state)
    other.close()
    SqliteStore(state).close()


def test_eight_writers(store: SqliteStore) -> None:
    """No write is lost and no block is seen in part, from any thread."""
    store.put_fact("left", "0")
    store.put_fact("right", "0")
    torn: list[object] = []
    done = threading.Event()

    def write(name: str) -> None:
        for number in range(50):
            with store.writing():
                count = int(store.fact("left") or "0")
                store.put_fact("left", str(count + 1))
                store.put_account(samples.account(id=f"{name}-{number}"))
                store.append_audit(AuditEntry(NOW, "count", name))
                store.put_fact("right", str(count + 1))
            if store.account(f"{name}-{number}") is None:
                torn.append((name, number))

    def read() -> None:
        while not done.is_set():
            with store.alone():
                sides = store.fact("left"), store.fact("right")
            if sides[0] != sides[1]:
                torn.append(sides)
            time.sleep(0.001)

    writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(8)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert torn == []
    assert store.fact("left") == "400"
    assert store.count_accounts() == len(store.audit(1000)) == 400
    assert store.verify_audit() is None


def test_a_read_waits_for_the_block_of_another_thread(store: SqliteStore) -> None:
    inside, seen = threading.Event(), []

    def write() -> None:
        with contextlib.suppress(KeyError), store.writing():
            store.put_fact("a", "never")
            inside.set()
            time.sleep(0.05)
            raise KeyError

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    seen.append(store.fact("a"))
    thread.join()
    assert seen == [None]


@pytest.mark.parametrize("damage", ["empty", "header", "middle", "not one", "cut"])
def test_a_damaged_file_is_refused_and_left_alone(state: Path, damage: str) -> None:
    store = SqliteStore(state)
    for _ in range(100):
        store.put_order(samples.order("a"))
    store.close()
    path = state / DATABASE
    data = bytearray(path.read_bytes())
    match damage:
        case "empty":
            data.clear()
        case "header":
            data[:16] = bytes(16)
        case "middle":
            data[2048:40960] = os.urandom(40960 - 2048)
        case "not one":
            data[:] = b"hello, world\n" * 100
        case "cut":
            del data[len(data) // 2 :]
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=f"{path} is damaged .*`acmeiot restore`"):
        SqliteStore(state)
    assert path.read_bytes() == data


def test_damage_anywhere_has_one_error(state: Path) -> None:
    """Wherever a few bytes are wrong: a clear refusal, or it lies where only a reader meets it."""
    store = SqliteStore(state)
    with store.writing():
        for _ in range(60):
            store.put_order(samples.order("a"))
            store.put_certificate(samples.certificate("a"))
    store.close()
    path, chance = state / DATABASE, random.Random(8555)
    whole, refused = path.read_bytes(), 0
    header = [(offset, 1) for offset in range(100)]
    anywhere = [(chance.randrange(len(whole) - 8), 8) for _ in range(150)]
    for offset, size in header + anywhere:
        data = bytearray(whole)
        data[offset : offset + size] = bytes(byte ^ 0x55 for byte in data[offset : offset + size])
        path.write_bytes(data)
        with contextlib.suppress(StateError):  # a changed number can look like a newer program's
            SqliteStore(state).close()
            continue
        refused += 1
    assert refused > 60


def test_damage_whose_message_is_no_text(state: Path) -> None:
    """SQLite quotes the damaged name, and Python cannot decode what it says."""
    SqliteStore(state).close()
    path = state / DATABASE
    data = path.read_bytes().replace(b"orders_open", b"orders\xffopen")
    broken = data.replace(b"\xffopen ON", b"\xffopen OF")
    assert broken != data
    path.write_bytes(broken)
    with pytest.raises(DamagedError, match="no text"):
        SqliteStore(state)


def test_damage_found_later(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file too large to be checked at the start: the verb that meets the damage says so."""
    monkeypatch.setattr(database, "_CHECKED_AT_OPEN", 0)
    store = SqliteStore(state)
    with store.writing():
        for _ in range(600):
            store.put_order(samples.order("a"))
    store.close()
    path = state / DATABASE
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    store = SqliteStore(state)
    with pytest.raises(DamagedError, match="acmeiot restore"):
        store.orders_of("a", None, 1000)
    store.close()


def test_a_missing_file_is_made_only_when_asked(state: Path) -> None:
    with pytest.raises(StateError, match=f"no state directory {state}"):
        SqliteStore(state, create=False)
    state.mkdir()
    with pytest.raises(StateError, match=r"no .*acmeiot\.sqlite; .*`acmeiot restore`"):
        SqliteStore(state, create=False)
    assert list(state.iterdir()) == []
    SqliteStore(state).close()
    SqliteStore(state, create=False).close()


def test_a_first_start_cut_short_is_made_again(state: Path) -> None:
    """A power cut while the file is made leaves `.new`, which nobody has relied on yet."""
    state.mkdir()
    (state / f"{DATABASE}.new").write_bytes(b"half")
    (state / f"{DATABASE}.new-wal").write_bytes(b"half")
    SqliteStore(state).close()
    assert [path.name for path in state.iterdir()] == [DATABASE]


def test_a_restore_cut_short_is_not_a_first_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "state.restored-20260101T000000Z").mkdir()
    with pytest.raises(StateError, match=r"mv .*state\.restored-20260101T000000Z .*state$"):
        SqliteStore(state)
    assert not state.exists()


def test_a_state_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreFull, match=f"cannot use {tmp_path / 'state'}"):
        SqliteStore(tmp_path / "state")


def test_paths_with_odd_characters(tmp_path: Path) -> None:
    state = tmp_path / "a?b#c%20d [e]"
    SqliteStore(state).close()
    assert (state / DATABASE).exists()


def test_a_bug_stays_a_bug(store: SqliteStore) -> None:
    """Only what the owner can mend becomes StoreFull."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store._database.run("DELETE FROM nowhere")


def test_no_snapshot_inside_a_transaction(store: SqliteStore) -> None:
    with pytest.raises(RuntimeError, match="transaction"), store.writing():
        store.snapshot()

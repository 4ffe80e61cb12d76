"""One SQLite file under one lock: how it is opened, and what a transaction is.

The state directory itself is locked (flock), for as long as the store is open: a second server,
or a restore, gets a clear refusal before it touches anything.

Journal: WAL, with locking_mode EXCLUSIVE set before the first access. The WAL index then lives in
this process's memory and no shared memory file is mapped, which JFFS2 could not do. Measured per
certificate against a rollback journal: see tests/store/bench_store.py.
synchronous is FULL: each commit is on the disk when it returns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from acmeiot.core.ports import StoreFull
from acmeiot.store.errors import StateError, damaged, in_use, interrupted, read_only, translated
from acmeiot.store.schema import migrate

DATABASE: Final = "acmeiot.sqlite"
READY: Final = ".restored-"  # names the directory of a restore that only has to be renamed
# Flash is worn by bytes: a changed row takes its pages whole, once in the log and once in the file.
PAGE_SIZE: Final = 512
# The log is folded back into the file after so many pages, and thereby stays under 256 KiB.
LOG_PAGES: Final = 400
# A certificate touches some fifty pages. With 1 MiB it took as long, and the memory stays taken.
_CACHE_KIB: Final = 256
# A full check reads every page; above this size it would cost the start of the server too much,
# and damage is then found when the page is read.
_CHECKED_AT_OPEN: Final = 8 << 20

_OF_SQLITE: Final = (StoreFull, StateError, sqlite3.Error)  # what `translated` returns

Row = tuple[Any, ...]


class Database:
    """The connection, used by one thread at a time. Errors are those of `errors.translated`.

    `lock` keeps other threads out while several statements belong together.
    """

    def __init__(
        self,
        state: Path,
        undone: Callable[[], None],
        *,
        create: bool = True,
        held: int | None = None,
    ) -> None:
        """Open the database of a state directory, and make it if there is none and `create`.

        `undone` is called when something that was written is no more. `held` is the descriptor of
        `hold` where the caller has locked the directory already. Raises StateError for a state that
        is in use, damaged, missing or too new, and StoreFull when the disk will not take it.
        """
        self.path = state / DATABASE
        self.lock = threading.RLock()
        self._undone = undone
        self._nested = False
        self._failed: Exception | None = None
        lock = hold(state, create=create) if held is None else os.dup(held)
        try:
            self._prepare_file(lock, create=create)
            self._connection = self._connect(self.path)
        except BaseException:
            os.close(lock)
            raise
        self._held: int | None = lock

    def close(self) -> None:
        """Fold the log into the file and let go of the state directory; once is enough."""
        with self.lock:
            if self._held is None:
                return
            try:
                # What waits was promised to nobody: a disk that is full may have it lost.
                with suppress(StoreFull):
                    self._commit_waiting()
                self._connection.close()
            finally:
                os.close(self._held)
                self._held = None

    @contextmanager
    def writing(self, *, later: bool = False) -> Iterator[None]:
        """Open a transaction; blocks nest into the outermost, and one that raises dooms them all.

        What an outermost block writes with `later` waits, seen by every read, for the next
        transaction that commits; a power cut before that undoes it. The lock is held all the
        while: keep slow things (validation, signing) outside.
        """
        with self.lock:
            if self._nested:
                with self._inner():
                    yield
                return
            waiting = self._connection.in_transaction
            self._run("SAVEPOINT block" if waiting else "BEGIN IMMEDIATE", ())
            self._nested, self._failed = True, None
            try:
                yield
                if self._failed is not None:
                    raise self._failed
                if not later:
                    self._run("COMMIT", ())
                elif waiting:
                    self._run("RELEASE block", ())
            except BaseException:
                self._undo(waiting=waiting)
                raise
            finally:
                self._nested, self._failed = False, None

    def _undo(self, *, waiting: bool) -> None:
        """Undo a block; what waits from before it goes too if it was SQLite that failed."""
        self._undone()
        if not self._connection.in_transaction:
            return  # SQLite has rolled back already
        if waiting and not isinstance(self._failed, _OF_SQLITE):
            self._connection.execute("ROLLBACK TO block")
            self._connection.execute("RELEASE block")
        else:
            self._connection.execute("ROLLBACK")

    def _commit_waiting(self) -> None:
        if self._connection.in_transaction:
            with self.writing():
                pass

    def run(self, sql: str, values: Sequence[object] | dict[str, object] = ()) -> int:
        """Write with one statement and return how many rows it changed."""
        with self.lock:
            if self._failed is not None:
                # SQLite has rolled back already: going on would commit only what comes next.
                raise self._failed
            if self._nested or not self._connection.in_transaction:
                return self._run(sql, values).rowcount
            with self.writing():
                return self._run(sql, values).rowcount

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """Read one row."""
        with self.lock:
            try:
                row: Row | None = self._connection.execute(sql, values).fetchone()
            except sqlite3.Error as error:
                raise translated(error, self.path) from error
        return row

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Read all rows."""
        with self.lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise translated(error, self.path) from error

    def snapshot(self) -> bytes:
        """Return the whole file as of the last transaction, without a temporary file."""
        with self.lock:
            if self._nested:
                raise RuntimeError("a snapshot in the middle of a transaction is no state at all")
            self._commit_waiting()
            return self._connection.serialize()

    @contextmanager
    def _inner(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed = self._failed or error
            raise

    def _run(self, sql: str, values: Sequence[object] | dict[str, object]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.IntegrityError:
            raise  # one statement was refused; the transaction it stands in is whole
        except sqlite3.Error as error:
            told = translated(error, self.path)
            if self._nested:
                self._failed = told
            raise told from error

    def _prepare_file(self, lock: int, *, create: bool) -> None:
        """See to it that there is a file with a schema in it; never replace one."""
        if self.path.exists():
            if self.path.stat().st_size == 0:
                # SQLite would take it for a new one, and the home's certificates were forgotten.
                raise damaged(self.path, "it is empty")
            for path in (self.path, self.path.parent):
                if not os.access(path, os.W_OK):
                    # SQLite would open it for reading and stumble over its lock later
                    raise read_only(path)
            return
        if not create:
            raise StateError(f"there is no {self.path}; bring it back with `acmeiot restore`")
        # Made aside and renamed, so that a power cut leaves no half-made file behind.
        fresh = self.path.with_name(DATABASE + ".new")
        try:
            for left in (fresh, fresh.with_name(fresh.name + "-wal")):
                left.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            self._connect(fresh).close()
            fresh.rename(self.path)
            os.fsync(lock)
        except OSError as error:
            raise StoreFull(f"cannot write {fresh}: {error.strerror}") from error

    def _connect(self, path: Path) -> sqlite3.Connection:
        """Open, check and migrate; the exclusive lock is taken here and kept."""
        try:
            connection = sqlite3.connect(
                path.absolute().as_uri() + "?mode=rw",  # never creates
                uri=True,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise translated(error, path) from error
        try:
            _check(connection, path)
            migrate(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise translated(error, path) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Settle the connection and see that the file is whole; raise DamagedError if not."""
    try:
        _settle(connection)
        if path.stat().st_size <= _CHECKED_AT_OPEN:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise damaged(path, str(verdict).replace("\n", " ")[:200])
    except UnicodeDecodeError as error:
        raise damaged(path, "its tables have names that are no text") from error
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            # not our statements, which are right: a header or schema that makes no sense
            raise damaged(path, str(error)) from error
        raise


def _settle(connection: sqlite3.Connection) -> None:
    """Set what this connection needs; the order matters, see the module's docstring."""
    for setting in (
        "locking_mode = EXCLUSIVE",
        f"page_size = {PAGE_SIZE}",  # heeded by a new file only
        "journal_mode = WAL",
        "synchronous = FULL",
        "mmap_size = 0",
        "temp_store = MEMORY",
        f"cache_size = -{_CACHE_KIB}",
        f"wal_autocheckpoint = {LOG_PAGES}",
        # with room for the transaction that fills it: a log cut short is made longer again
        f"journal_size_limit = {(LOG_PAGES + 64) * (PAGE_SIZE + 24)}",
        "trusted_schema = OFF",
    ):
        connection.execute("PRAGMA " + setting)
    # Says at once, and not at the first order, that the file is read-only or in use.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def siblings(state: Path, infix: str) -> list[Path]:
    """Return what lies beside the state directory and has its name followed by `infix`."""
    if not state.parent.is_dir():
        return []
    return sorted(p for p in state.parent.iterdir() if p.name.startswith(state.name + infix))


def hold(state: Path, *, create: bool) -> int:
    """Lock the state directory for this process; closing the returned descriptor unlocks it."""
    try:
        if create:
            if not state.exists() and (ready := siblings(state, READY)):
                raise interrupted(state, ready[0])
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StateError(f"there is no state directory {state}") from None
    except OSError as error:
        raise StoreFull(f"cannot use {state}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise in_use(state) from None
    return held

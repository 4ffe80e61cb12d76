"""What can be wrong with a state directory, in words for its owner."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from acmeiot.core.ports import StoreFull


class StateError(Exception):
    """The state cannot be used as it is: in use, corrupt, or of a newer program."""


class DamagedError(StateError):
    """The database file is not whole."""


# What the owner can mend, then the same server goes on: (what SQLite calls it, what it is).
_CANNOT_WRITE: Final = {
    sqlite3.SQLITE_FULL: "no space left on the device (ENOSPC); free some",
    sqlite3.SQLITE_READONLY: "it is read-only (EROFS or EACCES); make it writable",
    sqlite3.SQLITE_IOERR: "the device reports an input/output error (EIO)",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened (EACCES or EROFS); make it writable",
    sqlite3.SQLITE_PERM: "permission denied (EACCES); give it to the server's user",
}
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def interrupted(state: Path, ready: Path) -> StateError:
    """Return the refusal to start anew where a restored state waits to be put in place."""
    return StateError(
        f"a restore was interrupted before its last step; finish it: mv {ready} {state}"
    )


def in_use(state: Path) -> StateError:
    """Return the refusal to share a state directory."""
    return StateError(f"another acmeiot serve uses {state}; stop it first")


def read_only(path: Path) -> StoreFull:
    """Return the refusal to start where nothing could be kept."""
    return StoreFull(f"cannot write {path}: {_CANNOT_WRITE[sqlite3.SQLITE_READONLY]}")


def damaged(database: Path, why: str) -> DamagedError:
    """Return the refusal to go on with a damaged database; it names the way out."""
    return DamagedError(
        f"{database} is damaged ({why}); nothing was changed in it."
        f" Bring a backup back with `acmeiot restore`"
    )


def translated(error: sqlite3.Error, database: Path) -> Exception:
    """Return the error of this project that says the same; a bug of ours stays what it is."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF  # the rest of an extended code says where in SQLite it happened
    if primary in _CANNOT_WRITE:
        where = error.sqlite_errorname
        return StoreFull(f"cannot write {database}: {_CANNOT_WRITE[primary]} [{where}]")
    if primary in _DAMAGED:
        return damaged(database, str(error))
    if primary == sqlite3.SQLITE_BUSY:
        return in_use(database.parent)
    return error

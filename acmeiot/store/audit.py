"""The audit: entries that are only ever appended, each sealed by a hash over the one before.

hash = SHA-256(hash before || JSON of seq, at, event, subject and detail), 32 zero bytes before
the first. Who changes an old entry must change every later hash; who cuts off the end leaves a
chain that is whole, and is found out by the copy in syslog or in a backup, which has `head`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from acmeiot.core.records import AuditEntry
from acmeiot.store.database import Database
from acmeiot.store.rows import Row, to_json

_ORIGIN: Final = bytes(32)
_PAGE: Final = 500  # entries read at a time, so that the lock is never held long
_SELECT: Final = "SELECT seq, at, event, subject, detail, hash FROM audit "


def append(database: Database, entry: AuditEntry) -> None:
    """Write the entry with the next number and the hash over the one before."""
    detail = to_json(entry.detail)
    with database.writing():
        seq, before = _head(database)
        seal = _link(before, seq + 1, entry.at, entry.event, entry.subject, detail)
        database.run(
            "INSERT INTO audit (seq, at, event, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (seq + 1, entry.at, entry.event, entry.subject, detail, seal),
        )


def head(database: Database) -> tuple[int, str]:
    """Return number and hash of the newest entry; (0, zeros) when there is none."""
    seq, seal = _head(database)
    return seq, seal.hex()


def newest(database: Database, limit: int) -> list[AuditEntry]:
    """Return the newest entries, oldest first."""
    rows = database.all(_SELECT + "ORDER BY seq DESC LIMIT ?", (limit,))
    return [_entry(row) for row in reversed(rows)]


def first_broken(database: Database) -> int | None:
    """Walk the whole chain; return the number of the first entry that does not fit, or None."""
    last, seal = 0, _ORIGIN
    while rows := database.all(_SELECT + "WHERE seq > ? ORDER BY seq LIMIT ?", (last, _PAGE)):
        for seq, at, event, subject, detail, kept in rows:
            # the number is under the hash too, so a gap breaks the chain where it begins
            if kept != _link(seal, seq, at, event, subject, detail):
                return last + 1
            last, seal = seq, kept
    return None


def _head(database: Database) -> tuple[int, bytes]:
    row = database.one("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return (row[0], row[1]) if row else (0, _ORIGIN)


def _link(before: bytes, seq: int, at: int, event: str, subject: str, detail: str) -> bytes:
    # `detail` is hashed as the text that is stored: reading it first would forgive a respelling.
    line = to_json({"at": at, "detail": detail, "event": event, "seq": seq, "subject": subject})
    return hashlib.sha256(before + line.encode("ascii")).digest()


def _entry(row: Row) -> AuditEntry:
    seq, at, event, subject, detail, seal = row
    return AuditEntry(at, event, subject, json.loads(detail), seq, seal.hex())

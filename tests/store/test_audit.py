"""The audit is only ever appended to, and shows where it was tampered with."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from acmeiot.core.records import AuditEntry
from acmeiot.store.database import DATABASE
from acmeiot.store.sqlite import SqliteStore
from tests.store.samples import NOW

TRIGGERS = ("audit_appends", "audit_never_changes", "audit_never_shrinks")


def fill(store: SqliteStore, count: int = 5) -> None:
    for number in range(1, count + 1):
        store.append_audit(AuditEntry(NOW + number, "issue", f"name-{number}.lan", {"n": number}))


def test_entries_come_back_numbered_oldest_first(store: SqliteStore) -> None:
    fill(store)
    entries = store.audit(3)
    assert [entry.seq for entry in entries] == [3, 4, 5]
    assert entries[-1].subject == "name-5.lan"
    assert entries[-1].detail == {"n": 5}
    assert store.audit_head() == (5, entries[-1].hash)
    assert store.verify_audit() is None


def test_the_hash_can_be_computed_by_anybody(store: SqliteStore) -> None:
    """The words of the docstring, spelt out again."""
    fill(store, 2)
    seal = bytes(32)
    for entry in store.audit(9):
        detail = json.dumps(entry.detail, sort_keys=True, separators=(",", ":"))
        line = {"seq": entry.seq, "at": entry.at, "event": entry.event,
                "subject": entry.subject, "detail": detail}  # fmt: skip
        text = json.dumps(line, sort_keys=True, separators=(",", ":"))
        seal = hashlib.sha256(seal + text.encode()).digest()
        assert entry.hash == seal.hex()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET subject = 'evil.lan' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 5",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (3, 0, 'x', 'y', '{}', x'00')",
        "INSERT INTO audit VALUES (7, 0, 'x', 'y', '{}', x'00')",
        "INSERT INTO audit VALUES (0, 0, 'x', 'y', '{}', x'00')",
    ],
)
def test_the_file_itself_refuses(store: SqliteStore, state: Path, sql: str) -> None:
    fill(store)
    with pytest.raises(sqlite3.IntegrityError, match="only ever appended"):
        store._database.run(sql)
    assert len(store.audit(9)) == 5
    assert store.verify_audit() is None


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", 1),
        ("UPDATE audit SET event = 'revoke' WHERE seq = 2", 2),
        ("UPDATE audit SET subject = 'evil.lan' WHERE seq = 3", 3),
        ("UPDATE audit SET detail = '{\"n\": 4}' WHERE seq = 4", 4),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq <= 2", 1),
        ("UPDATE audit SET seq = seq + 10 WHERE seq = 5", 5),
    ],
)
def test_tampering_is_found(state: Path, sql: str, first: int) -> None:
    store = SqliteStore(state)
    fill(store)
    store.close()
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as thief:
        for trigger in TRIGGERS:
            thief.execute(f"DROP TRIGGER {trigger}")
        thief.execute(sql)
    store = SqliteStore(state)
    assert store.verify_audit() == first
    store.close()


def test_a_cut_off_end_shows_in_the_head(state: Path) -> None:
    store = SqliteStore(state)
    fill(store)
    head = store.audit_head()
    store.close()
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as thief:
        thief.execute("DROP TRIGGER audit_never_shrinks")
        thief.execute("DELETE FROM audit WHERE seq > 3")
    store = SqliteStore(state)
    assert store.verify_audit() is None
    assert store.audit_head() != head
    store.close()


def test_a_long_chain_is_walked_to_its_end(store: SqliteStore) -> None:
    with store.writing():
        fill(store, 1201)
    assert store.verify_audit() is None
    forge: Callable[[str], int] = store._database.run
    forge("DROP TRIGGER audit_never_changes")
    forge("UPDATE audit SET subject = 'evil.lan' WHERE seq = 1201")
    assert store.verify_audit() == 1201


def test_an_entry_of_a_block_that_failed_leaves_no_gap(store: SqliteStore) -> None:
    fill(store, 1)
    with pytest.raises(KeyError), store.writing():  # noqa: PT012
        fill(store, 2)
        raise KeyError
    fill(store, 1)
    assert [entry.seq for entry in store.audit(9)] == [1, 2]
    assert store.verify_audit() is None

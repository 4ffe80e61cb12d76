"""Old files are brought up to date, newer ones are left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from acmeiot.store import schema
from acmeiot.store.database import DATABASE
from acmeiot.store.errors import DamagedError, StateError
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples


def version_of(state: Path) -> int:
    with closing(sqlite3.connect(state / DATABASE)) as connection:
        return schema.version(connection)


def tables_of(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("number", range(1, len(schema.MIGRATIONS) + 1))
def test_every_older_version_becomes_the_newest(state: Path, number: int) -> None:
    SqliteStore(state).close()
    newest = tables_of(state / DATABASE)
    (state / DATABASE).unlink()
    with closing(sqlite3.connect(state / DATABASE)) as old:
        for script in schema.MIGRATIONS[:number]:
            old.executescript(script)
        old.execute(f"PRAGMA user_version = {number}")
    SqliteStore(state, create=False).close()
    assert version_of(state) == len(schema.MIGRATIONS)
    assert tables_of(state / DATABASE) == newest


def test_a_next_migration_keeps_what_is_there(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = samples.account()
    store = SqliteStore(state)
    store.put_account(account)
    store.close()
    added = "ALTER TABLE accounts ADD COLUMN note TEXT NOT NULL DEFAULT 'none';"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
    store = SqliteStore(state)
    assert store.account(account.id) == account
    assert store._database.one("SELECT note FROM accounts") == ("none",)
    store.close()
    assert version_of(state) == len(schema.MIGRATIONS)


def test_a_migration_that_fails_changes_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(state).close()
    before, known = tables_of(state / DATABASE), len(schema.MIGRATIONS)
    bad = "CREATE TABLE half (id TEXT); DROP TABLE audit; SELECT nonsense;"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, bad))
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        SqliteStore(state)
    assert tables_of(state / DATABASE) == before
    assert version_of(state) == known


def test_a_newer_file_is_refused_and_left_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, "CREATE TABLE later (id TEXT);"))
    SqliteStore(state).close()
    data = (state / DATABASE).read_bytes()
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    newer = f"written by a newer acmeiot .schema {len(known) + 1}, .* up to {len(known)}"
    with pytest.raises(StateError, match=newer):
        SqliteStore(state)
    assert (state / DATABASE).read_bytes() == data


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_that_cannot_be(state: Path, number: int) -> None:
    """Zero is for an empty file: to begin again would fail half way, or forget what is there."""
    SqliteStore(state).close()
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(DamagedError, match=f"schema number is {number}"):
        SqliteStore(state)

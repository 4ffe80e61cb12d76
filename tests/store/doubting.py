"""A store that does not believe its own memory: the same verbs, each answer compared."""

from __future__ import annotations

from acmeiot.store.rows import Table
from acmeiot.store.sqlite import Record, SqliteStore


class DoubtingStore(SqliteStore):
    """The store, which fails a test where what it remembers is not what SQLite has."""

    def _by_key(self, table: Table[Record], key: str) -> Record | None:
        with self.alone():
            remembered = super()._by_key(table, key)
            recent = dict(self._recent)
            self._recent.clear()
            assert super()._by_key(table, key) == remembered, "remembered, but not so stored"
            self._recent.clear()
            self._recent.update(recent)
            return remembered

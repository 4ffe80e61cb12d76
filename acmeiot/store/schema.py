"""The tables, as numbered migrations in plain SQL; a file's number is its `user_version`.

A migration that was released is never edited: the next change is the next entry. Each index costs
a page of flash for every certificate, so each says which question it answers; what only the
hourly pruning or the owner's screen asks is answered by reading the table.

Rows are found by rowid and their unguessable ids by an index of their own (no WITHOUT ROWID):
rows then lie in the order of their making, so that new ones share a page that is written once,
and with small pages a row in an index tree would spill into overflow pages.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from acmeiot.store.errors import StateError, damaged

_V1: Final = """
CREATE TABLE accounts (
  id TEXT PRIMARY KEY, status TEXT NOT NULL, contact TEXT NOT NULL, jwk TEXT NOT NULL,
  thumbprint TEXT NOT NULL, created INTEGER NOT NULL, eab TEXT, eab_kid TEXT
);
-- newAccount finds the account by its key, and two accounts never share one (R-17)
CREATE UNIQUE INDEX accounts_by_key ON accounts (thumbprint);

CREATE TABLE orders (
  id TEXT PRIMARY KEY, account_id TEXT NOT NULL, status TEXT NOT NULL, created INTEGER NOT NULL,
  expires INTEGER NOT NULL, identifiers TEXT NOT NULL, authorizations TEXT NOT NULL,
  profile TEXT NOT NULL, remote TEXT NOT NULL, not_before INTEGER, not_after INTEGER,
  replaces TEXT, certificate_id TEXT, error TEXT
);
-- each answered challenge looks for the open orders of its account, among thousands of old ones;
-- the list of all orders of an account, which clients hardly ever ask for, reads the table
CREATE INDEX orders_open ON orders (account_id) WHERE status IN ('pending', 'ready');
-- each renewal asks whether another order replaces the same certificate (RFC 9773)
CREATE INDEX orders_replacing ON orders (replaces) WHERE replaces IS NOT NULL;

CREATE TABLE authorizations (
  id TEXT PRIMARY KEY, account_id TEXT NOT NULL, identifier TEXT NOT NULL,
  wildcard INTEGER NOT NULL, status TEXT NOT NULL, expires INTEGER NOT NULL,
  created INTEGER NOT NULL, challenges TEXT NOT NULL, subdomains INTEGER NOT NULL
);
-- each new order looks for an earlier proof; pending ones, which strangers can make, are not here
CREATE INDEX authorizations_usable ON authorizations (account_id, identifier, expires)
  WHERE status = 'valid';

CREATE TABLE certificates (
  id TEXT PRIMARY KEY, serial BLOB NOT NULL, issuer_id TEXT NOT NULL, account_id TEXT NOT NULL,
  order_id TEXT, identifiers TEXT NOT NULL, spki_sha256 BLOB NOT NULL, profile TEXT NOT NULL,
  not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, der BLOB NOT NULL, ari_id TEXT NOT NULL,
  revoked_at INTEGER, reason INTEGER, replaced INTEGER NOT NULL
);
-- OCSP, ARI and revocation ask by serial; and no serial is ever there twice
CREATE UNIQUE INDEX certificates_by_serial ON certificates (serial);
-- each finalize asks who had this key first
CREATE INDEX certificates_by_key ON certificates (spki_sha256);
-- each CRL lists them; nothing is written here before a revocation
CREATE INDEX certificates_revoked ON certificates (issuer_id) WHERE revoked_at IS NOT NULL;

CREATE TABLE devices (
  id TEXT PRIMARY KEY, account_id TEXT NOT NULL, status TEXT NOT NULL, mac TEXT,
  address TEXT NOT NULL, names TEXT NOT NULL, first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, decided_at INTEGER, decided_by TEXT NOT NULL
);
-- each order asks what the owner said; written when a device is first seen or forgotten
CREATE INDEX devices_by_account ON devices (account_id) WHERE status <> 'forgotten';

CREATE TABLE ties (
  name TEXT PRIMARY KEY, account_id TEXT NOT NULL, device_id TEXT NOT NULL, mac TEXT,
  since INTEGER NOT NULL, last_issued INTEGER NOT NULL
);

CREATE TABLE eab_keys (
  kid TEXT PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
  note TEXT NOT NULL, used_by TEXT
);

CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, hash BLOB NOT NULL
);
-- REPLACE deletes without asking a trigger for deletes; the number of a new entry stops it
CREATE TRIGGER audit_appends BEFORE INSERT ON audit
  WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
  BEGIN SELECT raise(ABORT, 'the audit is only ever appended to'); END;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
  BEGIN SELECT raise(ABORT, 'the audit is only ever appended to'); END;
CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit
  BEGIN SELECT raise(ABORT, 'the audit is only ever appended to'); END;
"""

MIGRATIONS: tuple[str, ...] = (_V1,)


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration this file has seen; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, name: Path) -> None:
    """Bring the file `name` up to this program's schema, each step all or nothing.

    A newer schema than ours raises StateError: what an older program does not know it would lose.
    """
    found = version(connection)
    if found < 0 or (found == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone()):
        raise damaged(name, f"its schema number is {found}")
    if found > len(MIGRATIONS):
        raise StateError(
            f"{name} was written by a newer acmeiot (schema {found}, this one knows up to"
            f" {len(MIGRATIONS)}); install the newer version again"
        )
    for number, script in enumerate(MIGRATIONS[found:], found + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

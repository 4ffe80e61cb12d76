"""The store of `core.ports`, kept in SQLite: one short method a verb."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

from acmeiot.core.records import (
    Account,
    AuditEntry,
    Authorization,
    Certificate,
    Device,
    EabKey,
    NameTie,
    Order,
)
from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.jose import b64decode
from acmeiot.protocol.names import Identifier
from acmeiot.store import audit, prune
from acmeiot.store.database import Database
from acmeiot.store.rows import (
    ACCOUNTS,
    AUTHORIZATIONS,
    CERTIFICATES,
    DEVICES,
    EAB_KEYS,
    ORDERS,
    TIES,
    Row,
    Table,
    identifier_to_text,
    serial_to_blob,
    to_json,
)

Record = TypeVar("Record")
_RECENT: Final = 64  # records that are remembered


class SqliteStore:
    """Implements core.ports.Store, where each verb's contract stands.

    Values that a table cannot hold (JSON beyond `rows.MAX_TEXT`, a serial that is not canonical, a
    second account with one key) raise ValueError and change nothing.
    """

    def __init__(self, state: Path, *, create: bool = True, held: int | None = None) -> None:
        """Open the state directory's database, made if there is none unless `create` is False.

        `held` is for who has locked the directory with `database.hold` already. Raises
        StateError when the state is in use, damaged, missing or of a newer program, and StoreFull
        when its disk will not be written.
        """
        self._recent: dict[tuple[str, str], Any] = {}
        self._database = Database(state, self._recent.clear, create=create, held=held)

    def close(self) -> None:
        """Let go of the state directory; no other verb may be called any more."""
        self._database.close()

    def writing(self, *, later: bool = False) -> AbstractContextManager[None]:
        return self._database.writing(later=later)

    # Accounts

    def account(self, account_id: str) -> Account | None:
        return self._by_key(ACCOUNTS, account_id)

    def account_by_thumbprint(self, thumbprint: str) -> Account | None:
        return self._get(ACCOUNTS, ACCOUNTS.select + "WHERE thumbprint = ?", thumbprint)

    def put_account(self, account: Account) -> None:
        self._put(ACCOUNTS, account)

    def count_accounts(self) -> int:
        return self._count("SELECT count(*) FROM accounts")

    def drop_unproved_accounts(self, before: int, limit: int) -> int:
        with self._database.lock:
            self._recent.clear()
            return prune.drop_unproved_accounts(self._database, before, limit)

    def accounts(self) -> list[Account]:
        return self._list(ACCOUNTS, ACCOUNTS.select + "ORDER BY rowid")

    # Orders

    def order(self, order_id: str) -> Order | None:
        return self._by_key(ORDERS, order_id)

    def orders_of(self, account_id: str, after: str | None, limit: int) -> list[str]:
        rows = self._database.all(
            "SELECT id FROM orders WHERE account_id = ?1 AND status <> 'invalid' AND rowid >"
            " CASE WHEN ?2 IS NULL THEN 0 ELSE (SELECT rowid FROM orders WHERE id = ?2) END"
            " ORDER BY rowid LIMIT ?3",
            (account_id, after, limit),
        )
        return [row[0] for row in rows]

    def orders_with(self, authorization_id: str) -> list[Order]:
        return self._list(
            ORDERS,
            ORDERS.select  # noqa: S608  # its texts are our own
            + "WHERE account_id = (SELECT account_id FROM authorizations WHERE id = ?1)"
            " AND status IN ('pending', 'ready') AND instr(authorizations, ?2)",
            authorization_id,
            to_json(authorization_id),  # with its quotes: one id may be the beginning of another
        )

    def order_replacing(self, ari_id: str) -> Order | None:
        return self._get(
            ORDERS,
            ORDERS.select
            + "WHERE replaces = ? AND status <> 'invalid' ORDER BY rowid DESC LIMIT 1",
            ari_id,
        )

    def count_open_orders(self, account_id: str, now: int) -> int:
        return self._count(
            "SELECT count(*) FROM orders WHERE account_id = ? AND status IN ('pending', 'ready')"
            " AND expires > ?",
            account_id,
            now,
        )

    def put_order(self, order: Order) -> None:
        self._put(ORDERS, order)

    # Authorizations

    def authorization(self, authorization_id: str) -> Authorization | None:
        return self._by_key(AUTHORIZATIONS, authorization_id)

    def authorizations(self, authorization_ids: Sequence[str]) -> list[Authorization]:
        found = (self.authorization(each) for each in authorization_ids)
        return [authorization for authorization in found if authorization is not None]

    def usable_authorization(
        self, account_id: str, identifier: Identifier, now: int, *, subdomains: bool = False
    ) -> Authorization | None:
        return self._get(
            AUTHORIZATIONS,
            AUTHORIZATIONS.select + "WHERE account_id = ? AND identifier = ? AND status = 'valid'"
            " AND expires > ? AND NOT wildcard AND subdomains >= ? ORDER BY expires DESC LIMIT 1",
            account_id,
            identifier_to_text(identifier),
            now,
            subdomains,
        )

    def valid_authorizations_of(self, account_id: str, now: int) -> list[Authorization]:
        return self._list(
            AUTHORIZATIONS,
            AUTHORIZATIONS.select + "WHERE account_id = ? AND status = 'valid' AND expires > ?",
            account_id,
            now,
        )

    def put_authorization(self, authorization: Authorization) -> None:
        self._put(AUTHORIZATIONS, authorization)

    # Certificates

    def certificate(self, certificate_id: str) -> Certificate | None:
        return self._by_key(CERTIFICATES, certificate_id)

    def certificate_by_serial(self, serial: str) -> Certificate | None:
        try:
            blob = serial_to_blob(serial)
        except ValueError:
            return None  # no certificate can have it
        return self._get(CERTIFICATES, CERTIFICATES.select + "WHERE serial = ?", blob)

    def certificate_by_ari(self, ari_id: str) -> Certificate | None:
        try:
            certificate = self.certificate_by_serial(_serial_of_ari(ari_id))
        except ValueError:
            return None  # no certificate can have it
        return certificate if certificate is not None and certificate.ari_id == ari_id else None

    def certificates_of(self, account_id: str) -> list[Certificate]:
        return self._list(
            CERTIFICATES, CERTIFICATES.select + "WHERE account_id = ? ORDER BY rowid", account_id
        )

    def certificates(self, *, unexpired_at: int | None = None) -> list[Certificate]:
        return self._list(
            CERTIFICATES,
            CERTIFICATES.select + "WHERE ?1 IS NULL OR not_after >= ?1 ORDER BY rowid",
            unexpired_at,
        )

    def revoked(self, issuer_id: str, unexpired_at: int) -> list[Certificate]:
        return self._list(
            CERTIFICATES,
            CERTIFICATES.select + "WHERE issuer_id = ? AND revoked_at IS NOT NULL"
            " AND not_after >= ? ORDER BY rowid",
            issuer_id,
            unexpired_at,
        )

    def spki_owner(self, spki_sha256: str) -> str | None:
        try:
            blob = bytes.fromhex(spki_sha256)
        except ValueError:
            return None  # no certificate can have it
        row = self._database.one(
            "SELECT account_id FROM certificates WHERE spki_sha256 = ? ORDER BY rowid LIMIT 1",
            (blob,),
        )
        return row[0] if row else None

    def put_certificate(self, certificate: Certificate) -> None:
        serial_to_blob(certificate.serial)
        if _serial_of_ari(certificate.ari_id) != certificate.serial:
            # certificate_by_ari reads the serial out of the id, which saves an index
            raise ValueError(f"ARI id {certificate.ari_id!r} is not of serial {certificate.serial}")
        self._put(CERTIFICATES, certificate)

    # Devices and the names tied to them

    def device(self, device_id: str) -> Device | None:
        return self._by_key(DEVICES, device_id)

    def device_of(self, account_id: str) -> Device | None:
        return self._get(
            DEVICES,
            DEVICES.select + "WHERE account_id = ? AND status <> 'forgotten'"
            " ORDER BY rowid DESC LIMIT 1",
            account_id,
        )

    def devices(self) -> list[Device]:
        return self._list(DEVICES, DEVICES.select + "ORDER BY rowid")

    def put_device(self, device: Device) -> None:
        self._put(DEVICES, device)

    def drop_device(self, device_id: str) -> None:
        self._drop("DELETE FROM devices WHERE id = ?", device_id)

    def tie(self, name: str) -> NameTie | None:
        return self._by_key(TIES, name)

    def put_tie(self, tie: NameTie) -> None:
        self._put(TIES, tie)

    def drop_ties(self, device_id: str) -> None:
        self._drop("DELETE FROM ties WHERE device_id = ?", device_id)

    def eab_key(self, kid: str) -> EabKey | None:
        return self._by_key(EAB_KEYS, kid)

    def put_eab_key(self, key: EabKey) -> None:
        self._put(EAB_KEYS, key)

    # The audit and single facts

    def append_audit(self, entry: AuditEntry) -> None:
        audit.append(self._database, entry)

    def audit(self, limit: int) -> list[AuditEntry]:
        return audit.newest(self._database, limit)

    def audit_head(self) -> tuple[int, str]:
        """Return number and hash of the newest entry, to be kept where this server cannot write."""
        return audit.head(self._database)

    def verify_audit(self) -> int | None:
        """Return the number of the first audit entry that was changed or is missing, or None."""
        return audit.first_broken(self._database)

    def fact(self, key: str) -> str | None:
        row = self._database.one("SELECT value FROM facts WHERE key = ?", (key,))
        return row[0] if row else None

    def put_fact(self, key: str, value: str) -> None:
        self._database.run(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            " WHERE value <> excluded.value",
            (key, value),
        )

    # Housekeeping

    def prune(self, now: int) -> int:
        with self._database.lock:
            self._recent.clear()
            return prune.prune(self._database, now)

    def snapshot(self) -> bytes:
        """Return the database file as of the last transaction, for a backup."""
        return self._database.snapshot()

    def alone(self) -> AbstractContextManager[object]:
        """Keep other threads out, for several reads of one state."""
        return self._database.lock

    def newest_issue(self) -> int:
        """Return the notBefore of the newest certificate made for an order, 0 if there is none."""
        return self._count(
            "SELECT coalesce(max(not_before), 0) FROM certificates WHERE order_id IS NOT NULL"
        )

    def _by_key(self, table: Table[Record], key: str) -> Record | None:
        """Return a record, without asking SQLite if it was read or written lately.

        While a certificate is issued its order and authorizations are asked for seven times each.
        """
        with self._database.lock:
            known: Record | None = self._recent.get((table.name, key))
            return self._get(table, table.by_key, key) if known is None else known

    def _get(self, table: Table[Record], sql: str, *values: object) -> Record | None:
        with self._database.lock:
            row = self._database.one(sql, values)
            if row is None:
                return None
            known: Record | None = self._recent.get((table.name, row[0]))
            return self._keep(table, row, table.record(row)) if known is None else known

    def _keep(self, table: Table[Record], row: Row, record: Record) -> Record:
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[table.name, row[0]] = record
        return record

    def _list(self, table: Table[Record], sql: str, *values: object) -> list[Record]:
        return [table.record(row) for row in self._database.all(sql, values)]

    def _count(self, sql: str, *values: object) -> int:
        row = self._database.one(sql, values)
        return int(row[0]) if row else 0

    def _put(self, table: Table[Record], record: Record) -> None:
        """Replace the record, or add it: one changed row, so one transaction either way."""
        row = table.row(record)
        with self._database.lock:
            # One that was not seen lately is most likely new.
            known = (table.name, row[0]) in self._recent
            try:
                if not (known and self._database.run(table.update, row)):
                    self._database.run(table.upsert, row)
            except sqlite3.IntegrityError as error:
                raise ValueError(f"{type(record).__name__} {row[0]!r}: {error}") from error
            self._keep(table, row, record)

    def _drop(self, sql: str, *values: object) -> None:
        with self._database.lock:
            self._recent.clear()
            self._database.run(sql, values)


def _serial_of_ari(ari_id: str) -> str:
    """Return the serial in a certificate id of RFC 9773 section 4.1; ValueError if it is none."""
    try:
        octets = b64decode(ari_id.partition(".")[2], "the certificate id")
    except Malformed as error:
        raise ValueError(error.detail) from error
    return f"{int.from_bytes(octets, 'big'):x}"

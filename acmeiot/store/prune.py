"""What may be forgotten, when, and how much of each there can be at most.

Each rule is one short transaction over a bounded batch, so that an order never waits long; what
is left over is for the next call. There is no index for this: reading a table once an hour costs
less than writing a page more for every order.

A cap takes away what would be forgotten soonest anyway, before its time. It never takes what
somebody still relies on: a certificate that has not expired (a CRL may have to name it), an
account or device with something of its own, anything blocked or revoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acmeiot.core.ports import MAX_ACCOUNTS
from acmeiot.store.database import Database

DAY: Final = 24 * 3600
BATCH: Final = 500  # rows of one rule in one call

# An abandoned request is of no use; a day lets its owner read why it failed.
PENDING_KEPT: Final = 1 * DAY
FINAL_KEPT: Final = 7 * DAY
# Longer than the longest leaf: "whose was this" can be answered for two lives.
CERTIFICATE_KEPT: Final = 90 * DAY
FORGOTTEN_KEPT: Final = 180 * DAY
EAB_KEPT: Final = 30 * DAY
UNUSED_ACCOUNT_KEPT: Final = 30 * DAY
# Who still wants in has asked again by then; a stranger that was made up has not.
WAITING_KEPT: Final = 7 * DAY

_OPEN_ORDER: Final = "status IN ('pending', 'ready', 'processing')"
_ALIVE: Final = "certificate_id IN (SELECT id FROM certificates WHERE not_after >= :now)"
_UNPROVED_ACCOUNT: Final = (
    "status <> 'revoked'"
    " AND id NOT IN (SELECT account_id FROM certificates)"
    " AND id NOT IN (SELECT account_id FROM devices)"
    " AND id NOT IN (SELECT account_id FROM ties)"
)
_WITH_ORDER: Final = "id IN (SELECT account_id FROM orders)"
_UNUSED_ACCOUNT: Final = f"{_UNPROVED_ACCOUNT} AND NOT {_WITH_ORDER}"
_UNTIED_DEVICE: Final = "id NOT IN (SELECT device_id FROM ties)"


@dataclass(frozen=True, slots=True)
class Rule:
    """For one table: what is old enough to go, and what a cap may take (in which order)."""

    table: str
    key: str
    old: str  # SQL condition
    cap: int
    spare: str  # SQL condition
    first: str  # SQL order


RULES: Final = (
    # 20,000 orders are 700 a day for a month: 50 MB with all that belongs to them.
    Rule(
        "orders",
        "id",
        f"({_OPEN_ORDER} AND expires < :now - {PENDING_KEPT})"
        f" OR (NOT {_OPEN_ORDER} AND created < :now - {FINAL_KEPT}"
        f" AND (certificate_id IS NULL OR NOT {_ALIVE}))",
        20_000,
        f"certificate_id IS NULL OR NOT {_ALIVE}",
        f"{_OPEN_ORDER} AND expires >= :now, rowid",
    ),
    # Two names an order.
    Rule(
        "authorizations",
        "id",
        f"(status = 'pending' AND expires < :now - {PENDING_KEPT})"
        f" OR (status = 'valid' AND expires < :now - {FINAL_KEPT})"
        f" OR (status NOT IN ('pending', 'valid') AND created < :now - {FINAL_KEPT})",
        40_000,
        "1",
        "CASE WHEN expires < :now THEN 0 WHEN status = 'valid' THEN 2"
        " WHEN status = 'pending' THEN 1 ELSE 0 END, rowid",
    ),
    # A revoked one that has not expired is in the CRL; both kinds wait for their expiry.
    Rule(
        "certificates",
        "id",
        f"not_after < :now - {CERTIFICATE_KEPT}",
        20_000,
        "not_after < :now",
        "not_after",
    ),
    # Ten times the devices of a large home; a stranger's flood ends here.
    Rule(
        "devices",
        "id",
        f"(status = 'forgotten' AND coalesce(decided_at, last_seen) < :now - {FORGOTTEN_KEPT}"
        f" OR status = 'pending' AND last_seen < :now - {WAITING_KEPT}) AND {_UNTIED_DEVICE}",
        2_000,
        f"status IN ('forgotten', 'pending') AND {_UNTIED_DEVICE}",
        "status, last_seen",  # 'forgotten' comes before 'pending'
    ),
    Rule(
        "eab_keys",
        "kid",
        f"expires < :now - {EAB_KEPT}",
        1_000,
        "expires < :now OR used_by IS NOT NULL",
        "expires",
    ),
    # The last one: what went above may have been all that an account had.
    Rule(
        "accounts",
        "id",
        f"created < :now - {UNUSED_ACCOUNT_KEPT} AND {_UNUSED_ACCOUNT}",
        MAX_ACCOUNTS,
        _UNUSED_ACCOUNT,
        "created",
    ),
)


def prune(database: Database, now: int) -> int:
    """Delete a batch of what each rule finds; return how many rows went."""
    return sum(_delete_old(database, rule, now) + _enforce(database, rule, now) for rule in RULES)


def drop_unproved_accounts(database: Database, before: int, limit: int) -> int:
    """Delete what Store.drop_unproved_accounts promises; return how many rows went."""
    return database.run(
        "DELETE FROM accounts WHERE id IN (SELECT id FROM accounts"  # noqa: S608  # texts from above
        f" WHERE created < :before AND eab_kid IS NULL AND {_UNPROVED_ACCOUNT}"
        f" ORDER BY {_WITH_ORDER}, created LIMIT :limit)",
        {"before": before, "limit": limit},
    )


def _delete_old(database: Database, rule: Rule, now: int) -> int:
    return _delete(database, rule, f"WHERE {rule.old}", now, BATCH)


def _enforce(database: Database, rule: Rule, now: int) -> int:
    row = database.one(f"SELECT count(*) FROM {rule.table}")  # noqa: S608  # names from RULES
    excess = (row[0] if row else 0) - rule.cap
    if excess <= 0:
        return 0
    return _delete(
        database, rule, f"WHERE {rule.spare} ORDER BY {rule.first}", now, min(excess, BATCH)
    )


def _delete(database: Database, rule: Rule, which: str, now: int, limit: int) -> int:
    return database.run(
        f"DELETE FROM {rule.table} WHERE {rule.key} IN"  # noqa: S608  # texts from RULES
        f" (SELECT {rule.key} FROM {rule.table} {which} LIMIT :limit)",
        {"now": now, "limit": limit},
    )

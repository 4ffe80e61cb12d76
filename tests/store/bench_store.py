"""Measure what one certificate costs the store: `python tests/store/bench_store.py [N]`.

Prints, for each journal and page size, the medians of CPU and wall time per step, the bytes written
per certificate as the kernel counts them, and the largest log; then the CPU time of the point
reads. The first line of figures is what the store uses.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from dataclasses import replace

from acmeiot.core.records import (
    Account,
    AuditEntry,
    Authorization,
    Certificate,
    Challenge,
    Device,
    NameTie,
    Order,
)
from acmeiot.protocol.ari import certificate_id
from acmeiot.protocol.names import dns
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    OrderStatus,
)
from acmeiot.store import database
from acmeiot.store.sqlite import SqliteStore

NOW = 1_800_000_000
DAY = 86_400
ORIGINAL = database._settle


def new_id() -> str:
    return secrets.token_urlsafe(16)


def written(counter: str) -> int:
    """Return a byte counter of this process: `wchar` for write calls, `write_bytes` for disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(counter))


def enrol(store: SqliteStore) -> tuple[Account, Device]:
    account = Account(
        new_id(), AccountStatus.VALID, ("mailto:owner@example.org",),
        {"kty": "EC", "crv": "P-256", "x": "x" * 43, "y": "y" * 43}, new_id() * 2, NOW,
    )  # fmt: skip
    device = Device(
        new_id(), account.id, DeviceStatus.APPROVED, "02:00:00:00:00:01", "192.168.1.20",
        ("printer.lan", "printer.local"), NOW, NOW, NOW, "owner",
    )  # fmt: skip
    store.put_account(account)
    store.put_device(device)
    return account, device


def issue(store: SqliteStore, account: Account, device: Device) -> list[Callable[[], None]]:
    """Return the steps of one certificate with two names: two transactions, and what waits."""
    names = (dns("printer.lan"), dns("printer.local"))
    kinds = (ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01, ChallengeType.DNS_01)
    pending = [
        Authorization(
            new_id(), account.id, name, False, AuthorizationStatus.PENDING, NOW + DAY, NOW,
            tuple(Challenge(kind, secrets.token_urlsafe(32)) for kind in kinds),
        )
        for name in names
    ]  # fmt: skip
    order = Order(
        new_id(), account.id, OrderStatus.PENDING, NOW, NOW + DAY, names,
        tuple(each.id for each in pending), "strict", "192.168.1.20",
    )  # fmt: skip
    serial = secrets.randbits(159) | 1 << 158
    leaf = Certificate(
        new_id(), f"{serial:x}", "issuer1", account.id, order.id, names, secrets.token_hex(32),
        "strict", NOW, NOW + 30 * DAY, os.urandom(860), certificate_id(b"k" * 20, serial),
    )  # fmt: skip

    def ask() -> None:
        with store.writing():
            for each in pending:
                store.put_authorization(each)
            store.put_order(order)

    def prove() -> None:
        with store.writing(later=True):
            for each in pending:
                won = replace(each.challenges[0], status=ChallengeStatus.VALID, validated=NOW)
                store.put_authorization(
                    replace(
                        each,
                        status=AuthorizationStatus.VALID,
                        challenges=(won, *each.challenges[1:]),
                    )
                )
            store.put_order(replace(order, status=OrderStatus.READY))

    def finish() -> None:
        with store.writing():
            store.put_certificate(leaf)
            store.put_order(replace(order, status=OrderStatus.VALID, certificate_id=leaf.id))
            for name in names:
                store.put_tie(NameTie(name.value, account.id, device.id, device.mac, NOW, NOW))
            store.append_audit(
                AuditEntry(NOW, "issue", "printer.lan", {"serial": leaf.serial, "by": account.id})
            )

    return [ask, prove, finish]


def measure(label: str, count: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        store = SqliteStore(Path(folder))
        accounts = [enrol(store) for _ in range(20)]
        cpu: list[float] = []
        wall: list[float] = []
        largest, start, device = 0, written("wchar"), written("write_bytes")
        for number in range(count):
            for step in issue(store, *accounts[number % len(accounts)]):
                at, worked = time.perf_counter(), time.process_time()
                step()
                cpu.append(time.process_time() - worked)
                wall.append(time.perf_counter() - at)
            largest = max(largest, *(f.stat().st_size for f in Path(folder).glob("*-[wj]*")), 0)
        store.close()
        total, blocks = written("wchar") - start, written("write_bytes") - device
        size = (Path(folder) / database.DATABASE).stat().st_size
        print(
            f"{label:24} cpu {statistics.median(cpu) * 1e6:5.0f} us"
            f" (mean {statistics.fmean(cpu) * 1e6:5.0f})"
            f"  wall {statistics.median(wall) * 1e3:6.2f} ms"
            f"  written {total / count / 1024:6.1f} KiB"
            f" (blocks {blocks / count / 1024:6.1f})"
            f"  log {largest >> 10:4} KiB  file {size / count / 1024:4.1f} KiB/cert"
        )


def settle_as(journal: str) -> Callable[[sqlite3.Connection], None]:
    def settle(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA page_size = {database.PAGE_SIZE}")
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")

    return settle


def reads(count: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        store = SqliteStore(Path(folder))
        account, device = enrol(store)
        for _ in range(200):
            for step in issue(store, account, device):
                step()
        last = store.certificates_of(account.id)[-1]
        assert last.order_id is not None
        order = store.order(last.order_id)
        assert order is not None
        verbs: dict[str, Callable[[], object]] = {
            "account": lambda: store.account(account.id),
            "order": lambda: store.order(order.id),
            "authorization": lambda: store.authorization(order.authorizations[0]),
            "orders_with": lambda: store.orders_with(order.authorizations[0]),
            "usable_authorization": lambda: store.usable_authorization(
                account.id, dns("printer.lan"), NOW
            ),
            "count_open_orders": lambda: store.count_open_orders(account.id, NOW),
            "certificate": lambda: store.certificate(last.id),
            "certificate_by_serial": lambda: store.certificate_by_serial(last.serial),
            "certificate_by_ari": lambda: store.certificate_by_ari(last.ari_id),
            "spki_owner": lambda: store.spki_owner(last.spki_sha256),
            "device_of": lambda: store.device_of(account.id),
            "tie": lambda: store.tie("printer.lan"),
            "fact": lambda: store.fact("crl_number"),
        }
        for name, verb in verbs.items():
            rounds = []
            for _ in range(7):
                at = time.process_time()
                for _ in range(count):
                    verb()
                rounds.append((time.process_time() - at) / count)
            print(f"{name:24} {statistics.median(rounds) * 1e6:5.1f} us")
        store.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    chosen = database.PAGE_SIZE
    log = chosen * database.LOG_PAGES  # the same room for each
    measure(f"chosen: WAL, {chosen}", count)
    for size in (512, 1024, 2048, 4096):
        database.LOG_PAGES = log // size  # type: ignore[misc]
        database.PAGE_SIZE = size  # type: ignore[misc]
        for journal in ("WAL", "TRUNCATE", "PERSIST"):
            settle = ORIGINAL if journal == "WAL" else settle_as(journal)
            database._settle = settle  # type: ignore[assignment]
            measure(f"{journal}, {size}", count)
    database._settle = ORIGINAL
    database.PAGE_SIZE, database.LOG_PAGES = chosen, log // chosen  # type: ignore[misc]
    reads(1000)


if __name__ == "__main__":
    main()

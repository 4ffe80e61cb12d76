"""What must hold of a state directory after whatever befell its server."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from acmeiot.core.records import Certificate
from acmeiot.protocol.states import OrderStatus
from acmeiot.store.sqlite import SqliteStore
from tests.crash.stubborn import Downloaded

EVERYTHING = 1 << 20
DER = Encoding.DER


def assert_whole(state: Path, downloaded: Iterable[Downloaded]) -> None:
    """Assert that nothing is lost, doubled or half done in the state of a stopped server (R-36)."""
    store = SqliteStore(state, create=False)
    try:
        stored = store.certificates()
        assert_serials(store, stored)
        assert_orders(store, stored)
        assert store.verify_audit() is None
    finally:
        store.close()
    kept = {certificate.der for certificate in stored}
    leaves = [x509.load_pem_x509_certificates(one.pem)[0] for one in downloaded]
    assert leaves
    assert {leaf.public_bytes(DER) for leaf in leaves} <= kept
    assert len({leaf.serial_number for leaf in leaves}) == len(leaves)
    assert_server_key(state)


def assert_serials(store: SqliteStore, stored: list[Certificate]) -> None:
    """Assert that each certificate has its own serial and one line in the audit."""
    serials = sorted(certificate.serial for certificate in stored)
    assert len(set(serials)) == len(serials)
    issues = [one.subject for one in store.audit(EVERYTHING) if one.event == "issue"]
    assert sorted(issues) == serials
    for certificate in stored:
        in_der = x509.load_der_x509_certificate(certificate.der).serial_number
        assert f"{in_der:x}" == certificate.serial


def assert_orders(store: SqliteStore, stored: list[Certificate]) -> None:
    """Assert that certificates and valid orders are each other's."""
    by_order = {certificate.order_id: certificate.id for certificate in stored}
    assert len(by_order) == len(stored)
    orders = [
        store.order(order_id)
        for account in store.accounts()
        for order_id in store.orders_of(account.id, None, EVERYTHING)
    ]
    finished = {
        order.id: order.certificate_id
        for order in orders
        if order is not None and order.status is OrderStatus.VALID
    }
    assert finished == by_order


def assert_server_key(state: Path) -> None:
    """Assert that the TLS file is whole, a secret, and alone."""
    (path,) = (state / "tls").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pem = path.read_bytes()
    leaf = x509.load_pem_x509_certificates(pem)[0]
    assert load_pem_private_key(pem, None).public_key() == leaf.public_key()


def authority_files(state: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of the authority's files."""
    return {
        path.name: (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in (state / "ca").iterdir()
    }

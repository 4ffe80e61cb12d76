"""What the rules need from the outside, as small Protocol classes with their contracts.

The rules call these; adapters in `ca`, `store`, `validate` and `lan` fill them; `cli` joins them.
A contract stands beside each method. Where an error is named here it is part of the contract;
any other exception from an adapter is a fault of this server, shown to the client as
serverInternal and logged with its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from acmeiot.core.records import (
    Account,
    AuditEntry,
    Authorization,
    Certificate,
    Challenge,
    Csr,
    Device,
    EabKey,
    Host,
    Leaf,
    LeafRequest,
    NameTie,
    Order,
    Resolution,
)
from acmeiot.protocol.names import Identifier, IPAddress

MAX_ACCOUNTS: Final = 2000  # devices of a home times many reinstallations


class StoreFull(Exception):
    """The store cannot write (disk full, read-only, I/O error); nothing was changed."""


class Clock(Protocol):
    """The time, and whether it may be believed (design decision 9)."""

    def now(self) -> int:
        """Return the seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump, for waits and rate limits."""
        ...

    def doubt(self) -> str | None:
        """Return why nothing may be signed now, for a person, or None when the time is sane."""
        ...


class Events(Protocol):
    """One line an event, for a person and for syslog. Never holds a secret."""

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        """Log the event: `kind` is one word (`order`, `refused`, `issued`), `message` the rest."""
        ...

    def fault(self, what: str, error: BaseException) -> None:
        """Log a bug of this program with its traceback, at `what` it was doing."""
        ...

    def debug(self, kind: str, message: str) -> None:
        """Log what only `-v` shows."""
        ...


class Store(Protocol):
    """What must survive a power cut.

    All verbs may be called from any thread. A write outside `writing()` is its own transaction;
    inside it, all writes of the block become durable together when the block ends, or none does
    when it raises. When a write returns (or the block ends) it is on the disk. Every write raises
    StoreFull when the disk will not take it. `put_*` replaces the record with the same id. A read
    of what is not there returns None or an empty list.
    """

    def writing(self, *, later: bool = False) -> AbstractContextManager[None]:
        """Open a transaction; blocks nest into the outermost one. One writer at a time.

        What an outermost block writes with `later` is seen by every read at once, but becomes
        durable only with the next transaction, or when the store is closed. A power cut before
        that undoes the block as a whole; so does a disk that fails in between.
        """
        ...

    def account(self, account_id: str) -> Account | None: ...
    def account_by_thumbprint(self, thumbprint: str) -> Account | None: ...
    def put_account(self, account: Account) -> None: ...
    def count_accounts(self) -> int: ...
    def drop_unproved_accounts(self, before: int, limit: int) -> int:
        """Delete accounts made before `before` that never proved a name; return how many.

        Those without an order go first, then the oldest; one with a device, a certificate or a
        pairing key stays, and so does one that the owner ended.
        """
        ...

    def accounts(self) -> list[Account]: ...

    def order(self, order_id: str) -> Order | None: ...
    def orders_of(self, account_id: str, after: str | None, limit: int) -> list[str]:
        """Return ids of an account's orders that are not invalid, oldest first, after `after`."""
        ...

    def orders_with(self, authorization_id: str) -> list[Order]:
        """Return the pending and ready orders that need this authorization."""
        ...

    def order_replacing(self, ari_id: str) -> Order | None:
        """Return the newest order with this `replaces` that is not invalid (RFC 9773)."""
        ...

    def count_open_orders(self, account_id: str, now: int) -> int:
        """Count the account's pending and ready orders that have not expired."""
        ...

    def put_order(self, order: Order) -> None: ...

    def authorization(self, authorization_id: str) -> Authorization | None: ...
    def authorizations(self, authorization_ids: Sequence[str]) -> list[Authorization]: ...
    def usable_authorization(
        self, account_id: str, identifier: Identifier, now: int, *, subdomains: bool = False
    ) -> Authorization | None:
        """Return the account's valid, unexpired, non-wildcard authorization for exactly this.

        With `subdomains` only one that covers names below it (RFC 9444).
        """
        ...

    def valid_authorizations_of(self, account_id: str, now: int) -> list[Authorization]: ...
    def put_authorization(self, authorization: Authorization) -> None: ...

    def certificate(self, certificate_id: str) -> Certificate | None: ...
    def certificate_by_serial(self, serial: str) -> Certificate | None: ...
    def certificate_by_ari(self, ari_id: str) -> Certificate | None: ...
    def certificates_of(self, account_id: str) -> list[Certificate]: ...
    def certificates(self, *, unexpired_at: int | None = None) -> list[Certificate]: ...
    def revoked(self, issuer_id: str, unexpired_at: int) -> list[Certificate]: ...
    def spki_owner(self, spki_sha256: str) -> str | None:
        """Return the id of the account that first had a certificate for this key (decision 7)."""
        ...

    def put_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate; a serial that another certificate has raises ValueError."""
        ...

    def device(self, device_id: str) -> Device | None: ...
    def device_of(self, account_id: str) -> Device | None:
        """Return the account's device that is not forgotten."""
        ...

    def devices(self) -> list[Device]:
        """Return all devices, in the order of their coming."""
        ...

    def put_device(self, device: Device) -> None: ...
    def drop_device(self, device_id: str) -> None: ...

    def tie(self, name: str) -> NameTie | None: ...
    def put_tie(self, tie: NameTie) -> None: ...
    def drop_ties(self, device_id: str) -> None: ...

    def eab_key(self, kid: str) -> EabKey | None: ...
    def put_eab_key(self, key: EabKey) -> None: ...

    def append_audit(self, entry: AuditEntry) -> None:
        """Append to the audit; the store gives `seq` and `hash` over the one before."""
        ...

    def audit(self, limit: int) -> list[AuditEntry]:
        """Return the newest entries, oldest first."""
        ...

    def fact(self, key: str) -> str | None:
        """Return a single remembered value (window end, CRL number, newest time signed)."""
        ...

    def put_fact(self, key: str, value: str) -> None: ...

    def prune(self, now: int) -> int:
        """Delete what nobody needs any more, within the hard caps; return how many rows."""
        ...


class Issuer(Protocol):
    """The certificate authority: reads requests and signs leaves. Knows no accounts."""

    def read_csr(self, der: bytes) -> Csr:
        """Return what the CSR says after verifying its signature; raise BadCsr with the reason."""
        ...

    def serial_of(self, der: bytes) -> str:
        """Return the serial of a certificate as the store has it; raise Malformed if it is none."""
        ...

    def permits(self, identifier: Identifier) -> bool:
        """Tell whether the name constraints of root and intermediate let this one through."""
        ...

    def longest(self) -> int:
        """Return the latest notAfter that a leaf signed now may have (never past its issuer's)."""
        ...

    def issue(self, request: LeafRequest) -> Leaf:
        """Sign one leaf with a fresh 159-bit serial. Nothing is stored here."""
        ...

    def chains(self, issuer_id: str) -> Sequence[Sequence[bytes]]:
        """Return the DER chains above a leaf of this issuer, the default one first (R-30)."""
        ...

    def is_current(self, issuer_id: str) -> bool:
        """Tell whether new leaves come from this issuer; if not, ARI moves the old ones on."""
        ...


class Validator(Protocol):
    """Looks whether a device really answers for a name. May block for seconds."""

    def validate(
        self,
        challenge: Challenge,
        identifier: Identifier,
        key_authorization: str,
        addresses: Sequence[IPAddress],
    ) -> str:
        """Return the address that proved it; raise AcmeError saying what was tried and found.

        `addresses` were resolved and checked by the rules; it connects to no other (R-27). For
        dns-01 they are not used.
        """
        ...


class Lan(Protocol):
    """What this network says of its hosts."""

    def resolve(self, name: str) -> Resolution:
        """Return where a DNS name leads: tables first, then the LAN's resolver, `.local` by
        multicast last; raise DnsFailed saying each place asked. Never a public resolver.
        """
        ...

    def hosts_at(self, address: str) -> list[Host]:
        """Return the entries of the lease and static tables for this address."""
        ...

    def hosts_named(self, name: str) -> list[Host]:
        """Return the entries of the lease and static tables for this full name.

        A static entry comes before what another device calls itself.
        """
        ...

    def mac_of(self, address: str) -> str | None:
        """Return the MAC that has this address, lower case with colons, if a table knows it."""
        ...

    def caa(self, name: str) -> list[str]:
        """Return the issuers that the nearest CAA `issue` records name; [] where there are none.

        Only the LAN's own resolver is asked (RFC 8659); no resolver or no answer is no record.
        """
        ...

    def is_own(self, address: IPAddress) -> bool:
        """Tell whether the address is one of this machine's own."""
        ...


class Runner(Protocol):
    """Runs validations beside the request that asked for them."""

    def start(self, job: Callable[[], None], wait: float) -> bool:
        """Run `job` on another thread and wait for its end, `wait` seconds at most.

        Return False, without running it, when too many are under way.
        """
        ...


Random = Callable[[int], bytes]  # n -> n unpredictable bytes

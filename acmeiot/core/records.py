"""What this CA remembers, as frozen records; a change is a new record put in the old one's place.

Times are whole seconds since 1970, UTC. Ids are unguessable texts made by the caller (R-35).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    OrderStatus,
)

# The fact that counts CRLs; a restored state must go on above every number that was ever published.
CRL_NUMBER: Final = "crl_number"

Problem = Mapping[str, object]  # a problem document, as AcmeError.problem() makes it


@dataclass(frozen=True, slots=True)
class Account:
    """One ACME account (RFC 8555 section 7.1.2). `thumbprint` is the key's RFC 7638 thumbprint."""

    id: str
    status: AccountStatus
    contact: tuple[str, ...]
    jwk: Mapping[str, Any]
    thumbprint: str
    created: int
    eab: Mapping[str, Any] | None = None  # the externalAccountBinding, echoed
    eab_kid: str | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove an authorization (RFC 8555 section 7.1.5).

    `processing` is never stored: a crash must leave a challenge that can be tried again.
    """

    type: ChallengeType
    token: str
    status: ChallengeStatus = ChallengeStatus.PENDING
    validated: int | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """An account's right to one identifier (RFC 8555 section 7.1.4), its challenges inside."""

    id: str
    account_id: str
    identifier: Identifier  # without `*.`
    wildcard: bool
    status: AuthorizationStatus
    expires: int
    created: int
    challenges: tuple[Challenge, ...]
    subdomains: bool = False  # good for names below the identifier too (RFC 9444)


@dataclass(frozen=True, slots=True)
class Order:
    """A request for one certificate (RFC 8555 section 7.1.3).

    `remote` is the address that asked; `address` checks of the policy were made against it.
    """

    id: str
    account_id: str
    status: OrderStatus
    created: int
    expires: int
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]  # ids, in the order of creation; never changes
    profile: str
    remote: str
    not_before: int | None = None
    not_after: int | None = None
    replaces: str | None = None  # ARI certificate id (RFC 9773)
    certificate_id: str | None = None
    error: Problem | None = None

    @property
    def names(self) -> str:
        """Return its identifiers for a person."""
        return ", ".join(map(str, self.identifiers))


@dataclass(frozen=True, slots=True)
class Certificate:
    """One issued leaf certificate. `serial` is lower-case hex without leading zeros."""

    id: str
    serial: str
    issuer_id: str
    account_id: str
    order_id: str | None  # None for the server's own certificate
    identifiers: tuple[Identifier, ...]
    spki_sha256: str  # hex
    profile: str
    not_before: int
    not_after: int
    der: bytes
    ari_id: str
    revoked_at: int | None = None
    reason: int | None = None
    replaced: bool = False  # a later order named it in `replaces` and became valid


@dataclass(frozen=True, slots=True)
class Device:
    """One thing in the home that asked for certificates, and what the owner decided.

    A device is an account at an address: `mac` is None where no lease source knows one.
    `decided_by` is `owner`, `window`, `pairing key`, `auto` or "" while pending.
    """

    id: str
    account_id: str
    status: DeviceStatus
    mac: str | None
    address: str
    names: tuple[str, ...]  # every name it asked for and proved, newest last; bounded
    first_seen: int
    last_seen: int
    decided_at: int | None = None
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class NameTie:
    """To whom a name belongs: to the account and MAC it was last issued to."""

    name: str
    account_id: str
    device_id: str
    mac: str | None
    since: int
    last_issued: int


@dataclass(frozen=True, slots=True)
class EabKey:
    """A pairing key (external account binding, RFC 8555 section 7.3.4): for one account, once."""

    kid: str
    key: bytes
    created: int
    expires: int
    note: str = ""
    used_by: str | None = None  # account id


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the append-only, hash-chained audit. `seq` and `hash` are the store's."""

    at: int
    event: str  # "issue", "revoke", "approve", "root", ...
    subject: str
    detail: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    seq: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Csr:
    """What a certificate signing request says of itself; its signature has been verified.

    `key_name` is for people and rules alike: "EC P-384", "RSA 2048", "Ed25519". `hash_name` is
    "sha256", "sha1", ... or "" for a key that needs none.
    """

    der: bytes
    identifiers: tuple[Identifier, ...]
    common_name: str | None
    key_kind: str  # "EC", "RSA", "Ed25519" or another word
    key_name: str
    key_bits: int
    hash_name: str
    spki: bytes  # DER
    spki_sha256: str  # hex
    jwk_thumbprint: str | None  # RFC 7638, where the key could be an account key
    # The issuer's own form of the key, handed back to it: to read a P-384 key costs as much as to
    # sign with one.
    key: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LeafRequest:
    """All that the issuer needs to sign one leaf."""

    spki: bytes
    identifiers: tuple[Identifier, ...]
    profile: str
    not_before: int
    not_after: int
    key_encipherment: bool = False  # RSA keys only (specs 5.1)
    key: object = field(default=None, compare=False, repr=False)  # `Csr.key`, if it was kept


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed leaf, not yet stored, so not yet anybody's."""

    serial: str
    issuer_id: str
    not_before: int
    not_after: int
    der: bytes
    ari_id: str


@dataclass(frozen=True, slots=True)
class Host:
    """One entry of the LAN's tables: who has this address, by which names."""

    address: str
    names: tuple[str, ...]  # full names, lower case, without trailing dot; may be ()
    mac: str | None
    source: str  # for people: "lease file /tmp/dhcp.leases", "hosts file /etc/hosts"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a name leads, and who said so.

    `conflict` is set when a second source (multicast DNS) disagrees: the text names both answers.
    """

    addresses: tuple[str, ...]
    source: str
    conflict: str | None = None

"""Records to put into a store: one of each with sensible fields, and hypothesis' worst."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from acmeiot.core.records import (
    Account,
    Authorization,
    Certificate,
    Challenge,
    Device,
    EabKey,
    NameTie,
    Order,
)
from acmeiot.protocol.ari import certificate_id
from acmeiot.protocol.names import Identifier, dns
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    OrderStatus,
)

NOW = 1_800_000_000
DAY = 86_400
PRINTER = dns("printer.lan")
KEY_ID = bytes(range(20))
_numbers = itertools.count(1)


def fresh(kind: str) -> str:
    """Return an id that no other record of this run has."""
    return f"{kind}-{next(_numbers)}"


def account(**changes: Any) -> Account:
    name = fresh("account")
    made = Account(
        id=name,
        status=AccountStatus.VALID,
        contact=("mailto:owner@example.org",),
        jwk={"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ"},
        thumbprint=f"thumbprint-{name}",
        created=NOW,
    )
    return replace(made, **changes)


def challenge(**changes: Any) -> Challenge:
    return replace(Challenge(ChallengeType.HTTP_01, fresh("token")), **changes)


def authorization(account_id: str, **changes: Any) -> Authorization:
    made = Authorization(
        id=fresh("authorization"),
        account_id=account_id,
        identifier=PRINTER,
        wildcard=False,
        status=AuthorizationStatus.PENDING,
        expires=NOW + DAY,
        created=NOW,
        challenges=(challenge(), challenge(type=ChallengeType.DNS_01)),
    )
    return replace(made, **changes)


def order(account_id: str, **changes: Any) -> Order:
    made = Order(
        id=fresh("order"),
        account_id=account_id,
        status=OrderStatus.PENDING,
        created=NOW,
        expires=NOW + DAY,
        identifiers=(PRINTER, dns("printer.local")),
        authorizations=(),
        profile="strict",
        remote="192.168.1.20",
    )
    return replace(made, **changes)


def certificate(account_id: str, **changes: Any) -> Certificate:
    number = changes.pop("number", None) or (next(_numbers) << 140)
    made = Certificate(
        id=fresh("certificate"),
        serial=f"{number:x}",
        issuer_id="issuer-1",
        account_id=account_id,
        order_id=fresh("order"),
        identifiers=(PRINTER,),
        spki_sha256=f"{next(_numbers):064x}",
        profile="strict",
        not_before=NOW,
        not_after=NOW + 30 * DAY,
        der=b"\x30\x82" + bytes(800),
        ari_id=certificate_id(KEY_ID, number),
    )
    return replace(made, **changes)


def device(account_id: str, **changes: Any) -> Device:
    made = Device(
        id=fresh("device"),
        account_id=account_id,
        status=DeviceStatus.PENDING,
        mac="02:00:00:00:00:01",
        address="192.168.1.20",
        names=("printer.lan",),
        first_seen=NOW,
        last_seen=NOW,
    )
    return replace(made, **changes)


def tie(device_id: str, **changes: Any) -> NameTie:
    made = NameTie(fresh("name"), fresh("account"), device_id, None, NOW, NOW)
    return replace(made, **changes)


def eab_key(**changes: Any) -> EabKey:
    return replace(EabKey(fresh("kid"), bytes(32), NOW, NOW + DAY), **changes)


# Everything a field's type admits; SQLite's integers have 64 bits.
texts = st.text(st.characters(codec="utf-8"), max_size=40)
times = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
documents = st.dictionaries(texts, json_values, max_size=4)
maybe_documents = st.none() | documents
many_texts = st.lists(texts, max_size=4).map(tuple)
identifiers = st.builds(
    Identifier, st.sampled_from(["dns", "ip"]), st.from_regex(r"\A[a-z0-9.:*-]{1,60}\Z")
)
many_identifiers = st.lists(identifiers, max_size=4).map(tuple)
resting = st.sampled_from([each for each in ChallengeStatus if each.value != "processing"])
challenges = st.builds(
    Challenge, st.sampled_from(ChallengeType), texts, resting, st.none() | times, maybe_documents
)
accounts = st.builds(
    Account, texts, st.sampled_from(AccountStatus), many_texts, documents, texts, times,
    maybe_documents, st.none() | texts,
)  # fmt: skip
orders = st.builds(
    Order, texts, texts, st.sampled_from(OrderStatus), times, times, many_identifiers, many_texts,
    texts, texts, st.none() | times, st.none() | times, st.none() | texts, st.none() | texts,
    maybe_documents,
)  # fmt: skip
authorizations = st.builds(
    Authorization, texts, texts, identifiers, st.booleans(), st.sampled_from(AuthorizationStatus),
    times, times, st.lists(challenges, max_size=3).map(tuple), st.booleans(),
)  # fmt: skip
certificates = st.integers(1, 2**159 - 1).flatmap(
    lambda serial: st.builds(
        Certificate, texts, st.just(f"{serial:x}"), texts, texts, st.none() | texts,
        many_identifiers, st.binary(min_size=32, max_size=32).map(bytes.hex), texts, times, times,
        st.binary(max_size=2000), st.just(certificate_id(KEY_ID, serial)), st.none() | times,
        st.none() | st.integers(0, 10), st.booleans(),
    )
)  # fmt: skip
devices = st.builds(
    Device, texts, texts, st.sampled_from(DeviceStatus), st.none() | texts, texts, many_texts,
    times, times, st.none() | times, texts,
)  # fmt: skip
ties = st.builds(NameTie, texts, texts, texts, st.none() | texts, times, times)
eab_keys = st.builds(EabKey, texts, st.binary(max_size=64), times, times, texts, st.none() | texts)

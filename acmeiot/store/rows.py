"""Records as rows and back: which column holds which field, and in what form.

A column has its field's name. Most hold the field as it is; the others have a codec here. Texts
that a client makes as long as it likes are bounded, so that one record cannot fill the flash.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

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
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    OrderStatus,
)

MAX_TEXT: Final = 32 << 10  # bytes of JSON in one column; an order of 100 long names fits
MAX_DER: Final = 16 << 10
Record = TypeVar("Record")
Row = tuple[Any, ...]


class Codec(NamedTuple):
    """How a field is written into its column and read back; never asked about None."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_encoder: Final = json.JSONEncoder(
    separators=(",", ":"), default=dict, sort_keys=True, allow_nan=False
)


def to_json(value: object) -> str:
    """Return the one JSON spelling of a value (sorted keys, ASCII); ValueError if too long."""
    text = _encoder.encode(value)
    if len(text) > MAX_TEXT:
        raise ValueError(f"{len(text)} bytes of JSON in one field, more than {MAX_TEXT}")
    return text


def serial_to_blob(serial: str) -> bytes:
    """Return a serial's octets; ValueError unless positive, lower-case, without leading zeros."""
    number = int(serial, 16)
    if number <= 0 or f"{number:x}" != serial:
        raise ValueError(f"serial {serial[:60]!r} is not lower-case hex without leading zeros")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _serial_from_blob(blob: bytes) -> str:
    return f"{int.from_bytes(blob, 'big'):x}"


def identifier_to_text(identifier: Identifier) -> str:
    """Return `dns:printer.lan` or `ip:192.168.1.20`."""
    return f"{identifier.type}:{identifier.value}"


def _identifier_from_text(text: str) -> Identifier:
    kind, _, value = text.partition(":")
    return Identifier(kind, value)  # type: ignore[arg-type]  # what we wrote ourselves


def _challenge_to_list(challenge: Challenge) -> list[object]:
    if challenge.status is ChallengeStatus.PROCESSING:
        raise ValueError("a challenge is never stored as processing (see core.records.Challenge)")
    return [
        challenge.type.value,
        challenge.token,
        challenge.status.value,
        challenge.validated,
        challenge.error,
    ]


def _challenges_from_text(text: str) -> tuple[Challenge, ...]:
    return tuple(
        Challenge(ChallengeType(kind), token, ChallengeStatus(status), validated, error)
        for kind, token, status, validated, error in json.loads(text)
    )


def _bounded_der(der: bytes) -> bytes:
    if len(der) > MAX_DER:
        raise ValueError(f"a certificate of {len(der)} bytes, more than {MAX_DER}")
    return der


def _enum(kind: type[Enum]) -> Codec:
    return Codec(attrgetter("value"), {member.value: member for member in kind}.__getitem__)


_JSON: Final = Codec(to_json, json.loads)
_TEXTS: Final = Codec(to_json, lambda text: tuple(json.loads(text)))
_BOOL: Final = Codec(bool, bool)
_SERIAL: Final = Codec(serial_to_blob, _serial_from_blob)
_HEX: Final = Codec(bytes.fromhex, bytes.hex)
_IDENTIFIER: Final = Codec(identifier_to_text, _identifier_from_text)
_IDENTIFIERS: Final = Codec(
    lambda identifiers: to_json([identifier_to_text(each) for each in identifiers]),
    lambda text: tuple([_identifier_from_text(each) for each in json.loads(text)]),
)
_CHALLENGES: Final = Codec(
    lambda challenges: to_json([_challenge_to_list(each) for each in challenges]),
    _challenges_from_text,
)


class Table(Generic[Record]):
    """One record type's table: its SQL, made once, and the way from record to row and back.

    The first field is the key. `fixed` fields have an index and in a normal life never change: an
    update that does not mention them does not write the index's page again.
    """

    def __init__(
        self,
        name: str,
        kind: Callable[..., Record],
        codecs: Mapping[str, Codec],
        fixed: tuple[str, ...] = (),
    ) -> None:
        fields = tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
        self.name: Final = name
        self._kind = kind
        self._values = attrgetter(*fields)
        self._codecs = tuple((fields.index(field), *codec) for field, codec in codecs.items())
        place = {field: f"?{number}" for number, field in enumerate(fields, 1)}
        key, *rest = fields
        alive = ", ".join(f"{field} = {place[field]}" for field in rest if field not in fixed)
        same = "".join(f" AND {field} IS {place[field]}" for field in fixed)
        every = ", ".join(f"{field} = excluded.{field}" for field in rest)
        columns = ", ".join(fields)
        self.select: Final = f"SELECT {columns} FROM {name} "  # noqa: S608  # our own names
        self.by_key: Final = self.select + f"WHERE {key} = ?"
        self.update: Final = f"UPDATE {name} SET {alive} WHERE {key} = {place[key]}{same}"  # noqa: S608
        self.upsert: Final = (
            f"INSERT INTO {name} ({columns}) VALUES ({', '.join(place.values())})"  # noqa: S608
            f" ON CONFLICT ({key}) DO UPDATE SET {every}"
        )

    def row(self, record: Record) -> Row:
        """Return the record's columns; ValueError for what the table cannot hold."""
        values = list(self._values(record))
        for place, write, _ in self._codecs:
            if values[place] is not None:
                values[place] = write(values[place])
        return tuple(values)

    def record(self, row: Row) -> Record:
        """Return the record of a row that `select` gave."""
        values = list(row)
        for place, _, read in self._codecs:
            if values[place] is not None:
                values[place] = read(values[place])
        return self._kind(*values)


ACCOUNTS: Final = Table(
    "accounts",
    Account,
    {"status": _enum(AccountStatus), "contact": _TEXTS, "jwk": _JSON, "eab": _JSON},
    fixed=("thumbprint",),
)
ORDERS: Final = Table(
    "orders",
    Order,
    {
        "status": _enum(OrderStatus),
        "identifiers": _IDENTIFIERS,
        "authorizations": _TEXTS,
        "error": _JSON,
    },
    fixed=("account_id", "replaces"),
)
AUTHORIZATIONS: Final = Table(
    "authorizations",
    Authorization,
    {
        "identifier": _IDENTIFIER,
        "wildcard": _BOOL,
        "status": _enum(AuthorizationStatus),
        "challenges": _CHALLENGES,
        "subdomains": _BOOL,
    },
    fixed=("account_id", "identifier", "expires"),
)
CERTIFICATES: Final = Table(
    "certificates",
    Certificate,
    {
        "serial": _SERIAL,
        "identifiers": _IDENTIFIERS,
        "spki_sha256": _HEX,
        "der": Codec(_bounded_der, bytes),
        "replaced": _BOOL,
    },
    fixed=("serial", "issuer_id", "account_id", "spki_sha256"),
)
DEVICES: Final = Table(
    "devices",
    Device,
    {"status": _enum(DeviceStatus), "names": _TEXTS},
    fixed=("account_id",),
)
TIES: Final = Table("ties", NameTie, {})
EAB_KEYS: Final = Table("eab_keys", EabKey, {})

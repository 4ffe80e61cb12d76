"""The admin socket: what the commands and LuCI ask a running server, as plain JSON.

It is a unix socket that only the server's own user and root can open; that is the proof that a
person with the right to do it asked. Errors are `{"error": "..."}` with 400 or 409.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol

import bottle

from acmeiot.core.owner import Owner
from acmeiot.core.ports import Events, StoreFull
from acmeiot.core.records import Certificate, Device
from acmeiot.core.revocation import BY_OWNER, REASONS
from acmeiot.protocol.errors import AcmeError, Malformed
from acmeiot.protocol.jose import b64encode, load_json

Json = dict[str, object]

_MAX_BODY: Final = 16 * 1024
_MAX_SECONDS: Final = 86400
_MAX_NOTE: Final = 80


class BadCall(ValueError):
    """A call that cannot be; the text names the member."""


class Steward(Protocol):
    """What only the running server as a whole can do."""

    def status(self) -> Json:
        """Return the server's state: root, chain, counts, clock, audit."""
        ...

    def rotate(self) -> Json:
        """Make a new root; return its fingerprint and the old one's."""
        ...

    def backup(self, passphrase: str) -> bytes:
        """Return the sealed backup file."""
        ...


class AdminRoutes:
    """The admin calls as one bottle application."""

    def __init__(self, owner: Owner, steward: Steward, events: Events) -> None:
        self._owner, self._steward, self._events = owner, steward, events
        self.app = bottle.Bottle()
        self.app.config["catchall"] = False
        self.app.default_error_handler = _no_such_call
        for path, call in self._reads():
            self.app.route(path, "GET", self._guarded(_without_body(call)))
        for path, act in self._acts():
            self.app.route(path, "POST", self._guarded(act))

    def _reads(self) -> list[tuple[str, Callable[[], Json]]]:
        return [
            ("/status", self._steward.status),
            ("/devices", self.devices),
            ("/certs", self.certs),
            ("/audit", self.audit),
        ]

    def _acts(self) -> list[tuple[str, Callable[[Json], Json | bytes]]]:
        return [
            ("/approve", self.approve),
            ("/block", self.block),
            ("/forget", self.forget),
            ("/pair", self.pair),
            ("/window", self.window),
            ("/revoke", self.revoke),
            ("/announced", self.announced),
            ("/rotate", lambda _: self._steward.rotate()),
            ("/backup", lambda call: self._steward.backup(_text(call, "passphrase"))),
        ]

    def _guarded(self, work: Callable[[Json], Json | bytes]) -> Callable[[], Any]:
        def route() -> bottle.HTTPResponse:
            try:
                return _answer(work(_call()), 200)
            except (BadCall, LookupError) as error:
                return _answer({"error": str(error)}, 400)
            except AcmeError as error:
                return _answer({"error": error.detail}, 409)
            except (ValueError, StoreFull, OSError) as error:
                return _answer({"error": str(error)}, 409)
            except Exception as error:  # noqa: BLE001 - the caller gets an answer, the log the cause
                self._events.fault(bottle.request.path, error)
                return _answer({"error": "an error of the server; its log says more"}, 500)

        return route

    # -- reading

    def devices(self) -> Json:
        """List the devices, those that wait for the owner first."""
        order = {"pending": 0, "approved": 1, "blocked": 2, "forgotten": 3}
        devices = self._owner.store.devices()
        records = sorted(devices, key=lambda d: (order[d.status.value], d.first_seen))
        return {"devices": [self._device(record) for record in records]}

    def certs(self) -> Json:
        """List the certificates, the newest first."""
        records = self._owner.store.certificates()
        ordered = sorted(records, key=lambda c: c.not_before, reverse=True)
        return {"certs": [_certificate(record) for record in ordered]}

    def audit(self) -> Json:
        """List the newest entries of the audit."""
        entries = self._owner.store.audit(200)
        return {
            "audit": [
                {"seq": e.seq, "at": e.at, "event": e.event, "subject": e.subject,
                 "detail": dict(e.detail), "hash": e.hash}
                for e in entries
            ]
        }  # fmt: skip

    # -- acting

    def approve(self, call: Json) -> Json:
        """Allow a device."""
        device, taken = self._owner.approve(_text(call, "device"))
        return {"device": self._device(device), "taken": taken}

    def block(self, call: Json) -> Json:
        """Block a device."""
        device, revoked = self._owner.block(_text(call, "device"))
        return {"device": self._device(device), "revoked": revoked}

    def forget(self, call: Json) -> Json:
        """Forget a device."""
        device, revoked = self._owner.forget(_text(call, "device"))
        return {"device": self._device(device), "revoked": revoked}

    def pair(self, call: Json) -> Json:
        """Make a pairing key."""
        seconds = _seconds(call, 3600)
        note = call.get("note", "")
        if not isinstance(note, str) or len(note) > _MAX_NOTE:
            raise BadCall(f"note: a text of at most {_MAX_NOTE} characters is needed")
        key = self._owner.accounts.make_pairing_key(seconds, note)
        return {"kid": key.kid, "hmac": b64encode(key.key), "expires": key.expires}

    def window(self, call: Json) -> Json:
        """Open or close the pairing window."""
        seconds = _seconds(call, 3600)
        if seconds:
            return {"window_ends": self._owner.devices.open_window(seconds)}
        self._owner.devices.close_window()
        return {"window_ends": None}

    def announced(self, call: Json) -> Json:
        """Take note that the network is told something else now."""
        self._events.emit("announced", "what the network is told has changed")
        return {}

    def revoke(self, call: Json) -> Json:
        """Revoke certificates by serial or name."""
        reason = call.get("reason", BY_OWNER)
        if type(reason) is not int or reason not in REASONS:
            raise BadCall(f"reason: {reason!r} is not one of {', '.join(map(str, REASONS))}")
        records = self._owner.revoke(_text(call, "cert"), reason)
        return {"revoked": [_certificate(record) for record in records]}

    def _device(self, record: Device) -> Json:
        return {
            "id": record.id,
            "status": record.status.value,
            "names": list(record.names),
            "of_others": self._owner.devices.of_others(record),
            "address": record.address,
            "mac": record.mac,
            "account": record.account_id,
            "first_seen": record.first_seen,
            "last_seen": record.last_seen,
            "decided_at": record.decided_at,
            "decided_by": record.decided_by,
        }


def _without_body(read: Callable[[], Json]) -> Callable[[Json], Json]:
    return lambda _: read()


def _call() -> Json:
    if bottle.request.method == "GET":
        return {}
    body = bottle.request.environ["wsgi.input"].read(_MAX_BODY + 1)
    if len(body) > _MAX_BODY:
        raise BadCall(f"a call has at most {_MAX_BODY} octets")
    try:
        return load_json(body or b"{}", "the body")
    except Malformed as error:
        raise BadCall(error.detail) from None


def _text(call: Json, name: str) -> str:
    value = call.get(name)
    if not isinstance(value, str) or not value:
        raise BadCall(f"{name}: a text is needed")
    return value


def _seconds(call: Json, default: int) -> int:
    value = call.get("seconds", default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_SECONDS:
        raise BadCall(f"seconds: {value!r} is not a whole number from 0 to {_MAX_SECONDS}")
    return value


def _certificate(record: Certificate) -> Json:
    return {
        "serial": record.serial,
        "names": [name.value for name in record.identifiers],
        "profile": record.profile,
        "not_before": record.not_before,
        "not_after": record.not_after,
        "account": record.account_id,
        "issuer": record.issuer_id,
        "revoked_at": record.revoked_at,
        "reason": None if record.reason is None else REASONS.get(record.reason),
        "replaced": record.replaced,
    }


def _no_such_call(error: bottle.HTTPError) -> str:
    bottle.response.set_header("Content-Type", "application/json")
    return json.dumps({"error": f"there is no call {bottle.request.path}: {error.body}"})


def _answer(body: Json | bytes, status: int) -> bottle.HTTPResponse:
    if isinstance(body, bytes):
        response = bottle.HTTPResponse(body, status)
        response.set_header("Content-Type", "application/octet-stream")
        return response
    response = bottle.HTTPResponse(json.dumps(body), status)
    response.set_header("Content-Type", "application/json")
    return response

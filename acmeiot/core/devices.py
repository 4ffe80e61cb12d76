"""Devices and the owner's word on them: pending, approved, blocked, forgotten (decision 5).

A device comes into being when it has proved its first name, so the owner's list holds only things
that really answer on this network. What then decides: `auto` approval, an open pairing window, a
pairing key (external account binding), or the owner. A name stays tied to the account and MAC it
was issued to; a stranger who proves the same name never takes it over silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from acmeiot.core.accounts import refuse_inactive
from acmeiot.core.ownership import OwnershipRule
from acmeiot.core.ports import Clock, Events, Lan, Random, Store
from acmeiot.core.records import Account, AuditEntry, Device, NameTie
from acmeiot.protocol.errors import (
    AccountDoesNotExist,
    RejectedIdentifier,
    Unauthorized,
    UserActionRequired,
)
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import DEVICE, DeviceStatus, Event, step

Approval = Literal["auto", "ask"]

MAX_PENDING: Final = 64  # a home never has as many strangers; more is an attack (specs 6)
_MAX_NAMES: Final = 32
_DAY: Final = 86400
_WINDOW: Final = "pairing window ends"
_OPENED: Final = "pairing window opened"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who asks: the account, the address it came from, the DNS names it proved."""

    account: Account
    remote: str
    names: tuple[str, ...]


class Devices:
    """Keep the owner's decisions; thread-safe."""

    def __init__(
        self,
        store: Store,
        lan: Lan,
        clock: Clock,
        random: Random,
        events: Events,
        approval: Approval,
        rule: OwnershipRule,
    ) -> None:
        self._store, self._lan, self._clock = store, lan, clock
        self._random, self._events = random, events
        self._approval, self._rule = approval, rule
        self._window_until: float | None = None  # monotonic; None when nobody has looked yet
        self._blocked: list[Device] | None = None  # None when it must be read again

    # -- the pairing window

    def open_window(self, seconds: int) -> int:
        """Open the pairing window; return its end in epoch seconds."""
        now = self._clock.now()
        end = now + seconds
        self._put_window(now, end)
        self._window_until = self._clock.monotonic() + seconds
        self._events.emit("window", f"pairing window open for {seconds // 60} minutes")
        return end

    def close_window(self) -> None:
        """Close the pairing window."""
        now = self._clock.now()
        self._put_window(now, now)
        self._events.emit("window", "pairing window closed")

    def _put_window(self, start: int, end: int) -> None:
        with self._store.writing():
            self._store.put_fact(_OPENED, str(start))
            self._store.put_fact(_WINDOW, str(end))
            self._audit("window", "pairing", {"ends": end})

    def window_end(self) -> int | None:
        """Return when the open window ends, None if it is closed."""
        start, end = (int(self._store.fact(key) or "0") for key in (_OPENED, _WINDOW))
        now = self._clock.now()
        if not start <= now < end:
            return None
        # A clock set back must not keep a window open for longer than it was meant.
        if self._window_until is None:
            self._window_until = self._clock.monotonic() + end - now
        return end if self._clock.monotonic() < self._window_until else None

    # -- the gate

    def refuse_blocked(self, account: Account, remote: str) -> None:
        """Raise Unauthorized if the owner blocked this account, or the MAC behind `remote`."""
        blocked = self._all_blocked()
        mac = self._lan.mac_of(remote) if blocked else None
        for device in blocked:
            if device.account_id == account.id or (mac is not None and device.mac == mac):
                raise Unauthorized(
                    f"the owner of this network has blocked this device ({device.id}); "
                    "only the owner can allow it again"
                )

    def _all_blocked(self) -> list[Device]:
        blocked = self._blocked
        if blocked is None:
            with self._store.writing():  # no writer may come between reading and remembering
                devices = self._store.devices()
                blocked = [each for each in devices if each.status is DeviceStatus.BLOCKED]
                self._blocked = blocked
        return blocked

    def refuse_foreign(self, identifier: Identifier, account: Account, remote: str) -> None:
        """Raise RejectedIdentifier for a name tied to another device, where nobody may be asked.

        With approval `ask` the owner decides instead, when the name has been proved.
        """
        if self._approval == "ask":
            return
        tie = self._foreign_tie(identifier.base.value, account, remote)
        if tie is not None:
            raise RejectedIdentifier(
                f"{identifier} belongs to device {tie.device_id} (MAC {tie.mac or 'unknown'}); the "
                f"owner can free the name: acmeiot forget {tie.device_id}",
                identifier=identifier,
            )

    def _foreign_tie(self, name: str, account: Account, remote: str) -> NameTie | None:
        """Return the tie that gives the name to somebody else, if there is one.

        Without lease tables the challenge alone proves, and no tie can hold a name. A device that
        lost its account key is known again by its MAC.
        """
        tie = self._tie_of_another(name, account.id)
        if tie is None:
            return None
        mac = self._lan.mac_of(remote)
        return None if mac is not None and mac == tie.mac else tie

    def _tie_of_another(self, name: str, account_id: str) -> NameTie | None:
        if self._approval == "auto" and self._rule == "challenge":
            return None
        tie = self._store.tie(name)
        return None if tie is None or tie.account_id == account_id else tie

    def of_others(self, device: Device) -> dict[str, str]:
        """Return the names it proved that are tied to another device, with that one's id."""
        ties = (self._tie_of_another(name, device.account_id) for name in device.names)
        return {
            tie.name: tie.device_id
            for tie in ties
            if tie is not None and (tie.mac is None or tie.mac != device.mac)
        }

    def admit(self, newcomer: Newcomer) -> Device:
        """Return the device of a proved newcomer, decided where that can be done without a person.

        Raise Unauthorized for a blocked one or an ended account, AccountDoesNotExist for one that
        is gone, UserActionRequired for a name of another device.
        """
        with self._store.writing():
            # Forgotten or gone while its proof was looked at, it must not come back as a stranger.
            current = self._store.account(newcomer.account.id)
            if current is None:
                raise AccountDoesNotExist("the account is gone; create one with newAccount")
            refuse_inactive(current)
            self.refuse_blocked(newcomer.account, newcomer.remote)
            known = self._store.device_of(newcomer.account.id)
            device = self._seen(known or self._arrive(newcomer), newcomer)
            if device.status is DeviceStatus.PENDING:
                by = self._decider(newcomer)
                if by:
                    device = self._decide(device, Event.APPROVE, by)
                elif known is None:
                    self._make_place(device)
            else:
                self._refuse_taken(newcomer)
            if device != known:
                self._store.put_device(device)
            return device

    def check_issue(
        self, account: Account, remote: str, identifiers: Iterable[Identifier]
    ) -> Device:
        """Return the device that a certificate is for; raise why it may not have it now.

        Between the proof and the certificate the owner may have blocked or forgotten the device, or
        given a name to another one: Unauthorized, UserActionRequired.
        """
        self.refuse_blocked(account, remote)
        device = self._store.device_of(account.id)
        if device is None or device.status is not DeviceStatus.APPROVED:
            raise said_no(device)
        names = tuple(name.base.value for name in identifiers if name.type == "dns")
        self._refuse_taken(Newcomer(account, remote, names))
        return device

    def _refuse_taken(self, newcomer: Newcomer) -> None:
        for name in newcomer.names:
            tie = self._foreign_tie(name, newcomer.account, newcomer.remote)
            if tie is not None:
                raise UserActionRequired(
                    f"{name} belongs to device {tie.device_id}; the owner can free it: "
                    f"acmeiot forget {tie.device_id}"
                )

    def _arrive(self, newcomer: Newcomer) -> Device:
        now = self._clock.now()
        device = Device(
            id=b64encode(self._random(6)).replace("-", "x").replace("_", "y"),
            account_id=newcomer.account.id,
            status=DeviceStatus.PENDING,
            mac=self._lan.mac_of(newcomer.remote),
            address=newcomer.remote,
            names=(),
            first_seen=now,
            last_seen=now,
        )
        names = ", ".join(newcomer.names)
        self._events.emit("device", f"new device {device.id} at {device.address} asks for {names}")
        return device

    def _make_place(self, newcomer: Device) -> None:
        """Let the oldest of the machine that has most devices waiting go, where too many wait.

        So a machine that makes up strangers pushes out its own, and locks nobody out.
        """
        waiting = [d for d in self._store.devices() if d.status is DeviceStatus.PENDING]
        if len(waiting) < MAX_PENDING:
            return
        crowd = Counter(_machine(device) for device in (*waiting, newcomer))
        gone = max(waiting, key=lambda device: crowd[_machine(device)])  # the first of equals
        self._store.drop_device(gone.id)
        self._events.emit(
            "device",
            f"{gone.id} at {gone.address} waits no longer: {MAX_PENDING} wait for the owner, "
            f"{crowd[_machine(gone)]} of them from {_machine(gone)}",
            warning=True,
        )

    def _seen(self, device: Device, newcomer: Newcomer) -> Device:
        names = tuple(dict.fromkeys((*device.names, *newcomer.names)))[-_MAX_NAMES:]
        now = self._clock.now()
        return replace(
            device,
            names=names,
            address=newcomer.remote,
            mac=self._lan.mac_of(newcomer.remote) or device.mac,
            # To the day: each change is a write to the flash.
            last_seen=now if now - device.last_seen >= _DAY else device.last_seen,
        )

    def _decider(self, newcomer: Newcomer) -> str:
        """Return who may approve without asking, "" if the owner must."""
        if any(self._foreign_tie(n, newcomer.account, newcomer.remote) for n in newcomer.names):
            return ""  # a name changes hands only by the owner's word, window or key or not
        if self._approval == "auto":
            return "auto"
        if newcomer.account.eab_kid is not None:
            return "pairing key"
        return "window" if self.window_end() is not None else ""

    # -- the owner's word

    def approve(self, device_id: str, taken: Collection[str] = ()) -> Device:
        """Approve a pending or blocked device and give it the names it proved.

        Those tied to another device stay there, but for the `taken` ones. Raise LookupError for an
        unknown id, ValueError for a device in another state.
        """
        with self._store.writing():
            device = self._by_owner(device_id, Event.APPROVE)
            now, others = self._clock.now(), self.of_others(device)
            for name in device.names:
                if name in others and name not in taken:
                    continue
                self._store.put_tie(self._tie(name, device, now))
                if name in others:
                    self._events.emit("tie", f"{name} goes from {others[name]} to {device.id}")
        return device

    def block(self, device_id: str) -> Device:
        """Block a pending or approved device; errors as `approve`."""
        return self._by_owner(device_id, Event.BLOCK)

    def forget(self, device_id: str) -> Device:
        """Forget a device and free its names; errors as `approve`."""
        with self._store.writing():
            device = self._by_owner(device_id, Event.FORGET)
            self._store.drop_ties(device_id)
        return device

    def _by_owner(self, device_id: str, event: Event) -> Device:
        with self._store.writing():
            self._blocked = None
            device = self._store.device(device_id)
            if device is None:
                raise LookupError(f"no device {device_id!r}; `acmeiot devices` lists them")
            if (device.status, event) not in DEVICE:
                raise ValueError(
                    f"device {device_id} is {device.status.value}; cannot {event.value} it"
                )
            device = self._decide(device, event, "owner")
            self._store.put_device(device)
            return device

    def _decide(self, device: Device, event: Event, by: str) -> Device:
        decided = replace(
            device,
            status=step(DEVICE, device.status, event),
            decided_at=self._clock.now(),
            decided_by=by,
        )
        detail: dict[str, object] = {
            "by": by,
            "names": list(device.names),
            "mac": device.mac,
            "address": device.address,
        }
        self._audit(event.value, device.id, detail)
        self._events.emit(
            event.value, f"device {device.id} ({', '.join(device.names) or device.address}) by {by}"
        )
        return decided

    def tie_names(self, device: Device, identifiers: Iterable[Identifier]) -> None:
        """Tie the names of an issued certificate to the device; call inside the transaction."""
        now = self._clock.now()
        for identifier in identifiers:
            if identifier.type == "dns":
                self._store.put_tie(self._tie(identifier.base.value, device, now))

    def _tie(self, name: str, device: Device, now: int) -> NameTie:
        known = self._store.tie(name)
        mine = known is not None and known.device_id == device.id
        since = known.since if known is not None and mine else now
        return NameTie(name, device.account_id, device.id, device.mac, since, now)

    def _audit(self, event: str, subject: str, detail: dict[str, object]) -> None:
        self._store.append_audit(AuditEntry(self._clock.now(), event, subject, detail))


def _machine(device: Device) -> str:
    return device.mac or device.address


def said_no(device: Device | None) -> Unauthorized:
    """Return the refusal for a device that is not approved; None is one that was forgotten."""
    word = "forgotten" if device is None else device.status.value
    return Unauthorized(f"this device is {word}; only the owner of this network can allow it")

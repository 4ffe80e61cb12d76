"""What the owner of the home can do, each as one act with all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from acmeiot.core.accounts import Accounts
from acmeiot.core.devices import Devices
from acmeiot.core.ports import Clock, Store
from acmeiot.core.records import Certificate, Device
from acmeiot.core.revocation import BY_OWNER, REASONS, Revocations
from acmeiot.protocol.states import DEVICE, AccountStatus, Event


class NoSuchThing(LookupError):
    """The owner named a device or certificate that is not here; the text says where to look."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner's acts; thread-safe. A device may be named by id, name, address or MAC."""

    store: Store
    clock: Clock
    accounts: Accounts
    devices: Devices
    revocations: Revocations

    def find(self, text: str, act: Event = Event.FORGET) -> Device:
        """Return the one device that `text` names for this act; raise NoSuchThing."""
        wanted = text.lower()
        found = [
            device
            for device in self.store.devices()
            if device.id == text or wanted in (device.mac, device.address) or wanted in device.names
        ]
        # A name that changed hands, or is to, stands in two records: the one that the act can be
        # done to is meant, or else the living one.
        living = [device for device in found if (device.status, Event.FORGET) in DEVICE] or found
        meant = [device for device in living if (device.status, act) in DEVICE] or living
        if len(meant) != 1:
            reason = "is not a device" if not meant else f"names {len(meant)} devices; use the id"
            raise NoSuchThing(f"{text!r} {reason}: `acmeiot devices` lists them")
        return meant[0]

    def approve(self, text: str) -> tuple[Device, dict[str, str]]:
        """Allow a pending or blocked device; return it, and what it took from which device.

        A name of another device changes hands only when the owner names it, and with it what that
        device has of the same host: `printer.local` goes with `printer.lan`.
        """
        with self.store.writing():
            device = self.find(text, Event.APPROVE)
            others, wanted = self.devices.of_others(device), text.lower()
            taken = {
                name: other
                for name, other in others.items()
                if other == others.get(wanted) and _host(name) == _host(wanted)
            }
            return self.devices.approve(device.id, taken), taken

    def block(self, text: str) -> tuple[Device, int]:
        """Block a device and revoke its certificates; return it and how many they were."""
        with self.store.writing():
            device = self.devices.block(self.find(text, Event.BLOCK).id)
            return device, self.revocations.all_of(device.account_id)

    def forget(self, text: str) -> tuple[Device, int]:
        """Revoke a device's certificates, end its account, free its names: it was sold or lost."""
        with self.store.writing():
            device = self.devices.forget(self.find(text).id)
            revoked = self.revocations.all_of(device.account_id)
            account = self.store.account(device.account_id)
            if account is not None and account.status is AccountStatus.VALID:
                self.accounts.end(account, Event.REVOKE)
        return device, revoked

    def revoke(self, text: str, reason: int = BY_OWNER) -> list[Certificate]:
        """Revoke one certificate by its serial, or all living ones for a name."""
        if reason not in REASONS:
            raise ValueError(f"reason {reason} is not one of {', '.join(map(str, REASONS))}")
        found = self._living(text)
        if not found:
            raise NoSuchThing(f"no living certificate has serial or name {text!r}: `acmeiot certs`")
        with self.store.writing():
            for certificate in found:
                self.revocations.by_owner(certificate, reason)
        return found

    def _living(self, text: str) -> list[Certificate]:
        wanted = text.lower()
        return [
            certificate
            for certificate in self.store.certificates(unexpired_at=self.clock.now())
            if certificate.revoked_at is None
            and (
                certificate.serial == wanted.replace(":", "").lstrip("0")
                or wanted in {name.value for name in certificate.identifiers}
            )
        ]


def _host(name: str) -> str:
    return name.partition(".")[0]

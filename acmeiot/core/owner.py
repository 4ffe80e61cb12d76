"""What the owner of the home can do, each as one act with all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from acmeiot.core.accounts import Accounts
from acmeiot.core.devices import Devices
from acmeiot.core.ports import Clock, Store
from acmeiot.core.records import Certificate, Device
from acmeiot.core.revocation import BY_OWNER, REASONS, Revocations
from acmeiot.protocol.states import AccountStatus, Event


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

    def find(self, text: str) -> Device:
        """Return the one device that `text` names; raise NoSuchThing."""
        wanted = text.lower()
        found = [
            device
            for device in self.store.devices()
            if device.id == text or wanted in (device.mac, device.address) or wanted in device.names
        ]
        # A name that changed hands stands in two records: the living one is meant.
        living = [device for device in found if device.status.value != "forgotten"] or found
        if len(living) != 1:
            reason = "is not a device" if not living else f"names {len(living)} devices; use the id"
            raise NoSuchThing(f"{text!r} {reason}: `acmeiot devices` lists them")
        return living[0]

    def approve(self, text: str) -> Device:
        """Allow a pending or blocked device."""
        return self.devices.approve(self.find(text).id)

    def block(self, text: str) -> tuple[Device, int]:
        """Block a device and revoke its certificates; return it and how many they were."""
        with self.store.writing():
            device = self.devices.block(self.find(text).id)
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

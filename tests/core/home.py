"""A whole home: all rules over a real store and a real authority, and the devices in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acmeiot.ca.roots import Authority
from acmeiot.core.accounts import AccountRules, Accounts
from acmeiot.core.authorizations import Authorizations, ProofRules
from acmeiot.core.devices import Approval, Devices
from acmeiot.core.limits import Limits
from acmeiot.core.nonces import Nonces
from acmeiot.core.orders import Orders
from acmeiot.core.owner import Owner
from acmeiot.core.ownership import Ownership, OwnershipRule
from acmeiot.core.policy import Policy
from acmeiot.core.records import Account, Authorization, Certificate, Challenge, Device, Order
from acmeiot.core.requests import Gate
from acmeiot.core.revocation import Revocations
from acmeiot.protocol.jose import b64encode
from tests.core.fakes import (
    CountingStore,
    FakeClock,
    FakeEvents,
    FakeLan,
    FakeRunner,
    FakeValidator,
)
from tests.core.keys import AccountKey, LeafKey, csr, leaf_key, to_json

BASE = "https://router.lan:8555"
ACCOUNT = BASE + "/acme/acct/"
NEW_ACCOUNT = BASE + "/acme/new-account"
KEY_CHANGE = BASE + "/acme/key-change"


@dataclass(frozen=True)
class Settings:
    """What the owner of a home configured. Limits are off unless a test is about them."""

    approval: Approval = "auto"
    rule: OwnershipRule = "lease"
    policy: Policy = field(default_factory=Policy)
    accounts: AccountRules = field(default_factory=AccountRules)
    proofs: ProofRules = field(default_factory=ProofRules)
    limits: bool = False
    allow_loopback: bool = False


class Home:
    """The server's rules as the daemon joins them."""

    def __init__(self, state: Path, issuer: Authority, settings: Settings) -> None:
        self.settings, self.issuer = settings, issuer
        self.store = CountingStore(state)
        self.clock, self.events, self.lan = FakeClock(), FakeEvents(), FakeLan()
        self.validator, self.runner = FakeValidator(), FakeRunner()
        self.random: Callable[[int], bytes] = random.Random(7).randbytes
        self.start()

    def start(self) -> None:
        """Make the rules; again, as after a restart, they know only what the store does."""
        store, clock, rand, events = self.store, self.clock, self.random, self.events
        chosen = self.settings
        self.limits = Limits(clock, enabled=chosen.limits)
        self.nonces = Nonces(rand)
        self.accounts = Accounts(
            store, clock, rand, events, chosen.policy, self.limits, chosen.accounts
        )
        self.gate = Gate(self.nonces, self.accounts, self.limits)
        self.ownership = Ownership(chosen.rule, self.lan, self.store.tie, chosen.allow_loopback)
        self.devices = Devices(store, self.lan, clock, rand, events, chosen.approval, chosen.rule)
        self.authorizations = Authorizations(
            store, clock, rand, events, self.limits, self.ownership, self.devices, self.lan,
            self.validator, self.runner, chosen.proofs,
        )  # fmt: skip
        self.orders = Orders(
            store, clock, rand, events, chosen.policy, self.limits, self.ownership, self.devices,
            self.authorizations, self.issuer,
        )  # fmt: skip
        self.revocations = Revocations(store, clock, events, self.issuer)
        self.owner = Owner(store, clock, self.accounts, self.devices, self.revocations)

    def client(
        self, name: str = "printer", address: str = "192.168.1.20", mac: str | None = "02::20"
    ) -> Client:
        """Return a device that has joined the network and made an account."""
        self.lan.lease(name, address, mac)
        return self.register(address)

    def register(self, address: str, key: AccountKey | None = None, **members: Any) -> Client:
        """Return the holder of a new account at this address."""
        key = key or AccountKey()
        account, made = self.accounts.register(key.jwk, to_json(members), NEW_ACCOUNT, address)
        assert made
        return Client(self, key, account, address)

    def audited(self, event: str) -> list[str]:
        """Return the subjects of the audit's entries of this kind."""
        return [entry.subject for entry in self.store.audit(10_000) if entry.event == event]

    def device(self, client: Client) -> Device:
        """Return the device that the account is."""
        device = self.store.device_of(client.account.id)
        assert device is not None
        return device


@dataclass
class Client:
    """An ACME client on a device: what it posts goes to the rules as `web` would hand it on."""

    home: Home
    key: AccountKey
    account: Account
    address: str

    def order(self, *names: str | dict[str, str], **members: Any) -> Order:
        """Make an order for names, addresses or whole identifier objects."""
        identifiers = [identifier(name) for name in names]
        payload = to_json({"identifiers": identifiers, **members})
        return self.home.orders.create(self.account, payload, self.address)

    def answer(
        self, authorization_id: str, kind: str = "http-01"
    ) -> tuple[Authorization, Challenge]:
        """Say that a challenge is ready."""
        return self.home.authorizations.respond(self.account, authorization_id, kind, self.address)

    def prove(self, order: Order, kind: str = "http-01") -> Order:
        """Answer a challenge of each authorization; return the order as it is then."""
        for authorization_id in order.authorizations:
            self.answer(authorization_id, kind)
        return self.read(order)

    def read(self, order: Order) -> Order:
        """Poll the order."""
        return self.home.orders.read(self.account, order.id)

    def authorization(self, order: Order, number: int = 0) -> Authorization:
        """Poll one of the order's authorizations."""
        return self.home.authorizations.read(self.account, order.authorizations[number])

    def finalize(self, order: Order, key: LeafKey | None = None, der: bytes | None = None) -> Order:
        """Send a CSR for the order's names, or another one."""
        names = (name.value for name in order.identifiers)
        der = der or csr(key or leaf_key(), *names)
        return self.home.orders.finalize(self.account, order.id, to_json({"csr": b64encode(der)}))

    def obtain(self, *names: str | dict[str, str], **members: Any) -> Certificate:
        """Go the whole way to a certificate."""
        return self.certificate(self.finalize(self.prove(self.order(*names, **members))))

    def certificate(self, order: Order) -> Certificate:
        """Fetch the certificate of a finished order."""
        assert order.certificate_id is not None
        return self.home.orders.certificate(self.account, order.certificate_id)


def identifier(name: str | dict[str, str]) -> dict[str, str]:
    """Return the identifier object of RFC 8555 and RFC 8738."""
    if isinstance(name, dict):
        return name
    return {"type": "ip" if ":" in name or name[-1].isdigit() else "dns", "value": name}

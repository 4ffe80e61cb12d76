"""A whole home lives through anything: what must hold in every order of events."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from acmeiot.ca.roots import Authority
from acmeiot.core.devices import MAX_PENDING
from acmeiot.core.ports import StoreFull
from acmeiot.core.records import Certificate, Device, Order
from acmeiot.protocol.errors import AcmeError, IncorrectResponse
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    DeviceStatus,
    OrderStatus,
)
from tests.core.fakes import DAY, NOW
from tests.core.home import Client, Home, Settings

NAMES = ("printer", "nas", "cam")
ADDRESSES = ("192.168.1.20", "192.168.1.30", "192.168.1.40", "192.168.1.99")
ACTS = ("approve", "approve", "approve", "block", "forget")
OUTCOMES = ("good", "good", "good", "later", "later", "broken", "disputed", "disk full")
picks = st.integers(0, 10_000)
latest = st.sampled_from([0, 0, 0, 1, 1, 2, 3])  # most of what happens is about what is new


class HomeMachine(RuleBasedStateMachine):
    """Devices come, ask, go and cheat; the owner decides; disks fill and clocks jump."""

    issuer: Authority  # set by the test
    approval = "ask"

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="home-"))
        settings_ = Settings(approval=self.approval)  # type: ignore[arg-type]
        self.home = Home(self.directory / "state", self.issuer, settings_)
        self.clients: list[Client] = []
        self.orders: list[tuple[Client, Order]] = []
        self.allowed: set[str] = set()  # accounts that owner or window let in
        self.ended: set[str] = set()  # accounts of devices that were blocked or forgotten
        self.issued: dict[str, tuple[str, str]] = {}  # serial -> order, account
        self.window_until = 0.0  # by a clock that nobody sets; infinite where a restart forgot it
        self.statuses: dict[str, DeviceStatus] = {}  # as they were after the last step
        self.acts = dict.fromkeys(("issue", "revoke", "approve", "block", "forget"), 0)

    def teardown(self) -> None:
        self.home.store.close()
        shutil.rmtree(self.directory)

    @initialize()
    def join(self) -> None:
        for name, address in zip(NAMES, ADDRESSES, strict=False):
            self.home.lan.lease(name, address, f"02::{address[-2:]}")
        # The fourth is a thief: DHCP gave it the name of the first, too.
        self.home.lan.lease(NAMES[0], ADDRESSES[3], "02::99")
        for address in ADDRESSES:
            self.register(address)

    def _may(self, act: Callable[[], object]) -> bool:
        """Do what may be refused; tell whether it was done."""
        try:
            act()
        except (AcmeError, StoreFull, LookupError, ValueError):
            return False
        finally:
            self.home.store.full = False
        return True

    # -- clients

    @rule(address=st.sampled_from(ADDRESSES))
    def register(self, address: str) -> None:
        """Make an account; again, as a device that was reset does."""
        if len(self.clients) < 12:
            self.clients.append(self.home.register(address))

    @rule(pick=picks, cheat=picks, replaces=st.booleans())
    def order(self, pick: int, cheat: int, replaces: bool) -> None:
        client = self.clients[pick % len(self.clients)]
        own = (*NAMES, NAMES[0])[ADDRESSES.index(client.address)]
        name = NAMES[cheat % 3] if cheat % 10 == 9 else own
        try:
            self.home.accounts.signer(client.account.id)  # as the gate does
        except AcmeError:
            return
        mine = self.home.store.certificates_of(client.account.id)
        members = {"replaces": mine[-1].ari_id} if replaces and mine else {}
        both = (f"{name}.lan", f"{name}.local")
        if self._may(lambda: self.orders.append((client, client.order(*both, **members)))):
            mac = self.home.lan.mac_of(client.address)
            for device in self.home.store.devices():
                if device.status is DeviceStatus.BLOCKED:
                    assert device.account_id != client.account.id
                    assert device.mac != mac

    @precondition(lambda self: self.orders)
    @rule(pick=latest, number=st.integers(0, 1), how=st.sampled_from(OUTCOMES))
    def respond(self, pick: int, number: int, how: str) -> None:
        client, order = self.orders[-1 - pick % len(self.orders)]
        home = self.home
        name = order.identifiers[number].value
        home.runner.later = how == "later"
        if how == "broken":
            home.validator.broken[name] = IncorrectResponse("a login page")
        elif how == "disputed":
            home.lan.disputed[name] = "two answers"
        home.store.full = how == "disk full"
        self._may(lambda: client.answer(order.authorizations[number]))
        home.validator.broken.clear()
        home.lan.disputed.clear()

    @rule()
    def runner_finishes(self) -> None:
        self.home.runner.finish()

    @precondition(lambda self: self.orders)
    @rule(pick=latest, full=st.sampled_from([False, False, True]))
    def poll(self, pick: int, full: bool) -> None:
        client, order = self.orders[-1 - pick % len(self.orders)]
        self.home.store.full = full
        self._may(lambda: client.read(order))

    @precondition(lambda self: self.orders)
    @rule(pick=latest)
    def give_up(self, pick: int) -> None:
        client, order = self.orders[-1 - pick % len(self.orders)]
        deactivate = self.home.authorizations.deactivate
        self._may(lambda: deactivate(client.account, order.authorizations[0]))

    @precondition(lambda self: self.orders)
    @rule(pick=latest, full=st.sampled_from([False, False, True]))
    def finalize(self, pick: int, full: bool) -> None:
        self.home.store.full = full
        self._finalize(*self.orders[-1 - pick % len(self.orders)])

    @precondition(lambda self: self.orders)
    @rule(pick=latest, act=st.sampled_from(["block", "forget"]))
    def finalize_while_the_owner_says_no(self, pick: int, act: str) -> None:
        client, order = self.orders[-1 - pick % len(self.orders)]
        device = self.home.store.device_of(client.account.id)
        kept = self.home.store.order(order.id)
        if device is None or kept is None or kept.status is not OrderStatus.READY:
            return

        def say_no() -> None:
            self._decide(device.id, act)

        self.home.store.meanwhile.append(say_no)
        self._finalize(client, order)
        self.home.store.meanwhile.clear()  # where it was refused before it came so far

    @precondition(lambda self: self.orders)
    @rule(pick=latest)
    def hurry(self, pick: int) -> None:
        """Go the whole way, as most clients do."""
        client, order = self.orders[-1 - pick % len(self.orders)]
        self.home.runner.later = False
        if self._may(lambda: client.prove(order)):
            self._finalize(client, order)

    @rule(pick=picks)
    def obtain(self, pick: int) -> None:
        """Order and go the whole way."""
        before = len(self.orders)
        self.order(pick, 0, replaces=True)
        if len(self.orders) > before:
            self.hurry(0)

    def _finalize(self, client: Client, order: Order) -> None:
        before = {certificate.id for certificate in self.home.store.certificates()}
        ties = [self.home.store.tie(name.value) for name in order.identifiers]
        done: list[Order] = []
        if self._may(lambda: done.append(client.finalize(order))):
            self._check_new(client, done[0], before)
            if done[0].certificate_id not in before:
                mac = self.home.lan.mac_of(client.address)
                for tie in filter(None, ties):  # no name changed hands by a certificate
                    assert tie.account_id == client.account.id or tie.mac == mac
        else:  # nothing by halves
            assert {certificate.id for certificate in self.home.store.certificates()} == before

    def _check_new(self, client: Client, order: Order, before: set[str]) -> None:
        """A certificate just came into being: everything that it rests on must hold now."""
        certificate = client.certificate(order)
        if certificate.id in before:
            assert self.issued[certificate.serial] == (order.id, client.account.id)
            return
        assert certificate.serial not in self.issued  # no serial twice
        self.issued[certificate.serial] = (order.id, client.account.id)
        self.acts["issue"] += 1
        now = self.home.clock.now()
        found = self.home.store.authorizations(order.authorizations)
        assert len(found) == len(order.authorizations)
        assert all(a.status is AuthorizationStatus.VALID and a.expires > now for a in found)
        assert {a.account_id for a in found} == {client.account.id}
        assert self.home.device(client).status is DeviceStatus.APPROVED
        for name in order.identifiers:
            tie = self.home.store.tie(name.value)
            assert tie is not None
            assert tie.account_id == client.account.id
        assert self.home.lan.hosts_named(order.identifiers[0].value)

    @precondition(lambda self: self.issued)
    @rule(pick=picks)
    def revoke(self, pick: int) -> None:
        serial = sorted(self.issued)[pick % len(self.issued)]
        if self._may(lambda: self.home.owner.revoke(serial)):
            self.acts["revoke"] += 1

    # -- the owner

    @rule(pick=picks, act=st.sampled_from(ACTS), full=st.sampled_from([False] * 5 + [True]))
    def decide(self, pick: int, act: str, full: bool) -> None:
        devices = [d for d in self.home.store.devices() if d.status is not DeviceStatus.FORGOTTEN]
        if not devices:
            return
        self.home.store.full = full
        self._decide(devices[pick % len(devices)].id, act)

    def _decide(self, device_id: str, act: str) -> None:
        device = self.home.store.device(device_id)
        assert device is not None
        living = [c for c in self._living() if c.account_id == device.account_id]
        others = self.home.devices.of_others(device)
        if not self._may(lambda: getattr(self.home.owner, act)(device_id)):
            return
        for name, other in others.items():  # an id names no name: none changes hands by it
            tie = self.home.store.tie(name)
            assert tie is not None
            assert tie.device_id == other
        if act == "approve":  # counted where it is seen, as windows do it too
            self.allowed.add(device.account_id)
            self.ended.discard(device.account_id)
            return
        self.acts[act] += 1
        self.acts["revoke"] += len(living)
        self.ended.add(device.account_id)
        if act == "forget":
            ties = map(self.home.store.tie, device.names)
            assert all(tie is None or tie.device_id != device_id for tie in ties)

    @rule(pick=picks)
    def welcome(self, pick: int) -> None:
        """Approve what a client has just asked for, and let it go on."""
        client = self.clients[pick % len(self.clients)]
        self.obtain(pick)
        device = self.home.store.device_of(client.account.id)
        if device is None:
            return
        self._decide(device.id, "approve")
        self.obtain(pick)

    @rule(seconds=st.sampled_from([0, 60, 3600, 3600]))
    def window(self, seconds: int) -> None:
        if seconds:
            self.home.devices.open_window(seconds)
        else:
            self.home.devices.close_window()
        self.window_until = self.home.clock.ticks + seconds

    # -- the world

    @rule(seconds=st.sampled_from([1, 1, 29, 31, 600, 3601, DAY, 31 * DAY]))
    def time_passes(self, seconds: int) -> None:
        self.home.clock.wait(seconds)

    @rule(seconds=st.sampled_from([-7200, -60, 60, 7200, 2 * DAY]))
    def clock_jumps(self, seconds: int) -> None:
        if self.home.clock.now() + seconds >= NOW:
            self.home.clock.jump(seconds)

    @rule()
    def upkeep(self) -> None:
        self.home.store.prune(self.home.clock.now())

    @rule()
    def restart(self) -> None:
        self.home.runner.jobs.clear()
        self.home.start()
        self.window_until = float("inf")

    # -- what must hold

    def _living(self) -> list[Certificate]:
        now = self.home.clock.now()
        certificates = self.home.store.certificates(unexpired_at=now + 1)
        return [c for c in certificates if c.revoked_at is None]

    @invariant()
    def home_is_in_order(self) -> None:
        self.nobody_is_let_in_silently()
        self.every_certificate_has_its_order()
        self.who_has_a_living_certificate_was_let_in()
        self.who_is_not_let_in_has_nothing()
        self.every_act_is_in_the_audit()
        self.memory_and_store_are_bounded_and_sane()

    def every_certificate_has_its_order(self) -> None:
        for certificate in self.home.store.certificates():
            order_id, account_id = self.issued[certificate.serial]
            assert (certificate.order_id, certificate.account_id) == (order_id, account_id)
            order = self.home.store.order(order_id)
            if order is not None:  # those are pruned after a week
                assert order.status is OrderStatus.VALID
                assert order.certificate_id == certificate.id

    def who_has_a_living_certificate_was_let_in(self) -> None:
        for certificate in self._living():
            assert certificate.account_id not in self.ended
            device = self.home.store.device_of(certificate.account_id)
            assert device is not None
            assert device.status is DeviceStatus.APPROVED
            assert device.decided_by in ("owner", "window", "auto")
            if device.decided_by == "owner":
                assert certificate.account_id in self.allowed

    def nobody_is_let_in_silently(self) -> None:
        now = {device.id: device for device in self.home.store.devices()}
        for device in now.values():
            before = self.statuses.get(device.id)
            if device.status is DeviceStatus.APPROVED and before is not DeviceStatus.APPROVED:
                self.acts["approve"] += 1
                if device.decided_by == "window":
                    assert self.home.devices.window_end() is not None
                    assert self.home.clock.ticks < self.window_until
                    self._check_takes_no_name(device)
                elif device.decided_by != "owner":
                    assert device.decided_by == self.approval == "auto"
        self.statuses = {device.id: device.status for device in now.values()}

    def _check_takes_no_name(self, device: Device) -> None:
        for name in device.names:
            tie = self.home.store.tie(name)
            if tie is not None and tie.account_id != device.account_id:
                assert tie.mac == device.mac

    def who_is_not_let_in_has_nothing(self) -> None:
        now = self.home.clock.now()
        for device in self.home.store.devices():
            if device.status is DeviceStatus.PENDING:
                assert self.home.store.valid_authorizations_of(device.account_id, now) == []
        for account in self.home.store.accounts():
            if account.status is not AccountStatus.VALID:
                assert self.home.store.device_of(account.id) is None
                for order_id in self.home.store.orders_of(account.id, None, 100):
                    order = self.home.store.order(order_id)
                    assert order is not None
                    assert order.status is OrderStatus.VALID

    def every_act_is_in_the_audit(self) -> None:
        entries = self.home.store.audit(100_000)
        assert sorted(e.subject for e in entries if e.event == "issue") == sorted(self.issued)
        for event, count in self.acts.items():
            assert sum(e.event == event for e in entries) == count, event
        revoked = {c.serial for c in self.home.store.certificates() if c.revoked_at is not None}
        assert revoked <= {e.subject for e in entries if e.event == "revoke"}

    def memory_and_store_are_bounded_and_sane(self) -> None:
        waiting = [d for d in self.home.store.devices() if d.status is DeviceStatus.PENDING]
        assert len(waiting) <= MAX_PENDING
        for _, order in self.orders:
            for authorization in self.home.store.authorizations(order.authorizations):
                assert {c.status.value for c in authorization.challenges} <= {
                    "pending", "valid", "invalid"
                }  # fmt: skip
        assert self.home.events.faults == []

    def check_audit_at_the_end(self) -> None:
        assert self.home.store.verify_audit() is None


@pytest.mark.parametrize("approval", ["ask", "auto"])
def test_a_home_lives_through_anything(authority: Authority, approval: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class Machine(HomeMachine):
        issuer = authority

        def teardown(self) -> None:
            try:
                self.check_audit_at_the_end()
            finally:
                super().teardown()

    Machine.approval = approval
    chosen = settings(
        max_examples=60,
        stateful_step_count=60,
        deadline=None,
        phases=[Phase.generate],  # a failure is shown as it came: to shrink a home takes minutes
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=chosen)

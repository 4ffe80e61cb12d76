"""Challenges answered, looked at, and held for the owner (R-24 to R-29, decision 5)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from acmeiot.core import holds
from acmeiot.core.authorizations import PENDING_LIFE, VALID_LIFE, ProofRules
from acmeiot.core.ports import StoreFull
from acmeiot.core.records import Authorization, Challenge, Device
from acmeiot.protocol.errors import (
    DnsFailed,
    IncorrectResponse,
    NotFound,
    RejectedIdentifier,
    TlsFailed,
    Unauthorized,
    Unavailable,
)
from acmeiot.protocol.jose import b64decode
from acmeiot.protocol.states import (
    AuthorizationStatus,
    ChallengeStatus,
    ChallengeType,
    DeviceStatus,
    OrderStatus,
)
from tests.core.conftest import MakeHome
from tests.core.fakes import NOW
from tests.core.home import Client, Home

BOTH = ("printer.lan", "printer.local")
ADDRESS = "192.168.1.20"


@pytest.fixture
def client(home: Home) -> Client:
    return home.client()


def kinds(authorization: Authorization) -> list[str]:
    return [challenge.type.value for challenge in authorization.challenges]


def stored(home: Home, authorization_id: str) -> Authorization:
    found = home.store.authorization(authorization_id)
    assert found is not None
    return found


# What is offered


def test_a_new_authorization_is_pending(client: Client) -> None:
    authorization = client.authorization(client.order("printer.lan"))
    assert authorization.status is AuthorizationStatus.PENDING
    assert (authorization.created, authorization.expires) == (NOW, NOW + PENDING_LIFE)
    assert authorization.wildcard is False
    tokens = [challenge.token for challenge in authorization.challenges]
    assert len(set(tokens)) == 3
    assert {len(b64decode(token, "token")) for token in tokens} == {24}  # >= 128 bits


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("printer.lan", ["http-01", "tls-alpn-01", "dns-01"]),
        ("printer.local", ["http-01", "tls-alpn-01"]),  # in no zone
        (ADDRESS, ["http-01", "tls-alpn-01"]),  # RFC 8738 section 7
        ("*.printer.lan", ["dns-01"]),
    ],
)
def test_challenges_fit_the_identifier(client: Client, name: str, expected: list[str]) -> None:
    authorization = client.authorization(client.order(name))
    assert kinds(authorization) == expected
    assert authorization.wildcard is name.startswith("*")
    assert not authorization.identifier.wildcard


def test_a_local_wildcard_cannot_be_proved(client: Client) -> None:
    with pytest.raises(RejectedIdentifier, match="only be proved by dns-01, which"):
        client.order("*.printer.local")


def test_a_forced_resolver_has_local_names_too(make_home: MakeHome) -> None:
    client = make_home(proofs=ProofRules(dns01_for_local=True)).client()
    assert kinds(client.authorization(client.order("*.printer.local"))) == ["dns-01"]


# Answering


def test_a_proof_makes_it_valid(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    token = client.authorization(order).challenges[0].token
    home.clock.wait(5)
    authorization, challenge = client.answer(order.authorizations[0])
    assert authorization.status is AuthorizationStatus.VALID
    assert authorization.expires == NOW + 5 + VALID_LIFE
    assert authorization.challenges == (challenge,)
    assert (challenge.type, challenge.status) == (ChallengeType.HTTP_01, ChallengeStatus.VALID)
    assert (challenge.validated, challenge.error) == (NOW + 5, None)
    assert stored(home, authorization.id) == authorization
    assert client.read(order).status is OrderStatus.READY
    (question,) = home.validator.asked
    assert question.key_authorization == f"{token}.{client.account.thumbprint}"
    assert [str(address) for address in question.addresses] == [ADDRESS]
    assert home.authorizations.retry_after(authorization.id) is None


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01", "dns-01"])
def test_each_challenge_proves(client: Client, kind: str) -> None:
    order = client.prove(client.order("printer.lan"), kind)
    assert order.status is OrderStatus.READY
    (question,) = client.home.validator.asked
    assert question.challenge.type.value == kind
    assert bool(question.addresses) is (kind != "dns-01")


def test_an_order_is_ready_when_all_are_proved(client: Client) -> None:
    order = client.order(*BOTH, ADDRESS)
    for number, authorization_id in enumerate(order.authorizations):
        assert client.read(order).status is OrderStatus.PENDING
        client.answer(authorization_id, ("http-01", "tls-alpn-01", "http-01")[number])
    assert client.read(order).status is OrderStatus.READY


def test_answering_again_looks_no_second_time(client: Client) -> None:
    order = client.order("printer.lan")
    first = client.answer(order.authorizations[0])
    assert client.answer(order.authorizations[0]) == first
    assert len(client.home.validator.asked) == 1
    client.home.validator.broken["printer.local"] = IncorrectResponse("found a login page")
    failed = client.order("printer.local")
    again = client.answer(failed.authorizations[0])
    assert client.answer(failed.authorizations[0]) == again
    assert len(client.home.validator.asked) == 2


def test_a_challenge_that_is_not_offered_is_not_found(client: Client) -> None:
    order = client.order("printer.local")
    with pytest.raises(NotFound, match="no challenge 'dns-01'"):
        client.answer(order.authorizations[0], "dns-01")
    with pytest.raises(NotFound) as caught:
        client.answer(order.authorizations[0], "x" * 5000)
    assert len(caught.value.detail) < 100


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IncorrectResponse("the device answered 404"), "incorrectResponse"),
        (TlsFailed("no acme-tls/1"), "tls"),
        (DnsFailed("no TXT record"), "dns"),
    ],
)
def test_a_failed_proof_ends_authorization_and_order(
    client: Client, error: Exception, code: str
) -> None:
    home = client.home
    home.validator.broken["printer.lan"] = error
    order = client.order(*BOTH)
    client.answer(order.authorizations[1])
    authorization, challenge = client.answer(order.authorizations[0])
    assert authorization.status is AuthorizationStatus.INVALID
    assert challenge.status is ChallengeStatus.INVALID
    assert challenge.error is not None
    assert challenge.error["type"] == f"urn:ietf:params:acme:error:{code}"
    shown = client.read(order)
    assert shown.status is OrderStatus.INVALID
    assert shown.error == challenge.error
    assert home.events.said("refused: printer.lan by http-01", str(error))
    del home.validator.broken["printer.lan"]
    again = client.order(*BOTH)
    assert again.authorizations[1] == order.authorizations[1]  # the good one is used again
    assert client.prove(again).status is OrderStatus.READY


def test_a_proof_is_sought_where_the_name_leads_now(client: Client) -> None:
    client.home.lan.elsewhere["printer.lan"] = ("8.8.8.8",)
    order = client.prove(client.order("printer.lan"))
    assert order.status is OrderStatus.INVALID
    assert "error:connection" in str(order.error)
    assert client.home.validator.asked == []  # specs 6: SSRF


def test_a_fault_of_ours_is_logged_and_told_without_its_secrets(make_home: MakeHome) -> None:
    home = make_home()
    client = home.client()
    home.validator.broken["printer.lan"] = RuntimeError("secret detail")
    order = client.prove(client.order("printer.lan"))
    assert order.status is OrderStatus.INVALID
    assert "error:serverInternal" in str(order.error)
    assert "secret detail" not in str(order.error)
    (fault,) = home.events.faults
    assert str(fault) == "secret detail"
    home.events.faults.clear()


def test_caa_of_the_local_zone_is_honoured(make_home: MakeHome) -> None:
    home = make_home(proofs=ProofRules(caa_issuers=("router.lan",)))
    client = home.client()
    home.lan.issuers["printer.lan"] = ["ca.example", "other.example"]
    order = client.prove(client.order("printer.lan"))
    assert "error:caa" in str(order.error)
    assert "allows ca.example, other.example, not router.lan" in str(order.error)
    home.lan.issuers["printer.lan"].append("router.lan")
    assert client.prove(client.order("printer.lan")).status is OrderStatus.READY
    assert client.prove(client.order(ADDRESS)).status is OrderStatus.READY
    home.lan.issuers["printer.local"] = []
    assert client.prove(client.order("printer.local")).status is OrderStatus.READY


def test_caa_is_not_asked_where_it_is_not_configured(client: Client) -> None:
    client.home.lan.issuers["printer.lan"] = ["ca.example"]
    assert client.prove(client.order("printer.lan")).status is OrderStatus.READY


# Isolation, R-24


def test_an_authorization_is_its_accounts_alone(client: Client) -> None:
    authorization_id = client.order("printer.lan").authorizations[0]
    other = client.home.register("192.168.1.30")
    rules = client.home.authorizations
    for act in (
        lambda: rules.read(other.account, authorization_id),
        lambda: other.answer(authorization_id),
        lambda: rules.deactivate(other.account, authorization_id),
    ):
        with pytest.raises(Unauthorized, match="another account's") as caught:
            act()
        assert caught.value.status == 403
    with pytest.raises(NotFound, match="no such authorization"):
        rules.read(client.account, "nothing")


# Deactivation and expiry


def test_a_pending_authorization_is_given_up(client: Client) -> None:
    order = client.order("printer.lan")
    ended = client.home.authorizations.deactivate(client.account, order.authorizations[0])
    assert ended.status is AuthorizationStatus.DEACTIVATED
    shown = client.read(order)
    assert shown.status is OrderStatus.INVALID
    assert "for printer.lan was given up" in str(shown.error)
    assert client.answer(ended.id)[0].status is AuthorizationStatus.DEACTIVATED
    again = client.home.authorizations.deactivate(client.account, ended.id)
    assert again == stored(client.home, ended.id)


def test_a_deactivated_authorization_is_never_used_again(client: Client) -> None:
    order = client.prove(client.order("printer.lan"))
    client.home.authorizations.deactivate(client.account, order.authorizations[0])
    assert client.read(order).status is OrderStatus.INVALID  # ready, until then
    again = client.order("printer.lan")
    assert again.status is OrderStatus.PENDING
    assert again.authorizations != order.authorizations


def test_giving_up_in_the_middle_keeps_nothing_of_the_attempt(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.authorizations.deactivate(client.account, order.authorizations[0])
    # `processing` is a fact of memory: a store that kept it would keep it for ever
    assert {c.status for c in stored(home, order.authorizations[0]).challenges} == {
        ChallengeStatus.PENDING
    }
    home.runner.finish()
    kept = stored(home, order.authorizations[0])
    assert kept.status is AuthorizationStatus.DEACTIVATED
    assert client.read(order).status is OrderStatus.INVALID


def test_a_failure_after_giving_up_changes_nothing(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.validator.broken["printer.lan"] = IncorrectResponse("no")
    home.runner.later = True
    client.answer(order.authorizations[0])
    ended = home.authorizations.deactivate(client.account, order.authorizations[0])
    home.runner.finish()
    assert stored(home, ended.id) == ended


def test_authorizations_expire(client: Client) -> None:
    home = client.home
    order = client.order("printer.lan")
    proved = client.prove(client.order("printer.local"))
    home.clock.wait(VALID_LIFE - 1)
    assert client.authorization(proved).status is AuthorizationStatus.VALID
    home.clock.wait(1)
    assert client.authorization(proved).status is AuthorizationStatus.EXPIRED
    given_up = home.authorizations.deactivate(client.account, proved.authorizations[0])
    assert given_up.status is AuthorizationStatus.EXPIRED
    home.clock.wait(PENDING_LIFE - VALID_LIFE)
    assert client.authorization(order).status is AuthorizationStatus.INVALID
    assert client.answer(order.authorizations[0])[0].status is AuthorizationStatus.INVALID
    assert home.validator.asked[1:] == []
    home.validator.broken["printer.lan"] = IncorrectResponse("no")
    failed = client.prove(client.order("printer.lan"))
    home.clock.wait(PENDING_LIFE)
    assert client.authorization(failed).status is AuthorizationStatus.INVALID


def test_a_proof_that_comes_after_the_day_is_over_proves_nothing(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.clock.wait(PENDING_LIFE)
    home.runner.finish()
    assert client.authorization(order).status is AuthorizationStatus.INVALID
    assert client.read(order).status is OrderStatus.INVALID


# While it runs


def test_what_hangs_is_shown_as_processing(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.later = True
    authorization, challenge = client.answer(order.authorizations[0])
    assert challenge.status is ChallengeStatus.PROCESSING
    assert (challenge.error, challenge.validated) == (None, None)
    assert authorization.status is AuthorizationStatus.PENDING
    others = {c.status for c in authorization.challenges if c != challenge}
    assert others == {ChallengeStatus.PENDING}
    assert home.authorizations.retry_after(authorization.id) == 1  # Retry-After
    assert client.answer(authorization.id)[1] == challenge
    assert client.answer(authorization.id, "dns-01")[1].status is ChallengeStatus.PENDING
    assert len(home.runner.jobs) == 1  # one at a time
    assert {c.status for c in stored(home, authorization.id).challenges} == {
        ChallengeStatus.PENDING
    }
    home.runner.finish()
    assert client.read(order).status is OrderStatus.READY
    assert home.authorizations.retry_after(authorization.id) is None


def test_a_restart_leaves_a_challenge_that_can_be_tried_again(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.runner.jobs.clear()
    home.start()
    home.runner.later = False
    assert client.authorization(order).challenges[0].status is ChallengeStatus.PENDING
    assert client.prove(order).status is OrderStatus.READY


@pytest.mark.parametrize("proved", [1, 2])
def test_a_power_cut_leaves_challenges_that_can_be_answered_again(
    asking: Home, proved: int
) -> None:
    """R-36: what no transaction has kept is as if it had not been asked for, device and all."""
    asking.devices.open_window(60)
    client = asking.client()
    order = client.order(*BOTH)
    for authorization_id in order.authorizations[:proved]:
        assert client.answer(authorization_id)[1].status is ChallengeStatus.VALID
    assert client.read(order).status is (OrderStatus.PENDING, OrderStatus.READY)[proved - 1]
    assert asking.audited("approve") == [asking.device(client).id]

    asking.store.power_cut()
    asking.start()
    assert (asking.store.devices(), asking.audited("approve")) == ([], [])
    assert client.read(order).status is OrderStatus.PENDING
    for number in range(2):
        authorization = client.authorization(order, number)
        assert authorization.status is AuthorizationStatus.PENDING
        assert {one.status for one in authorization.challenges} == {ChallengeStatus.PENDING}
    assert client.finalize(client.prove(order)).status is OrderStatus.VALID

    asking.store.power_cut()
    asking.start()
    assert client.read(order).status is OrderStatus.VALID
    assert asking.audited("approve") == [asking.device(client).id]
    assert asking.store.verify_audit() is None


def test_a_proof_is_kept_with_whatever_is_written_next(asking: Home) -> None:
    """Another device's order, the owner's word: all that was seen before it is kept with it."""
    client, nas = asking.client(), asking.client("nas", "192.168.1.30", "02::30")
    asking.devices.open_window(60)
    order = client.prove(client.order(*BOTH))
    nas.order("nas.lan", "nas.local")
    asking.store.power_cut()
    asking.start()
    assert client.read(order).status is OrderStatus.READY
    assert asking.device(client).status is DeviceStatus.APPROVED


def test_too_many_at_once_are_sent_away(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.full = True
    with pytest.raises(Unavailable, match="too many validations") as caught:
        client.answer(order.authorizations[0])
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
    home.runner.full = False
    assert client.prove(order).status is OrderStatus.READY


def test_a_runner_that_breaks_leaves_nothing_under_way(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.broken = True
    with pytest.raises(RuntimeError):
        client.answer(order.authorizations[0])
    home.runner.broken = False
    assert client.prove(order).status is OrderStatus.READY


@pytest.mark.parametrize("outcome", [None, IncorrectResponse("no")])
def test_a_full_disk_leaves_the_challenge_to_be_tried_again(
    client: Client, outcome: Exception | None
) -> None:
    home, order = client.home, client.order("printer.lan")
    if outcome:
        home.validator.broken["printer.lan"] = outcome
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.store.full = True
    home.runner.finish()
    assert any("no space left" in line for line in home.events.warnings)
    assert client.authorization(order).challenges[0].status is ChallengeStatus.PENDING
    home.store.full, home.runner.later = False, False
    home.validator.broken.clear()
    assert client.prove(order).status is OrderStatus.READY


def test_a_bug_in_an_attempt_is_logged_and_hangs_nobody(make_home: MakeHome) -> None:
    home = make_home()
    client = home.client()
    order = client.order("printer.lan")
    home.authorizations._succeed = None  # type: ignore[method-assign,assignment]
    client.answer(order.authorizations[0])
    assert home.events.said("fault: proving printer.lan")
    home.events.faults.clear()
    del home.authorizations._succeed
    assert client.prove(order).status is OrderStatus.READY


def test_an_authorization_that_was_pruned_meanwhile_is_let_go(client: Client) -> None:
    home, order = client.home, client.order("printer.lan")
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.store.delete("authorizations")
    home.runner.finish()
    with pytest.raises(NotFound):
        client.authorization(order)


def test_an_order_that_lost_an_authorization_never_completes(client: Client) -> None:
    home, order = client.home, client.order(*BOTH)
    home.store.delete("authorizations", order.authorizations[1])
    client.answer(order.authorizations[0])
    assert client.read(order).status is OrderStatus.PENDING


# Held for the owner


def held(client: Client, *names: str) -> Any:
    """Order and prove, in a home that asks; return the order."""
    return client.prove(client.order(*(names or ("printer.lan",))))


def waiting(client: Client, order: Any) -> Challenge:
    return client.authorization(order).challenges[0]


@pytest.fixture
def guest(asking: Home) -> Client:
    """A device that the owner does not know yet."""
    return asking.client()


def device_of(client: Client) -> Device:
    return client.home.device(client)


def test_a_proved_name_waits_for_the_owner_and_says_so(asking: Home, guest: Client) -> None:
    order = held(guest)
    assert order.status is OrderStatus.PENDING
    challenge = waiting(guest, order)
    assert challenge.status is ChallengeStatus.PROCESSING
    assert challenge.error is not None
    assert challenge.error["type"] == "urn:ietf:params:acme:error:userActionRequired"
    text = str(challenge.error["detail"])
    assert f"acmeiot approve {device_of(guest).id}" in text  # the command to run
    assert guest.address in text
    assert "run the client again" in text
    assert asking.authorizations.retry_after(order.authorizations[0]) == 5
    assert asking.events.said("waiting: printer.lan", device_of(guest).id)
    assert guest.answer(order.authorizations[0])[1] == challenge
    assert len(asking.validator.asked) == 1


def test_approval_within_the_wait_settles_at_the_next_poll(asking: Home, guest: Client) -> None:
    order = held(guest, *BOTH)
    asking.clock.wait(29)
    assert guest.read(order).status is OrderStatus.PENDING
    asking.owner.approve("printer.lan")
    shown = guest.authorization(order)
    assert shown.status is AuthorizationStatus.VALID
    assert guest.read(order).status is OrderStatus.READY  # polling the order alone will do
    assert len(asking.validator.asked) == 2  # and nobody looked again
    assert guest.finalize(guest.read(order)).certificate_id


def test_the_window_opened_within_the_wait_does_not_settle(asking: Home, guest: Client) -> None:
    order = held(guest)
    asking.devices.open_window(3600)
    assert guest.read(order).status is OrderStatus.PENDING
    asking.clock.wait(30)
    assert guest.read(order).status is OrderStatus.INVALID
    assert held(guest).status is OrderStatus.READY


@pytest.mark.parametrize("poll", ["order", "authorization"])
def test_after_the_wait_the_client_gets_the_sentence(
    asking: Home, guest: Client, poll: str
) -> None:
    order = held(guest)
    asking.clock.wait(30)
    if poll == "order":
        assert guest.read(order).status is OrderStatus.INVALID
    shown = guest.authorization(order)
    assert shown.status is AuthorizationStatus.INVALID
    error = shown.challenges[0].error
    assert error is not None
    assert error["type"] == "urn:ietf:params:acme:error:userActionRequired"
    assert f"acmeiot approve {device_of(guest).id}" in str(error["detail"])
    assert guest.read(order).error == error
    assert device_of(guest).status is DeviceStatus.PENDING


def test_run_again_after_approval_succeeds(asking: Home, guest: Client) -> None:
    order = held(guest, *BOTH)
    asking.clock.wait(30)
    assert guest.read(order).status is OrderStatus.INVALID
    asking.owner.approve(guest.address)
    assert guest.obtain(*BOTH).account_id == guest.account.id


def test_the_clock_of_the_wall_does_not_end_a_wait(asking: Home, guest: Client) -> None:
    order = held(guest)
    asking.clock.jump(3600)
    assert guest.read(order).status is OrderStatus.PENDING
    asking.clock.jump(-7200)
    asking.clock.wait(30)
    assert guest.read(order).status is OrderStatus.INVALID


@pytest.mark.parametrize(("act", "word"), [("block", "blocked"), ("forget", "forgotten")])
def test_a_no_within_the_wait_is_told(asking: Home, guest: Client, act: str, word: str) -> None:
    order = held(guest)
    getattr(asking.devices, act)(device_of(guest).id)
    assert guest.read(order).status is OrderStatus.INVALID
    error = guest.read(order).error
    assert error is not None
    assert error["type"] == "urn:ietf:params:acme:error:unauthorized"
    assert f"this device is {word}" in str(error["detail"])


def test_approved_but_the_name_was_given_away_meanwhile(asking: Home, guest: Client) -> None:
    order = held(guest)
    rival = asking.client("printer", "192.168.1.99", "02::99")
    held(rival)
    asking.owner.approve(device_of(guest).id)
    asking.owner.approve("printer.lan")
    assert asking.device(rival).status is DeviceStatus.APPROVED
    assert guest.read(order).status is OrderStatus.INVALID
    assert "printer.lan belongs to device" in str(guest.read(order).error)


def test_a_hold_whose_day_is_over_proves_nothing(asking: Home, guest: Client) -> None:
    order = held(guest)
    asking.clock.wait(PENDING_LIFE)
    asking.devices.approve(device_of(guest).id)
    assert guest.authorization(order).status is AuthorizationStatus.INVALID
    assert guest.read(order).status is OrderStatus.INVALID


def test_giving_up_while_waiting(asking: Home, guest: Client) -> None:
    order = held(guest)
    ended = asking.authorizations.deactivate(guest.account, order.authorizations[0])
    assert ended.status is AuthorizationStatus.DEACTIVATED
    assert stored(asking, ended.id).challenges[0].status is ChallengeStatus.PENDING
    asking.devices.approve(device_of(guest).id)
    assert guest.authorization(order).status is AuthorizationStatus.DEACTIVATED
    assert asking.authorizations.retry_after(ended.id) is None


def test_a_blocked_device_proves_nothing_more(asking: Home, guest: Client) -> None:
    order = guest.order("printer.lan")
    held(guest)
    asking.devices.block(device_of(guest).id)
    assert guest.prove(order).status is OrderStatus.INVALID
    assert "has blocked this device" in str(guest.read(order).error)


def test_forgotten_while_it_was_looked_at(asking: Home, guest: Client) -> None:
    late = guest.order("printer.local")
    held(guest)
    asking.runner.later = True
    guest.answer(late.authorizations[0])
    asking.devices.open_window(60)
    asking.owner.forget(device_of(guest).id)
    asking.runner.finish()
    assert asking.store.device_of(guest.account.id) is None  # no ghost of it, window or not
    shown = guest.authorization(late)
    assert shown.status is AuthorizationStatus.INVALID
    assert "revoked by the owner" in str(shown.challenges[0].error)


def test_an_account_that_made_place_while_it_proved_makes_no_device(home: Home) -> None:
    client = home.client()
    order = client.order("printer.lan")
    home.runner.later = True
    client.answer(order.authorizations[0])
    home.clock.wait(1)
    assert home.store.drop_unproved_accounts(home.clock.now(), 1) == 1
    home.runner.finish()
    assert home.store.devices() == []
    shown = client.authorization(order)
    assert shown.status is AuthorizationStatus.INVALID
    assert "the account is gone" in str(shown.challenges[0].error)


def test_who_must_make_place_in_the_queue_fails(
    asking: Home, guest: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acmeiot.core.devices.MAX_PENDING", 1)
    order = held(guest)
    nas = asking.client("nas", "192.168.1.30", "02::30")
    late = held(nas, "nas.lan")
    assert guest.read(order).status is OrderStatus.INVALID
    assert nas.read(late).status is OrderStatus.PENDING


def test_a_disk_that_is_full_when_the_answer_comes_leaves_it_for_later(
    asking: Home, guest: Client
) -> None:
    order = held(guest)
    asking.devices.approve(device_of(guest).id)
    asking.store.full = True
    with pytest.raises(StoreFull):
        guest.read(order)
    asking.store.full = False
    assert guest.prove(order).status is OrderStatus.READY


def test_of_many_pollers_one_settles(asking: Home, guest: Client) -> None:
    order = held(guest)
    asking.devices.approve(device_of(guest).id)
    states: list[OrderStatus] = []
    threads = [
        threading.Thread(target=lambda: states.append(guest.read(order).status)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guest.read(order).status is OrderStatus.READY
    assert set(states) <= {OrderStatus.PENDING, OrderStatus.READY}


# Held because two sources disagree


def test_a_disputed_name_is_held_and_says_who_disagrees(client: Client) -> None:
    home = client.home
    home.lan.disputed["printer.local"] = "lease: 192.168.1.20; multicast DNS: 192.168.1.66"
    order = client.prove(client.order("printer.local"))
    challenge = waiting(client, order)
    assert challenge.status is ChallengeStatus.PROCESSING  # specs 6: conflict detector
    assert challenge.error is not None
    assert challenge.error["type"] == "urn:ietf:params:acme:error:dns"
    assert "multicast DNS: 192.168.1.66" in str(challenge.error["detail"])
    assert home.validator.asked == []
    assert home.events.said("waiting: printer.local", "192.168.1.66")
    home.clock.wait(29)
    assert client.read(order).status is OrderStatus.PENDING
    home.clock.wait(1)
    shown = client.read(order)
    assert shown.status is OrderStatus.INVALID
    assert "multicast DNS: 192.168.1.66" in str(shown.error)
    home.lan.disputed.clear()
    assert client.prove(client.order("printer.local")).status is OrderStatus.READY


def test_the_owners_word_does_not_settle_a_dispute(asking: Home, guest: Client) -> None:
    held(guest)
    asking.lan.disputed["printer.local"] = "two answers"
    order = guest.prove(guest.order("printer.local"))
    asking.devices.approve(device_of(guest).id)
    assert guest.read(order).status is OrderStatus.PENDING


# The holds are bounded


def test_clients_that_never_come_back_leave_their_place(
    asking: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "MAX_HOLDS", 2)
    clients = [asking.client(f"cam-{n}", f"192.168.1.4{n}", f"02::4{n}") for n in range(4)]
    orders = [held(each, f"cam-{n}.lan") for n, each in enumerate(clients[:3])]
    assert clients[2].read(orders[2]).status is OrderStatus.INVALID  # no room: told at once
    assert "acmeiot approve" in str(clients[2].read(orders[2]).error)
    asking.devices.approve(device_of(clients[1]).id)
    asking.clock.wait(30)
    orders.append(held(clients[3], "cam-3.lan"))
    assert waiting(clients[3], orders[3]).status is ChallengeStatus.PROCESSING
    kept = [stored(asking, order.authorizations[0]).status for order in orders[:2]]
    assert kept == [AuthorizationStatus.INVALID, AuthorizationStatus.VALID]


def test_under_way_takes_one_attempt_of_each(client: Client) -> None:
    authorization = client.authorization(client.order("printer.lan"))
    table = holds.UnderWay()
    attempt = holds.Attempt(
        client.account, authorization, authorization.challenges[0], client.address
    )
    assert table.begin(attempt)
    assert not table.begin(attempt)
    assert table.retry_after(authorization.id) == 1
    assert table.hold(holds.Hold(attempt, Unauthorized("wait"), 10.0, for_owner=True))
    table.end(attempt)
    assert not table.begin(attempt)
    assert table.shown(authorization.id)[0] is ChallengeType.HTTP_01
    assert table.overdue(9.9) == []
    assert [hold.id for hold in table.overdue(10.0)] == [authorization.id]
    released = table.release(authorization.id)
    assert released is not None
    assert table.release(authorization.id) is None
    assert table.held(authorization.id) is None
    assert table.begin(attempt)

"""The life tables: nothing happens that they do not say, and everything they say can happen."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import states
from acmeiot.protocol.states import (
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    DeviceStatus,
    Event,
    ImpossibleStep,
    OrderStatus,
    step,
)

# What each thing is when it is made, and where its life ends (RFC 8555 section 7.1.6).
LIVES: list[tuple[Any, type[Enum], Enum, set[str]]] = [
    (states.ACCOUNT, AccountStatus, AccountStatus.VALID, {"deactivated", "revoked"}),
    (states.CHALLENGE, ChallengeStatus, ChallengeStatus.PENDING, {"valid", "invalid"}),
    (
        states.AUTHORIZATION,
        AuthorizationStatus,
        AuthorizationStatus.PENDING,
        {"invalid", "deactivated", "expired", "revoked"},
    ),
    (states.ORDER, OrderStatus, OrderStatus.PENDING, {"valid", "invalid"}),
    (states.DEVICE, DeviceStatus, DeviceStatus.PENDING, {"forgotten"}),
]
# Shown by RFC 8555, never entered here: signing and storing an order is one transaction.
NEVER_ENTERED: dict[type[Enum], set[Enum]] = {OrderStatus: {OrderStatus.PROCESSING}}

lives = pytest.mark.parametrize(
    ("table", "kind", "first", "final"), LIVES, ids=[life[1].__name__ for life in LIVES]
)


@lives
def test_every_pair_is_in_the_table_or_impossible(
    table: Mapping[Any, Enum], kind: type[Enum], first: Enum, final: set[str]
) -> None:
    """RFC 8555 section 7.1.6: a table is all that can happen."""
    for state in kind:
        for event in Event:
            if (state, event) in table:
                assert step(table, state, event) is table[state, event]
                assert isinstance(table[state, event], kind)
            else:
                with pytest.raises(ImpossibleStep, match=f"{kind.__name__}: no {event.value} in"):
                    step(table, state, event)


@lives
def test_final_states_have_no_exit(
    table: Mapping[Any, Enum], kind: type[Enum], first: Enum, final: set[str]
) -> None:
    """RFC 8555 section 7.1.6: exactly these states are final."""
    with_exit = {state for state, _ in table} | NEVER_ENTERED.get(kind, set())
    assert {state.value for state in set(kind) - with_exit} == final


@lives
def test_every_state_is_reached(
    table: Mapping[Any, Enum], kind: type[Enum], first: Enum, final: set[str]
) -> None:
    """Every state but `processing` of an order can be come to from the first one."""
    reached, before = {first}, set[Enum]()
    while reached != before:
        before = set(reached)
        reached |= {after for (state, _), after in table.items() if state in before}
    assert reached == set(kind) - NEVER_ENTERED.get(kind, set())


@lives
@given(events=st.lists(st.sampled_from(Event), max_size=12))
def test_any_history(
    table: Mapping[Any, Enum], kind: type[Enum], first: Enum, final: set[str], events: list[Event]
) -> None:
    """Whatever is tried in whatever order, a final state stays, and a state is a state."""
    state = first
    for event in events:
        before = state
        try:
            state = step(table, state, event)
        except ImpossibleStep:
            state = before
        assert isinstance(state, kind)
        if before.value in final:
            assert state is before


def test_names_on_the_wire() -> None:
    """RFC 8555 sections 7.1.2 to 7.1.5: the words that clients are shown."""
    assert {state.value for state in AccountStatus} == {"valid", "deactivated", "revoked"}
    order = {"pending", "ready", "processing", "valid", "invalid"}
    assert {state.value for state in OrderStatus} == order
    authorization = {"pending", "valid", "invalid", "deactivated", "expired", "revoked"}
    assert {state.value for state in AuthorizationStatus} == authorization
    assert {s.value for s in ChallengeStatus} == {"pending", "processing", "valid", "invalid"}
    assert {kind.value for kind in states.ChallengeType} == {"http-01", "tls-alpn-01", "dns-01"}


def test_a_bad_csr_does_not_end_an_order() -> None:
    """R-23: only time or a lost authorization ends a ready order."""
    exits = {event for state, event in states.ORDER if state is OrderStatus.READY}
    assert exits == {Event.ISSUE, Event.FAIL, Event.EXPIRE}

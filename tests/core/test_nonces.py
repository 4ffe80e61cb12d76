"""Nonces: once only, bounded, and never pushed out by a flood (R-3, R-4)."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from acmeiot.core.nonces import Nonces
from acmeiot.protocol.errors import BadNonce, Malformed
from acmeiot.protocol.jose import b64decode, b64encode


@pytest.fixture
def nonces() -> Nonces:
    return Nonces(os.urandom, capacity=16)


def test_a_nonce_is_good_once(nonces: Nonces) -> None:
    first, second = nonces.issue(), nonces.issue()
    nonces.redeem(second)
    nonces.redeem(first)  # in any order
    for used in (first, second):
        with pytest.raises(BadNonce, match="used before"):
            nonces.redeem(used)


def test_a_nonce_is_base64url_and_tells_nothing(nonces: Nonces) -> None:
    texts = {nonces.issue() for _ in range(100)}
    assert len(texts) == 100
    assert {len(b64decode(text, "nonce")) for text in texts} == {22}


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 29, "A" * 31, "A" * 32, "A" * 10_000])
def test_what_was_never_issued_is_refused(nonces: Nonces, text: str) -> None:
    with pytest.raises((BadNonce, Malformed)) as caught:
        nonces.redeem(text)
    assert caught.value.status == 400


def test_a_missing_nonce_is_bad(nonces: Nonces) -> None:
    with pytest.raises(BadNonce, match="no nonce"):
        nonces.redeem(None)


@pytest.mark.parametrize("text", ["a+b/" + "A" * 26, "=" * 30, "é" * 30, "\0" * 30])
def test_a_nonce_that_is_not_base64url_is_malformed(nonces: Nonces, text: str) -> None:
    with pytest.raises(Malformed, match="nonce"):
        nonces.redeem(text)


@pytest.mark.parametrize("octet", range(22))
def test_every_octet_of_a_nonce_is_sealed(nonces: Nonces, octet: int) -> None:
    raw = bytearray(b64decode(nonces.issue(), "nonce"))
    raw[octet] ^= 1
    with pytest.raises(BadNonce, match="not from this server"):
        nonces.redeem(b64encode(bytes(raw)))


def test_another_spelling_of_a_used_nonce_is_a_replay(nonces: Nonces) -> None:
    # The last character of 22 octets carries four unused bits: sixteen texts, one nonce.
    nonce = nonces.issue()
    nonces.redeem(nonce)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    first = letters.index(nonce[-1]) // 16 * 16
    for letter in letters[first : first + 16]:
        with pytest.raises((BadNonce, Malformed)):
            nonces.redeem(nonce[:-1] + letter)


def test_a_restart_refuses_all_old_nonces() -> None:
    old, new = Nonces(os.urandom), Nonces(os.urandom)
    nonce = old.issue()
    new.issue()
    with pytest.raises(BadNonce, match="before its restart"):
        new.redeem(nonce)


def test_a_flood_of_new_nonces_pushes_no_honest_one_out(nonces: Nonces) -> None:
    honest = nonces.issue()
    for _ in range(10_000):
        nonces.issue()
    nonces.redeem(honest)


def test_memory_is_bounded_and_what_leaves_it_stays_refused(nonces: Nonces) -> None:
    spent = [nonces.issue() for _ in range(100)]
    for nonce in spent:
        nonces.redeem(nonce)
    assert len(nonces._used) == 16
    for nonce in spent:
        with pytest.raises(BadNonce):
            nonces.redeem(nonce)


def test_the_oldest_used_ones_are_forgotten_first(nonces: Nonces) -> None:
    """The 16 newest used are known by themselves, so an older one that was kept is still good."""
    kept = [nonces.issue() for _ in range(30)]
    for text in (*kept[:10], *kept[20:]):
        nonces.redeem(text)
    for text in kept[10:20]:
        nonces.redeem(text)


def test_of_many_at_once_one_redeems(nonces: Nonces) -> None:
    nonce, taken = nonces.issue(), []

    def redeem() -> None:
        try:
            nonces.redeem(nonce)
            taken.append(True)
        except BadNonce:
            pass

    threads = [threading.Thread(target=redeem) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [True]


class NoncesMachine(RuleBasedStateMachine):
    """Any order of issuing, redeeming and restarting: at most once each, and never forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.nonces = Nonces(os.urandom, capacity=4)
        self.fresh: list[str] = []
        self.gone: list[str] = []  # used, or from before a restart

    @rule()
    def issue(self) -> None:
        self.fresh.append(self.nonces.issue())

    @rule(which=st.integers(0, 1000))
    def redeem(self, which: int) -> None:
        if self.fresh:
            nonce = self.fresh.pop(which % len(self.fresh))
            self.gone.append(nonce)
            # An honest nonce may fail only if more than the capacity were redeemed since.
            try:
                self.nonces.redeem(nonce)
            except BadNonce:
                assert len(self.gone) > 4

    @rule(which=st.integers(0, 1000))
    def replay(self, which: int) -> None:
        if self.gone:
            with pytest.raises(BadNonce):
                self.nonces.redeem(self.gone[which % len(self.gone)])

    @rule()
    def restart(self) -> None:
        self.nonces = Nonces(os.urandom, capacity=4)
        self.gone += self.fresh
        self.fresh = []

    @invariant()
    def bounded(self) -> None:
        assert len(self.nonces._used) <= 4


TestNonces = NoncesMachine.TestCase
TestNonces.settings = settings(max_examples=60, stateful_step_count=40)

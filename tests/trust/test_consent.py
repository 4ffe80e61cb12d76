"""What a person sees before they say yes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from acmeiot.protocol.qr import qr
from acmeiot.trust.consent import Question, ask
from tests.trust.fakes import known_root
from tests.trust.roots import home_root

A, B = home_root(0), home_root(1)
QUESTION = Question(
    "eth0 (router 52:54:00:00:00:01)",
    "https://router.lan:8555/acme/directory",
    "DHCP option 125 from 192.168.1.1",
    known_root(A),
    None,
    False,
    (),
)


def answered(question: Question, answer: str) -> tuple[bool, str]:
    out = io.StringIO()
    return ask(question, lambda: answer, out), out.getvalue()


def test_the_whole_fingerprint_as_words_hex_and_qr() -> None:
    yes, text = answered(QUESTION, "yes\n")
    assert yes
    for part in (A.words, f"sha256:{A.sha256}", qr(f"sha256:{A.sha256}"), A.name, "192.168.1.1"):
        assert part in text
    assert len(A.words.split("-")) == 8  # 128 bits


@pytest.mark.parametrize("answer", ["", "y", "no", "yes!", "ja"])
def test_only_yes_is_yes(answer: str) -> None:
    assert answered(QUESTION, answer)[0] is False


def test_no_more_input_is_no() -> None:
    def end() -> str:
        raise EOFError

    assert ask(QUESTION, end, io.StringIO()) is False


def test_a_change_shows_both_fingerprints() -> None:
    """A-4.7-2."""
    text = answered(replace(QUESTION, replaces=known_root(B)), "no")[1]
    assert "HAS CHANGED" in text
    assert f"sha256:{A.sha256}" in text
    assert f"sha256:{B.sha256}" in text
    assert B.words in text
    assert "has NOT signed" in text
    text = answered(replace(QUESTION, replaces=known_root(B), vouched=True), "no")[1]
    assert "has signed for the new one" in text


def test_names_from_the_network_are_plain() -> None:
    root = replace(known_root(A), name="Home\x1b[2J\nRoot")
    assert "\x1b" not in answered(replace(QUESTION, root=root), "no")[1]

"""Refusals: the server's words reach the person, and nothing worse than words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import HTTPMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.client.errors import AgentError
from acmeiot.client.http import Response
from acmeiot.client.problem import MAX_RETRY_AFTER, Problem, printable, refusal, retry_after
from acmeiot.protocol.errors import Compound, RejectedIdentifier, UserActionRequired
from acmeiot.protocol.names import dns

NOW = 1_795_348_259
URL = "https://router.lan/acme/new-order"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["type", "detail", "title", "subproblems", "identifier", "value", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def response(body: object, status: int = 400, **headers: str) -> Response:
    """Return an answer."""
    fields = HTTPMessage()
    for name, value in headers.items():
        fields[name.replace("_", "-")] = value
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, fields, octets, URL)


def test_the_servers_own_words() -> None:
    """Type, detail, and what each name's matter was (RFC 8555 section 6.7.1)."""
    wrong = RejectedIdentifier("x.com is not local", identifier=dns("x.com"))
    other = RejectedIdentifier("localhost.lan is every machine", identifier=dns("localhost.lan"))
    said = refusal(response(Compound("two names", subproblems=[wrong, other]).problem()), NOW)
    assert isinstance(said, AgentError)
    assert str(said) == (
        "the ACME server refuses: two names (compound); "
        "x.com: x.com is not local (rejectedIdentifier); "
        "localhost.lan: localhost.lan is every machine (rejectedIdentifier)"
    )
    assert (said.code, said.status, said.retry_after) == ("compound", 400, None)
    assert said.type == "urn:ietf:params:acme:error:compound"
    # Words that stand in the detail are not repeated.
    alone = refusal(response(RejectedIdentifier("no", subproblems=[wrong]).problem()), NOW)
    assert str(alone).count("x.com is not local") == 1
    same = RejectedIdentifier("x.com is not local", subproblems=[wrong])
    assert str(refusal(response(same.problem()), NOW)).count("not local") == 1


def test_what_may_pass_by_itself() -> None:
    """The agent tries again by itself only where that can help."""
    assert refusal(response({}, 503), NOW).passing
    assert refusal(response(UserActionRequired("wait").problem(), 403), NOW).passing
    assert not refusal(response(RejectedIdentifier("no").problem(), 403), NOW).passing


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway", b"[]", b"\xff\xfe", b'"no"'])
def test_no_problem_document(body: bytes) -> None:
    """A proxy's page becomes its status."""
    said = refusal(response(body, 502), NOW)
    assert str(said) == f"the ACME server refuses: {URL} answers with status 502 (about:blank)"
    assert (said.status, said.passing) == (502, True)


@given(anything)
def test_any_document(document: Any) -> None:
    """Whatever is in it, a short and printable sentence comes out."""
    problem = Problem.of(document)
    assert str(problem).isprintable()
    assert len(str(problem)) < 2000 + 21 * 1500


def test_problems_are_bounded() -> None:
    """Neither long texts nor deep nests."""
    owned = "\x1b]0;owned\x07\u202e"
    assert str(Problem.of({"detail": owned, "type": owned})) == " ]0;owned   ( ]0;owned  )"
    part: dict[str, Any] = {"detail": "x" * 5000}
    for _ in range(50):
        part = {"detail": "deeper", "subproblems": [part] * 50}
    said = str(Problem.of(part))
    assert len(said) < 1000
    assert said.isprintable()
    assert len(str(Problem.of({"detail": "x" * 5000}))) < 1100
    assert printable(None) == printable(7) == ""


# -- Retry-After


def test_retry_after() -> None:
    """Both forms of RFC 9110 section 10.2.3, bounded."""
    soon = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)
    past = format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True)
    for text, seconds in (
        ("0", 0), (" 120 ", 120), (soon, 90), (past, 0), ("9" * 400, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
    ):  # fmt: skip
        assert retry_after(response({}, Retry_After=text), NOW) == seconds
    for text in ("", "-1", "soon", "1.5", "\u0663", "Fri, 31 Dec 99999 23:59:59 GMT", "1e9"):
        assert retry_after(response({}, Retry_After=text), NOW) is None
    assert retry_after(response({}), NOW) is None


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ \S*"))
def test_any_retry_after(text: str) -> None:
    """A bounded number, or none."""
    seconds = retry_after(response({}, Retry_After=text), NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER

"""Problem documents (R-32), and that every error type of RFC 8555 can be said (R-33)."""

import json

import pytest

from acmeiot.protocol import errors, names
from acmeiot.protocol.errors import AcmeError, Compound, Malformed, RateLimited, RejectedIdentifier

# all 24 types of RFC 8555 section 6.7, with the status each is sent with here.
TYPES = {
    "accountDoesNotExist": 400,
    "alreadyRevoked": 400,
    "badCSR": 400,
    "badNonce": 400,
    "badPublicKey": 400,
    "badRevocationReason": 400,
    "badSignatureAlgorithm": 400,
    "caa": 403,
    "compound": 400,
    "connection": 400,
    "dns": 400,
    "externalAccountRequired": 403,
    "incorrectResponse": 403,
    "invalidContact": 400,
    "malformed": 400,
    "orderNotReady": 403,
    "rateLimited": 429,
    "rejectedIdentifier": 403,
    "serverInternal": 500,
    "tls": 400,
    "unauthorized": 403,
    "unsupportedContact": 400,
    "unsupportedIdentifier": 400,
    "userActionRequired": 403,
}
# RFC 9773 section 7.4 and draft-ietf-acme-profiles section 6 add these.
LATER_TYPES = {"alreadyReplaced": 409, "invalidProfile": 400}
# Types of RFC 8555 with a status that says more.
SHADES = {
    errors.NotFound: ("malformed", 404),
    errors.MethodNotAllowed: ("malformed", 405),
    errors.Conflict: ("malformed", 409),
    errors.TooLarge: ("malformed", 413),
    errors.UnsupportedMediaType: ("malformed", 415),
    errors.SignatureInvalid: ("unauthorized", 401),
    errors.Unavailable: ("serverInternal", 503),
}


def classes() -> list[type[AcmeError]]:
    """Return every error class of the module."""
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, AcmeError)]


def test_every_type_of_rfc8555_is_a_class() -> None:
    """R-33: the 24 types, each once, each with its status."""
    assert len(TYPES) == 24
    plain = [each for each in classes() if each not in SHADES and each is not AcmeError]
    assert {each.code: each.status for each in plain} == TYPES | LATER_TYPES
    assert len(plain) == len(TYPES | LATER_TYPES)


def test_shades_keep_their_type() -> None:
    """R-32: no type is made up for what RFC 8555 has no type for; only the status tells."""
    for each, (code, status) in SHADES.items():
        assert (each.code, each.status) == (code, status)


@pytest.mark.parametrize("each", classes(), ids=lambda each: each.__name__)
def test_problem_document(each: type[AcmeError]) -> None:
    """R-32: type with the ACME prefix, detail, and the status that HTTP says too."""
    document = each("what is wrong").problem()
    assert document == {
        "type": "urn:ietf:params:acme:error:" + each.code,
        "detail": "what is wrong",
        "status": each.status,
    }
    assert 400 <= each.status < 600
    assert str(each("what is wrong")) == "what is wrong"


def test_identifier_stands_only_in_subproblems() -> None:
    """R-32, RFC 8555 section 6.7.1: a subproblem says what it is about, the top level does not."""
    name, address = names.dns("www.example.com"), names.ip("8.8.8.8")
    first = RejectedIdentifier("not of this home", identifier=name)
    second = Malformed("no", identifier=address)
    assert "identifier" not in first.problem()
    whole = Compound("two things", identifier=name, subproblems=[first, second]).problem()
    assert "identifier" not in whole
    assert whole["subproblems"] == [
        {
            "type": "urn:ietf:params:acme:error:rejectedIdentifier",
            "detail": "not of this home",
            "status": 403,
            "identifier": {"type": "dns", "value": "www.example.com"},
        },
        {
            "type": "urn:ietf:params:acme:error:malformed",
            "detail": "no",
            "status": 400,
            "identifier": {"type": "ip", "value": "8.8.8.8"},
        },
    ]
    json.dumps(whole)


def test_subproblem_without_identifier() -> None:
    """R-32: a subproblem that is about no name says none."""
    assert "identifier" not in Malformed("no").as_subproblem()
    assert "subproblems" not in Malformed("no").problem()


def test_extra_members_and_headers() -> None:
    """R-7, R-34: what a type needs beyond the common members, and what HTTP needs."""
    error = errors.BadSignatureAlgorithm("no", extra={"algorithms": ["ES256"]})
    assert error.problem()["algorithms"] == ["ES256"]
    limited = RateLimited("later", headers={"Retry-After": "60"})
    assert limited.headers == {"Retry-After": "60"}
    assert "Retry-After" not in limited.problem()

"""The values of the three challenges, beside what the RFCs print and what a neighbour may show."""

import hashlib
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import challenges, names
from acmeiot.protocol.challenges import ProofCertificate, tlsalpn01_fault
from acmeiot.protocol.names import Identifier

# The example of RFC 8555 section 8.1 joins these.
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
KEY_AUTHORIZATION = f"{TOKEN}.{THUMBPRINT}"

PRINTER = names.dns("printer.lan")
DIGEST = hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()
GOOD = ProofCertificate((PRINTER,), True, b"\x04\x20" + DIGEST, True)


def test_key_authorization() -> None:
    """RFC 8555 section 8.1: token, dot, thumbprint."""
    assert challenges.key_authorization(TOKEN, THUMBPRINT) == KEY_AUTHORIZATION


def test_http01_path() -> None:
    """R-27: the path of RFC 8555 section 8.3."""
    assert challenges.http01_path(TOKEN) == f"/.well-known/acme-challenge/{TOKEN}"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b" \t\r\n\n"])
def test_http01_whitespace_may_follow(end: bytes) -> None:
    """R-27: trailing whitespace is no fault."""
    assert challenges.http01_matches(KEY_AUTHORIZATION.encode() + end, KEY_AUTHORIZATION)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" " + KEY_AUTHORIZATION.encode(),
        KEY_AUTHORIZATION.encode() + b"x",
        KEY_AUTHORIZATION.encode() + b"\0",
        KEY_AUTHORIZATION[:-1].encode(),
        KEY_AUTHORIZATION.lower().encode(),
        TOKEN.encode(),
        b"\xff\xfe",
    ],
)
def test_http01_other_bodies(body: bytes) -> None:
    """R-27: nothing else is the key authorization."""
    assert not challenges.http01_matches(body, KEY_AUTHORIZATION)


@given(st.binary(max_size=200))
def test_http01_any_bytes(body: bytes) -> None:
    """R-27: arbitrary bytes are compared, never an error."""
    assert not challenges.http01_matches(body, KEY_AUTHORIZATION)


def test_dns01_name() -> None:
    """R-28: a wildcard's record stands at its base (RFC 8555 section 8.4)."""
    assert challenges.dns01_name(PRINTER) == "_acme-challenge.printer.lan"
    assert challenges.dns01_name(names.dns("*.printer.lan")) == "_acme-challenge.printer.lan"


def test_dns01_value() -> None:
    """R-28: base64url of the digest, no padding."""
    value = challenges.dns01_value(KEY_AUTHORIZATION)
    assert len(value) == 43
    assert urlsafe_b64decode(value + "=") == DIGEST


def test_dns01_any_of_several() -> None:
    """R-28: one right value among others is enough; others alone are not."""
    right = challenges.dns01_value(KEY_AUTHORIZATION)
    assert challenges.dns01_matches(["v=spf1", right, "x"], KEY_AUTHORIZATION)
    assert not challenges.dns01_matches([], KEY_AUTHORIZATION)
    assert not challenges.dns01_matches([right + " ", right[:-1], KEY_AUTHORIZATION, "ü"], TOKEN)


@pytest.mark.parametrize(
    ("identifier", "sni"),
    [
        (PRINTER, "printer.lan"),
        (names.ip("192.168.1.20"), "20.1.168.192.in-addr.arpa"),
        (names.ip("fd00::20"), "0.2." + "0." * 28 + "d.f.ip6.arpa"),
    ],
)
def test_tlsalpn01_sni(identifier: Identifier, sni: str) -> None:
    """R-29: the name, or the reverse name of an address (RFC 8738 section 6)."""
    assert challenges.tlsalpn01_sni(identifier) == sni


def test_tlsalpn01_digest() -> None:
    """R-29: SHA-256 of the key authorization."""
    assert challenges.tlsalpn01_digest(KEY_AUTHORIZATION) == DIGEST


def test_tlsalpn01_good() -> None:
    """R-29: the certificate that RFC 8737 section 3 asks for, for a name and for an address."""
    address = names.ip("fd00::20")
    assert tlsalpn01_fault(GOOD, PRINTER, KEY_AUTHORIZATION) is None
    assert tlsalpn01_fault(GOOD, names.dns("*.printer.lan"), KEY_AUTHORIZATION) is None
    assert tlsalpn01_fault(replace(GOOD, subjects=(address,)), address, KEY_AUTHORIZATION) is None


OTHER = names.dns("nas.lan")


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (replace(GOOD, subjects=()), "exactly printer.lan, they are none"),
        (replace(GOOD, subjects=(OTHER,)), "they are nas.lan"),
        (replace(GOOD, subjects=(PRINTER, OTHER)), "they are printer.lan, nas.lan"),
        (replace(GOOD, subjects=(PRINTER, PRINTER)), "they are printer.lan, printer.lan"),
        (replace(GOOD, subjects=(PRINTER, "a mail address")), "printer.lan, a mail address"),
        (replace(GOOD, subjects=(PRINTER,) * 9), "and 4 more"),
        (replace(GOOD, subjects=(names.ip("192.168.1.20"),)), "they are 192.168.1.20"),
        (replace(GOOD, self_signed=False), "not self-signed"),
        (replace(GOOD, acme_identifier=None), "no acmeIdentifier extension"),
        (replace(GOOD, critical=False), "not critical"),
        (replace(GOOD, acme_identifier=DIGEST), "not an OCTET STRING"),
        (replace(GOOD, acme_identifier=b"\x04\x21" + DIGEST + b"x"), "not an OCTET STRING"),
        (replace(GOOD, acme_identifier=b"\x03\x20" + DIGEST), "not an OCTET STRING"),
        (replace(GOOD, acme_identifier=b"\x04\x20" + DIGEST[::-1]), "another token"),
    ],
)
def test_tlsalpn01_faults(proof: ProofCertificate, said: str) -> None:
    """R-29: each thing that is not as RFC 8737 section 3 has it is refused by its name."""
    fault = tlsalpn01_fault(proof, PRINTER, KEY_AUTHORIZATION)
    assert fault is not None
    assert said in fault

"""Request payloads: what they become, and what is wrong with the others."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import messages, names
from acmeiot.protocol.errors import (
    AcmeError,
    Compound,
    InvalidContact,
    Malformed,
    RejectedIdentifier,
    UnsupportedContact,
    UnsupportedIdentifier,
)
from acmeiot.protocol.messages import AccountUpdate, NewAccount, NewOrder, Revocation, WantedName

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
MEMBERS = [
    "contact", "termsOfServiceAgreed", "onlyReturnExisting", "externalAccountBinding", "status",
    "identifiers", "identifier", "notBefore", "notAfter", "profile", "replaces", "certificate",
    "reason", "csr",
]  # fmt: skip


def payload(**members: object) -> bytes:
    """Return a payload with these members."""
    return json.dumps(members).encode()


# -- RFC 3339


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2030-01-31T12:00:00Z", 1896091200),
        ("2030-01-31t12:00:00z", 1896091200),
        ("2030-01-31T12:00:00+00:00", 1896091200),
        ("2030-01-31T12:00:00-00:00", 1896091200),
        ("2030-01-31T13:30:00+01:30", 1896091200),
        ("2030-01-31T07:00:00-05:00", 1896091200),
        ("2030-01-31T12:00:00.5Z", 1896091200),
        ("2030-01-31T12:00:00.999999999999Z", 1896091200),
        ("2030-01-31T12:00:00.25+00:00", 1896091200),
        ("2028-02-29T00:00:00Z", 1835395200),
    ],
)
def test_rfc3339_times(text: str, seconds: int) -> None:
    """RFC 3339 section 5.6: fractions, offsets and small letters."""
    assert messages.parse_rfc3339(text, "notBefore") == seconds


@pytest.mark.parametrize(
    "text",
    [
        None,
        1896091200,
        "",
        "2030-01-31",
        "2030-01-31T12:00:00",  # no offset
        "2030-01-31T12:00Z",
        "2030-01-31T12Z",
        "2030-01-31 12:00:00Z",
        "2030-01-31x12:00:00Z",
        "20300131T120000Z",
        "2030-W05-4T12:00:00Z",
        "2030-031T12:00:00Z",
        "2030-01-31T12:00:00,5Z",
        "2030-01-31T12:00:00.Z",
        "2030-01-31T12:00:00+0100",
        "2030-01-31T12:00:00+01",
        "2030-01-31T12:00:00+01:00:30",
        "2030-01-31T24:00:00Z",
        "2030-01-31T12:60:00Z",
        "2030-01-31T12:00:60Z",
        "2030-02-29T12:00:00Z",
        "2030-13-01T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "2030-01-31T12:00:00Z ",
        "2030-01-31T12:00:00Z\n",
        "２０３０-01-31T12:00:00Z",
        "+2030-01-31T12:00:00Z",
    ],
)
def test_other_times(text: object) -> None:
    """RFC 3339 section 5.6: the other forms of ISO 8601 are none, on any Python."""
    with pytest.raises(Malformed, match="notBefore is not an RFC 3339 time"):
        messages.parse_rfc3339(text, "notBefore")


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_rfc3339_offsets(moment: datetime, minutes: int) -> None:
    """RFC 3339: one moment, whatever the offset it is written with."""
    try:
        local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:  # before the year 1, after 9999
        return
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{local:%H:%M:%S.%f}{sign}{size // 60:02}:{size % 60:02}"
    text = f"{local.year:04}-{local.month:02}-{local.day:02}T{text}"
    assert messages.parse_rfc3339(text, "it") == int(moment.timestamp())


@given(st.integers(0, 253402300799))
def test_rfc3339_round_trip(seconds: int) -> None:
    """RFC 3339: what is written is read again."""
    assert messages.parse_rfc3339(messages.rfc3339(seconds), "it") == seconds


# -- accounts


def test_new_account() -> None:
    """R-12: all members, and none."""
    assert NewAccount.parse(b"{}") == NewAccount((), agreed=False, only_existing=False, eab=None)
    found = NewAccount.parse(
        payload(
            contact=["https://printer.local/", "mailto:me@example.org"],
            termsOfServiceAgreed=True,
            onlyReturnExisting=True,
            externalAccountBinding={"payload": ""},
            unknown=[1],
        )
    )
    assert found.contact == ("https://printer.local/", "mailto:me@example.org")
    assert (found.agreed, found.only_existing, found.eab) == (True, True, {"payload": ""})


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("externalAccountBinding", "text"),
        ("externalAccountBinding", []),
        ("termsOfServiceAgreed", 1),
        ("termsOfServiceAgreed", "true"),
        ("termsOfServiceAgreed", None),
        ("onlyReturnExisting", 0),
        ("contact", "mailto:me@example.org"),
        ("contact", None),
        ("contact", [1]),
        ("contact", {"mailto": "me"}),
    ],
)
def test_new_account_of_wrong_types(member: str, value: object) -> None:
    """R-12: a known member of the wrong type is malformed, by its name."""
    with pytest.raises(Malformed, match=member):
        NewAccount.parse(payload(**{member: value}))


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff"])
def test_payload_that_is_no_object(body: bytes) -> None:
    """R-5: a payload is a JSON object."""
    for parse in (NewAccount.parse, AccountUpdate.parse, Revocation.parse):
        with pytest.raises(Malformed, match="the payload"):
            parse(body)


def test_account_update() -> None:
    """R-15, R-16: what is not named stays."""
    assert AccountUpdate.parse(b"{}") == AccountUpdate(None, deactivate=False)
    assert AccountUpdate.parse(payload(contact=[])) == AccountUpdate((), deactivate=False)
    assert AccountUpdate.parse(payload(status="valid")).deactivate is False
    assert AccountUpdate.parse(payload(status="deactivated")).deactivate is True


@pytest.mark.parametrize("status", ["revoked", "invalid", "DEACTIVATED", "", 1, ["valid"], {}])
def test_status_cannot_be_set_to_all(status: object) -> None:
    """R-16, R-24: a client can only give up."""
    with pytest.raises(Malformed, match="status can only be changed to deactivated"):
        AccountUpdate.parse(payload(status=status))
    with pytest.raises(Malformed, match="deactivated"):
        messages.deactivation(payload(status=status))


def test_deactivation() -> None:
    """R-24: a POST to an authorization."""
    assert messages.deactivation(payload(status="deactivated"))
    assert not messages.deactivation(b"{}")


# -- contacts


@pytest.mark.parametrize(
    "url",
    [
        "https://printer.local/",
        "https://printer.lan:8443",
        "HTTPS://printer.lan/",
        "mailto:me@example.org",
        "MAILTO:me+tag@example.org",
        "mailto:" + "a" * 281 + "@example.org",
    ],
)
def test_contacts(url: str) -> None:
    """R-14, A-3.2.2-1: https of a device, and one plain mail address."""
    assert messages.contacts([url]) == (url,)


@pytest.mark.parametrize(
    "url", ["tel:+123", "ftp://x/", "http://printer.lan/", "sip:a@b", "me@example.org", "", ":"]
)
def test_unsupported_contacts(url: str) -> None:
    """R-14: other schemes are unsupportedContact."""
    with pytest.raises(UnsupportedContact):
        messages.contacts([url])


@pytest.mark.parametrize(
    "url",
    [
        "mailto:",
        "mailto:@example.org",
        "mailto:me@",
        "mailto:me",
        "mailto:me@example.org?subject=x",  # hfields
        "mailto:me@example.org,you@example.org",  # several
        "mailto:me@example.org;you@example.org",
        "mailto:me,you@example.org",
        "mailto:me;you@example.org",
        "mailto:me@a@b",
        "mailto:Me <me@example.org>",
        "mailto:m e@example.org",
        "mailto:mé@example.org",
        "mailto:me@example.org\n",
        "https://printer.lan/\x00",
        "https://prïnter.lan/",
        "https://printer.lan/" + "a" * 300,
    ],
)
def test_invalid_contacts(url: str) -> None:
    """R-14: hfields, several addresses, what cannot be printed, what is too long."""
    with pytest.raises(InvalidContact):
        messages.contacts([url])


def test_number_of_contacts() -> None:
    """R-14: ten at most."""
    urls = ["mailto:me@example.org"] * 10
    assert len(messages.contacts(urls)) == 10
    with pytest.raises(InvalidContact, match="at most 10"):
        messages.contacts([*urls, urls[0]])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("mailto:me@example.org", None),
        ("https://printer.local/", "printer.local"),
        ("HTTPS://PRINTER.local:8443/x", "printer.local"),
        ("https://[fd00::1]/", "fd00::1"),
        ("https://192.168.1.20", "192.168.1.20"),
    ],
)
def test_contact_host(url: str, host: str | None) -> None:
    """R-14: the host that policy looks at."""
    assert messages.contact_host(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "https:",
        "https:printer.local",
        "https:///x",
        "https://:443/",
        "https://@printer.local/",
        "https://me:x@printer.local/",
        "https://printer.local:99999/",
        "https://printer.local:x/",
        "https://[fd00::1/",
        "https://[printer]/",
    ],
)
def test_contact_without_host(url: str) -> None:
    """R-14: an https contact has a host and no user."""
    with pytest.raises(InvalidContact, match="not https:// with a host name"):
        messages.contact_host(url)


@given(st.lists(st.text(max_size=60) | st.text("mailtops:/@?,.[]0", max_size=30), max_size=4))
def test_any_contacts(urls: list[str]) -> None:
    """R-14: any text is a contact or a refusal of the three kinds."""
    try:
        for url in messages.contacts(urls):
            messages.contact_host(url)
    except (InvalidContact, UnsupportedContact):
        pass


# -- orders


def order(*identifiers: object, **members: object) -> NewOrder:
    """Parse a newOrder with these identifiers."""
    return NewOrder.parse(payload(identifiers=identifiers, **members), 5)


def dns(value: object, **members: object) -> dict[str, object]:
    """Return an identifier object."""
    return {"type": "dns", "value": value, **members}


def test_new_order() -> None:
    """R-19: names and addresses, times, profile and the certificate it replaces."""
    found = order(
        dns("PRINTER.lan."),
        {"type": "ip", "value": "192.168.1.20"},
        notBefore="2030-01-31T12:00:00Z",
        notAfter="2030-02-01T12:00:00+01:00",
        profile="strict",
        replaces="AA.AA",
    )
    assert found.identifiers == (names.dns("printer.lan"), names.ip("192.168.1.20"))
    assert (found.not_before, found.not_after) == (1896091200, 1896174000)
    assert (found.profile, found.replaces) == ("strict", "AA.AA")
    bare = order(dns("printer.lan"))
    assert (bare.not_before, bare.not_after, bare.profile, bare.replaces) == (None,) * 4


def test_identifiers_are_normalised() -> None:
    """R-19: a name in two spellings is one; the first one's place and ancestor stay."""
    found = order(dns("b.lan"), dns("A.lan"), dns("a.lan."), dns("B.LAN"))
    assert found.identifiers == (names.dns("b.lan"), names.dns("a.lan"))


@pytest.mark.parametrize("value", [None, [], {}, "printer.lan", 1])
def test_no_identifiers(value: object) -> None:
    """R-19: an empty order is malformed."""
    with pytest.raises(Malformed, match="non-empty array"):
        NewOrder.parse(payload(identifiers=value), 5)
    with pytest.raises(Malformed, match="non-empty array"):
        NewOrder.parse(b"{}", 5)


def test_too_many_identifiers() -> None:
    """R-20: more names than an order can have are rejected, before any is looked at."""
    assert len(order(*[dns(f"n{number}.lan") for number in range(5)]).wanted) == 5
    with pytest.raises(RejectedIdentifier, match="at most 5"):
        order(*[1] * 6)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("printer.lan", "an identifier is a JSON object"),
        (None, "an identifier is a JSON object"),
        ({}, "two strings"),
        (dns(1), "two strings"),
        ({"type": ["dns"], "value": "a.lan"}, "two strings"),
        (dns("a..lan"), "empty label"),
        (dns("printer.lan\0"), "not a host label"),
        (dns("192.168.1.1"), "type ip"),
        ({"type": "ip", "value": "192.168.1.01"}, "not an IP address"),
        ({"type": "ip", "value": "::ffff:8.8.8"}, "not an IP address"),
    ],
)
def test_identifiers_that_are_none(item: object, said: str) -> None:
    """R-19, R-20: malformed, saying which and why."""
    with pytest.raises(Malformed, match=said) as caught:
        order(item)
    assert caught.value.subproblems == ()


@pytest.mark.parametrize("kind", ["email", "DNS", "", "x" * 500])
def test_unknown_identifier_type(kind: str) -> None:
    """R-19: a type of identifier that is not offered."""
    with pytest.raises(UnsupportedIdentifier, match="use dns or ip") as caught:
        order({"type": kind, "value": "a"})
    assert len(caught.value.detail) < 150


def test_several_wrong_identifiers() -> None:
    """R-19: each has its subproblem; different kinds together are a compound."""
    with pytest.raises(Malformed) as caught:
        order(dns("a..lan"), dns("good.lan"), dns("b..lan"))
    assert type(caught.value) is Malformed
    assert len(caught.value.subproblems) == 2
    with pytest.raises(Compound) as mixed:
        order(dns("a..lan"), {"type": "email", "value": "a"})
    assert [type(each) for each in mixed.value.subproblems] == [Malformed, UnsupportedIdentifier]
    assert "a..lan" in mixed.value.detail


def test_together() -> None:
    """R-19, R-32: one error that is about a name becomes a subproblem; others stay alone."""
    about = RejectedIdentifier("no", identifier=names.dns("a.com"))
    one = messages.together([about])
    assert type(one) is RejectedIdentifier
    assert one.subproblems == (about,)
    plain = Malformed("no")
    assert messages.together([plain]) is plain
    assert type(messages.together([about, about])) is RejectedIdentifier
    assert type(messages.together([about, plain])) is Compound


def test_ancestor_domain() -> None:
    """RFC 9444 section 4.1: the ancestor is above the name."""
    found = order(dns("a.printer.lan", ancestorDomain="Printer.lan."), dns("b.lan"))
    assert found.wanted == (
        WantedName(names.dns("a.printer.lan"), names.dns("printer.lan")),
        WantedName(names.dns("b.lan")),
    )
    siblings = order(
        dns("a.b.lan", ancestorDomain="b.lan"),
        dns("c.b.lan", ancestorDomain="b.lan"),
        dns("A.b.lan"),
    )
    assert siblings.wanted == (
        WantedName(names.dns("a.b.lan"), names.dns("b.lan")),
        WantedName(names.dns("c.b.lan"), names.dns("b.lan")),
    )
    star = order(dns("*.printer.lan", ancestorDomain="lan"))
    assert star.wanted[0].ancestor == names.dns("lan")


@pytest.mark.parametrize(
    "item",
    [
        dns("printer.lan", ancestorDomain=1),
        dns("printer.lan", ancestorDomain=""),
        dns("printer.lan", ancestorDomain="printer.lan"),
        dns("printer.lan", ancestorDomain="a.printer.lan"),
        dns("xlan.local", ancestorDomain="lan"),
        dns("printer.xlan", ancestorDomain="lan"),
        dns("*.printer.lan", ancestorDomain="printer.lan"),
        dns("a.printer.lan", ancestorDomain="*.lan"),
        {"type": "ip", "value": "192.168.1.1", "ancestorDomain": "lan"},
    ],
)
def test_wrong_ancestor_domains(item: object) -> None:
    """RFC 9444, A-4.1-2: a string, beside a dns name, strictly above it."""
    with pytest.raises(Malformed):
        order(item)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("notBefore", 1),
        ("notBefore", "tomorrow"),
        ("notAfter", []),
        ("profile", 1),
        ("profile", {}),
        ("replaces", ["a.b"]),
    ],
)
def test_order_members_of_wrong_types(member: str, value: object) -> None:
    """R-19: known members of the wrong type, by their name."""
    with pytest.raises(Malformed, match=member):
        order(dns("printer.lan"), **{member: value})


def test_new_authorization() -> None:
    """R-25, RFC 9444 section 4.2: one identifier, and whether its subdomains are meant."""
    assert messages.load_identifier(payload(identifier=dns("Printer.lan"))) == (
        names.dns("printer.lan"),
        False,
    )
    above = payload(identifier=dns("printer.lan", subdomainAuthAllowed=True))
    assert messages.load_identifier(above)[1] is True
    for wrong in (payload(), payload(identifier="a.lan"), payload(identifier=[])):
        with pytest.raises(Malformed, match="identifier is missing"):
            messages.load_identifier(wrong)
    with pytest.raises(Malformed, match="subdomainAuthAllowed"):
        messages.load_identifier(payload(identifier=dns("a.lan", subdomainAuthAllowed=1)))


# -- certificates


def test_revocation() -> None:
    """R-31: a certificate, and a reason that may be left out."""
    assert Revocation.parse(payload(certificate="AAEC")) == Revocation(b"\0\1\2", None)
    assert Revocation.parse(payload(certificate="AAEC", reason=0)).reason == 0
    assert Revocation.parse(payload(certificate="AAEC", reason=None)).reason is None
    assert Revocation.parse(payload(certificate="AAEC", reason=99)).reason == 99


@pytest.mark.parametrize("reason", ["1", 1.0, True, False, [], {}])
def test_revocation_reason(reason: object) -> None:
    """R-31: a reason is an integer."""
    with pytest.raises(Malformed, match="reason is not an integer"):
        Revocation.parse(payload(certificate="AAEC", reason=reason))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "missing"),
        ("", "missing"),
        (1, "missing"),
        ("-----BEGIN CERTIFICATE-----", "not PEM"),
        ("AAEC=", "not base64url"),
        ("AA\nEC", "not base64url"),
    ],
)
def test_der_members(value: object, said: str) -> None:
    """R-23, R-31: base64url of DER; PEM is a mistake with a hint of its own."""
    with pytest.raises(Malformed, match=f"certificate is.*{said}"):
        Revocation.parse(payload(certificate=value))
    with pytest.raises(Malformed, match=f"csr is.*{said}"):
        messages.csr_of(payload(csr=value))


def test_csr() -> None:
    """R-23: finalize's CSR."""
    assert messages.csr_of(payload(csr="AAEC")) == b"\0\1\2"


# -- anything at all


@given(st.dictionaries(st.sampled_from(MEMBERS), json_values))
def test_any_payload(members: dict[str, object]) -> None:
    """R-5: every known member with any JSON in it is taken or refused by the protocol's errors."""
    body = json.dumps(members).encode()
    for parse in (
        NewAccount.parse,
        AccountUpdate.parse,
        Revocation.parse,
        messages.csr_of,
        messages.deactivation,
        messages.load_identifier,
        lambda body: NewOrder.parse(body, 3),
    ):
        try:
            parse(body)
        except AcmeError as error:
            json.dumps(error.problem())


@given(st.lists(json_values | st.fixed_dictionaries({"type": st.just("dns"), "value": st.text()})))
def test_any_identifiers(items: list[object]) -> None:
    """R-19, R-20: an order has canonical names, each once, or is refused."""
    try:
        found = NewOrder.parse(payload(identifiers=items), 3).identifiers
    except AcmeError:
        return
    assert 0 < len(found) <= 3
    assert len(set(found)) == len(found)

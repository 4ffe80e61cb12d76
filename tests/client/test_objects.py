"""What servers show: read as far as it makes sense, and refused where it does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.client.acme import MAX_ALTERNATES, alternates
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled, split
from acmeiot.client.objects import Authorization, Directory, Order, Renewal
from acmeiot.protocol import names
from tests.client.test_problem import NOW, URL, anything, response

Json = dict[str, Any]
DIRECTORY: Json = {
    "newNonce": "https://router.lan/nonce",
    "newAccount": "account",
    "newOrder": "/order",
    "meta": {"profiles": {"strict": "as the draft", "odd": 7}, "externalAccountRequired": True},
}
CHALLENGE: Json = {"type": "http-01", "url": "/c/1", "status": "pending", "token": "aB-_1"}
AUTHORIZATION: Json = {
    "status": "pending",
    "identifier": {"type": "dns", "value": "printer.lan"},
    "challenges": [CHALLENGE, {"type": "new-02", "url": "/c/2", "status": "pending"}],
}
ORDER: Json = {
    "status": "pending",
    "identifiers": [{"type": "dns", "value": "printer.lan"}, {"type": "ip", "value": "10.0.0.1"}],
    "authorizations": ["/a/1", "https://router.lan:99/a/2"],
    "finalize": "/o/1/finalize",
}
RENEWAL: Json = {
    "suggestedWindow": {"start": "2026-11-22T01:02:03Z", "end": "2026-11-23T01:02:03.5+01:00"}
}


def order(document: object, **headers: str) -> Order:
    """Return the order of an answer."""
    return Order.of(response(document, 200, **headers), "https://router.lan/o/1", NOW)


def authorization(document: object) -> Authorization:
    """Return the authorization of an answer."""
    return Authorization.of(response(document, 200), "https://router.lan/a/1", NOW)


def renewal(document: object, **headers: str) -> Renewal:
    """Return the renewal info of an answer."""
    return Renewal.of(response(document, 200, **headers), NOW, 3600)


def test_directories() -> None:
    """Relative URLs are the answer's; what is not there is empty."""
    read = Directory.of(response(DIRECTORY, 200))
    assert read.new_account == "https://router.lan/acme/account"
    assert read.new_order == "https://router.lan/order"
    assert (read.renewal_info, read.revoke_cert, read.terms) == ("", "", "")
    assert read.profiles == {"strict": "as the draft", "odd": ""}
    assert read.eab_required


def test_what_is_no_directory() -> None:
    """Another JSON document on the path is told apart."""
    with pytest.raises(Garbled, match="no ACME directory: it has no newNonce"):
        Directory.of(response({"name": "OpenWrt"}, 200))
    for url in ("http://router.lan/x", 7, None, "", "https://router.lan:x/"):
        with pytest.raises(Garbled, match=r"newOrder .* is no https URL"):
            Directory.of(response({**DIRECTORY, "newOrder": url}, 200))


def test_orders() -> None:
    """All that an agent needs of one."""
    read = order(ORDER, Retry_After="7")
    assert read.identifiers == (names.dns("printer.lan"), names.ip("10.0.0.1"))
    assert read.authorizations == ("https://router.lan/a/1", "https://router.lan:99/a/2")
    assert (read.certificate, read.error, read.retry_after) == ("", None, 7)
    failed = order({**ORDER, "status": "invalid", "error": {"detail": "no", "type": "x"}})
    assert str(failed.error) == "no (x)"
    with pytest.raises(Garbled, match="authorizations is not an array of at most 100"):
        order({**ORDER, "authorizations": ["/a"] * 101})


def test_authorizations() -> None:
    """Challenges know what they are for; unknown kinds do no harm."""
    read = authorization(AUTHORIZATION)
    assert [one.type for one in read.challenges] == ["http-01", "new-02"]
    assert {one.identifier for one in read.challenges} == {names.dns("printer.lan")}
    assert read.problem is None


@pytest.mark.parametrize("token", ["../../etc/passwd", "a/b", "a b", "a\n", "\u00e4", "x" * 257, 7])
def test_tokens_are_file_names(token: object) -> None:
    """A token that is no base64url would be a path on the device (RFC 8555 section 8.3)."""
    with pytest.raises(Garbled, match="token is not base64url"):
        authorization({**AUTHORIZATION, "challenges": [{**CHALLENGE, "token": token}]})


@pytest.mark.parametrize("value", ["", "a..b", "x" * 300, None, "dr\u00fccker.lan"])
def test_names_that_are_none(value: object) -> None:
    """The name becomes part of a certificate on the device, and of messages."""
    with pytest.raises(Garbled, match="no name"):
        authorization({**AUTHORIZATION, "identifier": {"type": "dns", "value": value}})


def test_renewals() -> None:
    """RFC 9773 section 4.2, with the bounds of 4.3.2 on when to ask again."""
    read = renewal({**RENEWAL, "explanationURL": "https://router.lan/why"}, Retry_After="99999999")
    assert (read.start, read.end) == (1_795_309_323, 1_795_392_123)
    assert (read.retry_after, read.explanation) == (86400, "https://router.lan/why")
    assert renewal(RENEWAL, Retry_After="0").retry_after == 60
    assert renewal(RENEWAL).retry_after == 3600
    start, end = RENEWAL["suggestedWindow"]["start"], RENEWAL["suggestedWindow"]["end"]
    for window in (
        {"start": end, "end": start}, {"start": start, "end": start}, {"start": start}, {}, None,
        {"start": 1, "end": 2}, {"start": "0000-01-01T00:00:00Z", "end": end}, "soon",
        {"start": start, "end": "2026-11-23"}, {"start": "9999-12-31T23:59:59-23:59", "end": end},
    ):  # fmt: skip
        with pytest.raises(Garbled):
            renewal({"suggestedWindow": window})


def test_links() -> None:
    """The other chains of RFC 8555 section 7.4.2, however the fields are written."""
    some = response(b"", 200)
    some.headers["Link"] = f'<{URL}/dir>;rel="index", </c/1>; rel="alternate"'
    some.headers["Link"] = "<https://router.lan/c/2>;rel=alternate;title=x"
    some.headers["link"] = '</c/3>;title="y";rel="alternate"'
    some.headers["Link"] = '</c/3>;rel="alternate"'
    some.headers["Link"] = '</c/9>;rel="up";title="rel=alternate"'
    base = "https://router.lan/c/"
    assert alternates(some) == (base + "1", base + "2", base + "3")
    many = response(b"", 200)
    many.headers["Link"] = ",".join(f'</c/{number}>;rel="alternate"' for number in range(1000))
    assert len(alternates(many)) == MAX_ALTERNATES
    bad = response(b"", 200)
    bad.headers["Link"] = '<http://router.lan/c>;rel="alternate"'
    with pytest.raises(Garbled, match="Link"):
        alternates(bad)


READERS: list[tuple[Callable[[object], object], Json]] = [
    (lambda document: Directory.of(response(document, 200)), DIRECTORY),
    (order, ORDER),
    (authorization, AUTHORIZATION),
    (renewal, RENEWAL),
]


@given(st.sampled_from(READERS), st.data())
def test_any_object(reader: tuple[Callable[[object], object], Json], data: st.DataObject) -> None:
    """One member is anything: it is read, or Garbled."""
    read, good = reader
    document = copy.deepcopy(good)
    place: Any = document
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
            place[key] = data.draw(anything)
            break
        place = place[key]
    try:
        read(document)
    except Garbled as error:
        said = str(error)
        assert said.isprintable()


@given(st.text(max_size=100))
def test_any_link(text: str) -> None:
    """URLs or Garbled."""
    some = response(b"", 200)
    some.headers["Link"] = text
    try:
        for url in alternates(some):
            split(url)
    except Garbled:
        pass


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://router.lan"]))
def test_any_reference(text: str, before: str) -> None:
    """What comes out can be asked for."""
    some = response(b"", 200)
    try:
        url = some.resolve(before + text, "it")
    except Garbled as error:
        said = str(error)
        assert said.isprintable()
    else:
        split(url)
    try:
        (host, port), path = split(before + text)
    except AgentError:
        return
    assert 0 < port < 65536
    assert host.isascii()
    assert path.startswith("/")

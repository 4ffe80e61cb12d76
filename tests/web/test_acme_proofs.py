"""Authorizations and the three challenges, as a device meets them (R-24, R-26 to R-29)."""

from __future__ import annotations

import base64
import ipaddress
import re
import time

import pytest

from tests.web.client import Client, Json, identifier
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running

WELL_KNOWN = "/.well-known/acme-challenge/"


def authorization_of(client: Client, name: str) -> tuple[str, Json]:
    """Return URL and object of the authorization for one name."""
    (url,) = client.order(name).ok(201)["authorizations"]
    return url, client.post(url).ok()


def challenge(authorization: Json, kind: str = "http-01") -> Json:
    return next(dict(one) for one in authorization["challenges"] if one["type"] == kind)


def failure(client: Client, url: str, authorization: Json, kind: str = "http-01") -> Json:
    """Say that the challenge is ready, and return the problem with which it ends."""
    client.post(challenge(authorization, kind)["url"], {}).ok()
    ended = client.poll(url).ok()
    assert ended["status"] == "invalid"
    (one,) = ended["challenges"]
    assert (one["type"], one["status"]) == (kind, "invalid")
    assert "validated" not in one
    return dict(one["error"])


# --


def test_authorization(client: Client) -> None:
    """R-24: three challenges, each with a token of 128 bits and more (R-27)."""
    _, authorization = authorization_of(client, "look.lan")
    assert set(authorization) == {"identifier", "status", "challenges", "expires"}
    assert authorization["identifier"] == identifier("look.lan")
    kinds = [one["type"] for one in authorization["challenges"]]
    assert sorted(kinds) == ["dns-01", "http-01", "tls-alpn-01"]
    for one in authorization["challenges"]:
        assert set(one) == {"type", "url", "status", "token"}
        assert one["status"] == "pending"
        assert len(base64.urlsafe_b64decode(one["token"] + "==")) >= 16
        assert re.fullmatch(r"[A-Za-z0-9_-]+", one["token"])
    assert len({one["token"] for one in authorization["challenges"]}) == 3


def test_valid_authorization(client: Client, house: House) -> None:
    """R-24, R-26: only the challenge that proved it is left, with the time."""
    url, authorization = authorization_of(client, "valid.lan")
    answer = client.post(house.answer(client, authorization)["url"], {})
    assert answer.links("up") == [url]
    proved = client.poll(url).ok()
    assert proved["status"] == "valid"
    (one,) = proved["challenges"]
    assert (one["type"], one["status"]) == ("http-01", "valid")
    assert one["validated"].endswith("Z")
    assert proved["expires"] > one["validated"]
    assert "error" not in one


@pytest.mark.parametrize("proved", [False, True])
def test_deactivate(client: Client, house: House, proved: bool) -> None:
    """R-24: given up for good, and never used again; pending orders end with it."""
    made = client.order("up.lan")
    (url,) = made.json["authorizations"]
    if proved:
        house.prove(client, made.json)
    assert client.post(url, {"status": "deactivated"}).ok()["status"] == "deactivated"
    assert client.post(url).ok()["status"] == "deactivated"
    assert client.post(made.header("Location") or "").ok()["status"] == "invalid"
    client.finalize(made.json).is_problem("orderNotReady", 403)
    again = client.order("up.lan").ok(201)
    assert again["status"] == "pending"
    assert again["authorizations"] != [url]
    assert client.post(url, {"status": "deactivated"}).ok()["status"] == "deactivated"


def test_only_deactivation_changes_an_authorization(client: Client) -> None:
    """R-24."""
    url, authorization = authorization_of(client, "keep.lan")
    for payload in ({"status": "revoked"}, {"status": 1}, b"x"):
        client.post(url, payload).is_problem("malformed", 400)
    assert client.post(url, {"unknown": 1}).ok() == authorization


# --


def test_answering(client: Client, house: House) -> None:
    """R-26: unknown members are ignored; a valid challenge is not looked at again."""
    url, authorization = authorization_of(client, "again.lan")
    one = house.answer(client, authorization)
    client.post(one["url"], {"keyAuthorization": "x", "resource": "challenge"}).ok()
    proved = client.poll(url).ok()
    looked = len(house.asked)
    answer = client.post(one["url"], {})
    assert answer.ok() == proved["challenges"][0]
    assert answer.links("up") == [url]
    assert client.post(one["url"]).ok() == proved["challenges"][0]
    assert len(house.asked) == looked


def test_reading_a_challenge_starts_nothing(client: Client) -> None:
    """R-26, R-10: POST-as-GET is no answer."""
    url, authorization = authorization_of(client, "read.lan")
    assert client.post(challenge(authorization)["url"]).ok()["status"] == "pending"
    assert client.post(url).ok()["status"] == "pending"


def test_an_answer_is_an_object(client: Client) -> None:
    """R-26: neither other challenges nor other payloads."""
    _, authorization = authorization_of(client, "object.lan")
    url = challenge(authorization)["url"]
    client.post(url.replace("http-01", "http-02"), {}).is_problem("malformed", 404)
    client.post(url.replace("http-01", "http-02")).is_problem("malformed", 404)


def test_one_failure_ends_the_authorization(client: Client, house: House) -> None:
    """R-26: other challenges cannot be tried after one failed."""
    url, authorization = authorization_of(client, "ends.lan")
    failure(client, url, authorization)
    ended = client.post(url).ok()
    dns = house.answer(client, authorization, "dns-01")
    assert client.post(dns["url"], {}).status == 404  # only the failed one is left
    assert client.post(url).ok() == ended


def test_a_slow_device_is_waited_for(client: Client, house: House) -> None:
    """R-26: the answer comes at once, processing with Retry-After; then the device's."""
    url, authorization = authorization_of(client, "slow.lan")
    one = house.answer(client, authorization)
    house.delays[WELL_KNOWN + one["token"]] = 1.5
    began = time.monotonic()
    answer = client.post(one["url"], {})
    assert answer.ok()["status"] == "processing"
    assert time.monotonic() - began < 1.4
    shown = client.post(url)
    for each in (answer, shown):
        assert int(each.header("Retry-After") or "0") >= 1
    assert shown.ok()["status"] == "pending"
    assert client.post(one["url"], {}).ok()["status"] == "processing"
    assert client.poll(url).ok()["status"] == "valid"
    assert house.asked.count((f"slow.lan:{house.http_port}", WELL_KNOWN + one["token"])) == 1


# --


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b" \t\r\n\n"])
def test_http01(client: Client, house: House, tail: bytes) -> None:
    """R-27: trailing white space is no part of the key authorization; Host is the name."""
    url, authorization = authorization_of(client, "web.lan")
    one = house.answer(client, authorization)
    house.bodies[WELL_KNOWN + one["token"]] += tail
    client.post(one["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "valid"
    assert (f"web.lan:{house.http_port}", WELL_KNOWN + one["token"]) in house.asked


def test_http01_for_an_address(client: Client, house: House) -> None:
    """RFC 8738: Host is the address."""
    url, authorization = authorization_of(client, "127.0.0.1")
    one = house.answer(client, authorization)
    client.post(one["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "valid"
    assert (f"127.0.0.1:{house.http_port}", WELL_KNOWN + one["token"]) in house.asked


@pytest.mark.parametrize(
    "body", [b"", b"x", b" {}", b"{}x", b"{}\0", b"{}" + b" " * 5000, b"{token}.x"]
)
def test_http01_with_another_body(client: Client, house: House, body: bytes) -> None:
    """R-27: incorrectResponse, with at most 100 characters of what came (specs 6)."""
    url, authorization = authorization_of(client, "wrong.lan")
    one = house.answer(client, authorization)
    text = client.key_authorization(one["token"]).encode()
    filled = body.replace(b"{}", text).replace(b"{token}", one["token"].encode())
    house.bodies[WELL_KNOWN + one["token"]] = filled + b"<script>" * 100
    error = failure(client, url, authorization)
    assert error["type"].endswith(":incorrectResponse")
    assert error["detail"].count("<script>") <= 12
    assert "wrong.lan" in error["detail"]


def test_http01_of_another_account(client: Client, house: House) -> None:
    """R-27: the key authorization is bound to the account's key."""
    url, authorization = authorization_of(client, "bound.lan")
    one = house.answer(client.other(), authorization)
    assert failure(client, url, authorization)["type"].endswith(":incorrectResponse")
    assert one["token"]


def test_http01_to_nobody(client: Client, house: House) -> None:
    """R-27: an unknown name is dns, a shut port is connection."""
    house.missing.add("nobody.lan")
    url, authorization = authorization_of(client, "nobody.lan")
    error = failure(client, url, authorization)
    assert error["type"].endswith(":dns")
    assert "nobody.lan" in error["detail"]
    house.records.append("shut.lan A 127.0.0.77")
    url, authorization = authorization_of(client, "shut.lan")
    error = failure(client, url, authorization)
    assert error["type"].endswith(":connection")
    assert "127.0.0.77" in error["detail"]


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:db8::1", "100.64.0.1", "0.0.0.0"])
def test_http01_never_leaves_the_lan(client: Client, house: House, address: str) -> None:
    """R-27, specs 6: whatever the DNS says."""
    name = f"out-{address.replace('.', '-').replace(':', '-')}x.lan"
    house.records.append(f"{name} {'AAAA' if ':' in address else 'A'} {address}")
    url, authorization = authorization_of(client, name)
    error = failure(client, url, authorization)
    assert error["type"].endswith(":connection")
    assert str(ipaddress.ip_address(address)) in error["detail"]


def test_http01_follows_redirects_on_the_device(client: Client, house: House) -> None:
    """R-27."""
    url, authorization = authorization_of(client, "moved.lan")
    one = house.answer(client, authorization)
    text = house.bodies.pop(WELL_KNOWN + one["token"])
    house.redirects[WELL_KNOWN + one["token"]] = f"/{one['token']}/a"
    house.redirects[f"/{one['token']}/a"] = (
        f"http://other.lan:{house.http_port}/{one['token']}/b?x=y"
    )
    house.bodies[f"/{one['token']}/b?x=y"] = text
    client.post(one["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "valid"


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:22/", "http://127.0.0.1:{admin}/", "http://8.8.8.8/",
     "http://169.254.169.254/latest/meta-data", "http://router.lan:22/", "ftp://moved.lan/",
     "file:///etc/passwd", "//evil.example/", "http://moved.lan:{port}/\u00e4", "x" * 3000,
     "http://u:p@127.0.0.1:{port}/", "http://127.0.0.2:{port}/"],
)  # fmt: skip
def test_http01_does_not_follow_elsewhere(
    client: Client, house: House, server: Running, location: str
) -> None:
    """R-27, specs 6 SSRF: nothing is sent there, and the rule is in the error."""
    url, authorization = authorization_of(client, "ssrf.lan")
    one = house.answer(client, authorization)
    where = location.format(admin=server.ports[1], port=house.http_port)
    house.redirects[WELL_KNOWN + one["token"]] = where.encode().decode("latin-1")
    error = failure(client, url, authorization)
    assert error["type"].endswith(":connection")
    assert "not followed" in error["detail"]


def test_http01_does_not_run_in_circles(client: Client, house: House) -> None:
    """R-27."""
    url, authorization = authorization_of(client, "round.lan")
    one = house.answer(client, authorization)
    house.redirects[WELL_KNOWN + one["token"]] = WELL_KNOWN + one["token"]
    asked = len(house.asked)
    error = failure(client, url, authorization)
    assert error["type"].endswith(":connection")
    assert len(house.asked) - asked <= 11


# --


def test_dns01(client: Client, house: House) -> None:
    """R-28: any one of several records."""
    house.records += ['_acme-challenge.zone.lan TXT "old"', '_acme-challenge.zone.lan TXT "x" "y"']
    url, authorization = authorization_of(client, "zone.lan")
    client.post(house.answer(client, authorization, "dns-01")["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "valid"


def test_dns01_with_the_wrong_record(client: Client, house: House) -> None:
    """R-28: unauthorized with what is there; dns where nothing is."""
    house.records.append('_acme-challenge.wrong.lan TXT "something else"')
    url, authorization = authorization_of(client, "wrong.lan")
    error = failure(client, url, authorization, "dns-01")
    assert error["type"].endswith(":unauthorized")
    assert "something else" in error["detail"]
    url, authorization = authorization_of(client, "norecord.lan")
    error = failure(client, url, authorization, "dns-01")
    assert error["type"].endswith(":dns")
    assert "_acme-challenge.norecord.lan" in error["detail"]


# --


@pytest.mark.parametrize("name", ["alpn.lan", "127.0.0.1"])
def test_tlsalpn01(client: Client, house: House, name: str) -> None:
    """R-29, RFC 8738: the SNI of an address is its reverse name."""
    url, authorization = authorization_of(client, name)
    one = challenge(authorization, "tls-alpn-01")
    sni = "1.0.0.127.in-addr.arpa" if name[0].isdigit() else name
    house.show_proof(sni, [name], client.key_authorization(one["token"]))
    client.post(one["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "valid"


@pytest.mark.parametrize(
    ("names", "key_authorization", "critical"),
    [
        (["{}", "more.lan"], "{}", True),
        (["other.lan"], "{}", True),
        (["127.0.0.1"], "{}", True),
        (["{}"], "x", True),
        (["{}"], "{}", False),
    ],
)
def test_tlsalpn01_with_another_certificate(
    client: Client, house: House, names: list[str], key_authorization: str, critical: bool
) -> None:
    """R-29: exactly one name, a critical extension, the right digest."""
    url, authorization = authorization_of(client, "badalpn.lan")
    one = challenge(authorization, "tls-alpn-01")
    text = key_authorization.replace("{}", client.key_authorization(one["token"]))
    shown = [name.replace("{}", "badalpn.lan") for name in names]
    house.show_proof("badalpn.lan", shown, text, critical=critical)
    error = failure(client, url, authorization, "tls-alpn-01")
    assert error["type"].endswith(":unauthorized")


def test_tlsalpn01_without_tls(make_server: Serve, house: House) -> None:
    """R-29: a plain web server at port 443 is a tls error."""
    plain = make_server("--tlsalpn01-port", str(house.http_port), "--approval", "auto").start()
    client = plain.client()
    url, authorization = authorization_of(client, "plain.lan")
    error = failure(client, url, authorization, "tls-alpn-01")
    assert error["type"].endswith(":tls")
    plain.stop()


# -- CAA


def test_caa(make_server: Serve, house: House) -> None:
    """R-33: a CAA record that names another CA is obeyed, one that names this CA lets pass."""
    house.records += ['caa.lan CAA 0 issue "other.example"', 'fine.lan CAA 0 issue "home.example"']
    running = make_server("--approval", "auto", toml='caa = ["home.example"]\n').start()
    client = running.client()
    url, authorization = authorization_of(client, "caa.lan")
    house.answer(client, authorization)
    error = failure(client, url, authorization)
    assert error["type"].endswith(":caa")
    assert "other.example" in error["detail"]
    for name in ("fine.lan", "none.lan"):
        house.prove(client, client.order(name).ok(201))
    running.stop()

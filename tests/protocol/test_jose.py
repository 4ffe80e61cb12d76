"""JWS as ACME uses them: what is good, and each abuse by its right error (R-5, R-6, R-7)."""

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import josepy.jwa
import josepy.jwk
import pytest
from acme import jws as acme_jws
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import jose
from acmeiot.protocol.errors import (
    AcmeError,
    BadPublicKey,
    BadSignatureAlgorithm,
    Malformed,
    SignatureInvalid,
    Unauthorized,
)
from acmeiot.protocol.jose import Jwk, Jws, b64decode, b64encode, load_json
from tests.protocol.signing import KEYS, URL, b64, encoded, fresh, header, jwk, sign, signature

every_algorithm = pytest.mark.parametrize("alg", jose.ALGORITHMS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


def opened(document: Mapping[str, Any]) -> Jws:
    """Parse a request body and check its signature, as the server does."""
    found = jose.parse(encoded(document))
    Jwk.parse(found.jwk).verify(found)
    return found


# -- what is good


@every_algorithm
@given(payload=st.binary(max_size=300))
def test_round_trip(alg: str, payload: bytes) -> None:
    """R-7: what a client signed is what the rules get."""
    found = opened(sign(alg, payload))
    assert (found.alg, found.url, found.nonce, found.kid) == (alg, URL, "bm9uY2U", None)
    assert found.payload == payload
    assert found.jwk == jwk(alg)


@every_algorithm
def test_round_trip_by_kid(alg: str) -> None:
    """R-6: a request with kid is checked by the key that the account has."""
    protected = header(alg, jwk=None, kid="https://router.lan:8555/acme/account/1")
    found = jose.parse(encoded(sign(alg, b"", protected)))
    assert (found.jwk, found.kid, found.payload) == (None, protected["kid"], b"")
    Jwk.parse(jwk(alg)).verify(found)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512"])
def test_certbots_library(alg: str) -> None:
    """R-5, R-7: the library that certbot signs with agrees about JWS and thumbprint."""
    key = josepy.jwk.JWKRSA(key=KEYS[alg]) if alg == "RS256" else josepy.jwk.JWKEC(key=KEYS[alg])
    made = acme_jws.JWS.sign(
        payload=b'{"a":1}',
        key=key,
        alg=getattr(josepy.jwa, alg),
        nonce=b"nonce1",
        url=URL,
        kid=None,
    )
    found = jose.parse(made.json_dumps().encode())
    mine = Jwk.parse(found.jwk)
    mine.verify(found)
    assert (found.alg, found.payload, found.url) == (alg, b'{"a":1}', URL)
    assert b64decode(mine.thumbprint, "thumbprint") == key.thumbprint()


def test_rfc7515_a3() -> None:
    """RFC 7515 appendix A.3: the ES256 example, whose signature others made."""
    key = Jwk.parse(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    protected = "eyJhbGciOiJFUzI1NiJ9"
    payload = (
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        "Ijp0cnVlfQ"
    )
    signature = (
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    made = Jws(
        alg="ES256",
        nonce=None,
        url=URL,
        jwk=None,
        kid=None,
        payload=b64decode(payload, "payload"),
        signing_input=f"{protected}.{payload}".encode(),
        signature=b64decode(signature, "signature"),
    )
    key.verify(made)
    with pytest.raises(SignatureInvalid):
        key.verify(dataclasses.replace(made, signing_input=made.signing_input + b"A"))


def test_rfc7638_3_1() -> None:
    """RFC 7638 section 3.1: the thumbprint of the RSA example; other members do not count."""
    key = Jwk.parse(
        {
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1"
            "L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5"
            "v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08q"
            "NLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awa"
            "pJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29",
        }
    )
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert set(key.members) == {"kty", "n", "e"}


def test_rfc8037_a() -> None:
    """RFC 8037 appendices A.2 to A.4: Ed25519 key, thumbprint and signature."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = Jwk.parse({"kty": "OKP", "crv": "Ed25519", "x": x})
    assert key.thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    signing_input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = (
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    made = Jws("EdDSA", None, URL, None, None, b"", signing_input, b64decode(signature, "s"))
    key.verify(made)


def test_spki_digest() -> None:
    """Decision 7: an account's key is known by the digest that certificates have of it."""
    made = Jwk.parse(jwk("ES384"))
    assert len(made.spki_sha256()) == 64
    assert made.spki_sha256() != Jwk.parse(jwk("ES256")).spki_sha256()


# -- every mutation is refused

Part = st.sampled_from(["protected", "payload", "signature"])


@every_algorithm
@given(part=Part, where=st.integers(0, 10**6), other=st.integers(1, 255))
def test_any_changed_octet_is_refused(alg: str, part: str, where: int, other: int) -> None:
    """R-5: no octet of header, payload or signature can be another one."""
    document = sign(alg, b'{"contact":[]}')
    raw = bytearray(b64decode(document[part], part))
    raw[where % len(raw)] ^= other
    document[part] = b64(bytes(raw))
    with pytest.raises(AcmeError):
        opened(document)


@every_algorithm
@given(part=Part, where=st.integers(0, 10**6), other=st.characters(max_codepoint=0x17F))
def test_any_changed_character_is_refused(alg: str, part: str, where: int, other: str) -> None:
    """R-5: nor any character of its base64url: one signature has one spelling."""
    document = sign(alg, b'{"contact":[]}')
    text = document[part]
    where %= len(text)
    if text[where] == other:
        return
    document[part] = text[:where] + other + text[where + 1 :]
    with pytest.raises(AcmeError):
        opened(document)


@every_algorithm
def test_left_over_bits_are_refused(alg: str) -> None:
    """R-5, RFC 4648 section 3.5: the last character has bits that say nothing; they are zero."""
    document = sign(alg)
    last = document["signature"][-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    document["signature"] = document["signature"][:-1] + alphabet[alphabet.index(last) ^ 1]
    with pytest.raises(AcmeError):
        opened(document)


@every_algorithm
def test_truncated_and_padded_signatures(alg: str) -> None:
    """R-7: a signature has its length; zeros in front or behind make another one."""
    document = sign(alg)
    raw = b64decode(document["signature"], "signature")
    key = Jwk.parse(jwk(alg))
    found = jose.parse(encoded(document))
    half = len(raw) // 2
    inside = raw[:half] + b"\0" + raw[half:]
    for wrong in (b"", raw[:-1], raw[1:], b"\0" + raw, raw + b"\0", inside, bytes(len(raw))):
        with pytest.raises(SignatureInvalid):
            key.verify(dataclasses.replace(found, signature=wrong))


def test_short_halves() -> None:
    """R-7, RFC 7518 section 3.4: a half keeps its leading zero octets."""
    found = jose.parse(encoded(sign("ES256")))
    raw = signature("ES256", found.signing_input)
    while raw[32] != 0:
        raw = signature("ES256", found.signing_input)
    key = Jwk.parse(jwk("ES256"))
    key.verify(dataclasses.replace(found, signature=raw))
    with pytest.raises(SignatureInvalid):
        key.verify(dataclasses.replace(found, signature=raw[:32] + raw[33:]))


@every_algorithm
def test_another_key(alg: str) -> None:
    """R-16: a signature by somebody else is 401."""
    document = sign(alg, protected=header(alg, jwk=jwk(alg, fresh(alg))))
    with pytest.raises(SignatureInvalid):
        opened(document)


# -- the shape


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",  # a byte order mark
        b"eyJhbGciOiJFUzI1NiJ9.e30.AAAA",  # compact
        encoded(sign("ES256")) + b"x",  # trailing junk
        encoded(sign("ES256")) + encoded(sign("ES256")),
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"protected":' + b"9" * 5000 + b"}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        rb'{"a":"\ud800"}',  # half of a surrogate pair
        rb'{"\udc00":1}',
    ],
)
def test_not_a_flattened_jws(body: bytes) -> None:
    """R-5: flattened JSON only, and JSON only."""
    with pytest.raises(Malformed):
        jose.parse(body)


def test_general_serialization() -> None:
    """R-5: several signatures, also when they are one, also beside a good one."""
    good = sign("ES256")
    parts = {name: good[name] for name in ("protected", "signature")}
    general = {"payload": good["payload"], "signatures": [parts]}
    for document in (general, {**general, "signatures": [parts, parts]}, {**good, **general}):
        with pytest.raises(Malformed, match="flattened"):
            jose.parse(encoded(document))


def test_unprotected_header() -> None:
    """R-5: no unprotected header, not even an empty one."""
    for unprotected in (dict[str, str](), {"kid": "1"}, None):
        with pytest.raises(Malformed, match="unprotected"):
            jose.parse(encoded(sign("ES256", header=unprotected)))


@pytest.mark.parametrize("member", ["b64", "crit"])
@pytest.mark.parametrize("value", [False, True, [], ["b64"]])
def test_unencoded_payload(member: str, value: object) -> None:
    """R-5: `b64` and `crit` of RFC 7797."""
    document = sign("ES256", protected=header("ES256", **{member: value}))
    with pytest.raises(Malformed, match="crit and b64"):
        jose.parse(encoded(document))


@pytest.mark.parametrize("member", ["protected", "payload", "signature"])
def test_missing_member(member: str) -> None:
    """R-5: a detached payload, or another member that is missing or no string."""
    document = sign("ES256")
    for value in (None, 1, ["A"], {"A": 1}):
        with pytest.raises(Malformed, match=f"{member} is missing"):
            jose.parse(encoded({**document, member: value}))
    with pytest.raises(Malformed, match=f"{member} is missing"):
        jose.parse(encoded({name: text for name, text in document.items() if name != member}))


@pytest.mark.parametrize("member", ["protected", "payload", "signature"])
@pytest.mark.parametrize("junk", ["=", "==", " ", "\n", "+", "/", "é", "\0", ".", "AA=="])
def test_base64_with_more_than_its_alphabet(member: str, junk: str) -> None:
    """R-5: no padding, no other alphabet, no blanks."""
    document = sign("ES256", b"abc")
    document[member] += junk
    with pytest.raises(Malformed, match=f"{member} is not base64url"):
        jose.parse(encoded(document))


@pytest.mark.parametrize("name", ["protected", "payload", "url", "kid"])
def test_duplicate_names(name: str) -> None:
    """R-5: two members of one name, in the JWS or in its header."""
    text = json.dumps(sign("ES256"))
    with pytest.raises(Malformed, match="twice"):
        jose.parse(text.replace("{", f'{{"{name}":"a","{name}":"a",', 1).encode())
    protected = json.dumps(header("ES256")).replace("{", f'{{"{name}":1,"{name}":1,', 1).encode()
    with pytest.raises(Malformed, match="twice"):
        jose.parse(encoded(sign("ES256", protected=protected)))


def test_protected_header_is_an_object() -> None:
    """R-5: the protected header is JSON of its own."""
    for protected in (b"", b"[]", b"1", b"{", b"\xff"):
        with pytest.raises(Malformed, match="protected header"):
            jose.parse(encoded(sign("ES256", protected=protected)))


def test_document_that_is_no_object() -> None:
    """R-5, R-17, R-18: an inner JWS comes as JSON already."""
    with pytest.raises(Malformed, match="JSON object"):
        jose.from_document("text")


# -- the header


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kid": "https://router.lan/acme/account/1"}, "exactly one of jwk and kid"),
        ({"jwk": None}, "exactly one of jwk and kid"),
        ({"jwk": None, "kid": 1}, "kid is not a string"),
        ({"jwk": None, "kid": {"a": 1}}, "kid is not a string"),
        ({"nonce": 1}, "nonce is not a string"),
        ({"nonce": ["a"]}, "nonce is not a string"),
        ({"url": None}, "url is missing"),
        ({"url": 1}, "url is missing or not a string"),
        ({"url": [URL]}, "url is missing or not a string"),
    ],
)
def test_header_members(change: dict[str, Any], said: str) -> None:
    """R-6: url, and exactly one of jwk and kid, of the right types."""
    with pytest.raises(Malformed, match=said):
        jose.parse(encoded(sign("ES256", protected=header("ES256", **change))))


def test_header_without_nonce() -> None:
    """R-17, R-18: an inner JWS has none; whether one is needed is not for the parser."""
    assert jose.parse(encoded(sign("ES256", protected=header("ES256", nonce=None)))).nonce is None


# -- algorithms and keys


@pytest.mark.parametrize(
    "alg",
    [
        None, "", "none", "None", "HS256", "HS384", "HS512", "PS256", "RS1", "RS384", "RS512",
        "ES256K", "es256", "ES256 ", "Ed25519", 256, ["ES256"], {"a": 1}, True,
    ],
)  # fmt: skip
def test_other_algorithms(alg: object) -> None:
    """R-7: refused with the list of those that are taken (RFC 8555 section 6.2)."""
    with pytest.raises(BadSignatureAlgorithm) as caught:
        jose.parse(encoded(sign("ES256", protected=header("ES256", alg=alg))))
    assert caught.value.problem()["algorithms"] == ["ES256", "ES384", "ES512", "EdDSA", "RS256"]
    assert caught.value.status == 400


@pytest.mark.parametrize("says", jose.ALGORITHMS)
@pytest.mark.parametrize("has", jose.ALGORITHMS)
def test_algorithm_of_another_key(says: str, has: str) -> None:
    """R-7: a key signs with its own algorithm only, ES256 by P-384 included."""
    document = sign(has, protected=header(has, alg=says))
    if says == has:
        opened(document)
        return
    with pytest.raises(BadPublicKey, match=f"a {has} key cannot sign"):
        opened(document)


def changed(alg: str, **members: object) -> dict[str, object]:
    """Return the algorithm's key with other members."""
    return {**jwk(alg), **members}


def rsa_jwk(bits: int, e: int = 65537) -> dict[str, object]:
    """Return an RSA key of a size; nobody knows its factors."""
    return {"kty": "RSA", "n": b64((1 << (bits - 1)) | 1), "e": b64(e)}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "key type None"),
        ({"kty": "oct"}, "key type 'oct'"),
        ({"kty": ["EC"]}, "key type"),
        ({"kty": "ec"}, "key type 'ec'"),
        (changed("ES256", crv="secp256k1"), "curve"),
        (changed("ES256", crv=None), "curve"),
        (changed("ES256", crv=["P-256"]), "curve"),
        (changed("ES256", crv="P-384"), "48 octets"),
        (changed("ES256", y=b64(b"\0" * 33)), "32 octets"),
        (changed("ES256", y=jwk("ES256")["x"]), "not a point"),
        (changed("ES256", x=b64(bytes(32)), y=b64(bytes(32))), "not a point"),
        (changed("ES256", x=b64(b"\xff" * 32)), "not a point"),
        (changed("EdDSA", crv="X25519"), "use Ed25519"),
        (changed("EdDSA", crv="Ed448"), "use Ed25519"),
        (changed("EdDSA", crv=["Ed25519"]), "use Ed25519"),
        (changed("EdDSA", x=b64(bytes(31))), "32 octets"),
        (rsa_jwk(1024), "this one has 1024"),
        (rsa_jwk(2047), "this one has 2047"),
        (rsa_jwk(8193), "this one has 8193"),
        (rsa_jwk(2048, 3), "exponent"),
        (rsa_jwk(2048, 1), "exponent"),
        (rsa_jwk(2048, 65536), "exponent"),
        (rsa_jwk(2048, 2**64 + 1), "exponent"),
        ({"kty": "RSA", "n": b64(1 << 2047), "e": "AQAB"}, "odd"),
    ],
)
def test_keys_that_are_not_taken(document: object, said: str) -> None:
    """R-7: wrong kinds, curves, sizes and exponents are badPublicKey."""
    with pytest.raises(BadPublicKey, match=said):
        Jwk.parse(document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        ("EC", "not a JSON object"),
        (changed("ES256", d="AAAA"), "private"),
        ({"kty": "oct", "k": "AAAA"}, "private or symmetric"),
        (changed("ES256", x=None), "has no x"),
        (changed("ES256", x=1), "has no x"),
        (changed("ES256", x=""), "has no x"),
        (changed("ES256", x="+" * 43), "jwk.x is not base64url"),
        (changed("RS256", n=None), "has no n"),
        (changed("RS256", e="AQAB="), "jwk.e is not base64url"),
        (changed("EdDSA", x=None), "has no x"),
    ],
)
def test_jwk_that_is_none(document: object, said: str) -> None:
    """R-7: what is no JWK, or holds a secret, is malformed."""
    with pytest.raises(Malformed, match=said):
        Jwk.parse(document)


def test_rsa_limits_are_taken() -> None:
    """R-7: 2048 and 8192 bits are good, leading zero octets make no other key."""
    for bits in (2048, 8192):
        assert Jwk.parse(rsa_jwk(bits)).alg == "RS256"
    number = b64decode(jwk("RS256")["n"], "n")
    padded = changed("RS256", n=b64(b"\0" + number), e="AAEAAQ")
    assert Jwk.parse(padded).thumbprint == Jwk.parse(jwk("RS256")).thumbprint


# -- the external account binding


def test_mac() -> None:
    """R-18: HS256 only where it is asked for, and the right key only."""
    key = bytes(range(32))
    protected = {"alg": "HS256", "kid": "k1", "url": URL}
    head, body = b64(json.dumps(protected).encode()), b64(b"{}")
    mac = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    document = {"protected": head, "payload": body, "signature": b64(mac)}
    found = jose.from_document(document, ("HS256",))
    jose.verify_mac(found, key)
    for wrong in (mac[:-1], b"", mac[::-1], mac + b"\0"):
        with pytest.raises(Unauthorized, match="MAC is wrong"):
            jose.verify_mac(dataclasses.replace(found, signature=wrong), key)
    with pytest.raises(Unauthorized):
        jose.verify_mac(found, key[::-1])
    with pytest.raises(BadSignatureAlgorithm):
        jose.from_document(document)
    with pytest.raises(BadSignatureAlgorithm):
        jose.from_document(sign("ES256"), ("HS256",))


# -- anything at all


@given(st.binary(max_size=200))
def test_arbitrary_octets(body: bytes) -> None:
    """R-5: whatever comes, the answer is a refusal of the protocol."""
    with pytest.raises(AcmeError):
        jose.parse(body)


@given(json_values, json_values, json_values, json_values)
def test_arbitrary_json(head: object, key: object, alg: object, url: object) -> None:
    """R-5, R-6, R-7: JSON of any shape in every place."""
    for protected in (head, {"alg": alg, "jwk": key, "url": url}, header("ES256", jwk=key)):
        body = encoded(sign("ES256", protected=json.dumps(protected).encode()))
        with pytest.raises(AcmeError):
            opened(json.loads(body))


@given(
    st.sampled_from(["EC", "RSA", "OKP"]),
    st.sampled_from(["P-256", "P-384", "P-521", "Ed25519"]),
    st.dictionaries(st.sampled_from(["x", "y", "n", "e"]), st.binary(max_size=70)),
)
def test_arbitrary_keys(kind: str, curve: str, members: dict[str, bytes]) -> None:
    """R-7: any octets as a key; one that is taken is the same when it is stored and read again."""
    document = {"kty": kind, "crv": curve} | {name: b64(raw) for name, raw in members.items()}
    try:
        found = Jwk.parse(document)
    except AcmeError:
        return
    again = Jwk.parse(dict(found.members))
    assert (again.members, again.thumbprint, again.alg) == (
        found.members, found.thumbprint, found.alg,
    )  # fmt: skip
    with pytest.raises((SignatureInvalid, BadPublicKey)):
        found.verify(jose.parse(encoded(sign("EdDSA"))))


@pytest.mark.parametrize("depth", [10, 100, 300, 900, *range(930, 1000, 3), 5000])
def test_any_depth(depth: int) -> None:
    """R-5: a value nested to the edge of what can be read breaks nothing that shows it."""
    deep = b"[" * depth + b"]" * depth
    for name in (b"alg", b"url", b"kid", b"nonce", b"jwk"):
        protected = b'{"alg":"ES256","' + name + b'x":1,"' + name + b'":' + deep + b"}"
        with pytest.raises(AcmeError):
            jose.parse(encoded(sign("ES256", protected=protected)))
    for name in (b"kty", b"crv", b"x"):
        try:
            document = load_json(b'{"kty":"EC","' + name + b'":' + deep + b"}", "jwk")
        except Malformed:
            continue
        with pytest.raises(AcmeError):
            Jwk.parse(document)


# -- base64url and JSON


@given(st.binary(max_size=200))
def test_base64_round_trip(data: bytes) -> None:
    """RFC 7515 section 2: as the standard library has it, without padding."""
    text = b64encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert b64decode(text, "it") == data


@given(st.text(max_size=40) | st.text("AQgw09-_", max_size=12))
def test_base64_has_one_spelling(text: str) -> None:
    """R-5: what is taken is what would be written."""
    try:
        data = b64decode(text, "it")
    except Malformed:
        return
    assert b64encode(data) == text


@given(st.dictionaries(st.text(), json_values))
def test_json_round_trip(document: dict[str, object]) -> None:
    """R-5: good JSON is read as it is, escaped or not."""
    if "NaN" in (text := json.dumps(document)) or "Infinity" in text:
        return
    assert load_json(text.encode(), "it") == document
    assert load_json(json.dumps(document, ensure_ascii=False).encode(), "it") == document


def test_only_whole_surrogate_pairs_are_text() -> None:
    """RFC 7493 section 2.1: a half of one cannot be written down, so it is not read."""
    for half in (rb'{"a":"\ud800"}', rb'{"\uDC00":1}', rb'{"a":["\udda8\ud83d"]}'):
        with pytest.raises(Malformed, match="it is not valid JSON"):
            load_json(half, "it")
    assert load_json(rb'{"a":"\ud83d\udda8"}', "it") == {"a": "\U0001f5a8"}

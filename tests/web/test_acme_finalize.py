"""CSRs: whose names, keys and hashes they must have, and what of them is taken (R-23, A-3.2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.web.client import Client, Json, Key, b64
from tests.web.house import House
from tests.web.keys import Private, certificate_key, request, sha1_request, subject_names
from tests.web.running import Running

PAIR = ("printer.lan", "printer.local")


@pytest.fixture
def ready(client: Client, house: House) -> Json:
    """An order whose names are proved."""
    order = client.order(*PAIR)
    house.prove(client, order.json)
    shown = client.post(order.header("Location") or "").ok()
    assert shown["status"] == "ready"
    return shown


def test_finalize_too_early(client: Client) -> None:
    """R-23."""
    order = client.order("early.lan", "early.local").ok(201)
    client.finalize(order).is_problem("orderNotReady", 403)


def test_finalize_is_idempotent(client: Client, ready: Json) -> None:
    """R-23: the same request again, after a lost answer, makes no second certificate."""
    first = client.finalize(ready).ok()
    assert client.finalize(ready).ok() == first
    assert client.post(ready["finalize"], {"csr": "AAAA"}).ok() == first


Spoil = dict[str, tuple[Sequence[str], str | None]]
NAMES_THAT_DIFFER: Spoil = {
    "one missing": (PAIR[:1], None),
    "one more": ((*PAIR, "other.lan"), None),
    "another": (("printer.lan", "other.local"), None),
    "an address more": ((*PAIR, "192.168.1.20"), None),
    "wildcard": ((*PAIR, "*.printer.lan"), None),
    "none": ((), None),
    "none but CN": ((), "printer.lan"),
    "CN is another host": (PAIR, "evil.lan"),
    "CN is of the Internet": (PAIR, "www.example.com"),
}


@pytest.mark.parametrize("case", NAMES_THAT_DIFFER)
def test_csr_whose_names_differ(client: Client, ready: Json, case: str) -> None:
    """R-23, A-4.1-1: badCSR, and the order stays ready."""
    names, common_name = NAMES_THAT_DIFFER[case]
    csr = request(certificate_key(), names, common_name)
    client.post(ready["finalize"], {"csr": b64(csr)}).is_problem("badCSR", 400)
    client.finalize(ready).ok()


@pytest.mark.parametrize("common_name", ["printer.lan", "PRINTER.local", "device-12cd56"])
def test_csr_whose_common_name_is_harmless(client: Client, ready: Json, common_name: str) -> None:
    """R-23: a name of the order, or a device id, which is not copied."""
    csr = request(certificate_key(), PAIR, common_name)
    done = client.post(ready["finalize"], {"csr": b64(csr)}).ok()
    (leaf, *_) = client.chain(done["certificate"])
    assert len(leaf.subject) == 0


def spoiled(csr: bytes) -> bytes:
    """Return the CSR with a bit of its signature changed."""
    return csr[:-1] + bytes([csr[-1] ^ 1])


@pytest.mark.parametrize(
    "csr",
    [b"", b"x", b"\x30\x00", b"-----BEGIN", spoiled(request(certificate_key(), PAIR)),
     request(certificate_key(), PAIR) + b"\0", request(certificate_key(), PAIR)[:-3]],
    ids=["nothing", "junk", "empty", "half PEM", "signature", "trailing", "cut"],
)  # fmt: skip
def test_csr_that_is_none(client: Client, ready: Json, csr: bytes) -> None:
    """R-23."""
    answer = client.post(ready["finalize"], {"csr": b64(csr)})
    answer.is_problem("badCSR" if csr else "malformed", 400)
    client.finalize(ready).ok()


@pytest.mark.parametrize("payload", [{}, {"csr": 1}, {"csr": "-----BEGIN"}, {"csr": "a=="}])
def test_finalize_that_is_malformed(client: Client, ready: Json, payload: Json) -> None:
    """R-23: RFC 8555 section 7.4 has base64url of the DER."""
    client.post(ready["finalize"], payload).is_problem("malformed", 400)


KEYS: dict[str, tuple[Private, bool, bool]] = {  # key, good for strict, good for compat
    "P-384": (ec.generate_private_key(ec.SECP384R1()), True, True),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), True, True),
    "RSA 3072": (rsa.generate_private_key(65537, 3072), True, True),
    "P-256": (ec.generate_private_key(ec.SECP256R1()), False, True),
    "RSA 2048": (rsa.generate_private_key(65537, 2048), False, True),
    "RSA 1024": (rsa.generate_private_key(65537, 1024), False, False),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), False, False),
    "secp256k1": (ec.generate_private_key(ec.SECP256K1()), False, False),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("profile", ["strict", "compat"])
def test_csr_key(compat: Running, house: House, name: str, profile: str) -> None:
    """R-23, A-3.2.3-2: a refusal says which switch of which client makes a good key."""
    key, strict, easy = KEYS[name]
    client = compat.client()
    order = client.order(*PAIR, profile=profile).ok(201)
    house.prove(client, order)
    # The shared server has seen some of these keys on other accounts: make a fresh one.
    answer = client.finalize(order, fresh_like(key))
    if strict if profile == "strict" else easy:
        leaf = client.chain(answer.ok()["certificate"])[0]
        assert type(leaf.public_key()).__name__ == type(key.public_key()).__name__
        return
    problem = answer.is_problem("badCSR", 400)
    assert "--elliptic-curve secp384r1" in problem["detail"]


def fresh_like(key: Private) -> Private:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ec.generate_private_key(key.curve)
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(65537, key.key_size)
    return key


def test_csr_with_sha1(client: Client, ready: Json, tmp_path: Path) -> None:
    """A-3.2.3-1."""
    answer = client.post(ready["finalize"], {"csr": b64(sha1_request(PAIR, tmp_path))})
    problem = answer.is_problem("badCSR", 400)
    assert "sha1" in problem["detail"].lower()


def test_strict_wants_both_names(client: Client, house: House, compat: Running) -> None:
    """A-3.2.3-3: and says how to ask for them; the order stays ready."""
    for names in (("solo.lan",), ("solo.local",), ("solo.lan", "other.local")):
        order = client.order(*names).ok(201)
        house.prove(client, order)
        problem = client.finalize(order).is_problem("badCSR", 400)
        assert "certbot -d " in problem["detail"]
    easy = compat.client()
    house.issue(easy, "solo.lan")
    house.issue(easy, "solo.internal")


def test_csr_key_is_not_the_accounts(server: Running, house: House) -> None:
    """R-23, RFC 8555 section 11.1: neither this account's nor another's."""
    client, other = server.client(register=False), server.client(register=False)
    for one in (client, other):
        one.key = Key("ES384")
        one.register().ok(201)
    order = client.order("own.lan", "own.local").ok(201)
    house.prove(client, order)
    for key in (client.key.private, other.key.private):
        client.finalize(order, key).is_problem("badCSR", 400)
    client.finalize(order).ok()


def test_csr_key_of_another_account(client: Client, house: House) -> None:
    """Decision 7: a key that somebody else has a certificate for is refused; one's own is not."""
    key = certificate_key()
    house.issue(client, "keep.lan", "keep.local", key=key)
    house.issue(client, "keep.lan", "keep.local", key=key)
    stranger = client.other()
    order = stranger.order("steal.lan", "steal.local").ok(201)
    house.prove(stranger, order)
    stranger.finalize(order, key).is_problem("badCSR", 400)


def test_what_the_csr_asks_beside_names_is_dropped(client: Client, ready: Json) -> None:
    """Specs 6: extensions of a CSR are never copied."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(subject_names(PAIR), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=3), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_CODE_SIGNING]), critical=False)
    )
    csr = builder.sign(certificate_key(), hashes.SHA256())
    der = csr.public_bytes(serialization.Encoding.DER)
    done = client.post(ready["finalize"], {"csr": b64(der)}).ok()
    leaf = client.chain(done["certificate"])[0]
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert constraints.ca is False
    assert list(usage) == [x509.OID_SERVER_AUTH]

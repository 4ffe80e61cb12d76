"""Certificates, chains, revocation, renewal information (R-30, R-31, RFC 9773)."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.web.client import Answer, Client, Key, b64, jws, lifetime
from tests.web.conftest import Serve
from tests.web.house import House, Issued
from tests.web.running import Running

PAIR = ("printer.lan", "printer.local")


@pytest.fixture
def issued(client: Client, house: House) -> Issued:
    """A good certificate."""
    return house.issue(client)


def pem(*certificates: x509.Certificate) -> bytes:
    encoding = serialization.Encoding.PEM
    return b"".join(certificate.public_bytes(encoding) for certificate in certificates)


def verify(work: Path, trusted: bytes, chain: list[x509.Certificate], *more: str) -> str:
    """Return what `openssl verify` says of a leaf and what comes with it."""
    for name, content in (("ca", trusted), ("leaf", pem(chain[0])), ("rest", pem(*chain[1:]))):
        (work / name).write_bytes(content)
    said = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", work / "ca",
         "-untrusted", work / "rest", *more, work / "leaf"],
        capture_output=True, text=True,
    )  # fmt: skip
    return (said.stdout + said.stderr).strip()


# --


def test_certificate(client: Client, issued: Issued, server: Running, tmp_path: Path) -> None:
    """R-30: leaf first, then its issuers, nothing else; it verifies for each of its names."""
    answer = client.post(issued.order["certificate"])
    assert answer.header("Content-Type") == "application/pem-certificate-chain"
    assert answer.body == pem(*issued.chain)
    assert len(issued.chain) == 2
    for name in PAIR:
        said = verify(tmp_path, server.root.read_bytes(), issued.chain, "-verify_hostname", name)
        assert said.endswith(": OK"), said
    said = verify(tmp_path, server.root.read_bytes(), issued.chain, "-verify_hostname", "x.lan")
    assert "mismatch" in said


def test_alternates(client: Client, issued: Issued, server: Running) -> None:
    """R-30: the first chain ends below the root, the second with it; each links to the other."""
    first = client.post(issued.order["certificate"])
    (url,) = first.links("alternate")
    second = client.post(url)
    assert second.header("Content-Type") == "application/pem-certificate-chain"
    assert second.body == first.body + server.root.read_bytes()
    assert second.links("alternate") == [issued.order["certificate"]]
    client.post(f"{issued.order['certificate']}/2").is_problem("malformed", 404)
    client.post(f"{issued.order['certificate']}/-1").is_problem("malformed", 404)
    assert client.post(f"{issued.order['certificate']}/0").body == first.body


def test_certificate_is_immutable(client: Client, issued: Issued) -> None:
    """R-30: the same octets each time, also after it was revoked."""
    before = client.post(issued.order["certificate"]).body
    answer = client.post(client.directory["revokeCert"], {"certificate": b64(issued.der)})
    assert (answer.status, answer.body) == (200, b"")
    assert client.post(issued.order["certificate"]).body == before
    assert client.post(issued.url).ok() == issued.order


def test_certificate_is_its_accounts(client: Client, issued: Issued) -> None:
    """R-30, R-10."""
    stranger = client.other()
    stranger.post(issued.order["certificate"]).is_problem("unauthorized", 403)
    stranger.post(issued.order["certificate"] + "/1").is_problem("unauthorized", 403)
    client.post(issued.order["certificate"], {}).is_problem("malformed", 400)


def test_serials_are_long_and_never_alike(client: Client, house: House) -> None:
    serials = {house.issue(client).leaf.serial_number for _ in range(5)}
    assert len(serials) == 5
    assert all(128 < serial.bit_length() <= 159 for serial in serials)


def test_certificate_for_an_address(compat: Running, house: House, tmp_path: Path) -> None:
    """RFC 8738: alone, and beside names."""
    client = compat.client()
    for names in (("127.0.0.1",), ("127.0.0.1", "::1", *PAIR)):
        order = client.order(*names).ok(201)
        for url in order["authorizations"]:
            authorization = client.post(url).ok()
            name = authorization["identifier"]["value"]
            if name == "::1":
                break
            client.post(house.answer(client, authorization)["url"], {}).ok()
            client.poll(url)
        else:
            chain = client.chain(client.finalize(order).ok()["certificate"])
            said = verify(tmp_path, compat.root.read_bytes(), chain, "-verify_ip", "127.0.0.1")
            assert said.endswith(": OK"), said


# --


def revoke(client: Client, der: bytes, **more: Any) -> Answer:
    return client.post(client.directory["revokeCert"], {"certificate": b64(der), **more})


@pytest.mark.parametrize("reason", [None, 0, 1, 3, 4, 5, 9])
def test_revoke(client: Client, issued: Issued, reason: int | None) -> None:
    """R-31: by its account, with every reason that a device may give; twice is once too often."""
    more = {} if reason is None else {"reason": reason}
    answer = revoke(client, issued.der, **more)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("Replay-Nonce")
    revoke(client, issued.der).is_problem("alreadyRevoked", 400)


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, 11, -1, 10**9])
def test_reason_that_is_not_for_devices(client: Client, issued: Issued, reason: int) -> None:
    """R-31: with those that are."""
    problem = revoke(client, issued.der, reason=reason).is_problem("badRevocationReason", 400)
    assert "keyCompromise" in problem["detail"]
    assert revoke(client, issued.der).status == 200


@pytest.mark.parametrize("reason", ["1", 1.5, True, []])
def test_reason_that_is_none(client: Client, issued: Issued, reason: object) -> None:
    """R-31."""
    revoke(client, issued.der, reason=reason).is_problem("malformed", 400)


def by_key(client: Client, key: Key, der: bytes) -> Answer:
    """Revoke with a certificate's key: jwk and no account."""
    url = client.directory["revokeCert"]
    header = {"alg": key.alg, "jwk": key.jwk, "nonce": client.nonce(), "url": url}
    return client.send(url, json.dumps(jws(header, {"certificate": b64(der)}, key.sign)).encode())


def test_revoke_by_the_certificates_key(client: Client, house: House) -> None:
    """R-31, R-6: whoever found the key can end it; another key cannot."""
    key = Key("ES384")
    issued = house.issue(client, *PAIR, key=key.private)
    by_key(client, Key("ES384"), issued.der).is_problem("unauthorized", 403)
    by_key(client, client.key, issued.der).is_problem("unauthorized", 403)
    assert by_key(client, key, issued.der).status == 200
    by_key(client, key, issued.der).is_problem("alreadyRevoked", 400)


def test_revoke_by_who_holds_the_names_now(client: Client, house: House) -> None:
    """R-31: all of them; one is not enough."""
    issued = house.issue(client, "held.lan", "held.local")
    stranger = client.other()
    revoke(stranger, issued.der).is_problem("unauthorized", 403)
    house.prove(stranger, stranger.order("held.lan").ok(201))
    revoke(stranger, issued.der).is_problem("unauthorized", 403)
    house.prove(stranger, stranger.order("held.local").ok(201))
    assert revoke(stranger, issued.der).status == 200


def test_revoke_what_is_not_ours(
    client: Client, issued: Issued, server: Running, compat: Running
) -> None:
    """R-31: another CA's, the issuer's, a changed one, or no certificate."""
    root = x509.load_pem_x509_certificate(compat.root.read_bytes())
    ours = x509.load_pem_x509_certificate(server.root.read_bytes())
    for one in (root, ours, issued.chain[1]):
        der = one.public_bytes(serialization.Encoding.DER)
        revoke(client, der).is_problem("malformed", 404)
    forged = issued.der[:-1] + bytes([issued.der[-1] ^ 1])
    assert revoke(client, forged).status in (400, 404)
    for der in (b"x", b"\x30\x00", issued.der[:-1]):
        revoke(client, der).is_problem("malformed", 400)
    for payload in ({}, {"certificate": 1}, {"certificate": pem(issued.leaf).decode()}):
        client.post(client.directory["revokeCert"], payload).is_problem("malformed", 400)
    assert revoke(client, issued.der).status == 200


# -- RFC 9773


def window(answer: Answer) -> tuple[float, float]:
    """Return the window's ends in epoch seconds; the answer must be as section 4.2 has it."""
    document = answer.ok()
    assert int(answer.header("Retry-After") or "0") > 0
    start, end = (
        datetime.fromisoformat(document["suggestedWindow"][which]).timestamp()
        for which in ("start", "end")
    )
    assert end > start
    return start, end


def test_renewal_info(client: Client, issued: Issued) -> None:
    """RFC 9773: unsigned, and in the last third of the life."""
    start, end = window(client.renewal_info(issued.leaf))
    begin, finish = lifetime(issued.leaf)
    assert begin + (finish - begin) * 0.6 < start < end < finish


@pytest.mark.parametrize(
    ("ari_id", "status"),
    [("AAAA.AAAA", 404), ("x", 400), (".", 400), ("AAAA", 400), ("AAAA.", 400), ("AA==.AAAA", 400),
     ("A.B.C", 400), ("A" * 200 + ".AAAA", 400)],
)  # fmt: skip
def test_renewal_info_of_nobody(client: Client, ari_id: str, status: int) -> None:
    """RFC 9773."""
    answer = client.get(f"{client.directory['renewalInfo']}/{ari_id}")
    answer.is_problem("malformed", status)


def test_renewal_info_after_revocation(client: Client, issued: Issued) -> None:
    """RFC 9773: renew at once."""
    assert revoke(client, issued.der).status == 200
    _, end = window(client.renewal_info(issued.leaf))
    assert end < time.time()


def test_replaces(client: Client, house: House, issued: Issued) -> None:
    """RFC 9773 section 5: echoed; a certificate has one successor."""
    ari_id = client.ari_id(issued.leaf)
    made = client.order(*PAIR, replaces=ari_id)
    assert made.ok(201)["replaces"] == ari_id
    client.order(*PAIR, replaces=ari_id).is_problem("alreadyReplaced", 409)
    house.prove(client, made.json)
    client.finalize(made.json).ok()
    client.order(*PAIR, replaces=ari_id).is_problem("alreadyReplaced", 409)
    assert client.post(made.header("Location") or "").ok()["replaces"] == ari_id


def test_replaces_again_after_a_failure(client: Client, house: House) -> None:
    """RFC 9773 section 5: an order that came to nothing replaced nothing."""
    issued = house.issue(client, "retry.lan", "retry.local")
    ari_id = client.ari_id(issued.leaf)
    made = client.order("retry.lan", "retry.local", "extra.lan", replaces=ari_id).ok(201)
    (url,) = (u for u in made["authorizations"] if client.post(u).ok()["status"] == "pending")
    client.post(client.post(url).ok()["challenges"][0]["url"], {}).ok()
    assert client.poll(url).ok()["status"] == "invalid"
    client.order("retry.lan", "retry.local", replaces=ari_id).ok(201)


def test_replaces_what_it_may_not(client: Client, issued: Issued) -> None:
    """RFC 9773 section 5: only one's own, only one that shares a name, only one of this CA."""
    ari_id = client.ari_id(issued.leaf)
    client.other().order(*PAIR, replaces=ari_id).is_problem("unauthorized", 403)
    client.order("other.lan", "other.local", replaces=ari_id).is_problem("malformed", 400)
    client.order(*PAIR, replaces="AAAA.AAAA").is_problem("malformed", 400)
    client.order(*PAIR, replaces=ari_id).ok(201)


# -- a new root


def test_rotation(make_server: Serve, house: House, tmp_path: Path) -> None:
    """Specs 6: windows move to the past, both roots verify, the handshake changes by itself."""
    running = make_server("--approval", "auto", "--limits", "off").start()
    client = running.client()
    old = house.issue(client)
    assert window(client.renewal_info(old.leaf))[1] > time.time()
    first_root = running.plain("/root.pem")
    answer = running.ask("rotate")
    assert answer["old"] == running.root_hash != answer["new"]
    assert running.ask("status")["root"]["sha256"] == answer["new"]

    assert window(client.renewal_info(old.leaf))[1] < time.time()
    new_root = running.plain("/root.pem")
    assert new_root != first_root
    assert running.plain("/roots.pem") == new_root + first_root

    new = house.issue(client, replaces=client.ari_id(old.leaf))
    for trusted in (first_root, new_root):
        for url in (new.order["certificate"], *client.post(new.order["certificate"]).links(
            "alternate"
        )):  # fmt: skip
            said = verify(tmp_path, trusted, client.chain(url))
            assert said.endswith(": OK"), said
    assert verify(tmp_path, first_root, old.chain).endswith(": OK")

    client.wire.close()
    serials = []
    for trusted in (first_root, new_root):
        running.root.write_bytes(trusted)
        fresh = running.client()
        assert fresh.post(fresh.kid).ok()
        serials.append(fresh.wire.peer_serial())
    assert serials[0] == serials[1]
    running.stop()

"""The plain HTTP listener: the root for people and systems, CRL, OCSP and issuers for verifiers."""

from __future__ import annotations

import base64
import hashlib
import http.client
import plistlib
import subprocess
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from acmeiot.ca.publish import Publisher
from acmeiot.ca.roots import Authority
from acmeiot.core.ports import Events
from acmeiot.protocol.fingerprint import words
from acmeiot.web.site import Site
from acmeiot.web.trust import TrustRoutes, in_groups
from tests.web.client import Answer, Client, b64
from tests.web.house import House, Issued
from tests.web.running import Running

HOST = "router.lan"


def ask(
    server: Running,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    host: str = "",
    content_type: str = "",
) -> Answer:
    """Send one plain HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports[1], timeout=20)
    headers = {"Host": host or f"{HOST}:{server.ports[1]}"}
    if content_type:
        headers["Content-Type"] = content_type
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def got(server: Running, path: str, content_type: str) -> bytes:
    answer = ask(server, path)
    assert (answer.status, answer.header("Content-Type")) == (200, content_type), answer
    return answer.body


@pytest.fixture
def issued(client: Client, house: House) -> Issued:
    return house.issue(client)


def openssl(*arguments: object) -> str:
    said = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=20
    )
    return said.stdout + said.stderr


# -- the root


def test_root_in_every_form(server: Running) -> None:
    """A-3.3-2: one root, as PEM, DER, list and Apple profile."""
    pem = got(server, "/root.pem", "application/x-pem-file")
    root = x509.load_pem_x509_certificate(pem)
    der = root.public_bytes(Encoding.DER)
    assert got(server, "/root.crt", "application/x-x509-ca-cert") == der
    assert got(server, "/roots.pem", "application/x-pem-file") == pem
    profile = plistlib.loads(got(server, "/root.mobileconfig", "application/x-apple-aspen-config"))
    (payload,) = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == der
    names = [
        part[key] for part in (profile, payload) for key in ("PayloadUUID", "PayloadIdentifier")
    ]
    assert len(set(names)) == 4
    assert plistlib.loads(ask(server, "/root.mobileconfig").body) == profile
    spki = root.public_key().public_bytes(
        Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert hashlib.sha256(spki).hexdigest() == server.root_hash


def test_trust_page(server: Running) -> None:
    """It shows the fingerprint of the ready line, links to the root, and runs no script."""
    answer = ask(server, "/trust")
    page = answer.body.decode()
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert in_groups(server.root_hash) in page
    assert words(bytes.fromhex(server.root_hash)) in page
    assert server.directory in page
    assert f"http://{HOST}:{server.ports[1]}/root.pem" in page
    for path in ("/root.mobileconfig", "/root.crt", "/root.pem"):
        assert f'href="{path}"' in page
        assert ask(server, path).status == 200
    assert "<script" not in page.lower()
    assert " on" not in "".join(page.lower().split("<body")[-1].split(">")[0])
    assert "{" not in page.partition("</style>")[2]
    policy = answer.header("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert answer.header("X-Frame-Options") == "DENY"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert ask(server, "/").header("Location") == "/trust"


def test_trust_page_escapes(server: Running) -> None:
    """A root's name is the owner's text, not the page's."""

    class Oddly:
        root_name = '<b>Tom & Jerry\'s "CA"</b>'
        root_spki_sha256 = "0" * 64

    site = Site("http", frozenset({"router.lan"}), "http://router.lan", lambda _: False)
    nothing = cast(Publisher, None), cast(Events, None)
    routes = TrustRoutes(cast(Authority, Oddly()), nothing[0], site, "https://x/<i>", nothing[1])
    body = b"".join(
        routes.app(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/trust", "HTTP_HOST": "router.lan"},
            lambda *_: None,
        )
    ).decode()
    assert "<b>Tom" not in body
    assert "&lt;b&gt;Tom &amp; Jerry&#x27;s &quot;CA&quot;&lt;/b&gt;" in body
    assert "https://x/&lt;i&gt;" in body


@pytest.mark.parametrize("path", ["/trust", "/root.pem", "/crl", "/ocsp/x", "/issuer.crt", "/"])
def test_a_foreign_host_gets_nothing(server: Running, path: str) -> None:
    """Specs 6: DNS rebinding."""
    answer = ask(server, path, host="evil.example")
    assert answer.status == 421
    assert b"BEGIN" not in answer.body
    for host in (HOST, "router.local", "127.0.0.1", f"localhost:{server.ports[1]}"):
        assert ask(server, path, host=host).status < 400


def test_what_is_not_there(server: Running) -> None:
    """Nothing but what is listed; nothing is changed from here."""
    for path in (
        "/x",
        "/crl/x.crl",
        "/crl/",
        "/issuer/x.crt",
        "/issuer/../root.pem",
        "/acme/directory",
    ):
        answer = ask(server, path)
        assert answer.status == 404, path
        assert (answer.header("Content-Type") or "").startswith("text/plain")
    for method in ("POST", "PUT", "DELETE"):
        for path in ("/trust", "/root.pem", "/crl"):
            assert ask(server, path, method, b"").status == 405
    assert ask(server, "/root.pem", "HEAD").body == b""


# -- what leafs point to


def urls_of(certificate: x509.Certificate) -> dict[str, str]:
    """Return where a leaf sends verifiers."""
    extensions = certificate.extensions
    (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = {one.access_method._name: str(one.access_location.value) for one in access}
    assert point.full_name is not None
    return {"crl": str(point.full_name[0].value), **found}


def path_of(server: Running, url: str) -> str:
    """Return the path of a URL that must be the plain listener's."""
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("http", f"{HOST}:{server.ports[1]}")
    return parts.path


def test_the_urls_in_a_leaf_answer(server: Running, issued: Issued, tmp_path: Path) -> None:
    """Specs 5.1: CRL, issuer and OCSP, by the very URLs that the certificate has."""
    urls = urls_of(issued.leaf)
    issuer = got(server, path_of(server, urls["caIssuers"]), "application/pkix-cert")
    assert issuer == issued.chain[1].public_bytes(Encoding.DER)
    assert got(server, "/issuer.crt", "application/pkix-cert") == issuer
    crl = got(server, path_of(server, urls["crl"]), "application/pkix-crl")
    assert got(server, "/crl", "application/pkix-crl") == crl
    (tmp_path / "crl").write_bytes(crl)
    (tmp_path / "issuer").write_bytes(issued.chain[1].public_bytes(Encoding.PEM))
    said = openssl("crl", "-inform", "DER", "-in", tmp_path / "crl", "-noout",
                   "-CAfile", tmp_path / "issuer")  # fmt: skip
    assert "verify OK" in said
    assert "good" in by_openssl(server, issued, tmp_path, path_of(server, urls["OCSP"]))


def by_openssl(server: Running, issued: Issued, work: Path, path: str = "/ocsp") -> str:
    """Return what `openssl ocsp` hears about a certificate, its signature checked."""
    for name, one in (("leaf.pem", issued.leaf), ("issuer.pem", issued.chain[1])):
        (work / name).write_bytes(one.public_bytes(Encoding.PEM))
    said = openssl("ocsp", "-issuer", work / "issuer.pem", "-cert", work / "leaf.pem", "-no_nonce",
                   "-url", f"http://127.0.0.1:{server.ports[1]}{path}", "-CAfile", server.root,
                   "-verify_other", work / "issuer.pem")  # fmt: skip
    assert "Response verify OK" in said, said
    return said.split("leaf.pem: ")[1]


@pytest.mark.parametrize("name", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
def test_ocsp_by_get(server: Running, issued: Issued, name: hashes.HashAlgorithm) -> None:
    """RFC 6960 appendix A.1: the question in the path, escaped or not."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(issued.leaf, issued.chain[1], name)
    question = base64.b64encode(builder.build().public_bytes(Encoding.DER)).decode()
    for path in (question, quote(question, safe="")):
        body = got(server, f"/ocsp/{path}", "application/ocsp-response")
        answer = ocsp.load_der_ocsp_response(body)
        assert answer.certificate_status == ocsp.OCSPCertStatus.GOOD
        assert answer.serial_number == issued.leaf.serial_number


def test_revocation_is_seen_at_once(
    server: Running, client: Client, issued: Issued, tmp_path: Path
) -> None:
    """R-31, specs 6: by OCSP and CRL, though both were asked before."""
    assert by_openssl(server, issued, tmp_path).startswith("good")
    assert revoked_in(server, issued) is None
    payload = {"certificate": b64(issued.der), "reason": 1}
    assert client.post(client.directory["revokeCert"], payload).status == 200
    said = by_openssl(server, issued, tmp_path)
    assert said.startswith("revoked")
    assert "keyCompromise" in said
    entry = revoked_in(server, issued)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason == x509.ReasonFlags.key_compromise
    (tmp_path / "crl.pem").write_bytes(
        x509.load_der_x509_crl(ask(server, "/crl").body).public_bytes(Encoding.PEM)
    )
    said = openssl("verify", "-crl_check", "-CRLfile", tmp_path / "crl.pem",
                   "-CAfile", server.root, "-untrusted", tmp_path / "issuer.pem",
                   tmp_path / "leaf.pem")  # fmt: skip
    assert "certificate revoked" in said


def revoked_in(server: Running, issued: Issued) -> x509.RevokedCertificate | None:
    crl = x509.load_der_x509_crl(ask(server, "/crl").body)
    return crl.get_revoked_certificate_by_serial_number(issued.leaf.serial_number)


def test_crl_numbers_rise(server: Running, client: Client, house: House) -> None:
    def number() -> int:
        crl = x509.load_der_x509_crl(ask(server, "/crl").body)
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    before = number()
    assert number() == before  # the same one is given until something changes
    issued = house.issue(client)
    assert number() == before
    client.post(client.directory["revokeCert"], {"certificate": b64(issued.der)})
    assert number() > before


@pytest.mark.parametrize("question", [b"", b"junk", b"\x30\x00", b"x" * 5000])
def test_ocsp_of_nothing(server: Running, question: bytes) -> None:
    """RFC 6960: malformedRequest, never an HTTP error, for what is no question."""
    answer = ask(server, "/ocsp", "POST", question, content_type="application/ocsp-request")
    assert (answer.status, answer.body.hex()) == (200, "30030a0101")


def test_ocsp_of_a_stranger(server: Running, compat: Running, house: House) -> None:
    """RFC 5019 section 2.2.3: unauthorized for another CA's certificate."""
    issued = house.issue(compat.client())
    builder = ocsp.OCSPRequestBuilder()
    request = builder.add_certificate(issued.leaf, issued.chain[1], hashes.SHA256()).build()
    answer = ask(server, "/ocsp", "POST", request.public_bytes(Encoding.DER))
    assert (answer.status, answer.body.hex()) == (200, "30030a0106")


def test_ocsp_get_of_junk(server: Running) -> None:
    for path in ("/ocsp/x", "/ocsp/!!!!", "/ocsp/%00", f"/ocsp/{'A' * 4000}"):
        assert ask(server, path).body.hex() == "30030a0101"

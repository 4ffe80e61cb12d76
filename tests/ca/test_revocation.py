"""CRL and OCSP, as OpenSSL and GnuTLS read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.ca import ocsp as responder
from acmeiot.ca.roots import Authority
from acmeiot.core.records import Certificate, Leaf
from acmeiot.protocol.moments import utc
from tests.ca import material, peers
from tests.ca.conftest import Open

DAY = 86400


def stored(leaf: Leaf, revoked_at: int | None = None, reason: int | None = None) -> Certificate:
    """Return the store's record of a leaf."""
    return Certificate(
        id="1",
        serial=leaf.serial,
        issuer_id=leaf.issuer_id,
        account_id="a",
        order_id="o",
        identifiers=(),
        spki_sha256="",
        profile="strict",
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        der=leaf.der,
        ari_id=leaf.ari_id,
        revoked_at=revoked_at,
        reason=reason,
    )


class Files:
    """The authority's certificates and CRLs as files for a command line."""

    def __init__(self, where: Path, authority: Authority, leaf: Leaf) -> None:
        self.where = where
        self.root = peers.write_pem(where / "root.pem", [authority.root_der])
        self.issuer = peers.write_pem(
            where / "issuer.pem", [authority.issuer_certificate(leaf.issuer_id)]
        )
        self.leaf = peers.write_pem(where / "leaf.pem", [leaf.der])

    def crls(self, *ders: bytes) -> Path:
        """Write CRLs to one PEM file."""
        path = self.where / "crls.pem"
        path.write_bytes(
            b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in ders)
        )
        return path

    def ask(self, *options: str) -> bytes:
        """Return OpenSSL's OCSP question about the leaf."""
        path = self.where / "question"
        peers.run(
            "openssl", "ocsp", "-issuer", self.issuer, "-cert", self.leaf,
            "-reqout", path, *options,
        )  # fmt: skip
        return path.read_bytes()

    def understand(self, answer: bytes, at: int) -> str:
        """Return what OpenSSL understands of an answer; raise Refused if it does not verify."""
        path = self.where / "answer"
        path.write_bytes(answer)
        said = peers.run(
            "openssl", "ocsp", "-respin", path, "-issuer", self.issuer, "-cert", self.leaf,
            "-CAfile", self.root, "-no-CApath", "-no-CAstore", "-attime", str(at),
        )  # fmt: skip
        assert "Response verify OK" in said
        return said


@pytest.fixture
def leaf(authority: Authority, now: int) -> Leaf:
    """A leaf of the current intermediate."""
    return authority.issue(material.request(now))


@pytest.fixture
def files(authority: Authority, leaf: Leaf, tmp_path: Path) -> Files:
    """The leaf and what is above it, in files."""
    return Files(tmp_path, authority, leaf)


def verify_with_crls(files: Files, crls: Path) -> None:
    """Let OpenSSL verify the leaf with CRLs for it and for its issuer."""
    peers.run(
        "openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", files.root,
        "-no-CApath", "-no-CAstore", "-untrusted", files.issuer, "-CRLfile", crls, files.leaf,
    )  # fmt: skip


def all_crls(files: Files, authority: Authority, revoked: list[Certificate], now: int) -> Path:
    """Write the CRLs of the intermediate and of the root."""
    issuer, root = authority.issuers()[0].id, authority.roots()[0].id
    return files.crls(authority.crl(issuer, revoked, 7, now), authority.crl(root, [], 3, now))


def test_leaf_that_is_not_listed_verifies(
    authority: Authority, leaf: Leaf, files: Files, now: int
) -> None:
    other = authority.issue(material.request(now))
    verify_with_crls(files, all_crls(files, authority, [stored(other, now), stored(leaf)], now))


@pytest.mark.parametrize("reason", [None, 0, 1, 3, 4, 5, 9])
def test_listed_leaf_is_refused(
    reason: int | None, authority: Authority, leaf: Leaf, files: Files, now: int
) -> None:
    crls = all_crls(files, authority, [stored(leaf, now - 60, reason)], now)
    with pytest.raises(peers.Refused, match="certificate revoked"):
        verify_with_crls(files, crls)


def test_gnutls_reads_the_list(authority: Authority, leaf: Leaf, files: Files, now: int) -> None:
    crls = files.crls(authority.crl(leaf.issuer_id, [stored(leaf, now - 60, 1)], 7, now))
    peers.run("certtool", "--verify-crl", "--infile", crls, "--load-ca-certificate", files.issuer)
    assert leaf.serial in peers.run("certtool", "--crl-info", "--infile", crls).replace(":", "")


def test_crl_profile(authority: Authority, leaf: Leaf, now: int) -> None:
    """RFC 5280 section 5: number, AKI, 7 days, reason left out when it says nothing."""
    issuer = material.load(authority.issuer_certificate(leaf.issuer_id))
    revoked = [
        stored(leaf, now - 60, 1),
        stored(replace(leaf, serial="ab"), now - 50, 0),
        stored(replace(leaf, serial="cd"), now - 40, None),
        stored(replace(leaf, serial="ef", issuer_id="another"), now, 1),
        stored(replace(leaf, serial="11"), None),
    ]
    crl = x509.load_der_x509_crl(authority.crl(leaf.issuer_id, revoked, 41, now))
    public = issuer.public_key()
    assert crl.is_signature_valid(public)  # type: ignore[arg-type]
    assert crl.issuer == issuer.subject
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 41
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    aki = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == own
    assert {extension.critical for extension in crl.extensions} == {False}
    assert crl.signature_hash_algorithm is not None
    assert crl.signature_hash_algorithm.name == "sha384"
    reasons = {
        f"{entry.serial_number:x}": [type(one.value).__name__ for one in entry.extensions]
        for entry in crl
    }
    assert reasons == {leaf.serial: ["CRLReason"], "ab": [], "cd": []}


@pytest.mark.parametrize("kind", ["p521", "rsa3072"])
def test_root_crl_with_other_keys(kind: str, reopen: Open, now: int) -> None:
    authority = reopen(root_key=kind)
    root = authority.roots()[0]
    crl = x509.load_der_x509_crl(authority.crl(root.id, [], 1, now))
    assert crl.is_signature_valid(root.certificate.public_key())  # type: ignore[arg-type]
    assert len(crl) == 0


def test_crl_of_an_unknown_issuer(authority: Authority, now: int) -> None:
    with pytest.raises(KeyError):
        authority.crl("0" * 16, [], 1, now)


def test_crl_and_ocsp_of_a_superseded_intermediate(
    authority: Authority, leaf: Leaf, files: Files, now: int
) -> None:
    """Old leaves can be revoked as long as they live."""
    authority.rotate(now)
    record = stored(leaf, now - 60, 4)
    crl = x509.load_der_x509_crl(authority.crl(leaf.issuer_id, [record], 1, now))
    assert len(crl) == 1
    answer = authority.ocsp(files.ask(), lambda serial: record, now)
    assert "leaf.pem: revoked" in files.understand(answer, now)


@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256", "-sha384", "-sha512"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_ocsp_good(
    algorithm: str, nonce: str, authority: Authority, leaf: Leaf, files: Files, now: int
) -> None:
    asked: list[str] = []

    def lookup(serial: str) -> Certificate:
        asked.append(serial)
        return stored(leaf)

    question = peers.run(
        "openssl", "ocsp", algorithm, "-issuer", files.issuer, "-cert", files.leaf,
        "-reqout", files.where / "question", nonce,
    )  # fmt: skip
    assert question == ""
    answer = authority.ocsp((files.where / "question").read_bytes(), lookup, now)
    assert asked == [leaf.serial]
    response = ocsp.load_der_ocsp_response(answer)
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert response.hash_algorithm.name == algorithm[1:]
    assert len(response.certificates) == 0
    if algorithm == "-sha1":  # else OpenSSL's command looks for the answer to its own question
        assert "leaf.pem: good" in files.understand(answer, now)


@pytest.mark.parametrize(
    ("reason", "words"),
    [(None, ""), (0, ""), (1, "keyCompromise"), (4, "superseded"), (9, "(UNKNOWN)")],
)
def test_ocsp_revoked(
    reason: int | None, words: str, authority: Authority, leaf: Leaf, files: Files, now: int
) -> None:
    record = stored(leaf, now - 60, reason)
    said = files.understand(authority.ocsp(files.ask(), lambda serial: record, now), now)
    assert "leaf.pem: revoked" in said
    assert words in said
    assert ("Reason:" in said) == bool(words)


def test_ocsp_unknown(authority: Authority, leaf: Leaf, files: Files, now: int) -> None:
    """A serial that is not in the store, or is another issuer's."""
    another = replace(stored(leaf), issuer_id="another")
    for records in ({}, {leaf.serial: another}):
        said = files.understand(authority.ocsp(files.ask(), records.get, now), now)
        assert "leaf.pem: unknown" in said


def test_gnutls_understands(authority: Authority, leaf: Leaf, files: Files, now: int) -> None:
    answer = files.where / "answer"
    answer.write_bytes(authority.ocsp(files.ask(), lambda serial: stored(leaf, now, 1), now))
    peers.run("ocsptool", "--verify-response", "--infile", answer, "--load-signer", files.issuer)
    said = peers.run("ocsptool", "--response-info", "--infile", answer)
    assert "Certificate Status: revoked" in said


def test_ocsp_times(authority: Authority, leaf: Leaf, files: Files, now: int) -> None:
    answer = authority.ocsp(files.ask(), lambda serial: stored(leaf), now)
    response = ocsp.load_der_ocsp_response(answer)
    until = getattr(response, "next_update_utc", None) or response.next_update
    assert until is not None
    assert until.replace(tzinfo=None) == utc(now + responder.LIFE).replace(tzinfo=None)


def test_ocsp_of_a_stranger_is_unauthorized(
    authority: Authority, files: Files, now: int, tmp_path: Path, reopen: Open
) -> None:
    question = files.ask()
    (tmp_path / "state").rename(tmp_path / "neighbour")
    neighbour = reopen()

    def lookup(serial: str) -> Certificate:
        raise AssertionError(serial)

    answer = ocsp.load_der_ocsp_response(neighbour.ocsp(question, lookup, now))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("serial", [1 << 159, (1 << 400) + 1, 0, -5])
def test_ocsp_of_an_impossible_serial_is_unauthorized(
    serial: int, authority: Authority, files: Files, now: int
) -> None:
    """No CA could have given it: not worth a signature."""
    path = files.where / "question"
    peers.run("openssl", "ocsp", "-issuer", files.issuer, "-serial", str(serial), "-reqout", path)
    answer = authority.ocsp(path.read_bytes(), lambda _: None, now)
    status = ocsp.load_der_ocsp_response(answer).response_status
    assert status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("serial", [1, (1 << 159) - 1])
def test_ocsp_of_a_possible_serial(
    serial: int, authority: Authority, files: Files, now: int
) -> None:
    path = files.where / "question"
    peers.run("openssl", "ocsp", "-issuer", files.issuer, "-serial", str(serial), "-reqout", path)
    response = ocsp.load_der_ocsp_response(authority.ocsp(path.read_bytes(), lambda _: None, now))
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert response.serial_number == serial


def two_questions(leaf: Leaf, authority: Authority) -> bytes:
    """Return a request with two questions in it."""
    issuer = material.load(authority.issuer_certificate(leaf.issuer_id))
    one = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(material.load(leaf.der), issuer, hashes.SHA1())
        .build()
        .public_bytes(Encoding.DER)
    )
    question = one[6:]  # the one inside SEQUENCE (request), SEQUENCE (tbs), SEQUENCE (list)
    inner = b"\x30\x81" + bytes([2 * len(question)]) + question * 2
    tbs = b"\x30\x81" + bytes([len(inner)]) + inner
    return b"\x30\x81" + bytes([len(tbs)]) + tbs


def test_ocsp_malformed(authority: Authority, leaf: Leaf, files: Files, now: int) -> None:
    good = files.ask()
    for question in (b"", b"junk", good[:-1], good + b"\0" * 3000, two_questions(leaf, authority)):
        answer = ocsp.load_der_ocsp_response(authority.ocsp(question, lambda _: None, now))
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_ocsp_question_is_bounded(authority: Authority, leaf: Leaf, now: int) -> None:
    issuer = material.load(authority.issuer_certificate(leaf.issuer_id))
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        material.load(leaf.der), issuer, hashes.SHA256()
    )

    def status(padding: int) -> ocsp.OCSPResponseStatus:
        nonce = x509.OCSPNonce(b"n" * padding)
        question = builder.add_extension(nonce, critical=False).build()
        answer = authority.ocsp(question.public_bytes(Encoding.DER), lambda _: stored(leaf), now)
        return ocsp.load_der_ocsp_response(answer).response_status

    assert status(1000) is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert status(responder.MAX_REQUEST) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(question: bytes) -> None:
    answer = ocsp.load_der_ocsp_response(responder.answer(question, (), lambda _: None, 0))
    assert answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL

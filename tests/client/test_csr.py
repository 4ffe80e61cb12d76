"""Certificate requests, read by cryptography and by openssl."""

from __future__ import annotations

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.ca.issue import read_csr
from acmeiot.client import csr
from acmeiot.client.errors import AgentError
from acmeiot.protocol import names
from tests.client.issuers import make

WANTED = [names.dns("printer.lan"), names.dns("printer.local"), names.ip("192.168.1.20")]


def test_a_request_of_the_draft() -> None:
    """A-3.2.3-1, A-3.2.3-2, A-3.2.3-3, A-3.2.3-4: SHA-2, P-384, both names, the address."""
    key = csr.fresh_key()
    der = csr.request(key, [*WANTED, WANTED[0]])
    assert isinstance(key.curve, ec.SECP384R1)
    read = x509.load_der_x509_csr(der)
    assert read.is_signature_valid
    assert read.public_key() == key.public_key()
    assert read.signature_hash_algorithm is not None
    assert read.signature_hash_algorithm.name == "sha384"
    assert list(read.subject) == []
    assert read_csr(der).identifiers == tuple(WANTED)
    text = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-noout", "-text", "-verify"],
        input=der, capture_output=True, check=True,
    )  # fmt: skip
    assert b"DNS:printer.lan, DNS:printer.local, IP Address:192.168.1.20" in text.stdout
    assert b"ecdsa-with-SHA384" in text.stdout


def test_a_fresh_key_each_time() -> None:
    """No key is used twice."""
    assert csr.fresh_key().private_numbers() != csr.fresh_key().private_numbers()


@pytest.mark.parametrize("name", ["localhost", "localhost.lan", "localhost.local"])
def test_never_localhost(name: str) -> None:
    """A-3.2.3-5."""
    with pytest.raises(AgentError, match="every machine's own"):
        csr.request(csr.fresh_key(), [*WANTED, names.dns(name)])


def test_no_names() -> None:
    """A request for nothing is a mistake."""
    with pytest.raises(AgentError, match="at least one name"):
        csr.request(csr.fresh_key(), [])


def test_names_of_certificates() -> None:
    """Names and addresses as identifiers; none where there are none."""
    got = make("x", names=["Printer.LAN", "fd00::1", "*.nas.lan"]).certificate
    wanted = {names.dns("printer.lan"), names.ip("fd00::1"), names.dns("*.nas.lan")}
    assert csr.names_of(got) == wanted
    assert csr.names_of(make("x").certificate) == frozenset()

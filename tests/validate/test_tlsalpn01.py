"""tls-alpn-01 against a real TLS server, with the right certificate and each wrong one."""

import hashlib
import ipaddress
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core.records import Challenge
from acmeiot.protocol import names
from acmeiot.protocol.errors import AcmeError, ConnectionFailed, TlsFailed, Unauthorized
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import ChallengeType
from acmeiot.validate import Validators
from acmeiot.validate.tlsalpn01 import MAX_CERTIFICATE, read_proof
from tests.validate.certificates import Shown, subject
from tests.validate.device import Device, Names

KEY_AUTHORIZATION = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0"
DIGEST = hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()
PRINTER = names.dns("printer.lan")
CHALLENGE = Challenge(ChallengeType.TLS_ALPN_01, "unused")
GOOD = Shown((subject("printer.lan"),), b"\x04\x20" + DIGEST)


def validate(
    port: int, address: str = "127.0.0.2", identifier: Identifier = PRINTER, limit: float = 5.0
) -> str:
    """Validate against one address."""
    validators = Validators(
        Names(), tlsalpn01_port=port, allow_loopback=True, limit=limit, sleep=lambda _: None
    )
    return validators.validate(
        CHALLENGE, identifier, KEY_AUTHORIZATION, [ipaddress.ip_address(address)]
    )


def refused(kind: type[AcmeError], port: int, *, limit: float = 5.0) -> str:
    """Validate, expecting this error; return what it says."""
    with pytest.raises(kind) as caught:
        validate(port, limit=limit)
    assert type(caught.value) is kind
    assert caught.value.identifier == PRINTER
    assert caught.value.detail.startswith(f"printer.lan (127.0.0.2) port {port}: ")
    assert caught.value.detail.isprintable()
    return caught.value.detail


def greet(stream: socket.socket) -> None:
    """Wait until the other side has seen the certificate."""
    stream.recv(1)


@pytest.mark.parametrize(
    ("identifier", "address", "sni"),
    [
        ("printer.lan", "127.0.0.2", "printer.lan"),
        ("127.0.0.2", "127.0.0.2", "2.0.0.127.in-addr.arpa"),
        ("::1", "::1", "1." + "0." * 31 + "ip6.arpa"),
    ],
)
def test_good(tmp_path: Path, identifier: str, address: str, sni: str) -> None:
    """R-29: SNI is the name or the reverse name; an expired, untrusted certificate is fine."""
    asked: list[str | None] = []

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        asked.append(name)

    context = replace(GOOD, subjects=(subject(identifier),)).context(tmp_path, "acme-tls/1")
    context.sni_callback = note
    made = names.dns(identifier) if "lan" in identifier else names.ip(identifier)
    with Device(greet, address, context=context) as device:
        assert validate(device.port, address, made) == address
    assert asked == [sni]


def test_capitals_in_the_name(tmp_path: Path) -> None:
    """DNS names in certificates have no case."""
    context = replace(GOOD, subjects=(subject("Printer.LAN"),)).context(tmp_path, "acme-tls/1")
    with Device(greet, context=context) as device:
        assert validate(device.port) == "127.0.0.2"


def test_tls_12(tmp_path: Path) -> None:
    """R-29: TLS 1.2 is enough."""
    context = GOOD.context(tmp_path, "acme-tls/1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Device(greet, context=context) as device:
        assert validate(device.port) == "127.0.0.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_tls_11_is_refused(tmp_path: Path) -> None:
    """R-29: nothing below 1.2."""
    context = GOOD.context(tmp_path, "acme-tls/1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with Device(greet, context=context) as device:
        assert "the TLS handshake for acme-tls/1 failed" in refused(TlsFailed, device.port)


BAD = [
    (Shown((), GOOD.value), "its names must be exactly printer.lan, they are none"),
    (Shown((subject("nas.lan"),), GOOD.value), "they are nas.lan"),
    (Shown((subject("printer.lan"), subject("nas.lan")), GOOD.value), "printer.lan, nas.lan"),
    (Shown((subject("127.0.0.2"),), GOOD.value), "they are 127.0.0.2"),
    (
        Shown((subject("printer.lan"), x509.RFC822Name("a@b.lan")), GOOD.value),
        "they are printer.lan, another kind of name (RFC822Name)",
    ),
    (replace(GOOD, issued_by_another=True), "it is not self-signed"),
    (replace(GOOD, value=None), "it has no acmeIdentifier extension"),
    (replace(GOOD, critical=False), "its acmeIdentifier extension is not critical"),
    (replace(GOOD, value=DIGEST), "is not an OCTET STRING of 32 bytes"),
    (replace(GOOD, value=b"\x04\x1f" + DIGEST[1:]), "is not an OCTET STRING of 32 bytes"),
    (replace(GOOD, value=b"\x04\x20" + bytes(32)), "is for another token or account key"),
]


@pytest.mark.parametrize(("shown", "said"), BAD)
def test_bad_certificate(tmp_path: Path, shown: Shown, said: str) -> None:
    """R-29: each fault of the certificate is `unauthorized`, by its name."""
    with Device(greet, context=shown.context(tmp_path, "acme-tls/1")) as device:
        detail = refused(Unauthorized, device.port)
    assert "its certificate for acme-tls/1 proves nothing: " in detail
    assert said in detail


def test_an_ordinary_web_server(tmp_path: Path) -> None:
    """R-29: ALPN must be exactly acme-tls/1; a server without ALPN does not say it."""
    with Device(greet, context=GOOD.context(tmp_path)) as device:
        detail = refused(TlsFailed, device.port)
    assert "speaks TLS, but not acme-tls/1; is the device's own web server" in detail


def test_another_protocol(tmp_path: Path) -> None:
    """R-29: a server that only knows other protocols either refuses or says none."""
    with Device(greet, context=GOOD.context(tmp_path, "http/1.1", "h2")) as device:
        refused(TlsFailed, device.port)


def test_no_tls_at_all() -> None:
    """Something that is not TLS is a `tls` error with OpenSSL's reason."""
    with Device(lambda stream: stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as device:
        detail = refused(TlsFailed, device.port)
    assert "failed: WRONG_VERSION_NUMBER; does the client answer tls-alpn-01 there?" in detail


def drip(stream: socket.socket) -> None:
    """Send a TLS record one byte at a time."""
    stream.sendall(b"\x16\x03\x03\x40\x00")
    for _ in range(200):
        stream.sendall(b"\x02")
        time.sleep(0.02)


def test_slow_handshake() -> None:
    """R-29: the limit is for the whole handshake, however slowly it drips."""
    with Device(drip) as device:
        began = time.monotonic()
        assert "not complete in time" in refused(TlsFailed, device.port, limit=0.5)
        assert time.monotonic() - began < 2


def test_refused() -> None:
    """R-29: nobody there is `connection`."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
    assert "connection refused; is the client running" in refused(ConnectionFailed, port)


def test_lan_only() -> None:
    """R-29: connect to LAN addresses only."""
    with pytest.raises(ConnectionFailed, match=r"printer\.lan leads to 8\.8\.8\.8"):
        validate(443, "8.8.8.8")


@dataclass(frozen=True)
class Broken(Shown):
    """A certificate whose policies are no list: OpenSSL does not look, who reads it must."""

    def extensions(self, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        """Add the broken extension."""
        oid = x509.CertificatePolicies.oid
        return builder.add_extension(x509.UnrecognizedExtension(oid, b"\x04\x01x"), False)


def test_unreadable_certificates(tmp_path: Path) -> None:
    """What cannot be read is refused in words; too much of it is not even read."""
    with Device(greet, context=Broken().context(tmp_path, "acme-tls/1")) as device:
        assert "its certificate cannot be read: " in refused(Unauthorized, device.port)
    with pytest.raises(ValueError, match="longer than 16384 bytes"):
        read_proof(bytes(MAX_CERTIFICATE + 1))
    version_3 = b"\xa0\x03\x02\x01\x02"
    with pytest.raises(ValueError, match="not a valid X509 version"):
        read_proof(GOOD_DER.replace(version_3, b"\xa0\x03\x02\x01\x6e", 1))


GOOD_DER = GOOD.sign().public_bytes(Encoding.DER)


@given(st.data())
def test_any_certificate(data: st.DataObject) -> None:
    """A certificate with some bytes changed is read or ValueError, and never a right one."""
    der = bytearray(GOOD_DER)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        proof = read_proof(bytes(der))
        assert bytes(der) == GOOD_DER or not proof.self_signed

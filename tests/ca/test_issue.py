"""Reading requests, and the last gate before a signature."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from acmeiot.ca.issue import MAX_CSR, read_csr, serial_of
from acmeiot.ca.roots import Authority
from acmeiot.core.records import Csr
from acmeiot.protocol.errors import BadCsr, Malformed
from acmeiot.protocol.jose import Jwk, b64encode
from acmeiot.protocol.names import Identifier
from tests.ca import material

DAY = 86400
KEY = ec.generate_private_key(ec.SECP384R1())
SignerKey = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey | dsa.DSAPrivateKey
)  # fmt: skip


def csr(
    *names: x509.GeneralName,
    key: SignerKey = KEY,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = hashes.SHA256(),  # noqa: B008
    common_names: Sequence[str] = (),
    more: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """Return a CSR in DER."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def dns(text: str) -> x509.DNSName:
    """Return a DNS name that need not be one."""
    return x509.DNSName(text)


GOOD = csr(dns("printer.lan"), dns("printer.local"), x509.IPAddress(ip_address("192.168.1.20")))


def test_good_csr_is_read() -> None:
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = KEY.public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-384",
        "x": b64encode(point.x.to_bytes(48, "big")),
        "y": b64encode(point.y.to_bytes(48, "big")),
    }
    assert read_csr(GOOD) == Csr(
        der=GOOD,
        identifiers=(
            Identifier("dns", "printer.lan"),
            Identifier("dns", "printer.local"),
            Identifier("ip", "192.168.1.20"),
        ),
        common_name=None,
        key_kind="EC",
        key_name="EC P-384",
        key_bits=384,
        hash_name="sha256",
        spki=spki,
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        jwk_thumbprint=Jwk.parse(jwk).thumbprint,
    )


def test_names_are_made_canonical() -> None:
    read = read_csr(csr(dns("PRINTER.Lan."), dns("*.Printer.LAN"), common_names=["Printer.lan"]))
    assert [one.value for one in read.identifiers] == ["printer.lan", "*.printer.lan"]
    assert read.common_name == "Printer.lan"


def test_ipv6_address() -> None:
    read = read_csr(csr(x509.IPAddress(ip_address("fd00:0:0::1"))))
    assert read.identifiers == (Identifier("ip", "fd00::1"),)


def test_csr_without_names() -> None:
    read = read_csr(csr(common_names=["printer.lan"]))
    assert read.identifiers == ()
    assert read.common_name == "printer.lan"


@pytest.mark.parametrize(
    ("key", "algorithm", "kind", "name", "bits", "hash_name"),
    [
        (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), "EC", "EC P-256", 256, "sha256"),
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA384(), "EC", "EC P-521", 521, "sha384"),
        (
            ec.generate_private_key(ec.SECP256K1()),
            hashes.SHA256(),
            "EC",
            "EC secp256k1",
            256,
            "sha256",
        ),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256(), "RSA", "RSA 2048", 2048, "sha256"),
        (ed25519.Ed25519PrivateKey.generate(), None, "Ed25519", "Ed25519", 256, ""),
        (ed448.Ed448PrivateKey.generate(), None, "Ed448", "Ed448", 0, ""),
    ],
)
def test_facts_of_the_key(
    key: SignerKey, algorithm: hashes.SHA256 | None, kind: str, name: str, bits: int, hash_name: str
) -> None:
    """The policy judges keys and hashes, and needs their facts (A-3.2.3-1, A-3.2.3-2)."""
    read = read_csr(csr(dns("printer.lan"), key=key, algorithm=algorithm))
    assert (read.key_kind, read.key_name, read.key_bits) == (kind, name, bits)
    assert read.hash_name == hash_name
    assert (read.jwk_thumbprint is None) == (name in ("EC secp256k1", "Ed448"))


@pytest.mark.parametrize("size", [2048, 2049, 3072])
def test_rsa_thumbprint_is_that_of_the_account_key(size: int) -> None:
    key = rsa.generate_private_key(65537, size)
    numbers = key.public_key().public_numbers()
    modulus = b64encode(numbers.n.to_bytes((size + 7) // 8, "big"))
    jwk = Jwk.parse({"kty": "RSA", "e": "AQAB", "n": modulus})
    assert read_csr(csr(dns("a.lan"), key=key)).jwk_thumbprint == jwk.thumbprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([x509.RFC822Name("me@printer.lan")], "an e-mail address, 'me@printer.lan'; only DNS"),
        ([x509.UniformResourceIdentifier("https://printer.lan/")], "holds a URI, "),
        ([x509.DirectoryName(x509.Name([]))], "holds a directory name"),
        ([x509.RegisteredID(NameOID.COMMON_NAME)], "holds a registered id"),
        ([x509.OtherName(NameOID.COMMON_NAME, b"\x0c\x01a")], "holds an otherName"),
        (
            [dns("printer.lan"), dns("192.168.1.20")],
            'holds the address .192.168.1.20. as a DNS name.*"IP:192.168.1.20" instead of "DNS:',
        ),
        ([dns("[fe80::1]")], "as a DNS name"),
        ([dns("fe80::1")], "as a DNS name"),
        ([dns("printer.lan"), dns("Printer.LAN.")], "names printer.lan twice"),
        ([dns("bad_name.lan")], "subjectAltName: 'bad_name' in 'bad_name.lan' is not a host label"),
        ([dns("printer.lan\0.evil.com")], "is not a host label"),
        ([dns("")], "the DNS name is empty"),
        ([dns("a" * 64 + ".lan")], "at most 63 characters"),
        ([dns("a.*.lan")], "wildcard"),
        ([x509.IPAddress(ip_network("192.168.1.0/24"))], "a range is no address"),
    ],
)
def test_other_names_are_refused_by_their_kind(names: list[x509.GeneralName], message: str) -> None:
    with pytest.raises(BadCsr, match=message):
        read_csr(csr(*names))


def test_unknown_kind_of_name_is_refused() -> None:
    """An x400Address, which the library does not know."""
    known = csr(x509.UniformResourceIdentifier("x" * 20))
    unknown = known.replace(b"\x86\x14" + b"x" * 20, b"\xa3\x14\x30\x12\x0c\x10" + b"x" * 16)
    with pytest.raises(BadCsr, match=r"subjectAltName: .*only DNS names and IP addresses go here"):
        read_csr(unknown)


def test_two_common_names_are_refused() -> None:
    with pytest.raises(BadCsr, match="more than one common name"):
        read_csr(csr(dns("a.lan"), common_names=["a.lan", "b.lan"]))


def test_wished_extensions_are_not_copied(authority: Authority, now: int) -> None:
    """A request to be a CA, or for anything else, has no effect."""
    wish = csr(
        dns("a.lan"),
        more=[x509.BasicConstraints(ca=True, path_length=None), x509.OCSPNoCheck()],
    )
    read = authority.read_csr(wish)
    leaf = authority.issue(
        replace(material.request(now), spki=read.spki, identifiers=read.identifiers)
    )
    certificate = material.load(leaf.der)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)


def test_size_is_bounded() -> None:
    with pytest.raises(BadCsr, match=f"has {MAX_CSR + 1} octets, at most {MAX_CSR}"):
        read_csr(GOOD + bytes(MAX_CSR + 1 - len(GOOD)))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        b"-----BEGIN CERTIFICATE REQUEST-----",
        b"\x30\x80" + GOOD[4:] + b"\0\0",  # indefinite length: BER, not DER
    ],
)
def test_only_der_is_read(der: bytes) -> None:
    with pytest.raises(BadCsr, match="not a DER PKCS #10 request"):
        read_csr(der)


def test_extension_that_stands_twice_is_refused() -> None:
    """Which of the two should count? Here another one is made into a second subjectAltName."""
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00")
    twice = csr(dns("a.lan"), more=[other]).replace(b"\x55\x1d\x63", b"\x55\x1d\x11")
    with pytest.raises(BadCsr, match="Duplicate"):
        read_csr(twice)


def test_other_version_is_refused() -> None:
    with pytest.raises(BadCsr, match="version"):
        read_csr(GOOD.replace(b"\x02\x01\x00", b"\x02\x01\x02", 1))


def test_signature_is_checked() -> None:
    """A key that is somebody else's: the requester must have it."""
    other = csr(dns("printer.lan"), key=ec.generate_private_key(ec.SECP384R1()))
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    theirs = x509.load_der_x509_csr(other).public_key()
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    forged = other.replace(
        theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), point
    )
    with pytest.raises(BadCsr, match="signature is not by the key in it"):
        read_csr(forged)


def test_dsa_is_refused() -> None:
    with pytest.raises(BadCsr, match="DSA keys are not accepted"):
        read_csr(csr(dns("a.lan"), key=dsa.generate_private_key(2048)))


def test_small_exponent_is_refused() -> None:
    with pytest.raises(BadCsr, match="exponent is 3; make a key with 65537"):
        read_csr(csr(dns("a.lan"), key=rsa.generate_private_key(3, 2048)))


def test_huge_rsa_key_is_refused_before_its_signature_is_checked() -> None:
    """The modulus need not be a key's: nobody gets as far as to use it."""
    good = csr(dns("a.lan"), key=rsa.generate_private_key(65537, 2048))
    wide = good_with_modulus(good, (1 << 8400) + 1)
    with pytest.raises(BadCsr, match="at most 8192 bits, this one has 8401"):
        read_csr(wide)


def good_with_modulus(der: bytes, modulus: int) -> bytes:
    """Return the request with another RSA modulus in it; its signature is then wrong."""
    request = x509.load_der_x509_csr(der)
    key = request.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    old = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    new = rsa.RSAPublicNumbers(65537, modulus).public_key()
    info = request.tbs_certrequest_bytes
    start = info.index(old)
    head = info[:start][-len(b"\x02\x01\x00\x30\x00") :]
    body = head + new.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    body += info[start + len(old) :]
    rest = der[der.index(info) + len(info) :]
    return sequence(sequence(body) + rest)


def sequence(content: bytes) -> bytes:
    """Return a DER SEQUENCE."""
    size = len(content)
    if size < 128:
        return bytes([0x30, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(octets)]) + octets + content


def openssl_request(where: Path, *options: str) -> bytes:
    """Return a request that our own library did not write."""
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384",
         "-nodes", "-keyout", where / "key", "-subj", "/CN=printer", "-outform", "DER",
         "-addext", "subjectAltName=DNS:printer.lan,IP:10.0.0.1", "-out", where / "csr", *options],
        check=True, capture_output=True,
    )  # fmt: skip
    return (where / "csr").read_bytes()


@pytest.mark.parametrize("hash_name", ["sha224", "sha256", "sha384", "sha512"])
def test_openssl_request_is_read(hash_name: str, tmp_path: Path) -> None:
    read = read_csr(openssl_request(tmp_path, f"-{hash_name}"))
    assert [str(one) for one in read.identifiers] == ["printer.lan", "10.0.0.1"]
    assert (read.common_name, read.hash_name) == ("printer", hash_name)


def test_sha1_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadCsr, match="signed with sha1; sign it with SHA-256"):  # A-3.2.3-1
        read_csr(openssl_request(tmp_path, "-sha1"))


@given(st.binary(max_size=600))
@example(GOOD)
def test_any_bytes_are_read_or_refused(der: bytes) -> None:
    with suppress(BadCsr):
        assert read_csr(der).der == der


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_request_is_refused(changes: list[tuple[int, int]]) -> None:
    """Whatever octets change, it is refused in our own words: no other exception."""
    damaged = bytearray(GOOD)
    for place, octet in changes:
        damaged[place] = octet
    if bytes(damaged) == GOOD:
        return
    with pytest.raises(BadCsr):
        read_csr(bytes(damaged))


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=127), max_size=20), max_size=5))
def test_any_dns_names_are_read_or_refused(names: list[str]) -> None:
    wish = csr(*map(dns, names))
    try:
        read = read_csr(wish)
    except BadCsr:
        return
    assert [one.value for one in read.identifiers] == [
        name.lower().removesuffix(".") for name in names
    ]


# The last gate: what the rules should never have asked for.


@pytest.mark.parametrize(
    ("early", "life", "message"),
    [
        (3 * DAY, 30 * DAY, "within the validity of its issuer"),
        (0, 90 * DAY, "89 days at most"),
        (0, 89 * DAY + 1, "89 days at most"),
        (0, 0, "within the validity of its issuer"),
        (-1820 * DAY, 30 * DAY, "within the validity of its issuer"),
    ],
)
def test_impossible_times_are_refused(
    early: int, life: int, message: str, authority: Authority, now: int
) -> None:
    with pytest.raises(ValueError, match=message):
        authority.issue(material.request(now - early, life=life))


def test_longest_leaf_is_issued(authority: Authority, now: int) -> None:
    leaf = authority.issue(material.request(now, life=89 * DAY))  # A-3.2.4-1
    assert leaf.not_after - leaf.not_before == 89 * DAY
    request = material.request(now + 1780 * DAY)
    last = authority.issue(replace(request, not_after=authority.longest()))
    assert last.not_after == authority.longest()


def test_leaf_without_names_is_refused(authority: Authority, now: int) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        authority.issue(material.request(now, []))


def test_leaf_for_other_keys_is_refused(authority: Authority, now: int) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="EC or RSA key"):
        authority.issue(replace(material.request(now), spki=spki))


def test_renewal_id(authority: Authority, now: int) -> None:
    """RFC 9773 section 4.1, taken apart by hand from the DER."""
    leaf = authority.issue(material.request(now))
    certificate = material.load(leaf.der)
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier is not None
    tbs = certificate.tbs_certificate_bytes
    start = tbs.index(b"\xa0\x03\x02\x01\x02\x02") + 6  # version 3, then an INTEGER
    octets = tbs[start + 1 : start + 1 + tbs[start]]
    assert leaf.ari_id == f"{b64encode(aki.key_identifier)}.{b64encode(octets)}"


def test_serial_is_as_the_store_has_it(authority: Authority, now: int) -> None:
    leaf = authority.issue(material.request(now))
    assert serial_of(leaf.der) == leaf.serial


@pytest.mark.parametrize("der", [b"", b"junk", GOOD, bytes(20_000)])
def test_serial_of_no_certificate(der: bytes) -> None:
    with pytest.raises(Malformed, match="certificate"):
        serial_of(der)

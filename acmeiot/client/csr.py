"""A certificate's fresh key, and the request for its names."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.client import tls
from acmeiot.client.errors import AgentError
from acmeiot.protocol.names import Identifier, normalised


def fresh_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-384 key: what the draft allows and every browser takes (A-3.2.3-2)."""
    return ec.generate_private_key(ec.SECP384R1())


def request(key: ec.EllipticCurvePrivateKey, identifiers: Sequence[Identifier]) -> bytes:
    """Return the DER of a CSR, signed with SHA-384 (A-3.2.3-1), for these names and addresses.

    The draft wants the `.local` name and those of the local domains in one request (A-3.2.3-3),
    and never `localhost` (A-3.2.3-5); raise AgentError for that, or for no names at all.
    """
    wanted = normalised(identifiers)
    if not wanted:
        raise AgentError("a certificate needs at least one name")
    for one in wanted:
        if one.type == "dns" and one.base.value.split(".")[0] == "localhost":
            raise AgentError(f"{one} is every machine's own name; no certificate can have it")
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        # Critical, because the subject is empty (RFC 5280 section 4.2.1.6).
        .add_extension(x509.SubjectAlternativeName(list(map(_general, wanted))), critical=True)
        .sign(key, hashes.SHA384())
        .public_bytes(Encoding.DER)
    )


def names_of(certificate: x509.Certificate) -> frozenset[Identifier]:
    """Return the names and addresses that a certificate is for."""
    names = tls.extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return frozenset()
    found = [Identifier("dns", name.lower()) for name in names.get_values_for_type(x509.DNSName)]
    found += [Identifier("ip", str(one)) for one in names.get_values_for_type(x509.IPAddress)]
    return frozenset(found)


def _general(identifier: Identifier) -> x509.GeneralName:
    if identifier.type == "ip":
        return x509.IPAddress(identifier.address)
    return x509.DNSName(identifier.value)

"""Certificate signing requests (R-23)."""

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz import runner
from tests.protocol.signing import KEYS

with runner.instrumented():
    from acmeiot.ca.issue import read_csr
    from acmeiot.protocol.errors import BadCsr


def seed(alg: str, *names: x509.GeneralName) -> bytes:
    """Return a request by the algorithm's key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "printer.lan")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(KEYS[alg], None if alg == "EdDSA" else hashes.SHA256())
    return made.public_bytes(Encoding.DER)


SEEDS = [seed(alg, x509.DNSName("printer.lan"), x509.DNSName("printer.local")) for alg in KEYS]
SEEDS += [
    seed("ES384"),
    seed("ES256", x509.IPAddress(ipaddress.ip_address("192.168.1.20"))),
    seed("ES256", x509.RFC822Name("a@b"), x509.UniformResourceIdentifier("x:y")),
    seed("ES256", x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\5\0")),
    seed("ES256", x509.DirectoryName(x509.Name([])), x509.RegisteredID(x509.NameOID.SURNAME)),
]

runner.run(read_csr, refusals=(BadCsr,), seeds=SEEDS)

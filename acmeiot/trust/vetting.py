"""What a root must be before this machine believes it anywhere.

A home's root goes into the stores that browsers use. One that could vouch for a bank is never put
there silently: its name constraints must permit local names and private addresses and nothing else
(A-1-1). Key, hash and lifetime must be what draft-sweet-iot-acme 3.2.1 asks of a server.

The names *of the root itself* are never looked at here: `.local` names and addresses are not
unique, so they say nothing about whose root it is (A-3.3-6). Its key is its identity.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeVar

from acmeiot.client.errors import AgentError
from acmeiot.protocol.names import LAN_NETWORKS

if TYPE_CHECKING:
    from cryptography import x509

    from acmeiot.client.tls import Root

    _Kind = TypeVar("_Kind", bound=x509.ExtensionType)

# What nobody can own in the public DNS: RFC 6762 (with its appendix G), RFC 8375, RFC 9476's
# neighbours that homes use. A root may speak for these without being asked about it.
LOCAL_DOMAINS: Final = (
    "local", "lan", "home.arpa", "internal", "home", "corp", "private", "intranet", "localdomain",
)  # fmt: skip
MAX_DER: Final = 16384  # octets
MAX_RSA_BITS: Final = 8192  # beyond, one verification takes a small machine too long
_DAY: Final = 86400
_SHORTEST, _LONGEST = 365 * _DAY, 3653 * _DAY  # 1 to 10 years, inclusive
_HASHES: Final = ("sha256", "sha384", "sha512")


class UnfitRoot(AgentError):
    """A root that must not be believed, and why."""


def vet(root: Root, now: int, domains: Iterable[str] = (), *, unconstrained: bool = False) -> None:
    """Return if the root may be put into a trust store at `now` (epoch seconds).

    `domains` are this home's own beside the local ones; `unconstrained` skips the name constraints.
    Raise UnfitRoot with the first thing that is wrong (A-1-1, draft-sweet-iot-acme 3.2.1).
    """
    from cryptography import x509

    if len(root.der) > MAX_DER:
        raise UnfitRoot(f"the root has {len(root.der)} octets, more than {MAX_DER}")
    try:
        certificate = x509.load_der_x509_certificate(root.der)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise UnfitRoot(f"the root cannot be read: {error}") from None
    _check_key(certificate)
    _check_signature(certificate)
    _check_life(root.not_before, root.not_after, now)
    _check_authority(extensions)
    if not unconstrained:
        _check_constraints(extensions, (*LOCAL_DOMAINS, *domains))


def _check_key(root: x509.Certificate) -> None:
    """A-3.2.1-3: RSA of at least 3072 bits, P-384 or P-521."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        key = root.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnfitRoot(f"the root's key cannot be read: {error}") from None
    if isinstance(key, rsa.RSAPublicKey) and 3072 <= key.key_size <= MAX_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp384r1", "secp521r1"):
        return
    if isinstance(key, rsa.RSAPublicKey):
        kind = f"RSA of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind = f"ECDSA on {key.curve.name}"
    else:
        kind = type(key).__name__.strip("_").removesuffix("PublicKey")
    raise UnfitRoot(
        f"the root's key is {kind}; a home's root has RSA of 3072 to {MAX_RSA_BITS} bits, P-384 or "
        "P-521"
    )


def _check_signature(root: x509.Certificate) -> None:
    """A-3.2.1-1 self-signed, A-3.2.1-2 with SHA-2."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        digest = root.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if digest is None or digest.name not in _HASHES:
        name = "an unknown hash" if digest is None else digest.name.upper()
        raise UnfitRoot(f"the root is signed with {name}; it must be SHA-256, SHA-384 or SHA-512")
    try:
        root.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        raise UnfitRoot("the root is not signed by itself") from None


def _check_life(starts: int, ends: int, now: int) -> None:
    """A-3.2.1-4: between one and ten years; and it is valid now."""
    if not starts <= now <= ends:
        raise UnfitRoot(
            "the root has expired" if now > ends else "the root is not valid yet; is the clock set?"
        )
    if not _SHORTEST <= ends - starts <= _LONGEST:
        raise UnfitRoot(f"the root lives {(ends - starts) // _DAY} days; it must be 1 to 10 years")


def _check_authority(extensions: x509.Extensions) -> None:
    """RFC 5280 4.2.1.3, 4.2.1.9: it says that it is a CA and signs certificates."""
    from cryptography import x509

    basic = _extension(extensions, x509.BasicConstraints)
    if basic is None or not basic.critical or not basic.value.ca:
        raise UnfitRoot("the root does not say, critically, that it is a CA")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is None or not usage.value.key_cert_sign:
        raise UnfitRoot("the root's key is not meant to sign certificates (keyUsage)")


def _check_constraints(extensions: x509.Extensions, domains: tuple[str, ...]) -> None:
    """A-1-1: it may speak for names and addresses of a home only (RFC 5280 4.2.1.10)."""
    from cryptography import x509

    found = _extension(extensions, x509.NameConstraints)
    if found is None:
        raise UnfitRoot(
            "the root has no name constraints: it could vouch for any site on the Internet; "
            "--allow-unconstrained takes it nevertheless"
        )
    if not found.critical:
        raise UnfitRoot("the root's name constraints are not critical: some programs ignore them")
    permitted = found.value.permitted_subtrees or []
    names = [tree.value for tree in permitted if isinstance(tree, x509.DNSName)]
    nets = [tree.value for tree in permitted if isinstance(tree, x509.IPAddress)]
    # A kind of name that is not mentioned at all is unconstrained.
    if not names or not nets:
        kind = "addresses" if names else "names"
        raise UnfitRoot(f"the root's name constraints do not limit {kind}")
    for name in names:
        if not _is_local(name, domains):
            raise UnfitRoot(
                f"the root may vouch for {_quote(name)}, which is no local domain; if it is this "
                f"home's own, say --domain {_quote(name)}"
            )
    for net in nets:
        if not _is_private(net):
            raise UnfitRoot(f"the root may vouch for {net}, which are no private addresses")


def _extension(extensions: x509.Extensions, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    from cryptography import x509

    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _is_local(name: str, domains: tuple[str, ...]) -> bool:
    """Tell whether a permitted subtree lies within the home; `` would be every name there is."""
    subtree = "." + name.lower().removeprefix(".")
    return any(subtree.endswith("." + domain) for domain in domains)


def _is_private(net: object) -> bool:
    return isinstance(net, ipaddress.IPv4Network | ipaddress.IPv6Network) and any(
        net.network_address in lan and net.broadcast_address in lan for lan in LAN_NETWORKS
    )


def _quote(name: str) -> str:
    return ascii(name[:80]).strip("'\"") or "any name"

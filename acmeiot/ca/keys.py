"""Private keys of the CA: which kinds there are, and how they lie on the disk.

A key file has mode 0600 from its first instant and appears under its name only when it is whole
and durable; a power cut leaves the old file or the new one, never a part (A-4.3-1).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from acmeiot import durable

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


_MAKERS: Final[Mapping[str, Callable[[], PrivateKey]]] = {
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
}
KINDS: Final = tuple(_MAKERS)


class BadKeyFile(Exception):
    """A key file that cannot be read or holds no usable key; the message names the file."""


def check_kind(kind: str) -> None:
    """Check the name of a key kind; raise ValueError saying which are good (A-3.2.1-3)."""
    if kind not in _MAKERS:
        raise ValueError(
            f"a root key of kind {kind[:20]!a} is not allowed: draft-sweet-iot-acme 3.2.1 asks for "
            f"P-384, P-521 or RSA of at least 3072 bits; choose one of {', '.join(KINDS)}"
        )


def make(kind: str = "p384") -> PrivateKey:
    """Make a fresh key of a kind in KINDS; raise ValueError for any other (A-3.2.1-3)."""
    check_kind(kind)
    return _MAKERS[kind]()


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """Return the SHA-2 hash that fits the strength of the signing key (A-3.2.1-2)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    return hashes.SHA512() if key.curve.key_size > 384 else hashes.SHA384()


def spki(key: PublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: PublicKey) -> str:
    """Return the hex SHA-256 of the SubjectPublicKeyInfo: what clients pin."""
    return hashlib.sha256(spki(key)).hexdigest()


def encode(key: PrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def save(path: Path, key: PrivateKey) -> None:
    """Write the key to `path`, durably, mode 0600; raise OSError with nothing changed."""
    durable.write(path, encode(key))


def load(path: Path, repaired: Callable[[Path, int], None]) -> PrivateKey:
    """Return the key at `path`; raise BadKeyFile naming the file.

    A file that others may read or write is set to 0600 first, and `repaired` is told its path and
    its old mode: whoever widened it may know the key by now, so a person must hear of it.
    """
    try:
        _tighten(path, repaired)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BadKeyFile(f"cannot read the key {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise BadKeyFile(
            f"{path} is not an unencrypted PEM key; restore it from a backup"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadKeyFile(f"{path} holds a {type(key).__name__}; this CA has EC and RSA keys only")
    return key


def _tighten(path: Path, repaired: Callable[[Path, int], None]) -> None:
    mode = stat.S_IMODE(path.stat(follow_symlinks=False).st_mode)
    if mode & 0o077:
        path.chmod(0o600)
        repaired(path, mode)

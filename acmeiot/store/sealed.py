"""One sealed file: a passphrase, scrypt and AES-256-GCM, nothing else to choose.

Layout: magic and newline (17 bytes), salt (16), check (16), nonce (12), length of the sealed part
(8, big-endian); then the sealed part with its tag. The header is authenticated with it. `check` is
a second output of scrypt: it tells a wrong passphrase from an altered file, and costs who guesses
as much as the key itself.
"""

from __future__ import annotations

import hmac
import os
import struct
import unicodedata
from collections.abc import Callable
from typing import Final

MAGIC: Final = b"acmeiot-backup-1\n"
MAX_SEALED: Final = 128 << 20
MIN_PASSPHRASE: Final = 8
# 128 * r * n = 8 MiB, ten times over: a router of 128 MiB has no more to spare beside its server,
# and time makes each guess dear instead of memory. Version 1 means these numbers.
_N, _R, _P = 2**13, 8, 10
_HEADER: Final = struct.Struct(f">{len(MAGIC)}s16s16s12sQ")
_TAG: Final = 16


class BackupError(Exception):
    """The file is no backup, not whole, or not for this passphrase."""


def seal(content: bytes, passphrase: str, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return the content sealed; ValueError for a passphrase that is too short or too much."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(passphrase) < MIN_PASSPHRASE:
        raise ValueError(f"the passphrase needs at least {MIN_PASSPHRASE} characters")
    if len(content) + _TAG > MAX_SEALED:
        raise ValueError(f"{len(content)} bytes are more than a backup can hold ({MAX_SEALED})")
    salt, nonce = random(16), random(12)
    key, check = _derive(passphrase, salt)
    header = _HEADER.pack(MAGIC, salt, check, nonce, len(content) + _TAG)
    return header + AESGCM(key).encrypt(nonce, content, header)


def unseal(blob: bytes, passphrase: str) -> bytes:
    """Return what was sealed; raise BackupError saying whether file or passphrase is wrong."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not blob.startswith(MAGIC):
        raise BackupError(f"this is no backup: it does not begin with {MAGIC.decode().strip()}")
    if len(blob) < _HEADER.size:
        raise BackupError("the backup is cut off in its first line; copy it again")
    header = blob[: _HEADER.size]
    _, salt, check, nonce, length = _HEADER.unpack(header)
    if length != len(blob) - _HEADER.size or not _TAG <= length <= MAX_SEALED:
        raise BackupError(
            f"the backup is not whole: {len(blob)} bytes, it should have {_HEADER.size + length};"
            " copy it again"
        )
    key, expected = _derive(passphrase, salt)
    if not hmac.compare_digest(check, expected):
        raise BackupError("the passphrase is not the one this backup was sealed with")
    try:
        return AESGCM(key).decrypt(nonce, blob[_HEADER.size :], header)
    except InvalidTag:
        raise BackupError("the backup was altered after it was made; use another copy") from None


def _derive(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """Return key and check. Keyboards differ in how they spell an accent; NFC is one spelling."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    text = unicodedata.normalize("NFC", passphrase).encode("utf-8")
    derived = Scrypt(salt=salt, length=48, n=_N, r=_R, p=_P).derive(text)
    return derived[:32], derived[32:]

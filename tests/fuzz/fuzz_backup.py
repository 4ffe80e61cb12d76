"""Backup files: the sealed envelope, and the list of contents within."""

import dataclasses
import json

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.store import backup, sealed
    from acmeiot.store.database import DATABASE
    from acmeiot.store.sealed import BackupError

PASSPHRASE = "correct horse"
envelope = sealed.unseal


def derive(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """Stand in for scrypt, which takes its time on purpose."""
    return bytes(32), bytes(16)


def opened(blob: bytes, passphrase: str) -> bytes:
    """Stand in for the envelope, so that the fuzzer sees what lies within."""
    return blob


sealed._derive = derive
sealed.unseal = opened


def contents(data: bytes) -> None:
    """What is unpacked stays inside the state directory."""
    for name in backup.unseal(data, PASSPHRASE).files:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


stamp = dataclasses.asdict(backup.Stamp(1, 1, 1, "", 1, 1, 1, "00"))
manifest = {"stamp": stamp, "files": [{"path": DATABASE, "size": 3}, {"path": "ca/k", "size": 1}]}
content = json.dumps(manifest).encode() + b"\nabcd"

runner.run(
    lambda data: envelope(data, PASSPHRASE),
    contents,
    refusals=(BackupError,),
    seeds=(content, sealed.seal(content, PASSPHRASE), sealed.seal(b"", PASSPHRASE)),
)

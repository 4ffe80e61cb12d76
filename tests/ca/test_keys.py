"""Keys on the disk: modes, atomicity, and what is refused."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from acmeiot import durable
from acmeiot.ca import keys


def refuse(path: Path, mode: int) -> None:
    """Fail: nothing is to be repaired here."""
    raise AssertionError(f"{path} had mode {mode:o}")


@pytest.mark.parametrize(
    ("kind", "bits", "hash_name"),
    [
        ("p384", 384, "sha384"),
        ("p521", 521, "sha512"),
        ("rsa3072", 3072, "sha256"),
        ("rsa4096", 4096, "sha256"),
    ],
)
def test_kinds(kind: str, bits: int, hash_name: str) -> None:
    key = keys.make(kind)
    assert key.key_size == bits
    assert isinstance(key, rsa.RSAPrivateKey) == kind.startswith("rsa")
    assert keys.signature_hash(key).name == hash_name  # A-3.2.1-2


def test_default_is_p384() -> None:
    key = keys.make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


@pytest.mark.parametrize("kind", ["p256", "rsa2048", "ed25519", "", "P384"])
def test_weak_kinds_are_refused(kind: str) -> None:
    """A-3.2.1-3: the message says what is allowed."""
    with pytest.raises(ValueError, match="choose one of p384, p521, rsa3072, rsa4096"):
        keys.make(kind)


@pytest.mark.parametrize("kind", ["p384", "rsa3072"])
def test_saved_key_loads(kind: str, tmp_path: Path) -> None:
    key = keys.make(kind)
    keys.save(tmp_path / "a.key", key)
    loaded = keys.load(tmp_path / "a.key", refuse)
    assert keys.encode(loaded) == keys.encode(key)
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_file_is_private_from_its_first_instant(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-4.3-1: at no moment is there a file that others could open."""
    modes = []
    real_fdopen = os.fdopen

    def fdopen(descriptor: int, mode: str) -> object:
        status = os.fstat(descriptor)
        modes.append((stat.S_IMODE(status.st_mode), status.st_size))
        return real_fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", fdopen)
    before = os.umask(umask)
    try:
        keys.save(tmp_path / "a.key", keys.make())
    finally:
        os.umask(before)
    assert modes == [(0o600, 0)]
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_wide_mode_is_repaired_and_told(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    keys.save(path, keys.make())
    path.chmod(mode)
    told: list[tuple[Path, int]] = []
    keys.load(path, lambda where, old: told.append((where, old)))
    assert told == [(path, mode)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unusable_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    with pytest.raises(keys.BadKeyFile, match=r"cannot read .*a\.key: No such file"):
        keys.load(path, refuse)
    encrypted = keys.make().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for content, message in [
        (b"", "a.key is not an unencrypted PEM key"),
        (b"\xff" * 40, "a.key is not an unencrypted PEM key"),
        (encrypted, "a.key is not an unencrypted PEM key"),
        (other, "a.key holds a .*Ed25519PrivateKey; this CA has EC and RSA keys only"),
    ]:
        path.unlink(missing_ok=True)
        durable.write(path, content)
        with pytest.raises(keys.BadKeyFile, match=message):
            keys.load(path, refuse)


def test_old_file_stays_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    durable.write(path, b"old")

    def fsync(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_nobody_elses_link_is_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
    (tmp_path / ".a.00000000.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        durable.write(tmp_path / "a", b"new")
    assert victim.read_bytes() == b"mine"

"""Files that survive a power cut: whole and on the disk, or as they were before."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp"  # ends the name of a file that a crash may leave half written


Owner = tuple[int, int]  # ids of user and group, -1 for one's own
_OWN: Final = (-1, -1)


def write(path: Path, data: bytes, mode: int = 0o600, owner: Owner = _OWN) -> None:
    """Put `data` at `path` atomically and durably; raise OSError with the old file untouched.

    The new file has its owner, and its mode whatever the umask, before it has any content. When
    this returns, file and name are on the disk.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        write_new(temporary, data, mode, owner)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # of a full disk it does not say where it is
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync_directory(path.parent)


def write_new(path: Path, data: bytes, mode: int = 0o600, owner: Owner = _OWN) -> None:
    """Write a file that is not there yet and put its content on the disk; raise OSError."""
    # O_EXCL: neither a leftover nor somebody's symbolic link is ever written through.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        # By its descriptor: a name could be another file's in the meantime.
        if owner != _OWN:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

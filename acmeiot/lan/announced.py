"""What was announced, as a file remembers it: to take it back, and to tell of it.

`announce` deletes what the file names, on routers as root, where the server is another user: what
that user could have written is believed by nobody who may do more than it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

FILE: Final = "announced.json"  # in the state directory, unless the settings name others
_MAX_BYTES: Final = 1 << 20
AGAIN: Final = "run `acmeiot announce` again"


class BrokenMemory(ValueError):
    """The file cannot be believed or understood; the message names it and says what would help."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What stands where. `at` is in epoch seconds; `root` the SHA-256 of its public key, in hex.

    `files` are paths with the SHA-256 of what was written; `pools` are those of odhcpd, with what
    was appended (in hex; of a change that was cut short, the old and the new); `items` are as
    `announce.Item.as_json` gives them.
    """

    at: int
    fqdn: str
    directory: str
    root: str
    items: tuple[Mapping[str, Any], ...] = ()
    records: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    pools: Mapping[str, list[str]] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """Return the file's content."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def problems(self, directory: str, root: str) -> Iterator[str]:
        """Yield what no longer holds, now that the server has this directory URL and root."""
        for path, digest in self.files.items():
            try:
                now = sha256(Path(path).read_bytes())
            except OSError as error:
                yield f"{path}: {error.strerror}; {AGAIN}"
                continue
            if now != digest:
                yield f"{path} was changed since; {AGAIN}"
        if directory != self.directory:
            yield f"{self.directory} was announced, the server now is {directory}; {AGAIN}"
        if root != self.root:
            yield f"the root sha256:{self.root} was announced, which is another now; {AGAIN}"


def sha256(data: bytes) -> str:
    """Return the digest in hex."""
    return hashlib.sha256(data).hexdigest()


def places(named: Sequence[str], state: str) -> tuple[Path, ...]:
    """Return the files that remember: as the settings name them, else that of the state."""
    return tuple(Path(text) for text in named) or (Path(state) / FILE,)


def read(path: Path) -> Announced | None:
    """Return what a file remembers; None if there is none, and so nothing was announced.

    Raises BrokenMemory, or OSError when it cannot be read.
    """
    try:
        data = _content(path)
    except FileNotFoundError:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenMemory(f"{path} cannot be understood ({error}); delete it") from None
    if not isinstance(document, dict) or not _is_whole(document):
        raise BrokenMemory(f"{path} is not what was written there; delete it")
    return Announced(**{each.name: document[each.name] for each in fields(Announced)})


_KINDS: Final = {"at": int, "items": list, "records": list, "files": dict, "pools": dict}


def _is_whole(document: dict[str, Any]) -> bool:
    for each in fields(Announced):
        if not isinstance(document.get(each.name), _KINDS.get(each.name, str)):
            return False
    texts = [*document["records"], *document["files"].values()]
    for pool in document["pools"].values():
        texts += pool if isinstance(pool, list) else [pool, None]
    return all(isinstance(text, str) for text in texts)


def check_place(path: Path) -> None:
    """Raise BrokenMemory unless a memory that is written there can be believed later."""
    with _directory(path) as directory:
        _check_owner(os.fstat(directory), path.parent)


def _content(path: Path) -> bytes:
    with _directory(path) as directory:
        try:
            # Without waiting: a pipe in its place must not stop the server.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path.name, flags, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise BrokenMemory(f"{path} is a symbolic link; delete it") from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BrokenMemory(f"{path} is no file; delete it")
            _check_owner(os.fstat(directory), path.parent)
            _check_owner(status, path)
            return file.read(_MAX_BYTES)


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    """Open the file's directory, so that what is checked is what is used."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


def _check_owner(status: os.stat_result, path: Path) -> None:
    """Refuse, as root, what another user could have written."""
    if os.geteuid() != 0:
        return  # may delete no more than that user
    if status.st_uid != 0:
        raise BrokenMemory(f"{path} belongs to user {status.st_uid}, {_INSTEAD}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BrokenMemory(f"{path} can be written by others than root, {_INSTEAD}")


_INSTEAD: Final = (
    "who could have root delete any file; name one in a directory of root's with --memory"
)


def report(paths: Sequence[Path], directory: str, root: str) -> list[dict[str, Any]]:
    """Return what each file remembers, by its `memory`, and in `problems` what no longer holds."""
    reports: list[dict[str, Any]] = []
    for path in paths:
        try:
            found = read(path)
        except (BrokenMemory, OSError) as error:
            reports.append({"memory": str(path), "items": [], "problems": [str(error)]})
            continue
        if found is not None:
            problems = list(found.problems(directory, root))
            reports.append({"memory": str(path), **asdict(found), "problems": problems})
    return reports

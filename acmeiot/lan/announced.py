"""What was announced, as the state directory remembers it: to take it back, and to tell of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

FILE: Final = "announced.json"  # in the state directory
_MAX_BYTES: Final = 1 << 20
AGAIN: Final = "run `acmeiot announce` again"


class BrokenMemory(ValueError):
    """The file is not what was written; the message names it and says what would help."""


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


def read(state: Path) -> Announced | None:
    """Return what the state directory remembers; None if nothing was announced.

    Raises BrokenMemory, or OSError when it cannot be read.
    """
    path = state / FILE
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        return None
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


def report(state: Path, directory: str, root: str) -> dict[str, Any] | None:
    """Return what was announced and what of it no longer holds; None if nothing was."""
    try:
        found = read(state)
    except (BrokenMemory, OSError) as error:
        return {"problems": [str(error)]}
    if found is None:
        return None
    return {**asdict(found), "problems": list(found.problems(directory, root))}

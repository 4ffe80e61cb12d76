"""The agent's files: small JSON documents, read with suspicion and written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar

from acmeiot import durable
from acmeiot.client.errors import AgentError

_MAX_FILE: Final = 262144
_T = TypeVar("_T")


class BrokenState(AgentError):
    """A file of the state that cannot be read."""


def read(path: Path) -> bytes:
    """Return a file's content; raise FileNotFoundError, or BrokenState for a huge one."""
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise BrokenState(f"{path} is longer than anything this program writes")
    return data


def document(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, an empty one if there is no file; raise BrokenState."""
    try:
        found = json.loads(read(path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BrokenState(f"{path} is no JSON: {error}; delete it to begin anew") from None
    if not isinstance(found, dict):
        raise BrokenState(f"{path} holds no JSON object; delete it to begin anew")
    return found


def load(path: Path, kind: type[_T]) -> _T:
    """Return the dataclass that a file holds, its defaults if there is no file."""
    return build(kind, document(path))


def build(kind: type[_T], members: Mapping[str, Any]) -> _T:
    """Return a dataclass of what a JSON object says; raise BrokenState for a wrong type.

    Members that are not known are of another version, and left aside.
    """
    known = {each.name: str(each.type) for each in fields(kind)}  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for name, value in members.items():
        if name in known:
            found[name] = tuple(value) if isinstance(value, list) else value
            if type(found[name]).__name__ != known[name].partition("[")[0]:
                raise BrokenState(f"{kind.__name__}: {name} is {value!a}, not {known[name]}")
    try:
        return kind(**found)
    except TypeError as error:
        raise BrokenState(f"{kind.__name__}: {error}") from None


def make_open(path: Path) -> None:
    """Make a directory, and what is missing above it, that other users can enter.

    Whatever the umask is: that of the agent's unit lets nobody in.
    """
    for each in reversed([one for one in (path, *path.parents) if not one.exists()]):
        each.mkdir()
        each.chmod(0o755)


def dump(path: Path, members: Mapping[str, Any], owner: durable.Owner = (-1, -1)) -> None:
    """Put a JSON object on the disk."""
    durable.write(path, json.dumps(members, indent=1).encode(), owner=owner)

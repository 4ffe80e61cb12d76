"""The trust agent's settings: flags over a TOML file over defaults, each checked once."""

from __future__ import annotations

import os
import re
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from acmeiot.client.command import search_of
from acmeiot.client.discover import Search
from acmeiot.client.errors import UsageError
from acmeiot.protocol import names
from acmeiot.trust.decide import MODES, Policy

_MAX_FILE: Final = 65536
_HASH: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)
# What a file may say; as the flags, with underscores.
_KINDS: Final[Mapping[str, type]] = {
    "mode": str,
    "expect": list,
    "on_public": bool,
    "allow_unconstrained": bool,
    "store": list,
    "notify": str,
    "directory": str,
    "interface": str,
    "probe": bool,
    "sightings": Path,
    "domain": list,
    "number": list,
    "resolver": list,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner of this machine wants.

    `stores` empty means all that there are: the person's, and without --home the system's, too.
    """

    state: Path
    home: Path
    own: bool  # the home is that of whoever runs this, not given with --home
    policy: Policy
    search: Search
    stores: tuple[str, ...]
    notify: str | None
    directory: str | None


def load(args: Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; raise UsageError that names what is wrong.

    A domain of this home is one to ask DNS for, and one that its root may vouch for.
    """
    home = args.home or Path(environment.get("HOME") or "/root")
    state, config = _places(home, system=os.geteuid() == 0 and args.home is None)
    for name, value in _file(args.config or config, must=args.config is not None).items():
        if not getattr(args, name):  # not given as a flag
            setattr(args, name, value)
    return Settings(
        state=args.state or state,
        home=home,
        own=args.home is None,
        policy=_policy(args),
        search=search_of(args),
        stores=tuple(args.store or ()),
        notify=args.notify,
        directory=args.directory,
    )


def root_hash(text: str) -> str:
    """Return the hash in `sha256:HEX`; raise UsageError."""
    found = _HASH.fullmatch(text)
    if found is None:
        raise UsageError(f"a root's fingerprint is sha256: and 64 hex digits, not {text!a}")
    return found[1].lower()


def _policy(args: Namespace) -> Policy:
    mode = args.mode or "ask"
    if mode not in MODES:
        raise UsageError(f"mode is one of {', '.join(MODES)}, not {mode!a}")
    try:
        domains = tuple(names.dns(domain).value for domain in args.domain)
    except names.BadName as error:
        raise UsageError(f"--domain: {error}") from None
    return Policy(
        mode=mode,
        expect=frozenset(root_hash(text) for text in args.expect or ()),
        domains=domains,
        unconstrained=args.allow_unconstrained,
        on_public=args.on_public,
    )


def _file(path: Path, *, must: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE)
    except FileNotFoundError:
        if must:
            raise UsageError(f"--config {path}: there is no such file") from None
        return {}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    return {name: _value(path, name, value) for name, value in document.items()}


def _value(path: Path, name: str, value: object) -> object:
    kind = _KINDS.get(name)
    if kind is None:
        raise UsageError(f"{path}: {name} is no setting; there are {', '.join(_KINDS)}")
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is not list and type(value) is kind:
        return value
    item = int if name == "number" else str
    if kind is list and isinstance(value, list) and all(type(one) is item for one in value):
        return value
    wanted = f"a list of {item.__name__}" if kind is list else kind.__name__
    raise UsageError(f"{path}: {name} is {wanted}, not {value!r}")


def _places(home: Path, *, system: bool) -> tuple[Path, Path]:
    """Return where state and settings lie: of the system, or in a person's home."""
    if system:
        return Path("/var/lib/acmeiot/trust"), Path("/etc/acmeiot/trust.toml")
    return home / ".local/state/acmeiot/trust", home / ".config/acmeiot/trust.toml"

"""What the owner decides about this device's agent; a value that cannot be raises UsageError."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from acmeiot.client.errors import UsageError
from acmeiot.device import files

if TYPE_CHECKING:
    from acmeiot.client.discover import Search
    from acmeiot.device.install import Targets
    from acmeiot.device.responders import Kind

_SHA256: Final = re.compile(r"sha256:([0-9a-f]{64})")
_MAX_SECRET: Final = 1024
_FILE: Final = "options.json"
_REMEMBERED: Final = frozenset(
    "name ip keep_key challenge webroot http01_port tlsalpn01_port key cert owner mode "
    "reload verify expect directory interface probe sightings domain number resolver".split()
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's options; `state` is the only one that has no default here.

    `expected` is a root's SHA-256 in hex, `eab` a pairing key's id and HMAC key, `verify` where
    the device's own service listens.
    """

    state: Path
    search: Search
    name: str = ""
    domains: tuple[str, ...] = ()
    addresses: bool = False
    challenge: Kind = "http-01"
    http01_port: int = 80
    tlsalpn01_port: int = 443
    webroot: Path | None = None
    targets: Targets | None = None
    reload: str | None = None
    verify: tuple[str, int] | None = None
    expected: str | None = None
    eab: tuple[str, str] | None = None
    directory: str | None = None
    keep_key: bool = False


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that somebody gave."""
    return {name: value for name, value in options.items() if value not in (None, [], False)}


def load(file: Path | None, options: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Return the options of a TOML file, overridden by those given.

    With `strict`, an option that is not among these is an error.
    """
    if file is None:
        return options
    import tomllib

    try:
        with file.open("rb") as source:
            document = tomllib.load(source)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no TOML: {error}") from None
    for name, value in document.items():
        if name not in options:
            if not strict:
                continue
            raise UsageError(f"{file}: {name} is no option; there are {', '.join(sorted(options))}")
        document[name] = _typed(file, name, value, options[name])
    return {**options, **document, **given(options)}


def _typed(file: Path, name: str, value: Any, default: Any) -> Any:
    """Return a file's value as the command line would give it; its default shows the type."""
    if isinstance(default, list):
        items = value if isinstance(value, list) else [value]
        if all(isinstance(one, str | int) for one in items):
            return items
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise UsageError(f"{file}: {name} cannot be {value!r}")


def remember(folder: Path, options: Mapping[str, Any]) -> None:
    """Keep the options that an agent was started with; pairing keys are used up, and not kept."""
    kept = {
        name: value if isinstance(value, bool | list) else str(value)
        for name, value in given(options).items()
        if name in _REMEMBERED
    }
    if files.document(folder / _FILE) != kept:
        files.dump(folder / _FILE, kept)


def remembered(folder: Path) -> dict[str, Any]:
    """Return the options of the last start."""
    return {k: v for k, v in files.document(folder / _FILE).items() if k in _REMEMBERED}


def digest(text: str, option: str) -> str:
    """Return the hex of `sha256:HEX`; raise UsageError."""
    found = _SHA256.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"{option} is sha256: and 64 hex digits, not {text[:80]!a}")
    return found[1]


def pairing(uri: str) -> tuple[str, tuple[str, str], str | None]:
    """Return directory, pairing key and root of the URI that `acmeiot pair` shows."""
    base, _, fragment = uri.strip().partition("#")
    members = parse_qs(fragment)
    kid, secret, root = (members.get(name, [""])[0] for name in ("kid", "hmac", "root"))
    if urlsplit(base).scheme != "https" or not kid or not secret:
        raise UsageError("--pair is https://.../acme/directory#kid=...&hmac=...&root=sha256:...")
    return base, (kid, secret), digest(root, "the root in --pair") if root else None


def line(file: Path) -> str:
    """Return the line of a file, `-` for standard input, that holds a key; raise UsageError.

    On a command line every user of this machine could read it.
    """
    try:
        with (Path("/dev/stdin") if str(file) == "-" else file).open("rb") as source:
            return source.read(_MAX_SECRET).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the key in {file}: {error}") from None


def secret(file: Path) -> str:
    """Return the pairing key in a file; raise UsageError."""
    text = line(file)
    if not re.fullmatch(r"[A-Za-z0-9_-]+=*", text):
        raise UsageError(f"{file} holds no HMAC key in base64url")
    return text


def port(text: object, option: str) -> int:
    """Return a port number; raise UsageError."""
    if not re.fullmatch(r"[0-9]{1,5}", str(text)) or not 1 <= int(str(text)) <= 65535:
        raise UsageError(f"{option}: {text!a} is no port, they are 1 to 65535")
    return int(str(text))


def place(text: str) -> tuple[str, int]:
    """Return address and port of `[ADDRESS:]PORT`; no address is this device's own."""
    address, _, number = text.rpartition(":")
    return address.removeprefix("[").removesuffix("]"), port(number, "--verify")


def mode(text: str) -> int:
    """Return a key's file mode; one that lets everybody read it is none."""
    try:
        bits = int(text, 8)
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0o777 or bits & 0o007 or not bits & 0o400:
        raise UsageError(f"--mode {text!a}: a key's mode is octal, 0600 or 0640")  # A-4.3-1
    return bits


def owner(text: str) -> tuple[int, int]:
    """Return the ids of `USER[:GROUP]`; raise UsageError for who is not there."""
    import grp
    import pwd

    user, _, group = text.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else -1
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise UsageError(f"--owner {text!a}: {error.args[0]}") from None
    return uid, gid


def default_state() -> Path:
    """Return where the state is if nobody says."""
    named = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # from systemd
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/acmeiot/device")
    return Path.home() / ".local/state/acmeiot/device"

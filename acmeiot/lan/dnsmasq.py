"""The owner's dnsmasq: what it can, what it is configured to say already, and what it would take.

Only what matters to an advertisement is read of its configuration: which options it sends to whom,
for which addresses it serves DHCP, and where it looks for more files.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

PROGRAM: Final = "dnsmasq"
# How a file of ours begins: it is not the owner's, wherever it lies.
HEADER: Final = (
    "# Written by `acmeiot announce`, which overwrites it and with --remove deletes it.\n"
)
_SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_TIMEOUT: Final = 60  # seconds; blocklists of a million lines take some
_MAX_FILES: Final = 512
_MAX_BYTES: Final = 1 << 22  # of one file; blocklists are longer, and say nothing of DHCP

VENDOR_CLASS: Final = 60
VENDOR_INFO: Final = 125
_NAMES: Final = {"vendor-class": VENDOR_CLASS, "vendor-id-encap": VENDOR_INFO}
_OPTIONS: Final = ("dhcp-option", "dhcp-option-force", "dhcp-option-pxe")
_WANTED: Final = re.compile(
    rb"\s*(?:dhcp-|conf-|srv-host|port|no-dhcp)[a-z0-9-]*\s*=", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class OwnOption:
    """One DHCP option of the owner's, and who gets it: clients with all tags, without the others.

    `number` is 125 in v4 and 17 in v6 for a part of the one with an enterprise number (`vi-encap`),
    which is `enterprise`; 43 for `vendor:`, of which dnsmasq chooses by the client's option 60.
    """

    number: int
    v6: bool
    tags: frozenset[str]
    without: frozenset[str]
    where: str
    enterprise: int | None = None
    vendor: bool = False


@dataclass(slots=True)
class Configuration:
    """What the owner's files say. `complete` is False for one that could not be read to its end."""

    options: list[OwnOption] = field(default_factory=list)
    # For IPv4 and 6, the tag that each dhcp-range sets, "" for none: whom it serves DHCP.
    pools: dict[int, set[str]] = field(default_factory=dict)
    silent: dict[str, set[int]] = field(default_factory=dict)  # interfaces without DHCP
    services: dict[str, str] = field(default_factory=dict)  # owner of SRV records, and where
    directories: list[Path] = field(default_factory=list)
    answers_dns: bool = True
    complete: bool = True


# -- the program


def program() -> str | None:
    """Return the path of the dnsmasq program, if there is one."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=_SYSTEM)


def features(path: str) -> frozenset[str]:
    """Return what a dnsmasq was built with, such as `DHCPv6` or `no-DHCP`; raise OSError."""
    said = _run(path, "--version").stdout
    found = re.search(r"^Compile time options: (.*)$", said, re.MULTILINE)
    return frozenset(found[1].split() if found else ())


def refusal(path: str, files: Sequence[Path]) -> str | None:
    """Return why dnsmasq would not start with these files, in its own words; None if it would.

    Only syntax is tried: `dnsmasq --test` opens no socket and writes nothing. Raises OSError.
    """
    done = _run(path, "--test", *(f"--conf-file={file}" for file in files))
    if done.returncode == 0:
        return None
    said = " ".join(done.stderr.split()).removeprefix("dnsmasq: ")
    return said[:400] or f"dnsmasq --test ended with {done.returncode}"


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    plain = {**os.environ, "LC_ALL": "C"}  # it speaks the user's language otherwise
    return subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, env=plain
    )


def main_file() -> Path | None:
    """Return the configuration that a running dnsmasq would have here, if there is one to see.

    OpenWrt writes one for each of its dnsmasq sections; of several none can be preferred.
    """
    written = [Path(name) for name in glob.glob("/var/etc/dnsmasq.conf.*")]  # noqa: PTH207
    if len(written) == 1:
        return written[0]
    usual = Path("/etc/dnsmasq.conf")
    return usual if not written and usual.exists() else None


# -- its configuration


def read(main: Path) -> Configuration:
    """Read a configuration file and all that it includes but files of ours; raise OSError."""
    found = Configuration()
    pending = [(main, "")]
    seen: set[Path] = set()
    while pending:
        path, key = pending.pop(0)
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        if len(seen) > _MAX_FILES:
            found.complete = False
            break
        for name, value, where in _settings(path, key, found):
            _note(found, name, value, where)
            pending += _more(name, value)
    return found


def _settings(path: Path, key: str, found: Configuration) -> Iterator[tuple[str, str, str]]:
    """Yield key, value and place of each line that matters; in a file of options all are `key`."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if data.startswith(HEADER.encode()):
        return
    if len(data) > _MAX_BYTES:
        found.complete = False
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not key and not _WANTED.match(line):
            continue
        text = _unquoted(line.decode("utf-8", "replace"))
        name, _, value = (key, "", text) if key else text.partition("=")
        if value.strip():
            yield name.strip(), value.strip(), f"{path}:{number}"


def _unquoted(line: str) -> str:
    """Return a line without its comment and quotes, as dnsmasq reads it."""
    kept, quoted, blank = [], False, True
    for character in line:
        if character == '"':
            quoted = not quoted
        elif character == "#" and blank and not quoted:
            break
        else:
            kept.append(character)
        blank = character.isspace()
    return "".join(kept)


def _note(found: Configuration, name: str, value: str, where: str) -> None:
    words = [word.strip() for word in value.split(",")]
    if name in _OPTIONS:
        option = _option(words, where)
        if option is not None:
            found.options.append(option)
    elif name == "dhcp-range":
        version, tag = _pool(words)
        if version:
            found.pools.setdefault(version, set()).add(tag)
    elif name.startswith("no-dhcp"):
        versions = {"no-dhcpv4-interface": {4}, "no-dhcpv6-interface": {6}}.get(name, {4, 6})
        for word in words:
            found.silent.setdefault(word, set()).update(versions)
    elif name == "srv-host":
        found.services.setdefault(words[0].rstrip(".").lower(), where)
    elif name == "port":
        found.answers_dns = words[0] != "0"
    elif name == "conf-dir":
        found.directories.append(Path(words[0]))


def _more(name: str, value: str) -> list[tuple[Path, str]]:
    """Return the files that a setting includes, each with the key of its lines."""
    if name == "conf-file":
        paths = sorted(glob.glob(value)) if "*" in value else [value]  # noqa: PTH207
        return [(Path(path), "") for path in paths]
    if name == "conf-dir":
        directory, *rules = [word.strip() for word in value.split(",")]
        return [(path, "") for path in _included(Path(directory), rules)]
    if name in ("dhcp-optsfile", "dhcp-optsdir"):
        path = Path(value)
        inner = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(each, "dhcp-option") for each in inner if each.is_file()]
    return []


def _included(directory: Path, rules: list[str]) -> list[Path]:
    """Return the files that dnsmasq takes from a directory: endings to leave, `*.x` to take."""
    only = [rule for rule in rules if rule.startswith("*")]
    never = [rule for rule in rules if rule and not rule.startswith("*")]

    def taken(name: str) -> bool:
        if name.endswith("~") or name.startswith(".") or (name[0] == "#" == name[-1]):
            return False
        if any(name.endswith(rule) for rule in never):
            return False
        return not only or any(fnmatchcase(name, rule) for rule in only)

    if not directory.is_dir():
        return []
    return [path for path in sorted(directory.iterdir()) if taken(path.name) and path.is_file()]


def _option(words: list[str], where: str) -> OwnOption | None:
    """Read what stands before an option's value: tags, an enclosure, the number."""
    tags: set[str] = set()
    enterprise, enclosed, vendor = None, False, False
    for word in words:
        kind, _, rest = word.partition(":")
        if kind == "vi-encap":
            enterprise = int(rest) if rest.isdigit() else 0
        elif kind in ("encap", "vendor"):
            enclosed, vendor = True, vendor or kind == "vendor"
        elif kind in ("option", "option6") or word.isdigit():
            number = int(rest or word) if (rest or word).isdigit() else _NAMES.get(rest, 0)
            v6 = kind == "option6"
            if enterprise is not None:
                number = 17 if v6 else VENDOR_INFO
            elif enclosed:
                number = 43 if vendor else 0
            without = frozenset(tag[1:] for tag in tags if tag.startswith("!"))
            has = frozenset(tag for tag in tags if not tag.startswith("!"))
            return OwnOption(number, v6, has, without, where, enterprise, vendor)
        else:  # `tag:lan`, `net:lan` and `lan` are the same
            tags.add(rest if kind in ("tag", "net") else word)
    return None


def _pool(words: list[str]) -> tuple[int, str]:
    """Return for which version of IP a dhcp-range has DHCP answered, 0 for none, and its tag."""
    tag = ""
    for word in words:
        try:
            version = ipaddress.ip_address(word).version
        except ValueError:
            kind, _, rest = word.rpartition(":")
            tag = rest if kind in ("", "set") else tag
            continue
        return (0 if version == 6 and "ra-only" in words else version), tag
    return 0, ""

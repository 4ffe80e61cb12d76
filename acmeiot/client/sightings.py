"""What this machine's DHCP clients were told about its network, as their hooks left it.

`files/dhcp/acmeiot-saw` keeps one file for each interface and client, named `INTERFACE.CLIENT`,
with lines `KEY WORD`: `server`, `dns` (addresses), `domain`, `v4 CODE VALUE` and `v6 CODE VALUE`
(an option's octets, in whichever form the client shows them), `fqdn` (for a script whose client
knows no more than that), and `refused KEY` for what had other characters than any of these have.
systemd-networkd runs no hooks: its own lease files are read.

What a value means is decided here and in `protocol/dhcp.py`. All of it came from whoever answered
first on this network: a line that makes no sense is a complaint, never the end of the others.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from acmeiot.protocol import names

DIRECTORY: Final = Path("/run/acmeiot/dhcp")
NETWORKD: Final = Path("/run/systemd/netif/leases")

# A machine has some interfaces and a client or two; a lease is some hundred octets.
MAX_FILES: Final = 64
MAX_BYTES: Final = 64 << 10
MAX_LINES: Final = 256
MAX_EACH: Final = 16  # domains, resolvers, options of a family
MAX_COMPLAINTS: Final = 8  # for each file

# Linux leaves 15 characters for the name of an interface.
_FILE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,14})\.([A-Za-z0-9-]{1,32})")
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_CODE: Final = re.compile(r"[0-9]{1,5}")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_UNPADDED: Final = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2})+")
_TEXT: Final = re.compile(r"[A-Za-z0-9._-]+")
_LAST_CODE: Final = {"v4": 254, "v6": 65535}
# What of a lease of systemd-networkd is which line of a hook.
_NETWORKD_KEYS: Final = {
    "SERVER_ADDRESS": "server",
    "DNS": "dns",
    "DOMAINNAME": "domain",
    "DOMAIN_SEARCH_LIST": "domain",
}

InterfaceName = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one DHCP client was told on one interface.

    `server` is the DHCP server's address; `v4` and `v6` are options as (code, octets), of which
    one code can come more than once; `fqdn` is the ACME server's name where the client gave that.
    """

    client: str
    interface: str
    server: str | None = None
    domains: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    v4: tuple[tuple[int, bytes], ...] = ()
    v6: tuple[tuple[int, bytes], ...] = ()
    fqdn: str | None = None


def read(
    directory: Path = DIRECTORY,
    interface: str | None = None,
    networkd: Path = NETWORKD,
    interface_name: InterfaceName = socket.if_indextoname,
) -> tuple[tuple[Sighting, ...], tuple[str, ...]]:
    """Return all sightings, or those of one interface, and what could not be taken and why.

    A directory that is not there is no complaint: no hook has run yet, or networkd does not.
    """
    found: list[Sighting] = []
    complaints: list[str] = []
    for path in _files(directory, complaints):
        name = _FILE.fullmatch(path.name)
        if name is None:
            complaints.append(f"{_shown(path)}: its name is not INTERFACE.CLIENT")
        elif interface in (None, name[1]):
            data = _data(path, complaints, hook=True)
            if data is not None:
                _keep(hook_file(name[1], name[2], data), path, found, complaints)
    for path in _files(networkd, complaints):
        owner = _owner(path.name, interface_name)
        if owner is not None and interface in (None, owner):
            data = _data(path, complaints, hook=False)
            if data is not None:
                _keep(networkd_lease(owner, data), path, found, complaints)
    return tuple(found), tuple(complaints)


def stamp(directories: Iterable[Path]) -> object:
    """Return what is another value as soon as a file there is new, gone or replaced.

    A directory's own time could miss what comes within the kernel's tick; a new file has a new
    number as well. One that is not there, or cannot be read, has no files.
    """
    found = set()
    for directory in directories:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in islice(entries, MAX_FILES):
                if not entry.name.startswith("."):
                    status = entry.stat(follow_symlinks=False)
                    found.add((entry.name, status.st_ino, status.st_mtime_ns))
    return found


def hook_file(interface: str, client: str, data: bytes) -> tuple[Sighting, tuple[str, ...]]:
    """Return what a hook's file says, and which of its lines make no sense. Pure."""
    notes = _Notes(interface)
    for number, line in enumerate(_lines(data, notes), start=1):
        key, _, value = line.partition(" ")
        notes.take(f"line {number}", key, value)
    return notes.sighting(client), notes.complained()


def networkd_lease(interface: str, data: bytes) -> tuple[Sighting, tuple[str, ...]]:
    """Return what a lease file of systemd-networkd says; what it says of other things is skipped.

    Its form is not promised to anybody, and has been `KEY=VALUE` since there is one.
    """
    notes = _Notes(interface)
    for number, line in enumerate(_lines(data, notes), start=1):
        name, _, value = line.partition("=")
        if name in _NETWORKD_KEYS:
            for word in value.split():
                notes.take(f"line {number}", _NETWORKD_KEYS[name], word)
        elif name.startswith("OPTION_"):
            notes.take(f"line {number}", "v4", f"{name.removeprefix('OPTION_')} {value}")
    return notes.sighting("systemd-networkd"), notes.complained()


def octets(text: str) -> bytes:
    """Return the octets of an option that a DHCP client showed in one of its forms.

    Hex is `0000d83d` (udhcpc, odhcp6c, dhcpcd, networkd), `0:0:d8:3d` (dhclient) or
    `72:6f` (NetworkManager); dhclient shows what is all printable as it is. A host name has a
    dot, and hex has none. Raises ValueError for anything else.
    """
    if _UNPADDED.fullmatch(text):
        return bytes(int(octet, 16) for octet in text.split(":"))
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if _TEXT.fullmatch(text):
        return text.encode("ascii")
    raise ValueError(f"{_quote(text)} is neither hex nor a name")


@dataclass(slots=True)
class _Notes:
    """What is known so far of one sighting."""

    interface: str
    server: str | None = None
    fqdn: str | None = None
    domains: dict[str, None] = field(default_factory=dict)
    resolvers: dict[str, None] = field(default_factory=dict)
    options: dict[str, list[tuple[int, bytes]]] = field(
        default_factory=lambda: {"v4": [], "v6": []}
    )
    complaints: list[str] = field(default_factory=list)

    def take(self, where: str, key: str, value: str) -> None:
        """Note one line, or complain of it."""
        try:
            self._note(key, value)
        except ValueError as error:
            self.complaints.append(f"{where}: {error}")

    def _note(self, key: str, value: str) -> None:
        if key == "server":
            self.server = self._address(value)
        elif key == "dns":
            _add(self.resolvers, self._address(value), "resolvers")
        elif key == "domain":
            _add(self.domains, _name(value), "domains")
        elif key == "fqdn":
            self.fqdn = _name(value)
        elif key in self.options:
            self._option(key, value)
        elif key == "refused":
            raise ValueError(
                f"what the DHCP server sent as {_quote(value)} has a character or a length"
                " that none of it has"
            )
        else:
            raise ValueError(f"{_quote(key)} is no key of a hook")

    def _option(self, family: str, value: str) -> None:
        code, _, shown = value.partition(" ")
        if not _CODE.fullmatch(code) or not 1 <= int(code) <= _LAST_CODE[family]:
            raise ValueError(f"{_quote(code)} is no number of a DHCP{family} option")
        if len(self.options[family]) == MAX_EACH:
            raise ValueError(f"more than {MAX_EACH} options")
        self.options[family].append((int(code), octets(shown)))

    def _address(self, text: str) -> str:
        """Return the canonical address; a link-local one is of this interface's link."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(f"{_quote(text)} is no IP address") from None
        if address.version == 4 or not address.is_link_local:
            return str(address)
        return f"{str(address).partition('%')[0]}%{self.interface}"

    def sighting(self, client: str) -> Sighting:
        """Return what was noted."""
        return Sighting(
            client,
            self.interface,
            self.server,
            tuple(self.domains),
            tuple(self.resolvers),
            tuple(self.options["v4"]),
            tuple(self.options["v6"]),
            self.fqdn,
        )

    def complained(self) -> tuple[str, ...]:
        """Return the complaints, or as many as a person reads."""
        more = len(self.complaints) - MAX_COMPLAINTS
        rest = (f"and {more} more like these",) if more > 0 else ()
        return (*self.complaints[:MAX_COMPLAINTS], *rest)


def _add(known: dict[str, None], value: str, what: str) -> None:
    if value not in known and len(known) == MAX_EACH:
        raise ValueError(f"more than {MAX_EACH} {what}")
    known[value] = None


def _name(text: str) -> str:
    """Return the canonical name; names.BadName is a ValueError."""
    name = names.dns(text)
    if name.wildcard:
        raise ValueError(f"{_quote(text)} is no name of a host or a domain")
    return name.value


def _lines(data: bytes, notes: _Notes) -> list[str]:
    """Return the lines of a file that is not too long; the rest of it is a complaint."""
    if len(data) > MAX_BYTES:
        notes.complaints.append(f"longer than {MAX_BYTES} bytes; the rest is not read")
    # Latin-1 takes every octet: what is no ASCII then fails where it stands, in its own line.
    lines = data[:MAX_BYTES].decode("latin-1").split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        notes.complaints.append(f"more than {MAX_LINES} lines; the rest is not read")
    return [line for line in lines[:MAX_LINES] if line]


def _keep(
    taken: tuple[Sighting, tuple[str, ...]],
    path: Path,
    found: list[Sighting],
    complaints: list[str],
) -> None:
    found.append(taken[0])
    complaints.extend(f"{_shown(path)}: {complaint}" for complaint in taken[1])


def _owner(name: str, interface_name: InterfaceName) -> str | None:
    """Return the interface whose lease file has this name; None where it has gone."""
    if not _INDEX.fullmatch(name):
        return None  # one that is just being written
    try:
        return interface_name(int(name))
    except (OSError, OverflowError):
        return None


def _files(directory: Path, complaints: list[str]) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in islice(entries, MAX_FILES + 1)]
    except FileNotFoundError:
        return []
    except OSError as error:
        complaints.append(f"{_shown(directory)} cannot be read: {error.strerror}")
        return []
    if len(found) > MAX_FILES:
        complaints.append(f"{_shown(directory)} has more than {MAX_FILES} files; not all are read")
    # A name with a dot in front is one that is just being written.
    return [directory / name for name in sorted(found[:MAX_FILES]) if not name.startswith(".")]


def _data(path: Path, complaints: list[str], *, hook: bool) -> bytes | None:
    """Return the bytes of a regular file that nobody else can write, one more than may be."""
    try:
        # Neither a link nor a pipe that never ends can be put in its place.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # the lease has gone in the meantime
    except OSError as error:
        complaints.append(f"{_shown(path)} cannot be read: {error.strerror}")
        return None
    try:
        refusal = _refusal(os.fstat(handle), hook=hook)
        if refusal is None:
            return os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)
    complaints.append(f"{_shown(path)} {refusal}")
    return None


def _refusal(status: os.stat_result, *, hook: bool) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody; not read"
    if hook and status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}; not read"
    return None


def _shown(path: Path) -> str:
    return ascii(str(path)).strip("'")


def _quote(text: str) -> str:
    """Return the text for a message: bounded, and no control character reaches a log."""
    return ascii(text[:80] + "..." if len(text) > 80 else text)

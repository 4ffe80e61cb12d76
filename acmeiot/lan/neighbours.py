"""Who is on this network, as the router's own files say: dnsmasq leases and hosts files.

The files are small and change often, so they are read again whenever `stat` shows a change, and
never otherwise. Where they come and go, a pattern names them (`/tmp/hosts/*`). Whose MAC an address
without a lease has (a static one, or one of IPv6 that the host made itself), the kernel's neighbour
table knows.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from acmeiot.core.ports import Clock, Events
from acmeiot.core.records import Host
from acmeiot.lan import claims, netlink
from acmeiot.lan.hostfiles import (
    MAX_BYTES,
    Entry,
    Reading,
    read_hosts,
    read_lease_hosts,
    read_leases,
)
from acmeiot.lan.netlink import Neighbour

# A file changed in the same clock tick as it was read looks unchanged afterwards; JFFS2 and FAT
# tick once a second or slower. Until the change is older than this, it is simply read again.
SETTLED_NS: Final = 2_000_000_000

MAX_NEIGHBOURS: Final = 4096
_NEIGHBOURS_KEPT: Final = 3.0  # seconds
# A newcomer's entry is as young as its first packet, so what is missing is looked for again soon;
# but no flood of requests makes more than 20 dumps a second.
_NEIGHBOURS_RETRY: Final = 0.05

# odhcpd's from OpenWrt 25.12 on, one for each interface. Up to 24.10 its leases stand beside them.
LEASE_HOSTS: Final = "odhcpd.hosts."

MAX_FILES: Final = 64  # that one pattern names
_FILES_KEPT: Final = 1.0  # seconds
_PATTERN: Final = re.compile(r"[*?[]")

Parser = Callable[[bytes, Sequence[str], str], Reading]
Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A file as it was, and the stat that tells whether it still is."""

    signature: Signature | None = None  # None: read again next time
    by_address: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    by_name: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)


class TableFile:
    """One lease or hosts file, kept in memory until it changes. Usable from any thread."""

    def __init__(
        self,
        path: Path,
        kind: str,
        parser: Parser,
        domains: Sequence[str],
        events: Events,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self.source = f"{kind} {path}"
        self._parser = parser
        self._domains = tuple(domains)
        self._events = events
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._snapshot = _Snapshot()
        self._told: set[str] = set()

    def snapshot(self) -> _Snapshot:
        """Return the file's content, read again only where `stat` shows a change.

        A file that is not there, or cannot be read, is an empty one; that is said once.
        """
        with self._lock:
            try:
                if self._snapshot.signature != _signature(self._path.stat()):
                    self._snapshot = self._load()
            except OSError as error:
                self._snapshot = _Snapshot()
                # dnsmasq makes its lease file with the first lease: nothing to warn of.
                missing = isinstance(error, FileNotFoundError)
                self._tell(f"cannot be read: {error.strerror}", warning=not missing)
            return self._snapshot

    def _load(self) -> _Snapshot:
        with open(self._path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "it is not a regular file")
            data = file.read(MAX_BYTES + 1)
        reading = self._parser(data, self._domains, self.source)
        self._report(reading)
        settled = self._wall_ns() - status.st_mtime_ns > SETTLED_NS
        return _Snapshot(
            _signature(status) if settled else None,
            _index(reading.entries, lambda host: (host.address,)),
            _index(reading.entries, lambda host: host.names),
        )

    def _report(self, reading: Reading) -> None:
        if reading.bad_lines:
            first = reading.bad_lines[0]
            self._tell(f"{len(reading.bad_lines)} lines were not understood, the first: {first}")
        if reading.bad_names:
            self._tell(f"{reading.bad_names} host names are no DNS names and were ignored")
        if reading.cut:
            self._tell("is too long, its end was ignored", warning=True)

    def _tell(self, what: str, *, warning: bool = False) -> None:
        # Once for each kind of remark: a device that changes its name all day fills no log.
        kind = re.sub(r"[0-9]+", "", what)
        if kind in self._told:
            return
        self._told.add(kind)
        message = f"{self.source}: {what}"
        if warning:
            self._events.emit("lan", message, warning=True)
        else:
            self._events.debug("lan", message)


def _without_waiting(path: str, flags: int) -> int:
    # A pipe in the file's place must not stop the server.
    return os.open(path, flags | os.O_NONBLOCK)


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _index(
    entries: Iterable[Entry], keys: Callable[[Host], tuple[str, ...]]
) -> dict[str, tuple[Entry, ...]]:
    lists: dict[str, list[Entry]] = {}
    for entry in entries:
        for key in keys(entry.host):
            lists.setdefault(key, []).append(entry)
    return {key: tuple(found) for key, found in lists.items()}


class KernelTable:
    """The kernel's ARP and NDP table, remembered for three seconds. Usable from any thread."""

    def __init__(
        self, clock: Clock, events: Events, read: Callable[[], Iterable[Neighbour]]
    ) -> None:
        self._clock = clock
        self._events = events
        self._read = read
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._macs: Mapping[str, str | None] = {}
        self._told = False

    def mac_of(self, address: str) -> str | None:
        """Return the MAC on whose link the address is, None where the kernel has heard none.

        None also for an address that two MACs have on two links, as link-local ones can.
        """
        with self._lock:
            age = self._clock.monotonic() - self._read_at
            kept = _NEIGHBOURS_KEPT if address in self._macs else _NEIGHBOURS_RETRY
            if age >= kept:
                self._macs = self._load()
                self._read_at = self._clock.monotonic()
            return self._macs.get(address)

    def _load(self) -> Mapping[str, str | None]:
        macs: dict[str, str | None] = {}
        try:
            for each in itertools.islice(self._read(), MAX_NEIGHBOURS):
                same = macs.get(each.address, each.mac) == each.mac
                macs[each.address] = each.mac if same else None
        except OSError as error:
            self._tell(f"the kernel's neighbour table cannot be read: {error}")
        return macs

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            consequence = "devices without a lease are not known by their MAC"
            self._events.emit("lan", f"{what}; {consequence}", warning=True)


def matching(path: Path) -> list[str]:
    """Return the files that a path or pattern names; `*` is for no hidden one."""
    # pathlib's patterns also find what is hidden: files that are being written.
    return sorted(filter(os.path.isfile, glob.iglob(str(path))))  # noqa: PTH207


class TableFiles:
    """The files that a path or pattern names, looked for once a second. Usable from any thread."""

    def __init__(
        self,
        path: Path,
        kind: str,
        parser: Parser,
        domains: Sequence[str],
        clock: Clock,
        events: Events,
    ) -> None:
        self._path, self._clock, self._events = path, clock, events
        self._made: Callable[[Path], TableFile] = lambda path: TableFile(
            path,
            kind,
            read_lease_hosts if path.name.startswith(LEASE_HOSTS) else parser,
            domains,
            events,
        )
        self._pattern = _PATTERN.search(str(path)) is not None
        self.source = f"{kind}{'s' * self._pattern} {path}"
        self._lock = threading.Lock()
        self._looked_at = float("-inf") if self._pattern else float("inf")
        self._files: Mapping[str, TableFile] = {} if self._pattern else {"": self._made(path)}
        self._told = False

    def files(self) -> Iterable[TableFile]:
        """Return the files that there are now; of a path, its one, there or not."""
        with self._lock:
            if self._clock.monotonic() - self._looked_at >= _FILES_KEPT:
                self._files = self._found()
                self._looked_at = self._clock.monotonic()
            return self._files.values()

    def _found(self) -> dict[str, TableFile]:
        there = matching(self._path)
        if len(there) > MAX_FILES and not self._told:
            self._told = True
            message = f"{self.source}: {len(there)} files, only the first {MAX_FILES} are read"
            self._events.emit("lan", message, warning=True)
        return {name: self._files.get(name) or self._made(Path(name)) for name in there[:MAX_FILES]}


class Tables:
    """All lease and hosts files together, looked up by address and by full name.

    `leases` and `hosts` are paths or patterns.
    """

    def __init__(
        self,
        leases: Sequence[Path],
        hosts: Sequence[Path],
        domains: Sequence[str],
        clock: Clock,
        events: Events,
        neighbours: Callable[[], Iterable[Neighbour]] = netlink.neighbours,
    ) -> None:
        self._neighbours = KernelTable(clock, events, neighbours)
        self._files = [
            *(TableFiles(p, "lease file", read_leases, domains, clock, events) for p in leases),
            *(TableFiles(p, "hosts file", read_hosts, domains, clock, events) for p in hosts),
        ]
        self._clock = clock

    def sources(self) -> tuple[str, ...]:
        """Return what is asked, for messages: `lease file /tmp/dhcp.leases`, ..."""
        return tuple(file.source for file in self._files)

    def at(self, address: str) -> list[Host]:
        """Return the hosts that have this address now; `address` in its canonical spelling."""
        found = (each.by_address.get(address) for each in self._snapshots())
        return [entry.host for entry in self._current(found)]

    def named(self, name: str) -> list[Host]:
        """Return the hosts that have this full name now; lower case, no trailing dot.

        What a device calls itself does not count where a static entry gives the name to another.
        """
        return [entry.host for entry in claims.valid(self._claiming(name), self._macs_of)]

    def rivals(self, name: str) -> list[Host]:
        """Return a host of each of the devices whose leases all have this full name, else []."""
        return claims.rivals(self._claiming(name), self._macs_of)

    def mac_of(self, address: str) -> str | None:
        """Return the MAC of the address: what a lease says, else the kernel's neighbour table.

        The lease comes first, because it has the device's own MAC even behind a Wi-Fi repeater,
        which answers ARP for all behind it with its own.
        """
        lease = next((host.mac for host in self.at(address) if host.mac), None)
        return lease or self._neighbours.mac_of(address)

    def _claiming(self, name: str) -> list[Entry]:
        return list(self._current(each.by_name.get(name) for each in self._snapshots()))

    def _macs_of(self, address: str) -> frozenset[str]:
        """Return its leases' MACs, and the kernel's: behind a repeater another, of its IPv6 too."""
        macs = {self._neighbours.mac_of(address), *(host.mac for host in self.at(address))}
        return frozenset(mac for mac in macs if mac)

    def _snapshots(self) -> Iterator[_Snapshot]:
        return (file.snapshot() for files in self._files for file in files.files())

    def _current(self, found: Iterable[tuple[Entry, ...] | None]) -> Iterator[Entry]:
        now = self._clock.now()
        for entries in found:
            for entry in entries or ():
                if entry.current(now):
                    yield entry

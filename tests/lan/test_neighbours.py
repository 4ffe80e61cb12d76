"""The tables as files that change under us."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acmeiot.lan.hostfiles import MAX_ENTRIES, Reading, read_hosts
from acmeiot.lan.neighbours import (
    MAX_FILES,
    MAX_NEIGHBOURS,
    KernelTable,
    TableFile,
    TableFiles,
    Tables,
)
from acmeiot.lan.netlink import Neighbour
from tests.lan.fakes import FakeClock, FakeEvents
from tests.lan.test_hostfiles import ODHCPD

LEASE = "2000000 aa:bb:cc:00:00:20 192.168.1.20 printer *\n"


def write(path: Path, text: str, *, age: float = 3600) -> None:
    """Write the file as if that had been `age` seconds ago."""
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))


@pytest.fixture
def events() -> FakeEvents:
    """Remember what is logged."""
    return FakeEvents()


def test_lookups(tmp_path: Path, events: FakeEvents) -> None:
    """Both kinds of file answer together, by address and by name; a lease knows the MAC."""
    write(tmp_path / "leases", LEASE)
    write(tmp_path / "hosts", "192.168.1.20 alias.lan\nfd00::20 printer\n")
    spoken = [Neighbour(2, "fd00::20", "aa:bb:cc:00:00:20")]
    tables = Tables(
        [tmp_path / "leases"], [tmp_path / "hosts"], ["lan"], FakeClock(), events, lambda: spoken
    )
    assert tables.sources() == (f"lease file {tmp_path}/leases", f"hosts file {tmp_path}/hosts")
    assert [host.address for host in tables.named("printer.lan")] == ["192.168.1.20", "fd00::20"]
    assert [host.address for host in tables.named("printer.local")] == ["192.168.1.20", "fd00::20"]
    assert [host.names for host in tables.at("192.168.1.20")] == [
        ("printer.lan", "printer.local"),
        ("alias.lan",),
    ]
    assert tables.mac_of("192.168.1.20") == tables.mac_of("fd00::20") == "aa:bb:cc:00:00:20"
    assert tables.mac_of("fd00::21") is None
    assert tables.named("printer") == tables.at("192.168.1.2") == []
    assert events.lines == []


def test_expired_leases(tmp_path: Path, events: FakeEvents) -> None:
    """A lease holds until its second of expiry; expiry 0 is for ever."""
    write(tmp_path / "leases", LEASE + "0 aa:bb:cc:00:00:21 192.168.1.21 nas *\n")
    clock = FakeClock(1_999_999)
    tables = Tables([tmp_path / "leases"], [], ["lan"], clock, events)
    assert tables.named("printer.lan")
    clock.time = 2_000_000
    assert tables.named("printer.lan") == tables.at("192.168.1.20") == []
    assert tables.mac_of("192.168.1.20") is None
    assert tables.named("nas.lan")


class Counted:
    """A parser that counts how often a file was read."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, data: bytes, domains: object, source: str) -> Reading:
        """Read a hosts file."""
        self.reads += 1
        return read_hosts(data, ["lan"], source)


def test_read_only_when_changed(tmp_path: Path, events: FakeEvents) -> None:
    """Unchanged: one read; changed in content, size or inode: read again."""
    path, parser = tmp_path / "hosts", Counted()
    write(path, "192.168.1.20 a.lan\n")
    table = TableFile(path, "hosts file", parser, ["lan"], events)
    for _ in range(5):
        assert "a.lan" in table.snapshot().by_name
    assert parser.reads == 1
    write(path, "192.168.1.20 b.lan\n", age=1800)
    assert "b.lan" in table.snapshot().by_name
    kept = path.stat()
    other = tmp_path / "new"
    other.write_text("192.168.1.20 c.lan\n")
    os.utime(other, ns=(kept.st_mtime_ns, kept.st_mtime_ns))
    other.replace(path)
    assert "c.lan" in table.snapshot().by_name
    assert parser.reads == 3


def test_changed_in_the_same_tick(tmp_path: Path, events: FakeEvents) -> None:
    """A file that changed just now is not trusted to look changed when it changes again."""
    path = tmp_path / "hosts"
    write(path, "192.168.1.20 a.lan\n", age=0)
    table = TableFile(path, "hosts file", Counted(), ["lan"], events)
    assert "a.lan" in table.snapshot().by_name
    before = path.stat()
    with path.open("r+") as file:  # as dnsmasq does: the same inode, here also size and time
        file.write("192.168.1.20 b.lan\n")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert "b.lan" in table.snapshot().by_name


def test_missing_file_comes_and_goes(tmp_path: Path, events: FakeEvents) -> None:
    """dnsmasq writes its file with the first lease; until then the table is empty, said once."""
    path = tmp_path / "leases"
    tables = Tables([path], [], ["lan"], FakeClock(), events)
    assert tables.named("printer.lan") == tables.named("printer.lan") == []
    assert events.lines == [
        f"debug lan lease file {path}: cannot be read: No such file or directory"
    ]
    write(path, LEASE)
    assert tables.named("printer.lan")
    path.unlink()
    assert tables.named("printer.lan") == []
    assert len(events.lines) == 1


def test_not_a_file(tmp_path: Path, events: FakeEvents) -> None:
    """A pipe or a folder in the file's place neither blocks nor ends anything, and is warned of."""
    os.mkfifo(tmp_path / "pipe")
    tables = Tables([tmp_path / "pipe"], [tmp_path], ["lan"], FakeClock(), events)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    assert tables.named("printer.lan") == []
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
    reasons = [line.rpartition(": ")[2] for line in events.lines]
    assert reasons == ["it is not a regular file", "Is a directory"]
    assert all(line.startswith("warning lan ") for line in events.lines)


def test_bad_lines_are_reported_once(tmp_path: Path, events: FakeEvents) -> None:
    """Counts only, and once: what a device wrote about itself reaches no log."""
    path = tmp_path / "leases"
    write(path, "\x1b[31mevil\n" + LEASE.replace("printer", "my\x07phone"))
    tables = Tables([path], [], ["lan"], FakeClock(), events)
    tables.named("a.lan")
    write(path, "evil\nevil\n", age=60)
    tables.named("a.lan")
    assert events.lines == [
        f"debug lan lease file {path}: 1 lines were not understood, the first: 1",
        f"debug lan lease file {path}: 1 host names are no DNS names and were ignored",
    ]


def test_too_long(tmp_path: Path, events: FakeEvents) -> None:
    """A file beyond the bounds is used as far as it was read, with a warning."""
    write(tmp_path / "hosts", "192.168.1.20 a.lan\n" * (MAX_ENTRIES + 1))
    tables = Tables([], [tmp_path / "hosts"], ["lan"], FakeClock(), events)
    assert tables.named("a.lan")
    assert events.lines[0].endswith("is too long, its end was ignored")


# -- files that a pattern names


@dataclass
class Ticking(FakeClock):
    """A clock whose monotonic time the test sets."""

    passed: float = 0.0

    def monotonic(self) -> float:
        """Return the test's seconds."""
        return self.passed


def test_files_of_a_pattern_come_and_go(tmp_path: Path, events: FakeEvents) -> None:
    """They are looked for once a second, and what is known of one is kept."""
    folder, clock = tmp_path / "hosts", Ticking()
    tables = Tables([tmp_path / "*.leases"], [folder / "*"], ["lan"], clock, events)
    assert tables.sources() == (f"lease files {tmp_path}/*.leases", f"hosts files {folder}/*")
    assert tables.named("lamp.lan") == []
    folder.mkdir()
    (folder / "folder").mkdir()
    write(folder / "odhcpd", "192.168.1.20 lamp\n")
    write(folder / ".odhcpd", "192.168.1.66 lamp\n")
    write(tmp_path / "odhcpd.leases", ODHCPD.decode())
    clock.passed = 0.9
    assert tables.named("lamp.lan") == []
    clock.passed = 1.0
    said = f"hosts file {folder}/odhcpd"
    assert [(host.address, host.source) for host in tables.named("lamp.lan")] == [
        ("192.168.1.20", said)
    ]
    assert [host.mac for host in tables.at("192.168.1.25")] == ["0a:bb:0c:00:00:25"]
    write(folder / "dhcp.cfg01", "192.168.1.21 lamp\n")
    (folder / "odhcpd").unlink()
    assert tables.named("lamp.lan") == []
    clock.passed = 2.0
    assert [host.address for host in tables.named("lamp.lan")] == ["192.168.1.21"]
    gone = f"debug lan {said}: cannot be read: No such file or directory"
    assert events.lines[1:] == [gone]


def test_a_file_of_a_pattern_is_read_once(tmp_path: Path, events: FakeEvents) -> None:
    write(tmp_path / "a", "192.168.1.20 a.lan\n")
    clock, parser = Ticking(), Counted()
    files = TableFiles(tmp_path / "[a-z]", "hosts file", parser, ["lan"], clock, events)
    for clock.passed in (0.0, 1.0, 5.0):
        assert ["a.lan" in each.snapshot().by_name for each in files.files()] == [True]
    assert parser.reads == 1


def test_a_pattern_is_bounded(tmp_path: Path, events: FakeEvents) -> None:
    for number in range(MAX_FILES + 1):
        write(tmp_path / f"{number:03}", f"192.168.1.20 a{number}.lan\n")
    clock = Ticking()
    tables = Tables([], [tmp_path / "*"], ["lan"], clock, events)
    assert tables.named(f"a{MAX_FILES - 1}.lan")
    assert not tables.named(f"a{MAX_FILES}.lan")
    clock.passed = 1
    assert not tables.named(f"a{MAX_FILES}.lan")
    said = f"{MAX_FILES + 1} files, only the first {MAX_FILES} are read"
    assert events.lines == [f"warning lan hosts files {tmp_path}/*: {said}"]


# -- the kernel's table


@dataclass
class Kernel:
    """The neighbour table as the test says, and how often it was read."""

    entries: list[Neighbour] = field(default_factory=list)
    error: OSError | None = None
    reads: int = 0

    def read(self) -> Iterator[Neighbour]:
        """Yield the entries, or fail."""
        self.reads += 1
        if self.error:
            raise self.error
        yield from self.entries


NAS = Neighbour(2, "192.168.1.30", "aa:bb:cc:00:00:30")


@pytest.fixture
def kernel() -> Kernel:
    """A table with one host that has a static address."""
    return Kernel([NAS])


def test_kernel_knows_static_addresses(tmp_path: Path, events: FakeEvents, kernel: Kernel) -> None:
    """A lease is the best word on a MAC; without one the kernel is asked, IPv6 too."""
    write(tmp_path / "leases", LEASE)
    kernel.entries += [
        Neighbour(2, "192.168.1.20", "aa:bb:cc:00:00:99"),  # a repeater answers for the printer
        Neighbour(2, "fd00::20", "aa:bb:cc:00:00:20"),
    ]
    tables = Tables([tmp_path / "leases"], [], ["lan"], FakeClock(), events, kernel.read)
    assert tables.mac_of("192.168.1.20") == tables.mac_of("fd00::20") == "aa:bb:cc:00:00:20"
    assert tables.mac_of("192.168.1.30") == "aa:bb:cc:00:00:30"
    assert tables.mac_of("192.168.1.31") is None


def test_kernel_is_asked_seldom(events: FakeEvents, kernel: Kernel) -> None:
    """What is known holds for three seconds; what is not is looked for again in a moment."""
    clock = Ticking()
    table = KernelTable(clock, events, kernel.read)
    assert table.mac_of(NAS.address) == NAS.mac
    clock.passed = 2.9
    assert table.mac_of(NAS.address) == NAS.mac
    assert kernel.reads == 1
    kernel.entries = [Neighbour(2, NAS.address, "aa:bb:cc:00:00:31")]
    clock.passed = 3.0
    assert table.mac_of(NAS.address) == "aa:bb:cc:00:00:31"
    for _ in range(9):
        assert table.mac_of("fd00::20") is None
    assert kernel.reads == 2
    kernel.entries.append(Neighbour(2, "fd00::20", NAS.mac))
    clock.passed = 3.06
    assert table.mac_of("fd00::20") == NAS.mac


def test_one_address_on_two_links(events: FakeEvents, kernel: Kernel) -> None:
    """Link-local addresses may be of two devices: then nobody is known by it."""
    kernel.entries = [
        Neighbour(2, "fe80::1", "aa:bb:cc:00:00:01"),
        Neighbour(3, "fe80::1", "aa:bb:cc:00:00:02"),
        Neighbour(4, "fe80::1", "aa:bb:cc:00:00:01"),
        Neighbour(2, "fe80::2", "aa:bb:cc:00:00:02"),
        Neighbour(3, "fe80::2", "aa:bb:cc:00:00:02"),
    ]
    table = KernelTable(FakeClock(), events, kernel.read)
    assert table.mac_of("fe80::1") is None
    assert table.mac_of("fe80::2") == "aa:bb:cc:00:00:02"


def test_kernel_table_is_bounded(events: FakeEvents) -> None:
    """A LAN full of invented addresses fills no memory."""
    kernel = Kernel([Neighbour(2, f"fd00::{n:x}", NAS.mac) for n in range(MAX_NEIGHBOURS + 1)])
    table = KernelTable(FakeClock(), events, kernel.read)
    assert table.mac_of(f"fd00::{MAX_NEIGHBOURS - 1:x}") == NAS.mac
    assert table.mac_of(f"fd00::{MAX_NEIGHBOURS:x}") is None


def test_kernel_refuses(events: FakeEvents, kernel: Kernel) -> None:
    """No right to read the table: said once, and only leases tell MACs."""
    kernel.error = PermissionError(1, "Operation not permitted")
    clock = Ticking()
    table = KernelTable(clock, events, kernel.read)
    assert table.mac_of(NAS.address) is None
    clock.passed = 10
    assert table.mac_of(NAS.address) is None
    (line,) = events.lines
    assert line == (
        "warning lan the kernel's neighbour table cannot be read: [Errno 1] Operation not "
        "permitted; devices without a lease are not known by their MAC"
    )
    kernel.error = None
    clock.passed = 20
    assert table.mac_of(NAS.address) == NAS.mac

"""The tables as files that change under us."""

import os
import time
from pathlib import Path

import pytest

from acmeiot.lan.hostfiles import MAX_ENTRIES, Reading, read_hosts
from acmeiot.lan.neighbours import TableFile, Tables
from tests.lan.fakes import FakeClock, FakeEvents

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
    tables = Tables([tmp_path / "leases"], [tmp_path / "hosts"], ["lan"], FakeClock(), events)
    assert tables.sources() == (f"lease file {tmp_path}/leases", f"hosts file {tmp_path}/hosts")
    assert [host.address for host in tables.named("printer.lan")] == ["192.168.1.20", "fd00::20"]
    assert [host.address for host in tables.named("printer.local")] == ["192.168.1.20", "fd00::20"]
    assert [host.names for host in tables.at("192.168.1.20")] == [
        ("printer.lan", "printer.local"),
        ("alias.lan",),
    ]
    assert tables.mac_of("192.168.1.20") == "aa:bb:cc:00:00:20"
    assert tables.mac_of("fd00::20") is None
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

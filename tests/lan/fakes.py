"""A clock that stands still, events that are remembered, and tables without files."""

from dataclasses import dataclass, field

from acmeiot.core.records import Host
from acmeiot.lan.hostfiles import read_hosts
from acmeiot.lan.neighbours import Tables


@dataclass
class FakeClock:
    """The time as the test says."""

    time: int = 1_000_000

    def now(self) -> int:
        """Return the test's time."""
        return self.time

    def monotonic(self) -> float:
        """Return the test's time."""
        return float(self.time)

    def doubt(self) -> str | None:
        """Return None: the test's time is always sane."""
        return None


@dataclass
class FakeEvents:
    """All that was logged, a line each."""

    lines: list[str] = field(default_factory=list)

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        """Remember an event."""
        self.lines.append(f"{'warning' if warning else 'info'} {kind} {message}")

    def fault(self, what: str, error: BaseException) -> None:
        """Remember a fault."""
        self.lines.append(f"fault {what} {error!r}")

    def debug(self, kind: str, message: str) -> None:
        """Remember a debug line."""
        self.lines.append(f"debug {kind} {message}")


class TextTables(Tables):
    """A hosts file that is a text of the test."""

    def __init__(self, text: str, *domains: str) -> None:
        super().__init__([], [], domains, FakeClock(), FakeEvents())
        self._read = read_hosts(text.encode(), domains, "hosts file test").entries

    def sources(self) -> tuple[str, ...]:
        """Return the file's name, when it has any content."""
        return ("hosts file test",) if self._read else ()

    def at(self, address: str) -> list[Host]:
        """Return the hosts with this address."""
        return [entry.host for entry in self._read if entry.host.address == address]

    def named(self, name: str) -> list[Host]:
        """Return the hosts with this name."""
        return [entry.host for entry in self._read if name in entry.host.names]


def table_of(text: str) -> Tables:
    """Return tables that hold what the text of a hosts file says."""
    return TextTables(text, "lan")

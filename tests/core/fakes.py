"""What a home's rules are told in tests: the time, the network's tables, the outcome of a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acmeiot.core.ports import StoreFull
from acmeiot.core.records import Challenge, Host, Resolution
from acmeiot.protocol.errors import DnsFailed
from acmeiot.protocol.names import Identifier, IPAddress
from tests.store.doubting import DoubtingStore

NOW = 1_800_000_000
DAY = 86_400


class FakeClock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: int = NOW) -> None:
        self.time = now
        self.ticks = 1000.0
        self.reason: str | None = None

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.ticks

    def doubt(self) -> str | None:
        return self.reason

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.time += seconds
        self.ticks += seconds

    def jump(self, seconds: int) -> None:
        """Set the clock, as NTP or a person does; no time passes."""
        self.time += seconds


class FakeEvents:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.faults: list[BaseException] = []

    def emit(self, kind: str, message: str, *, warning: bool = False) -> None:
        self.lines.append(f"{kind}: {message}")
        if warning:
            self.warnings.append(message)

    def fault(self, what: str, error: BaseException) -> None:
        self.lines.append(f"fault: {what}")
        self.faults.append(error)

    def debug(self, kind: str, message: str) -> None:
        self.lines.append(f"debug {kind}: {message}")

    def said(self, *words: str) -> bool:
        """Tell whether one line has all the words."""
        return any(all(word in line for word in words) for line in self.lines)


class FakeLan:
    """The tables of a network, and what its resolver says beyond them."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self.macs: dict[str, str] = {}
        self.own = {"192.168.1.1", "fd00::1"}
        self.elsewhere: dict[str, tuple[str, ...]] = {}
        self.disputed: dict[str, str] = {}
        self.issuers: dict[str, list[str]] = {}

    def lease(self, name: str, address: str, mac: str | None) -> None:
        """Give the device of this name an address, as the DHCP server does."""
        self.hosts.append(Host(address, (f"{name}.lan", f"{name}.local"), mac, "lease file"))
        if mac is not None:
            self.macs[address] = mac

    def resolve(self, name: str) -> Resolution:
        found = tuple(host.address for host in self.hosts if name in host.names)
        addresses = self.elsewhere.get(name, found)
        if not addresses and name not in self.elsewhere:
            raise DnsFailed(f"{name} is unknown; asked: the tables, 192.168.1.1")
        return Resolution(addresses, "lease file", self.disputed.get(name))

    def hosts_at(self, address: str) -> list[Host]:
        return [host for host in self.hosts if host.address == address]

    def hosts_named(self, name: str) -> list[Host]:
        return [host for host in self.hosts if name in host.names]

    def mac_of(self, address: str) -> str | None:
        return self.macs.get(address)

    def caa(self, name: str) -> list[str]:
        return self.issuers.get(name, [])

    def is_own(self, address: IPAddress) -> bool:
        return str(address) in self.own


@dataclass(frozen=True, slots=True)
class Question:
    """What the validator was asked."""

    challenge: Challenge
    identifier: Identifier
    key_authorization: str
    addresses: Sequence[IPAddress]


class FakeValidator:
    """Finds every proof in its place, but for the names in `broken`."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.broken: dict[str, Exception] = {}

    def validate(
        self,
        challenge: Challenge,
        identifier: Identifier,
        key_authorization: str,
        addresses: Sequence[IPAddress],
    ) -> str:
        self.asked.append(Question(challenge, identifier, key_authorization, addresses))
        if identifier.value in self.broken:
            raise self.broken[identifier.value]
        return str(addresses[0]) if addresses else "the TXT record"


class FakeRunner:
    """Runs a job at once; `later` keeps it for `finish` (a device that hangs), `full` refuses."""

    def __init__(self) -> None:
        self.later = False
        self.full = False
        self.broken = False
        self.jobs: list[Callable[[], None]] = []

    def start(self, job: Callable[[], None], wait: float) -> bool:
        assert 0 < wait < 5, "a request waits for a proof, but not for long"
        if self.broken:
            raise RuntimeError("can't start new thread")
        if self.full:
            return False
        if self.later:
            self.jobs.append(job)
        else:
            job()
        return True

    def finish(self) -> None:
        """Let the jobs that hang come to their end."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


class CountingStore(DoubtingStore):
    """The real store, which counts its transactions and whose disk can be full.

    Nothing waits for the disk; what a power cut takes is what SQLite has not committed.
    """

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.transactions = 0
        self.full = False
        self.meanwhile: list[Callable[[], None]] = []
        self._depth = 0
        self._uncommitted = 0  # rows
        self._database._connection.execute("PRAGMA synchronous = OFF")
        self._plain_run = self._database.run
        self._database.run = self._run  # type: ignore[method-assign]

    def power_cut(self) -> None:
        """Forget what waits for the next transaction; the rules must be made anew."""
        if self._database._connection.in_transaction:
            self._database._connection.execute("ROLLBACK")
        self._recent.clear()
        self._uncommitted = 0

    def delete(self, table: str, key: str | None = None) -> None:
        """Delete a row, or all, which only time does otherwise."""
        where = "" if key is None else " WHERE id = ?"
        self._database.run(f"DELETE FROM {table}{where}", () if key is None else (key,))
        self._recent.clear()

    @contextmanager
    def writing(self, *, later: bool = False) -> Iterator[None]:
        while self.meanwhile and not self._depth:
            self.meanwhile.pop(0)()
        before = self._uncommitted
        with super().writing(later=later):
            self._depth += 1
            try:
                yield
            except BaseException:
                self._uncommitted = before
                raise
            finally:
                self._depth -= 1
        if not self._depth and not later:
            self._committed()

    def _run(self, sql: str, values: Sequence[object] | dict[str, object] = ()) -> int:
        if self.full:
            raise StoreFull("cannot write: no space left on device")
        changed = self._plain_run(sql, values)
        self._uncommitted += changed
        if not self._depth:
            self._committed()
        return changed

    def _committed(self) -> None:
        self.transactions += self._uncommitted > 0
        self._uncommitted = 0

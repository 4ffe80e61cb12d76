"""When the system's clock is believed (decision 9, specs 6 "no clock at boot")."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from acmeiot import clock
from acmeiot.clock import SlowTime, SystemClock
from acmeiot.core.ports import StoreFull
from acmeiot.store.sqlite import SqliteStore

DAY = 86400
NOW = 1_800_000_000


class FakeTime:
    """The time module's part that the clock looks at."""

    def __init__(self, now: float = NOW) -> None:
        self.at, self.up = now, 7.5

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.up

    def sleep(self, seconds: float) -> None:
        threading.Event().wait(seconds / 100)  # others move this clock


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock, "time", fake)
    return fake


def test_now_is_whole_seconds(time: FakeTime) -> None:
    time.at = NOW + 0.9
    assert SystemClock(0).now() == NOW
    assert SystemClock(0).monotonic() == 7.5


def test_a_time_before_the_floor_is_doubted(time: FakeTime) -> None:
    """It says which time it is, which it should be, and what it waits for."""
    doubt = SystemClock(NOW + 1).doubt()
    assert doubt is not None
    assert "2027-01-15T08:00:00Z" in doubt
    assert "2027-01-15T08:00:01Z" in doubt
    assert "NTP" in doubt
    assert SystemClock(NOW).doubt() is None


def test_the_floor_only_rises(time: FakeTime) -> None:
    one = SystemClock(NOW - 10)
    one.raise_floor(NOW - 20)
    time.at = NOW - 15
    assert one.doubt()
    one.raise_floor(NOW)
    time.at = NOW - 1
    assert one.doubt()
    time.at = NOW
    assert one.doubt() is None


def test_what_was_signed_is_a_floor_too(time: FakeTime) -> None:
    one = SystemClock(NOW - 10)
    one.have_signed(NOW + 1)
    one.have_signed(NOW - 1)
    doubt = one.doubt()
    assert doubt is not None
    assert "2027-01-15T08:00:01Z" in doubt
    time.at = NOW + 1
    assert one.doubt() is None


def test_ntp_is_waited_for_where_something_tells(time: FakeTime, tmp_path: Path) -> None:
    """Later than all that was signed is not yet right: months may have passed without power."""
    heard = tmp_path / "clock-set"
    one = SystemClock(NOW, heard)
    doubt = one.doubt()
    assert doubt is not None
    assert "for 292 seconds at most" in doubt
    time.up = 299.0
    assert one.doubt()
    heard.touch()
    assert one.doubt() is None
    heard.unlink()  # it was heard
    assert one.doubt() is None


def test_a_home_without_ntp_is_not_kept_waiting(time: FakeTime, tmp_path: Path) -> None:
    one = SystemClock(NOW, tmp_path / "clock-set")
    time.up = 300.0
    assert one.doubt() is None
    time.at = NOW - 1
    assert one.doubt()  # no reason to believe any time


@pytest.mark.parametrize("path", ["x" * 5000, "nul\0", "/dev/null/file"])
def test_a_place_that_cannot_be_is_waited_for_no_longer(time: FakeTime, path: str) -> None:
    one = SystemClock(NOW, Path(path))
    assert one.doubt()
    time.up = 300.0
    assert one.doubt() is None


def test_ntp_ends_a_future_that_was_none(time: FakeTime, tmp_path: Path) -> None:
    """It started with the date of some file, and signed by that; the issuer is from before."""
    heard = tmp_path / "clock-set"
    one = SystemClock(NOW - 10, heard)
    one.raise_floor(NOW)
    time.up, time.at = 400.0, NOW + 3000 * DAY
    one.have_signed(NOW + 3000 * DAY)
    assert one.doubt() is None
    time.at = NOW
    assert one.doubt()
    heard.touch()
    assert one.doubt() is None
    time.at = NOW - 1
    assert one.doubt()  # before the issuer a leaf is good for nobody
    time.at = NOW + 2 * DAY
    assert one.doubt() is None
    time.at = NOW
    doubt = one.doubt()
    assert doubt is not None
    assert "went back" in doubt  # once only


def test_ntp_may_end_the_floor(time: FakeTime, tmp_path: Path) -> None:
    """Not by itself: whoever raised it says whether there is something from before."""
    heard = tmp_path / "clock-set"
    one = SystemClock(NOW - 10, heard)
    time.up = 400.0
    assert one.before_floor() is None
    one.raise_floor(NOW + 1000 * DAY)
    assert one.before_floor() is None  # nobody has set it
    heard.touch()
    assert one.before_floor() == NOW
    assert one.doubt()
    one.end_floor()
    assert one.doubt() is None
    assert one.before_floor() is None
    time.at = NOW - 11
    assert one.before_floor() is None  # older than this program
    assert one.doubt()


def test_where_nothing_tells_of_ntp_the_way_out_is_named(time: FakeTime, tmp_path: Path) -> None:
    for heard, said in ((None, "name in clock_set_file"), (tmp_path / "clock-set", "waiting")):
        one = SystemClock(NOW - 10, heard)
        one.raise_floor(NOW + 1)
        assert said in str(one.doubt())


def test_ntp_of_long_ago_does_not_vouch_for_a_jump_back(time: FakeTime, tmp_path: Path) -> None:
    heard = tmp_path / "clock-set"
    heard.touch()
    one = SystemClock(0, heard)
    one.raise_floor(NOW)
    assert one.doubt() is None
    time.at = NOW - DAY
    assert one.before_floor() == NOW - DAY
    time.at = NOW - DAY - 1
    assert one.before_floor() is None


def test_a_jump_back_over_a_day_is_doubted(time: FakeTime) -> None:
    """A correction by NTP is none; a battery that died is. Forwards the time may go."""
    one = SystemClock(0)
    assert one.doubt() is None
    time.at = NOW + 1000 * DAY
    assert one.doubt() is None
    time.at = NOW + 999 * DAY
    assert one.doubt() is None
    time.at = NOW + 999 * DAY - 1
    doubt = one.doubt()
    assert doubt is not None
    assert "went back" in doubt
    assert "restart" in doubt
    time.at = NOW + 1000 * DAY
    assert one.doubt() is None
    assert SystemClock(0).doubt() is None


def test_a_jump_is_seen_though_only_now_was_asked(time: FakeTime) -> None:
    one = SystemClock(0)
    one.now()
    time.at = NOW - 2 * DAY
    assert one.doubt()


def test_time_to_forget_comes_slowly(tmp_path: Path) -> None:
    """A day at each look, over restarts too; back it goes at once."""
    store = SqliteStore(tmp_path)
    assert SlowTime(store).follow(NOW) == NOW
    slow = SlowTime(store)
    assert slow.follow(NOW + 3600) == NOW + 3600
    assert slow.follow(NOW + 4000 * DAY) == NOW + 3600 + DAY
    assert slow.follow(NOW + 4000 * DAY) == NOW + 3600 + 2 * DAY
    assert SlowTime(store).follow(NOW + 4000 * DAY) == NOW + 3600 + 3 * DAY
    assert SlowTime(store).follow(NOW + DAY) == NOW + DAY
    assert SlowTime(store).follow(NOW + 9 * DAY) == NOW + 2 * DAY
    store.close()


def test_a_quiet_hour_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a day is enough; a disk that is full does not stop the upkeep."""
    store = SqliteStore(tmp_path)
    slow = SlowTime(store)
    slow.follow(NOW)
    written = []

    def put_fact(_key: str, value: str) -> None:
        written.append(int(value))
        raise StoreFull("no space left")

    monkeypatch.setattr(store, "put_fact", put_fact)
    for hour in range(26):
        assert slow.follow(NOW + hour * 3600) == NOW + hour * 3600
    assert written == [NOW + DAY, NOW + DAY + 3600]
    store.close()

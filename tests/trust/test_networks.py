"""The book on the disk: whole or not at all, one process at a time, bounded."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.trust import networks
from acmeiot.trust.networks import Belief, Ledger, Pending, Placed
from tests.trust.fakes import HOME, OTHER, known_root
from tests.trust.roots import NOW, home_root


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state")


def filled(ledger: Ledger) -> None:
    first, second = known_root(home_root(0)), known_root(home_root(1))
    with ledger.opened() as book:
        book.meet(HOME, NOW, "https://router.lan/acme/directory")
        book.believe(HOME.key, first, Belief(first.sha256, "tofu", False, NOW))
        book.wait(HOME.key, second, Pending(second.sha256, NOW, True))
        book.meet(OTHER, NOW)
        book.placed.append(Placed("nss", first.sha256, "acmeiot Home CA", True))
        book.troubles["system"] = "no"
        book.notices.append({"when": NOW, "kind": "x", "network": "", "text": "y"})


def test_what_is_written_is_read(ledger: Ledger) -> None:
    filled(ledger)
    with ledger.opened() as book:
        kept = book
    assert Ledger(ledger.directory).look() == kept
    assert len(kept.roots) == 2


def test_only_its_owner_may_read_it(ledger: Ledger) -> None:
    """A-4.3-1."""
    filled(ledger)
    assert stat.S_IMODE(ledger.directory.stat().st_mode) == 0o700
    for path in ledger.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_did_not_change_is_not_written(ledger: Ledger) -> None:
    filled(ledger)
    before = (ledger.directory / networks.FILE).stat().st_ino
    with ledger.opened() as book:
        book.meet(HOME, NOW + 60)
    assert (ledger.directory / networks.FILE).stat().st_ino == before
    with ledger.opened() as book:
        book.meet(HOME, NOW + 7200)
    assert (ledger.directory / networks.FILE).stat().st_ino != before


def test_what_was_done_before_an_error_is_kept(ledger: Ledger) -> None:
    def fails() -> None:
        with ledger.opened() as book:
            book.placed.append(Placed("nss", "00", "x"))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert len(ledger.look().placed) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "roots": [{"a": 1}]}', "\xff"]
)
def test_a_broken_book_is_not_taken_for_an_empty_one(ledger: Ledger, text: str) -> None:
    filled(ledger)
    (ledger.directory / networks.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(AgentError, match=r"cannot be read.*acmeiot trust reset"):
        ledger.look()
    with pytest.raises(AgentError), ledger.opened():
        pass
    assert (ledger.directory / networks.FILE).read_text(encoding="latin-1") == text


def test_one_process_at_a_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "LOCK_SECONDS", 0.1)
    entered, leave = threading.Event(), threading.Event()

    def keep() -> None:
        with Ledger(ledger.directory).opened():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=keep)
    other.start()
    assert entered.wait(10)
    with pytest.raises(AgentError, match="is busy"), ledger.opened():
        pass
    leave.set()
    other.join()
    with ledger.opened():
        pass


def test_no_child_keeps_the_lock(ledger: Ledger) -> None:
    with ledger.opened():
        held = [int(name) for name in os.listdir("/proc/self/fd")]
        locks = [n for n in held if _target(n).endswith("/lock")]
        assert locks
        assert not any(os.get_inheritable(number) for number in locks)


def _target(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""

"""The file that a router's web page shows: what is in it, and when it is written."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acmeiot.config import load
from acmeiot.daemon import Daemon
from acmeiot.events import LogEvents
from acmeiot.protocol.fingerprint import words
from acmeiot.statusfile import StatusFile, shown
from acmeiot.store.sqlite import SqliteStore
from tests.ports import free_ports
from tests.web.conftest import options
from tests.web.house import House
from tests.web.running import Running, acmeiot
from tests.web.test_approval import answer_all, pending

ROOT = "5f" * 32


@dataclass
class Server:
    """A state that a test sets, and how often it was asked for."""

    said: str = "first"
    window_ends: int | None = None
    now: int = 1_000_000
    reads: int = 0
    error: Exception | None = None
    asked: threading.Event = field(default_factory=threading.Event)

    def read(self) -> dict[str, Any]:
        """Return the state."""
        self.reads += 1
        self.asked.set()
        if self.error is not None:
            raise self.error
        return {"said": self.said, "window_ends": self.window_ends, "clock": {"now": self.now}}

    def is_asked(self, seconds: float = 20) -> bool:
        """Wait until it is asked again."""
        asked = self.asked.wait(seconds)
        self.asked.clear()
        return asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def events() -> LogEvents:
    return LogEvents()


@pytest.fixture
def file(path: Path, server: Server, events: LogEvents) -> Iterator[StatusFile]:
    made = StatusFile(path, server.read, events, pause=0.05)
    yield made
    made.stop()


def until(path: Path, said: str) -> None:
    """Wait until the file says this; whenever it is read, it is whole."""
    for _ in range(400):
        if path.exists() and json.loads(path.read_bytes())["said"] == said:
            return
        time.sleep(0.05)
    raise AssertionError(path.read_text())


def test_what_a_page_is_shown() -> None:
    """Nothing large, and what a page cannot work out by itself."""
    root = {"sha256": ROOT, "pem": "-----BEGIN", "name": "Home"}
    status = {"root": root, "directory_object": {}, "devices": {"pending": 1}}
    assert shown(status, 8556) == {
        "root": {"sha256": ROOT, "name": "Home", "words": words(bytes.fromhex(ROOT))},
        "devices": {"pending": 1},
        "http_port": 8556,
    }
    assert "pem" in root


def test_follows_the_events(
    file: StatusFile, path: Path, server: Server, events: LogEvents
) -> None:
    events.emit("start", "before anybody looks")
    old = os.umask(0o077)
    try:
        file.start()
        until(path, "first")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        server.said = "second"
        events.emit("device", "new")
        until(path, "second")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(old)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    file.stop()
    assert not path.exists()


def test_is_not_written_without_news(
    file: StatusFile, path: Path, server: Server, events: LogEvents
) -> None:
    file.start()
    until(path, "first")
    server.asked.clear()
    events.debug("lan", "what only -v shows is no news")
    assert not server.is_asked(0.5)


def test_what_comes_together_is_written_once(path: Path, server: Server, events: LogEvents) -> None:
    file = StatusFile(path, server.read, events, pause=1)
    file.start()
    until(path, "first")
    server.said = "second"
    for _ in range(20):
        events.emit("issued", "to many at once")
        time.sleep(0.01)
    until(path, "second")
    file.stop()
    assert server.reads <= 3


def test_the_end_of_the_window_is_no_event(file: StatusFile, path: Path, server: Server) -> None:
    server.window_ends = server.now + 1
    file.start()
    until(path, "first")
    server.said, server.window_ends = "closed", None
    until(path, "closed")
    server.asked.clear()
    assert not server.is_asked(0.5)


def test_a_place_that_cannot_be_written(
    path: Path, server: Server, events: LogEvents, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and the server goes on; when there is room again, the page is, too."""
    folder = path.parent / "run"
    file = StatusFile(folder / "status.json", server.read, events, pause=0.01)
    file.start()
    for _ in range(3):
        assert server.is_asked()
        events.emit("device", "new")
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == [
        f"status: {folder}/status.json: No such file or directory"
    ]
    folder.mkdir()
    events.emit("device", "new")
    until(folder / "status.json", "first")
    file.stop()
    assert list(folder.iterdir()) == []


def test_a_fault_ends_nothing(
    file: StatusFile, path: Path, server: Server, events: LogEvents,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    server.error = KeyError("x")
    file.start()
    assert server.is_asked()
    server.error = None
    events.emit("device", "new")
    until(path, "first")
    assert "fault: status file: KeyError('x')" in caplog.text


def test_nobody_s_link_is_written_through(
    file: StatusFile, path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    precious = path.with_name("precious")
    precious.write_text("x")
    path.symlink_to(precious)
    path.with_name(".status.json.new").symlink_to(precious)
    file.start()
    assert server.is_asked()
    file.stop()
    assert precious.read_text() == "x"
    assert "Too many levels of symbolic links" in caplog.text


def test_stop_does_not_wait_for_the_pause(path: Path, server: Server, events: LogEvents) -> None:
    file = StatusFile(path, server.read, events, pause=600)
    file.start()
    until(path, "first")
    events.emit("device", "new")
    stopping = threading.Thread(target=file.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()


# -- of a server


def until_page(page: Path, true: Callable[[Any], object]) -> Any:
    """Wait until it is true of the page, and return the page."""
    for _ in range(400):
        if page.exists() and true(found := json.loads(page.read_bytes())):
            return found
        time.sleep(0.05)
    raise AssertionError(page.read_text())


def test_of_a_server(tmp_path: Path) -> None:
    """It says what `status` does, follows what the owner sees, and ends with the server."""
    page, settings = tmp_path / "run" / "status.json", tmp_path / "acmeiot.toml"
    page.parent.mkdir()
    memory = tmp_path / "announced.json"
    settings.write_text(f"status_file = '{page}'\nannounced = '{memory}'\napproval_wait = 1\n")
    with House() as house:
        arguments = (*options(house), "--config", str(settings), "--limits", "off")
        running = Running(tmp_path / "state", arguments).start()
        try:
            compare(until_page(page, bool), running)
            client = running.client()
            order = client.order("printer.lan", "printer.local").json
            answer_all(client, house, order)
            until_page(page, lambda said: said["devices"]["pending"] == 1)
            running.admin("approve", pending(running)["id"])
            until_page(page, lambda said: said["devices"]["approved"] == 1)
            house.issue(client)
            until_page(page, lambda said: said["certificates"] == 1)
            running.ask("pair", "--window", "60")
            until_page(page, lambda said: said["window_ends"])
            running.admin("forget", "printer.lan")
            until_page(page, lambda said: said["devices"]["forgotten"] == 1)
            root = running.ask("rotate")["new"]
            until_page(page, lambda said: said["root"]["sha256"] == root)
            where = ("--state", running.state, "--config", settings, "--no-dnsmasq")
            assert acmeiot("announce", *where, "--static", tmp_path / "acme").returncode == 0
            (report,) = until_page(page, lambda said: said["announced"])["announced"]
            assert report["memory"] == str(memory)
            assert acmeiot("announce", *where, "--remove").returncode == 0
            until_page(page, lambda said: not said["announced"])
        finally:
            running.stop()
    assert list(page.parent.iterdir()) == []


def compare(page: Any, running: Running) -> None:
    """Check the page against what `status` answers."""
    status: Any = running.ask("status")
    assert page.pop("http_port") == running.ports[1]
    assert page["root"].pop("words") == words(bytes.fromhex(running.root_hash))
    assert status["root"].pop("pem").startswith("-----BEGIN CERTIFICATE")
    assert status.pop("directory_object")
    assert page.pop("clock")["doubt"] is status.pop("clock")["doubt"] is None
    assert page == status


def test_the_audit_is_not_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows for years; the page shows what was found when the owner asked last."""
    monkeypatch.setattr(SqliteStore, "verify_audit", lambda _: 7)
    flags = {"state": str(tmp_path / "state"), "listen": f"127.0.0.1:{free_ports()[0]}",
             "http_listen": f"127.0.0.1:{free_ports()[1]}",
             "status_file": str(tmp_path / "status.json")}  # fmt: skip
    events = LogEvents()
    daemon = Daemon.open(load(None, flags), events, lambda: False)
    assert daemon is not None
    daemon.listen()
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        assert until_page(tmp_path / "status.json", bool)["audit_broken_at"] is None
        assert daemon.status()["audit_broken_at"] == 7
        events.emit("device", "new")
        until_page(tmp_path / "status.json", lambda said: said["audit_broken_at"] == 7)
        events.news.clear()
        daemon.upkeep()
        assert events.news.is_set(), "what has expired since is shown"
    finally:
        daemon.stop()
        thread.join(20)
    assert not (tmp_path / "status.json").exists()

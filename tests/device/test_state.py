"""The state directory: for one agent, one user, and whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.device import requests, state
from acmeiot.device.files import BrokenState
from acmeiot.device.requests import Request
from acmeiot.device.servers import MAX_CERTIFICATES, Facts
from acmeiot.device.state import Device


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    with state.opened(tmp_path):
        assert state.agent_pid(tmp_path) == os.getpid()
        with (
            pytest.raises(AgentError, match="another device agent is at work"),
            state.opened(tmp_path),
        ):
            pytest.fail("two at once")
    assert state.agent_pid(tmp_path) is None


def test_an_agent_that_died_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from acmeiot.device import state\n"
        "with state.opened(Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == 9
    assert state.agent_pid(tmp_path) is None
    with state.opened(tmp_path):
        pass


def test_a_state_that_others_could_read_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state.make(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700  # A-4.3-1


def test_another_users_state_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(AgentError, match=f"another user's, {owner}"), state.opened(tmp_path):
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "no JSON object"),
        ('{"label": 3}', "Device: label is 3, not str"),
        (" " * 300000, "longer than anything"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    made = state.make(tmp_path)
    (tmp_path / "device.json").write_text(text)
    with pytest.raises(BrokenState) as caught:
        made.device()
    assert said in str(caught.value)


def test_members_of_another_version_are_left_aside(tmp_path: Path) -> None:
    made = state.make(tmp_path)
    (tmp_path / "device.json").write_text('{"label": "a-12cd56", "colour": "red"}')
    assert made.device() == Device("a-12cd56")


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    made = state.make(tmp_path)
    server = made.new_server(b"root", Facts(url="https://router.lan/"))
    made.join("eth0-1", "eth0", server, now=1_000_000)
    made.put_device(Device("a-12cd56"))
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert len(stamps) == 3
    server.note(url="https://router.lan/")
    made.join("eth0-1", "eth0", server, now=1_000_000 + 3600)
    made.put_device(Device("a-12cd56"))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_leftovers_are_bounded(tmp_path: Path) -> None:
    made = state.make(tmp_path)
    server = made.new_server(b"root", Facts())
    made.join("eth0-1", "eth0", server, now=1)
    for number in range(20):
        server.add(f"{number:x}", b"key", b"chain")
    server.use(next(pair for pair in server.others() if pair.serial == "0"))
    made.tidy()
    assert len(server.others()) == MAX_CERTIFICATES - 1
    current = server.current()
    assert current is not None
    assert current.serial == "0"


def test_half_of_a_server_is_removed(tmp_path: Path) -> None:
    made = state.make(tmp_path)
    (tmp_path / "servers" / "0123456789abcdef").mkdir()
    (tmp_path / "servers" / "0123456789abcdef" / "account.key").write_text("key")
    (tmp_path / ".device.json.0000.tmp").write_text("{")
    made.tidy()
    assert list((tmp_path / "servers").iterdir()) == []
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("serial", ["", "../../x", "G", "a" * 41])
def test_a_serial_is_hex(tmp_path: Path, serial: str) -> None:
    server = state.make(tmp_path).new_server(b"root", Facts())
    with pytest.raises(ValueError, match="a serial is up to 40 hex digits"):
        server.add(serial, b"key", b"chain")


def test_a_request_stays_until_it_is_done(tmp_path: Path) -> None:
    assert requests.asked(tmp_path) is None
    requests.ask(tmp_path, Request(label="kitchen-12cd56"))
    assert requests.asked(tmp_path) == Request(label="kitchen-12cd56")
    requests.done(tmp_path)
    assert requests.asked(tmp_path) is None


def test_a_request_of_roots_is_the_agents_by_its_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name in the agent's directory could be a link to any file by the time of a chown."""
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("chown by name"))
    monkeypatch.setattr(os, "fchown", lambda *to: given.append(to[1:]))
    requests.ask(tmp_path, Request(label="kitchen-12cd56"), 1234)
    assert given == [(1234, -1)]


@pytest.mark.parametrize("number", ["-1", "1", "0", "four", "99999999"])
def test_root_signals_only_the_agents_user(
    tmp_path: Path, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file with the number is that user's: -1 would be every process there is."""
    with state.opened(tmp_path):
        assert state.agent_pid(tmp_path) == os.getpid()
        (tmp_path / "lock").write_text(number)
        mine = tmp_path.stat()
        owner = os.stat_result((*mine[:4], 1234, *mine[5:]))
        monkeypatch.setattr(Path, "stat", lambda *_, **__: owner)
        assert state.agent_pid(tmp_path) is None

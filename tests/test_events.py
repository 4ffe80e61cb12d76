"""Log lines: one an event, whatever a device put into it."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot.events import LogEvents


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "acmeiot")
    return caplog


def test_kind_and_level(lines: pytest.LogCaptureFixture) -> None:
    events = LogEvents()
    events.emit("issued", "printer.lan to 192.168.1.20")
    events.emit("store", "disk full", warning=True)
    events.debug("order", "abc")
    assert [(one.levelname, one.getMessage()) for one in lines.records] == [
        ("INFO", "issued: printer.lan to 192.168.1.20"),
        ("WARNING", "store: disk full"),
        ("DEBUG", "order: abc"),
    ]


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\x1b[2J", "\u2028", "\x9b"])
def test_a_device_cannot_fake_a_line(lines: pytest.LogCaptureFixture, bad: str) -> None:
    LogEvents().emit("device", f"a{bad}acmeiot INFO approve: evil")
    LogEvents().debug("device", f"a{bad}b")
    for record in lines.records:
        assert record.getMessage().isprintable()
        assert "a?" in record.getMessage()


def test_a_bug_comes_with_its_traceback(lines: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        LogEvents().fault("GET /trust", error)
    (record,) = lines.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == "fault: GET /trust: KeyError('x')"
    assert "test_a_bug_comes_with_its_traceback" in lines.text


@pytest.mark.parametrize(("verbose", "count"), [("False", 2), ("True", 3)])
def test_where_it_goes(verbose: str, count: int) -> None:
    """To standard error, for procd and systemd; libraries are heard when they warn only."""
    program = (
        "import logging, acmeiot.events as e\n"
        f"e.begin_log({verbose})\n"
        "v = e.LogEvents(); v.emit('a', 'b'); v.debug('c', 'd')\n"
        "logging.getLogger('x').info('no'); logging.getLogger('x').warning('yes')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = done.stderr.splitlines()
    assert (done.stdout, len(said)) == ("", count)
    assert said[0] == "acmeiot INFO a: b"
    assert said[-1].endswith("WARNING yes")


def test_the_systems_log_hears_what_is_no_error(tmp_path: Path) -> None:
    """With its priority (daemon is 3 * 8: err 3, warning 4, info 6), and no prefix of ours."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(10)
        done = _logging_to(tmp_path / "log")
        said = [log.recv(8192).decode() for _ in range(3)]
    heads = [re.fullmatch(r"<(\d+)>acmeiot\[\d+\]: (.*)\0", text, re.DOTALL) for text in said]
    found = [(int(head[1]), head[2]) for head in heads if head]
    assert found[:2] == [(30, "a: b"), (28, "c: d")]
    assert found[2][0] == 27
    assert found[2][1].endswith("KeyError: 'x'"), "with its traceback"
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/no such place", "/no such place: No such file or directory"),
        ("/etc/passwd", "/etc/passwd: Connection refused"),
        ("/" + "x" * 200, "/" + "x" * 200 + ": AF_UNIX path too long"),
        ("/a\nacmeiot INFO b", "/a?acmeiot INFO b: No such file or directory"),
    ],
)
def test_without_a_systems_log_nothing_is_lost(place: str, why: str) -> None:
    warning, *rest = _logging_to(place).stderr.splitlines()
    assert warning == f"acmeiot WARNING syslog: {why}; logging to standard error"
    assert rest[:2] == ["acmeiot INFO a: b", "acmeiot WARNING c: d"]


def test_a_systems_log_that_ends_loses_nothing(tmp_path: Path) -> None:
    """What cannot be sent is told on standard error."""
    place = tmp_path / "log"
    log = f"import socket; log = socket.socket({int(socket.AF_UNIX)}, socket.SOCK_DGRAM)"
    said = _logging_to(place, f"{log}; log.bind(sys.argv[1])", "log.close()").stderr
    assert "Connection refused" in said
    assert "('a', 'b')" in said


def _logging_to(
    place: Path | str, before: str = "", then: str = ""
) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys, acmeiot.events as e\n"
        f"{before}\n"
        "e.begin_log(False, sys.argv[1])\n"
        f"{then}\n"
        "v = e.LogEvents(); v.emit('a', 'b'); v.emit('c', 'd', warning=True)\n"
        "try: raise KeyError('x')\n"
        "except KeyError as error: v.fault('e', error)\n"
    )
    command = [sys.executable, "-c", program, str(place)]
    return subprocess.run(command, capture_output=True, text=True, check=True)

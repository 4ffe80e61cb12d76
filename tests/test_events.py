"""Log lines: one an event, whatever a device put into it."""

from __future__ import annotations

import logging
import subprocess
import sys

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
        f"e.to_stderr({verbose})\n"
        "v = e.LogEvents(); v.emit('a', 'b'); v.debug('c', 'd')\n"
        "logging.getLogger('x').info('no'); logging.getLogger('x').warning('yes')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = done.stderr.splitlines()
    assert (done.stdout, len(said)) == ("", count)
    assert said[0] == "acmeiot INFO a: b"
    assert said[-1].endswith("WARNING yes")

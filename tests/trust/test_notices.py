"""Notices: plain text only, on the screen once a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from acmeiot.client.errors import UsageError
from acmeiot.trust.networks import MAX_NOTICES, Book
from acmeiot.trust.notices import MAX_TEXT, NEWS_AGAIN, Notice, Notices, screen
from tests.trust.roots import NOW


def program(tmp_path: Path, name: str = "show") -> Path:
    path = tmp_path / name
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >>"$(dirname "$0")/shown"\n')
    path.chmod(0o755)
    return path


def test_what_the_network_named_cannot_fake_lines() -> None:
    book, shown = Book(), list[str]()
    notices = Notices(lambda _title, text: shown.append(text), lambda: NOW)
    notices.tell(
        book, Notice("x", "", "root \x1b[2Jevil\n\nacmeiot: all is well" + "z" * 9999, True)
    )
    (text,) = shown
    assert text.startswith("root ?[2Jevil acmeiot: all is well")
    assert len(text) == MAX_TEXT
    assert book.notices[0]["text"] == text


def test_news_once_a_day_and_not_more_than_some() -> None:
    book, shown, now = Book(), list[str](), NOW
    notices = Notices(lambda _title, text: shown.append(text), lambda: now)
    for _ in range(3):
        notices.tell(book, Notice("x", "a", "the same", urgent=True))
    notices.tell(book, Notice("x", "b", "the same", urgent=True))
    notices.tell(book, Notice("x", "a", "quiet"))
    assert shown == ["the same", "the same"]
    assert len(notices.heard) == 5
    now += NEWS_AGAIN
    notices.tell(book, Notice("x", "a", "the same", urgent=True))
    assert len(shown) == 3
    for number in range(99):
        notices.tell(book, Notice("x", "a", str(number)))
    assert len(book.notices) == MAX_NOTICES


def test_a_command_shows_it(tmp_path: Path) -> None:
    show = screen(f"{program(tmp_path)} --urgent 'two words'")
    assert show is not None
    show("title", "$(id) <b>")
    assert (tmp_path / "shown").read_text() == "--urgent\ntwo words\ntitle\n$(id) <b>\n"


def test_a_desktop_shows_it_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "notify-send")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert screen(None, {}) is None
    show = screen(None, {"WAYLAND_DISPLAY": "wayland-0"})
    assert show is not None
    show("title", "-x <a href='http://evil'>")
    shown = (tmp_path / "shown").read_text().splitlines()
    assert shown[-3:] == ["--", "title", "-x &lt;a href=&#x27;http://evil&#x27;&gt;"]


def test_a_desktop_without_the_program_and_a_program_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A command that ran in this process before may have made the log quieter.
    caplog.set_level("WARNING", logger="acmeiot.trust")
    show = screen("false")
    assert show is not None
    show("title", "text")
    assert "cannot show a notice with false" in caplog.text
    monkeypatch.setenv("PATH", str(tmp_path))
    assert screen(None, {"DISPLAY": ":0"}) is None


@pytest.mark.parametrize("command", ["", "there-is-no-such-program", "'"])
def test_no_command(command: str) -> None:
    with pytest.raises(UsageError, match="--notify"):
        screen(command)

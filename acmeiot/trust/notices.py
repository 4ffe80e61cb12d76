"""What the agent tells a person: to the log, into the state for `status`, and on the screen.

A notice is shown on the screen once; the same one again, a minute later, is only noise. Names in
it come from the network, so nothing but plain text in one line leaves this module.
"""

from __future__ import annotations

import html
import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from acmeiot.client.errors import UsageError
from acmeiot.trust.networks import MAX_NOTICES, Book

_LOG: Final = logging.getLogger("acmeiot.trust")
_SHOW_SECONDS: Final = 5
MAX_TEXT: Final = 2000
NEWS_AGAIN: Final = 86400  # seconds

Show = Callable[[str, str], None]  # title, text


@dataclass(frozen=True, slots=True)
class Notice:
    """One event; `urgent` ones are shown to the person, `failed` ones make a command exit 1."""

    kind: str
    network: str  # its key; empty if it is about none
    text: str
    urgent: bool = False
    failed: bool = False


class Notices:
    """Where events go. `heard` are those since the last `fresh`, for a command's own output."""

    def __init__(self, show: Show | None, clock: Callable[[], int]) -> None:
        """Take what shows a text on the screen, if anything does, and the time."""
        self._show = show
        self._clock = clock
        self.heard: list[Notice] = []

    def fresh(self) -> None:
        """Forget what was heard, before the next pass."""
        self.heard = []

    def tell(self, book: Book, notice: Notice) -> None:
        """Log the event and note it; show it if it is urgent. Within a day it is news once."""
        notice = replace(notice, text=plain(notice.text))
        self.heard.append(notice)
        if not _is_news(book, notice, self._clock()):
            return
        urgent = notice.urgent or notice.failed
        _LOG.log(logging.WARNING if urgent else logging.INFO, "%s: %s", notice.kind, notice.text)
        if notice.urgent and self._show is not None:
            self._show("This network's certificates", notice.text)


def _is_news(book: Book, notice: Notice, now: int) -> bool:
    """Note the event for `status`; tell whether it was not told in the last day."""
    entry = {"kind": notice.kind, "network": notice.network, "text": notice.text}
    same = [each for each in book.notices if {name: each.get(name) for name in entry} == entry]
    if any(0 <= now - int(each["when"]) < NEWS_AGAIN for each in same):
        return False
    others = [each for each in book.notices if each not in same]
    book.notices = [*others, {"when": now, **entry, "urgent": notice.urgent}][-MAX_NOTICES:]
    return True


def plain(text: str) -> str:
    """Return the text in one printable line of bounded length."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."


def screen(command: str | None, environment: Mapping[str, str] = os.environ) -> Show | None:
    """Return what shows a notice: the given command, notify-send on a desktop, or nothing.

    The command gets title and text as its last two arguments. Raise UsageError if it is not one.
    """
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--notify {command!r}: {error}") from None
        if not words or shutil.which(words[0]) is None:
            raise UsageError(f"--notify {command!r}: there is no such program")
        return lambda title, text: _run([*words, title, text])
    desktop = any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    )
    if not desktop or shutil.which("notify-send") is None:
        return None
    send = ("notify-send", "--app-name=acmeiot", "--urgency=critical", "--")
    return lambda title, text: _run([*send, title, html.escape(text)])  # the body is markup


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SHOW_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("notify: cannot show a notice with %s: %s", command[0], error)

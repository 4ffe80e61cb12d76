"""Moments that a C library with a 32-bit time_t does not know."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import acmeiot
from acmeiot.protocol import moments

BEYOND = 1 << 31  # seconds: the first that a 32-bit time_t has no number for
# What asks the C library. It may be used for what is now, or was.
FOR_NOW = {
    "commands.py": "localtime",  # of events, and of a window's end
    "device/status.py": "localtime",  # of a leaf
    "device/visit.py": "gmtime",  # of the next visit
    "store/backup.py": "gmtime",  # of a file's name
}


@pytest.mark.parametrize(
    ("seconds", "day"), [(0, "1970-01-01"), (BEYOND, "2038-01-19"), (253402300799, "9999-12-31")]
)
def test_any_year(seconds: int, day: str) -> None:
    """The same as the standard library's, which here knows them all."""
    assert moments.utc(seconds) == datetime.fromtimestamp(seconds, UTC)
    assert moments.day(seconds) == day


def test_the_c_library_is_not_asked_for_what_is_far_ahead() -> None:
    """Whoever turns seconds into a date does it here, or says above why it need not."""
    room = Path(acmeiot.__file__).parent
    asking = {
        str(path.relative_to(room)): name
        for path in room.rglob("*.py")
        for name in ("fromtimestamp(", "localtime(", "gmtime(")
        if f".{name}" in path.read_text()
    }
    assert {path: name.rstrip("(") for path, name in asking.items()} == FOR_NOW

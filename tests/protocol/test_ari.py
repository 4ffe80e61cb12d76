"""Certificate ids and renewal windows, beside what RFC 9773 prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import ari
from acmeiot.protocol.ari import Window, certificate_id, check_id, window
from acmeiot.protocol.errors import Malformed

# The example of RFC 9773 section 4.1; its serial has a leading zero octet in DER.
KEY_ID = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
EXAMPLE = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
DAY = 86400
times = st.integers(0, 2**33)


def test_rfc9773_example() -> None:
    """RFC 9773 section 4.1: the sign octet belongs to the serial."""
    assert certificate_id(KEY_ID, 0x0087654321) == EXAMPLE
    assert check_id(EXAMPLE) == EXAMPLE


@pytest.mark.parametrize(
    ("serial", "octets"), [(0x7F, "fw"), (0x80, "AIA"), (0xFF, "AP8"), (0x100, "AQA"), (1, "AQ")]
)
def test_serial_octets_are_those_of_der(serial: int, octets: str) -> None:
    """RFC 9773 section 4.1: as few octets as DER takes, the first bit is the sign."""
    assert certificate_id(KEY_ID, serial).partition(".")[2] == octets


@given(st.binary(min_size=1, max_size=32), st.integers(1, 2**159))
def test_own_ids_are_taken(key_id: bytes, serial: int) -> None:
    """An id that this server gave is understood as it stands."""
    assert check_id(certificate_id(key_id, serial)) == certificate_id(key_id, serial)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
        ".AIdlQyE",
        EXAMPLE + ".AIdlQyE",
        EXAMPLE + "=",
        EXAMPLE.replace(".", "+."),
        "aYhba4dGQEHhs3uEe6CuLN4ByNR.AIdlQyE",  # bits left over: another spelling of EXAMPLE
        "é." + EXAMPLE,
        "A" * 100 + "." + "A" * 20,
    ],
)
def test_no_ids(text: str) -> None:
    """RFC 9773 section 4.1: anything else is malformed."""
    with pytest.raises(Malformed):
        check_id(text)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """An id is itself, or malformed."""
    try:
        assert check_id(text) == text
    except Malformed:
        assert text != EXAMPLE


def test_window_of_thirty_days() -> None:
    """RFC 9773 section 4.2: after two thirds of the life, and a sixth of it long."""
    assert window(0, 30 * DAY, DAY, at_once=False) == Window(20 * DAY, 25 * DAY)


@given(times, times, times, st.booleans())
def test_window_ends_after_it_starts(before: int, after: int, now: int, at_once: bool) -> None:
    """RFC 9773 section 4.2: `end` is after `start`, whatever the certificate says."""
    found = window(before, after, now, at_once=at_once)
    assert found.start < found.end


@given(times, st.integers(600, 90 * DAY))
def test_window_lies_within_the_life(before: int, life: int) -> None:
    """Whoever renews within the window never has an expired certificate."""
    found = window(before, before + life, before, at_once=False)
    assert before < found.start < found.end < before + life


@given(times, times, times)
def test_at_once_is_past(before: int, after: int, now: int) -> None:
    """RFC 9773 section 4.2: a window that has ended means now."""
    assert window(before, after, now, at_once=True).end < now


def test_retry_after_is_within_reason() -> None:
    """RFC 9773 section 4.3.2: clients heed between a minute and a day."""
    assert 60 <= ari.RETRY_AFTER <= DAY

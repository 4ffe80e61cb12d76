"""The end of an exchange."""

import pytest

from acmeiot.lan.deadline import Deadline


def test_deadline() -> None:
    """Every wait takes from the same seconds; when they are used up there is no further one."""
    now = [100.0]
    deadline = Deadline(10, lambda: now[0])
    assert deadline.left() == 10
    now[0] = 109.5
    assert deadline.left() == 0.5
    for now[0] in (110.0, 200.0):
        with pytest.raises(TimeoutError, match="not complete after 10 s"):
            deadline.left()

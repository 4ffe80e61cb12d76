"""QR codes for a terminal: their shape, not what they say."""

import pytest

from acmeiot.protocol.qr import qr


@pytest.mark.parametrize("text", ["sha256:" + "ab" * 32, "https://router.lan/#" + "x" * 300])
def test_qr(text: str) -> None:
    """Square, fit for 80 columns, and another one for another text."""
    rows = qr(text).rstrip("\n").split("\n")
    (width,) = {len(row) for row in rows}
    assert width <= 80
    assert abs(len(rows) * 2 - width) <= 1
    assert qr(text) != qr(text + "y")

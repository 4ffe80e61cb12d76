"""A text as a picture: what a telephone reads off a terminal, and nobody has to type."""

from __future__ import annotations


def qr(text: str) -> str:
    """Return the QR code of a text, in half-block characters."""
    import io

    import segno

    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()

"""Renewal information (RFC 9773): a certificate's id, and when its holder should come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acmeiot.protocol.errors import Malformed
from acmeiot.protocol.jose import b64decode, b64encode

RETRY_AFTER: Final = 6 * 3600  # seconds; a home CA can be asked often, but flash and radio sleep
_MAX_ID: Final = 120


@dataclass(frozen=True, slots=True)
class Window:
    """When to renew, in epoch seconds; `end` lies after `start`, always (RFC 9773 section 4.2)."""

    start: int
    end: int


def certificate_id(key_id: bytes, serial: int) -> str:
    """Return the id of RFC 9773 section 4.1: AKI key id, a dot, the serial's DER content octets."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{b64encode(key_id)}.{b64encode(octets)}"


def check_id(text: str) -> str:
    """Return the id in its only spelling; raise Malformed."""
    key_id, dot, serial = text.partition(".")
    if not dot or not key_id or not serial or len(text) > _MAX_ID:
        raise Malformed("a certificate id is base64url(key id) '.' base64url(serial)")
    parts = (b64decode(part, "the certificate id") for part in (key_id, serial))
    return ".".join(b64encode(part) for part in parts)


def window(not_before: int, not_after: int, now: int, *, at_once: bool) -> Window:
    """Return the window: the sixth of the life after two thirds of it, or the hour just gone.

    `at_once` is for a certificate that was revoked or whose issuer is being succeeded: a window in
    the past means "renew now" (RFC 9773 section 4.2).
    """
    if at_once:
        return Window(now - 3600, now - 60)
    life = not_after - not_before
    start = not_before + life * 2 // 3
    return Window(start, max(start + life // 6, start + 60))

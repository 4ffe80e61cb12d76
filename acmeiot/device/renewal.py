"""When a certificate is to be renewed: as the server says (RFC 9773), or at two thirds of its life.

A moment is drawn once in the server's window and kept, so that the devices of a home come one
after the other, and a restart changes nothing.
"""

from __future__ import annotations

from typing import Final, Protocol

from acmeiot.client.acme import Client
from acmeiot.client.errors import AgentError
from acmeiot.device.leaf import Leaf
from acmeiot.device.servers import Facts, Server
from acmeiot.protocol import ari

_ASK_AGAIN: Final = ari.RETRY_AFTER  # seconds, where the server does not say


class Random(Protocol):
    """What draws a moment."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between them."""
        ...


def settle(
    server: Server, leaf: Leaf, client: Client, now: int, random: Random, *, ask: bool
) -> tuple[Facts, str | None]:
    """Return the facts with the moment to renew `leaf`, and why the server did not tell it.

    The server is asked if it is time to, or with `ask`.
    """
    facts = server.facts()
    fresh = facts.serial != leaf.serial
    # An `ask_at` that lies further ahead than any server may say was noted by a wrong clock.
    if not (fresh or ask or now >= facts.ask_at or facts.ask_at > now + 86400):
        return facts, None
    trouble = None
    start, end = _usual(leaf)
    again = _ASK_AGAIN
    try:
        told = client.renewal(leaf.der)
        if told is not None:
            again = told.retry_after
            if told.start >= leaf.not_after:
                raise AgentError("the server's window begins when the certificate has ended")
            start, end = told.start, min(told.end, leaf.not_after)
    except AgentError as error:
        trouble = f"no renewal information: {error}"
        if not fresh:  # what it said before still holds
            start, end = facts.renew_at, facts.renew_at
    chosen = facts.renew_at
    if fresh or not start <= chosen <= end:
        chosen = int(random.uniform(start, end))
    return server.note(serial=leaf.serial, renew_at=chosen, ask_at=now + again), trouble


def _usual(leaf: Leaf) -> tuple[int, int]:
    window = ari.window(leaf.not_before, leaf.not_after, 0, at_once=False)
    return window.start, window.end

"""The device's side of a challenge, in the house where the servers look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from acmeiot.client.objects import Challenge
from tests.web.house import House

WELL_KNOWN = "/.well-known/acme-challenge/"


def answering(house: House) -> Callable[[Challenge, str], AbstractContextManager[object]]:
    """Return what answers http-01 and tls-alpn-01, and takes http-01's answer back."""

    @contextmanager
    def answer(challenge: Challenge, text: str) -> Iterator[None]:
        name = challenge.identifier.value
        if challenge.type == "tls-alpn-01":
            house.show_proof(name, [name], text)
            yield
        else:
            house.bodies[WELL_KNOWN + challenge.token] = text.encode()
            yield
            del house.bodies[WELL_KNOWN + challenge.token]

    return answer

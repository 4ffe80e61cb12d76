"""Slow, oversized and flooding clients, all at once: a normal one still gets its certificates."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from acmeiot.web.objects import NEW_ACCOUNT
from tests.crash.conftest import MakeServer
from tests.crash.hostile import HALF_OPEN, SLOW, Hostile
from tests.crash.server import Server
from tests.crash.stubborn import Stubborn
from tests.crash.whole import assert_whole
from tests.web.house import House

ISSUANCES = 10
GROWTH = 32  # MiB: 200 connections with 16 KiB of head, 64 KiB of body and TLS's own 40 KiB
SIEGE = 60  # seconds, at most
SIEGES = 3  # what one leaves behind, the next must not add to
LASTING = {
    "half open": HALF_OPEN, "slow header": SLOW, "slow body": SLOW, "answered 413": 50,
    "answered 431": 25, "newNonce": 100, "garbage": 50,
}  # fmt: skip
WANTED = {**LASTING, "newAccount 429": 50, "bad signature 401": 60, "bad signature 429": 20}
REFUSED = 200  # newAccounts whose cost is measured
FLOOD = "127.0.0.2"  # where hostile.Hostile asks for accounts from


@contextmanager
def watching(server: Server) -> Iterator[list[float]]:
    """Note the MiB of resident memory, ten times a second."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.append(server.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_normal_client_among_hostile_ones(
    house: House, make_server: MakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_server()  # with the limits of a home
    server.start()
    client = Stubborn(server.client(), house)
    client.register()
    downloaded = [client.issue("first.lan")]
    # Now from what Python compiled, as every start but the first: compiling takes memory too.
    assert server.terminate() == 0
    server.start()
    downloaded.append(client.issue("before.lan"))
    before, lost = server.memory(), client.lost
    with watching(server) as during, Hostile(server) as hostile:
        while not in_earnest(hostile, WANTED):
            time.sleep(0.05)
        for number in range(ISSUANCES):
            client.client.wire.close()  # a new connection is harder to get than to keep
            downloaded.append(client.issue(f"during-{number}.lan"))
    with watching(server) as again:
        for _ in range(SIEGES - 1):
            with Hostile(server) as hostile_again:
                while not in_earnest(hostile_again, LASTING):
                    time.sleep(0.05)
    after = server.memory()
    cost = cost_of_refusal(server)
    with capsys.disabled():
        print(f"\nresident MiB: {before:.1f} before, {max(*during, *again):.1f} at most during and"
              f" {after:.1f} after {SIEGES} sieges")  # fmt: skip
        print(f"ms of CPU for a refused newAccount: {cost:.2f}")
        print(", ".join(f"{kind}: {count}" for kind, count in sorted(hostile.seen.items())))
    check_answers(hostile)
    assert client.lost == lost, "the normal client was thrown out with the others"
    assert max(*during, *again, after) - before < GROWTH
    assert server.status()["accounts"] == 1 + hostile.seen["newAccount 201"]
    server.kill()
    assert_whole(server.state, downloaded)
    assert "Traceback" not in server.log.read_text()


def in_earnest(hostile: Hostile, wanted: dict[str, int]) -> bool:
    """Tell whether every kind has been at work; those that fail to will not come to it."""
    assert not hostile.wrong
    assert time.monotonic() < hostile.began + SIEGE, hostile.seen
    return all(hostile.seen[kind] >= count for kind, count in wanted.items())


def check_answers(hostile: Hostile) -> None:
    """Assert that each kind was answered as it should be."""
    assert not hostile.wrong
    seen = hostile.seen
    assert not any(kind.endswith("thrown out") for kind in seen if kind.startswith("new")), seen
    assert seen["newAccount 201"] == 20
    assert 60 <= seen["bad signature 401"] <= 60 + SIEGE / 5  # one more is good every 5 seconds
    for answer in hostile.refusals:
        answer.is_problem("rateLimited", 429)
        assert int(answer.header("Retry-After") or "0") > 0


def cost_of_refusal(server: Server) -> float:
    """Return the milliseconds of CPU that a newAccount costs whose address had its share."""
    client = server.client(FLOOD)
    url = server.url(NEW_ACCOUNT)
    began = server.cpu_seconds()
    for _ in range(REFUSED):
        client.post(url, {}).is_problem("rateLimited", 429)
    return (server.cpu_seconds() - began) * 1000 / REFUSED

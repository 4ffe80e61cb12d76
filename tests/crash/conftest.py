"""The devices that all these tests share, and servers that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.server import Server, options
from tests.web.house import House

MakeServer = Callable[..., Server]


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """The devices and the DNS of the home."""
    with House() as house:
        yield house


@pytest.fixture
def make_server(house: House, tmp_path: Path) -> Iterator[MakeServer]:
    """Make servers, not yet started; those that still run are killed after the test."""
    with ExitStack() as stack:

        def make(*more: str, name: str = "state") -> Server:
            work = tmp_path / name
            work.mkdir()
            server = Server(work / "var", options(house, *more), work)
            stack.callback(server.end)
            return server

        yield make

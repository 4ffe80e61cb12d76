"""The servers that the tests of this folder share, and the house they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.web.client import Client, Wire
from tests.web.house import House
from tests.web.running import NAMES, Running

Serve = Callable[..., Running]


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """The devices and the DNS of the home."""
    with House() as house:
        yield house


def options(house: House) -> tuple[str, ...]:
    """Return the options that let a server see the house."""
    return (
        *NAMES, "--resolver", f"127.0.0.1:{house.dns_port}", "--http01-port", f"{house.http_port}",
        "--tlsalpn01-port", f"{house.tls_port}", "--allow-loopback",
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_server(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Running]]:
    """Make servers, not yet started, that end with the session."""
    with ExitStack() as stack:

        def make(*more: str, toml: str = "") -> Running:
            work = tmp_path_factory.mktemp("server")
            arguments = (*options(house), *more)
            if toml:
                (work / "acmeiot.toml").write_text(toml)
                arguments = (*arguments, "--config", str(work / "acmeiot.toml"))
            running = Running(work / "state", arguments)

            def end() -> None:
                if running.process is not None and running.process.poll() is None:
                    running.stop()

            stack.callback(end)
            return running

        yield make


@pytest.fixture(scope="session")
def server(make_server: Serve) -> Running:
    """A server that approves everybody, under the strict profile, without rate limits."""
    return make_server("--approval", "auto", "--limits", "off", "-v").start()


@pytest.fixture(scope="session")
def compat(make_server: Serve) -> Running:
    """The same with the compat profile: single names, small keys, addresses alone."""
    arguments = ("--approval", "auto", "--limits", "off", "--profile", "compat")
    return make_server(*arguments, "--domain", "lan", "--domain", "internal").start()


@pytest.fixture
def asking(make_server: Serve) -> Iterator[Running]:
    """A server that asks its owner, whose clients are kept for a second only."""
    running = make_server("--approval", "ask", "--limits", "off", toml="approval_wait = 1\n")
    yield running.start()
    running.stop()


@pytest.fixture
def client(server: Running) -> Client:
    """A client with a new account on the shared server."""
    return server.client()


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    """Close the connections that a test leaves open; a client that lives on connects again."""
    yield
    while Wire.opened:
        Wire.opened.pop().close()

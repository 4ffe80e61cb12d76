"""A home for a device: its DNS, its ACME server, and one device that has not been there yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.device.rig import HOME, FakeLan, Rig
from tests.ports import free_ports
from tests.web.house import House
from tests.web.running import NAMES, Running

Serve = Callable[..., Running]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The DNS of the home."""
    with House() as house:
        yield house


@pytest.fixture(scope="module")
def port() -> int:
    """The port where the servers expect this device's proofs."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def make_server(
    house: House, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Make servers, started, that end with the module."""
    with ExitStack() as stack:

        def make(*more: str, toml: str = "") -> Running:
            work = tmp_path_factory.mktemp("server")
            config = work / "acmeiot.toml"
            config.write_text(toml)
            running = Running(
                work / "state",
                (
                    *NAMES, "--resolver", f"127.0.0.1:{house.dns_port}", "--allow-loopback",
                    "--http01-port", str(port), "--tlsalpn01-port", str(port),
                    "--policy", "challenge", "--limits", "off", "--config", str(config),
                    *(more or ("--approval", "auto")),
                ),
            )  # fmt: skip

            def end() -> None:
                if running.process is not None and running.process.poll() is None:
                    running.stop()

            stack.callback(end)
            return running.start()

        yield make


@pytest.fixture(scope="module")
def server(make_server: Serve) -> Running:
    """A server that allows every device."""
    return make_server()


@pytest.fixture
def rig(tmp_path: Path, house: House, server: Running, port: int) -> Rig:
    """A device at home, new."""
    return Rig(tmp_path, FakeLan(house.dns_port, {HOME.key: server.directory}), port)

"""The home, and in it one server for each profile, shared by all clients of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.home import Home
from tests.interop.home import home as make_home
from tests.interop.server import Server, running


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A network with a router, its resolver, and a printer."""
    with make_home(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="session")
def strict(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it comes: P-384 and both names."""
    with running(home, tmp_path_factory.mktemp("strict"), 8555) as server:
        yield server


@pytest.fixture(scope="session")
def compat(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose owner allows the keys that most clients make by default."""
    with running(home, tmp_path_factory.mktemp("compat"), 8565, "--profile", "compat") as server:
        yield server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A client's own state directory."""
    return tmp_path


@pytest.fixture
def webroot(home: Home, tmp_path: Path) -> Iterator[Path]:
    """A web server on port 80 of the printer, for clients that bring none."""
    root = tmp_path / "www"
    root.mkdir()
    httpd = ("busybox", "httpd", "-f", "-p", "80", "-h", root)
    with home.printer.serving(*httpd, log=tmp_path / "httpd.log"):
        yield root

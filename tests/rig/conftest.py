"""Which routers the scenario is played on, and the state of each that its tests start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.home.network import Street
from tests.home.people import Laptop, Printer
from tests.rig import figures, package
from tests.rig.home import Home
from tests.rig.image import ARCHES as MACHINES
from tests.rig.image import OURS
from tests.rig.openwrt import OpenWrtImage, OpenWrtRoot
from tests.rig.router import DebianRouter
from tests.rig.switch import Switch
from tests.rig.target import Target

ARCHES: Final = (os.environ.get("RIG_ARCHES") or "aarch64 x86_64").split()
IMAGE: Final = os.environ.get("OPENWRT_IMAGE", "")
ROOT: Final = os.environ.get("OPENWRT_ROOT", "")
PKGS: Final = os.environ.get("OPENWRT_PKGS", "")
MEMORY: Final = int(os.environ.get("RIG_MEMORY", "128"))  # MiB

# What must be there for each package that ours depends on.
PROVIDED: Final = {
    "python3-light": "http.client, json, threading",
    "python3-openssl": "ssl, _hashlib",
    "python3-urllib": "urllib.request",
    "python3-logging": "logging",
    "python3-sqlite3": "sqlite3",
    "python3-codecs": "unicodedata",
    "python3-email": "email.message",
    "python3-uuid": "uuid",
    "python3-xml": "xml.etree.ElementTree",
    "python3-bottle": "bottle",
    "python3-dns": "dns.resolver",
    "python3-cryptography": "cryptography.x509",
}

STOOD_IN: Final = "Debian 12's 38, with a stand-in for what that lacks (cryptography38.py)"

# Where the packages' files are.
INSTALLED: Final = (
    "/usr/bin/acmeiot", "/usr/lib/acmeiot", "/usr/lib/python3*/site-packages/acmeiot",
    "/www/luci-static/resources/view/acmeiot", "/etc/config/acmeiot", "/etc/init.d/acmeiot",
)  # fmt: skip


def targets() -> list[str]:
    """Return the names of the routers to play on."""
    return [*ARCHES, *(["openwrt-image"] if IMAGE else []), *(["openwrt-root"] if ROOT else [])]


def make(name: str, switch: Switch, work: Path) -> Target:
    """Return a router, switched off."""
    packages = Path(PKGS) if PKGS else None
    if name == "openwrt-image":
        return OpenWrtImage(Path(IMAGE), switch, work, packages)
    if name == "openwrt-root":
        return OpenWrtRoot(ARCHES[0], Path(ROOT), switch, work, packages)
    return DebianRouter(name, switch, work, MEMORY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play everything on each router."""
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", targets(), scope="session")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give each router's tests to one process."""

    class ByRouter(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.rpartition("[")[2]

    return ByRouter(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures, and what was not run."""
    for line in ("", *figures.report()):
        terminalreporter.write_line(line)
    if not IMAGE:
        terminalreporter.write_line("NOT RUN on a real OpenWrt image: OPENWRT_IMAGE names none")
    if not ROOT:
        terminalreporter.write_line("NOT RUN on a real OpenWrt root: OPENWRT_ROOT names none")


@contextmanager
def _home(target: str, work: Path, packages: package.Built) -> Iterator[Home]:
    with Street(work) as street:
        router = make(target, Switch(street, work), work)
        try:
            yield Home(street, router, packages, work)
            if router.guest is not None:
                killed = router.sh("dmesg | grep -iE 'oom-kill|out of memory|oops' || true")
                assert killed == "", f"the router was short of memory, or worse: {killed}"
        finally:
            router.end()


@pytest.fixture(scope="session")
def packages(target: str) -> package.Built:
    """The packages of this tree, for the router's Python."""
    assert os.geteuid() == 0, "the rig needs root: taps, bridges and namespaces"
    assert Path("/dev/net/tun").exists(), "the rig needs /dev/net/tun"
    return package.built(MACHINES[target].python if target in MACHINES else OURS)


@dataclass(frozen=True, slots=True)
class Life:
    """A home, its printer and its laptop."""

    home: Home
    printer: Printer
    laptop: Laptop

    def is_trusted(self) -> None:
        """Check that the laptop's curl shows the printer's page."""
        with self.printer.serving():
            self.laptop.accepts("printer.lan", browser=False)


@dataclass(slots=True)
class Enabled:
    """A router where the owner has installed the packages and ticked the box, frozen while it runs.

    Tests go on from there, each on its own, so that its first start is waited for once.
    """

    frozen: Path
    facts: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def enabled(
    target: str, packages: package.Built, tmp_path_factory: pytest.TempPathFactory
) -> Enabled:
    """Install and enable once, as its owner does, and look around on the way."""
    work = tmp_path_factory.mktemp("enabled")
    made = Enabled(work / "frozen")
    made.frozen.mkdir()
    figures.forget(target)
    if target in MACHINES and MACHINES[target].stand_in:
        figures.note(target, **{"NOT OpenWrt's cryptography": STOOD_IN})
    with _home(target, work, packages) as home:
        home.router.boot()
        made.facts["imports"] = home.router.on.code(_importing())
        home.install()
        # The plug is pulled at once, and what was installed is there.
        home.router.cut()
        home.router.boot()
        made.facts["empty"] = home.router.sh(
            f"find {' '.join(INSTALLED)} -type f -size 0 2>&1 || true"
        )
        made.facts["installed"] = home.router.sh("netstat -ltn; ps w | grep '[a]cmeiot'; true")
        first = home.enable()
        second = home.router.seconds_to_ready("/etc/init.d/acmeiot restart")
        home.until_announced()
        made.facts["memory"] = home.memory()
        home.router.freeze(made.frozen)
    figures.note(
        target,
        **{
            "seconds from enabling to ready (first start)": _both(first),
            "seconds from restart to ready": _both(second),
            f"resident KiB, idle, {home.router.memory} MiB router": made.facts["memory"]["VmRSS"],
            ".ipk bytes": packages.server.stat().st_size,
            "unpacked bytes": int(package.control(packages.server)["Installed-Size"]),
        },
    )
    return made


def _importing() -> str:
    """Return the command line that names each package whose modules are not there."""
    tries = "; ".join(
        f"python3 -c 'import {modules}' || echo {name}" for name, modules in PROVIDED.items()
    )
    everything = ", ".join(PROVIDED.values())
    # One interpreter for all, and one for each only to tell which.
    return f"python3 -c 'import {everything}' || {{ {tries}; }}"


def _both(seconds: tuple[float, float]) -> str:
    return f"{seconds[0]:.1f} ({seconds[1]:.1f} of this computer's CPU)"


@pytest.fixture(scope="class")
def home(
    target: str, enabled: Enabled, packages: package.Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    """A home whose router is enabled and runs, and has told its network; a class shares it."""
    with _home(target, tmp_path_factory.mktemp("home"), packages) as home:
        home.router.thaw(enabled.frozen)
        yield home


@pytest.fixture(scope="class")
def printer(home: Home) -> Printer:
    """A printer that has just joined that home."""
    return home.printer()


@pytest.fixture(scope="class")
def life(home: Home, printer: Printer) -> Life:
    """The home with its printer, and a laptop."""
    return Life(home, printer, home.laptop())

"""What lies between the router's LAN port and its hosts: a bridge in a namespace of its own."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Final

from tests.home.network import Street

LAN_ADDRESS: Final = "192.168.1.1"
FILES_PORT: Final = 8000
_OWN_ADDRESS: Final = "192.168.1.2"
TIME_ADDRESS: Final = "10.99.0.1"  # of the Internet beyond the router's WAN port
# One program that asks again and again: to start one each time would take its time from the router.
_ASK: Final = """\
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2).read()
        break
    except OSError:
        time.sleep(0.02)
"""


class Switch:
    """Bridges `lan` and `wan` with a tap each for the router, and a server of files for it."""

    def __init__(self, street: Street, work: Path) -> None:
        self.host = street.host()
        self._files = work / "served"
        self._files.mkdir()
        self._log = work / "served.log"
        for setting in ("all", "default"):
            self.host.run("sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1")
        self.host.run("ip", "link", "set", "lo", "up")
        for side, address, mac in (
            # The same in every home: a router that goes on in another knows its neighbours' still.
            ("lan", _OWN_ADDRESS, "52:54:00:00:00:f1"),
            ("wan", TIME_ADDRESS, "52:54:00:00:00:f2"),
        ):
            self.host.run(*f"ip link add {side} address {mac} type bridge mcast_snooping 0".split())
            self.host.run("ip", "address", "add", f"{address}/24", "dev", side)
            self.host.run("ip", "link", "set", side, "up")
            self.host.run("ip", "tuntap", "add", f"tap-{side}", "mode", "tap")
            self.host.run("ip", "link", "set", f"tap-{side}", "master", side, "up")
        self.host.start(
            *(sys.executable, "-m", "http.server", str(FILES_PORT), "--bind", _OWN_ADDRESS),
            *("--directory", self._files), log=self._log,
        )  # fmt: skip

    def run(self, *argv: str | Path) -> str:
        """Run a program where the cables end, as `Machine.plug` does."""
        return self.host.run(*argv)

    def offer(self, content: bytes | Path, name: str) -> str:
        """Lay a file where the router can fetch it, and return its URL."""
        target = self._files / name
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content)
        return f"http://{_OWN_ADDRESS}:{FILES_PORT}/{name}"

    def until_served(self, url: str, seconds: float) -> float:
        """Ask for a URL until there is an answer; return the time (perf_counter) of that.

        Raises:
            AssertionError: there was none in time.
        """
        command = ("timeout", str(seconds), sys.executable, "-S", "-c", _ASK, url)
        self.host.run(*command, seconds=seconds + 10)
        return time.perf_counter()

    def serve_time(self) -> None:
        """Let the Internet have a time server, which believes this computer's clock."""
        command = (sys.executable, "-m", "tests.rig.timeserver", TIME_ADDRESS)
        self.host.start(*command, log=self._log)

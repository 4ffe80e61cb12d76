"""A LAN for a test: a namespace for each host, joined by a bridge; leaving it ends everything.

Works for root and, where the kernel lets others make namespaces, for anybody. Python code runs on
a host by `call`, in a fresh interpreter, because a process cannot be in two networks.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

ROOT = Path(__file__).parents[2]
P = ParamSpec("P")
T = TypeVar("T")

_CALLED = """\
import pickle, sys
function, args, kwargs = pickle.load(sys.stdin.buffer)
result = function(*args, **kwargs)
sys.stdout.buffer.write(pickle.dumps(result))
"""


class Network:
    """The hosts of one test, by name. The bridge `br-lan` is in the first host made."""

    def __init__(self) -> None:
        self._end = ExitStack()
        self._holders: dict[str, int] = {}
        self._mapped = os.geteuid() != 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def router(self, name: str, *addresses: str) -> None:
        """Make the host that has the bridge, with these addresses (`192.168.1.1/24`) on it."""
        self._hold(name, [])
        self._ip(name, "link", "add", "br-lan", "type", "bridge")
        self._raise(name, "br-lan", addresses)

    def host(self, name: str, *addresses: str) -> None:
        """Make a host whose `eth0` is plugged into the bridge."""
        router = next(iter(self._holders))
        self._hold(name, self._enter(router))
        peer = ("peer", "name", "eth0", "netns", str(self._holders[name]))
        self._ip(router, "link", "add", f"to-{name}", "type", "veth", *peer)
        self._ip(router, "link", "set", f"to-{name}", "master", "br-lan", "up")
        self._raise(name, "eth0", addresses)

    def run(self, host: str, *argv: str | Path) -> str:
        """Run a program on a host to its end and return its output."""
        done = subprocess.run(
            [*self._enter(host), *map(str, argv)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, host: str, *argv: str | Path, log: Path) -> None:
        """Start a program that stays until the network is left."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self._enter(host), "setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
            )
        self._end.callback(_stop, process)

    def call(self, host: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of a test module on a host and return what it returned."""
        done = subprocess.run(
            [*self._enter(host), sys.executable, "-c", _CALLED],
            input=pickle.dumps((function, args, kwargs)),
            capture_output=True,
            cwd=ROOT,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
        result: T = pickle.loads(done.stdout)
        return result

    def _enter(self, host: str) -> list[str]:
        user = ["--user", "--preserve-credentials"] if self._mapped else []
        return ["nsenter", "--target", str(self._holders[host]), *user, "--net", "--"]

    def _hold(self, name: str, inside: list[str]) -> None:
        mapped = ["--map-root-user"] if self._mapped and not inside else []
        holder = subprocess.Popen(
            [*inside, "unshare", *mapped, "--net", "sh", "-c", "echo $$; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._end.callback(_stop, holder)
        assert holder.stdout is not None
        pid = holder.stdout.readline()
        assert pid, "this machine lets nobody make a network namespace"
        self._holders[name] = int(pid)

    def _raise(self, host: str, link: str, addresses: tuple[str, ...]) -> None:
        self._ip(host, "link", "set", "lo", "up")
        for address in addresses:
            # Without duplicate detection an IPv6 address can be used at once.
            self._ip(host, "address", "add", address, "dev", link, *_nodad(address))
        self._ip(host, "link", "set", link, "up")

    def settle(self) -> None:
        """Wait until no host has a tentative IPv6 address, and the bridge forwards."""
        for host in self._holders:
            for _ in range(100):
                if not self.run(host, "ip", "-6", "address", "show", "tentative"):
                    break
                time.sleep(0.05)

    def _ip(self, host: str, *words: str) -> None:
        self.run(host, "ip", *words)


def _nodad(address: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in address else ()


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()

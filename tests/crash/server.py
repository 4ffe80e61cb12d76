"""A server that may be killed at any moment and is started again, as procd would do it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_ports
from tests.web.client import Client, Wire
from tests.web.house import House
from tests.web.running import NAMES, READY

LOCALHOST = "127.0.0.1"
# Whatever happens to this process, the server does not outlive it.
MORTAL = ("setpriv", "--pdeathsig", "KILL")
START_SECONDS = 60


def options(house: House, *more: str) -> tuple[str, ...]:
    """Return the options of a server whose devices are the house's, and that allows them all."""
    return (
        *NAMES, "--allow-loopback", "--approval", "auto", "--policy", "challenge",
        "--profile", "compat", "--resolver", f"{LOCALHOST}:{house.dns_port}",
        "--http01-port", f"{house.http_port}", *more,
    )  # fmt: skip


@dataclass
class Server:
    """A server over one state directory; `enter` puts its programs on another disk's machine.

    `roots` are the fingerprints on every ready line so far. Start it from the main thread only:
    it dies with the thread that started it.
    """

    state: Path
    options: tuple[str, ...]
    work: Path
    enter: tuple[str, ...] = ()
    ports: list[int] = field(default_factory=free_ports)
    roots: set[str] = field(default_factory=set)
    directory: str = ""
    process: subprocess.Popen[str] | None = None
    wires: list[Wire] = field(default_factory=list)

    @property
    def running(self) -> subprocess.Popen[str]:
        """Return the process that was launched last."""
        assert self.process is not None
        return self.process

    @property
    def log(self) -> Path:
        """Return the log of all its lives."""
        return self.work / "server.log"

    @property
    def root(self) -> Path:
        """Return where `start` puts the root."""
        return self.work / "root.pem"

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of an acmeiot command."""
        return [*self.enter, *MORTAL, sys.executable, "-m", "acmeiot", *map(str, arguments)]

    @property
    def serve(self) -> list[str]:
        """Return the command line of the server."""
        acme, plain = self.ports
        listen = ("--listen", f"{LOCALHOST}:{acme}", "--http-listen", f"{LOCALHOST}:{plain}")
        return self.command("serve", "--state", self.state, *listen, *self.options)

    def launch(self) -> None:
        """Start it and do not wait."""
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.serve, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, env=compiled(self.work.parent),
            )  # fmt: skip

    def hear(self) -> bool:
        """Wait for the ready line and note its root; False if the server ended without one."""
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        if not line.endswith("\n"):  # it died, perhaps in the middle of the line
            return False
        ready = READY.fullmatch(line)
        assert ready, line
        self.directory = ready[1]
        self.roots.add(ready[2])
        return True

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        assert self.hear(), self.log.read_text()
        if not self.root.exists():
            self.root.write_bytes(self.plain("/root.pem"))

    def url(self, path: str) -> str:
        """Return an HTTPS URL of the server."""
        return f"https://{NAMES[1]}:{self.ports[0]}{path}"

    def plain(self, path: str) -> bytes:
        """Return what the plain HTTP listener answers."""
        url = f"http://{LOCALHOST}:{self.ports[1]}{path}"
        done = subprocess.run(["curl", "-sSf", "-m", "20", url], check=True, capture_output=True)
        return done.stdout

    def kill(self) -> None:
        """Let it die as if the power went, and hear its last words."""
        self.running.kill()
        self.running.wait()
        while self.hear():
            pass
        assert self.running.stdout is not None
        self.running.stdout.close()

    def terminate(self) -> int:
        """End it as a service manager does, and return its exit code."""
        self.running.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(20)
        finally:
            self.kill()

    def end(self) -> None:
        """Hang up its clients, and kill it if it still runs."""
        for wire in self.wires:
            wire.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def refused(self) -> str:
        """Start it where it cannot start; return the one line that says why."""
        done = subprocess.run(
            self.serve, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=START_SECONDS,
        )  # fmt: skip
        return one_line(done)

    def admin(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run an admin command on it."""
        line = self.command(command, "--state", self.state, *arguments)
        return subprocess.run(line, input="", capture_output=True, text=True, timeout=60)

    def status(self) -> dict[str, Any]:
        """Return what `acmeiot status` says."""
        done = self.admin("status", "--json")
        assert (done.returncode, done.stderr) == (0, ""), done
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def client(self, source: str = LOCALHOST) -> Client:
        """Return a client that comes from that address, not yet registered."""
        return self.client_over(Wire((LOCALHOST, self.ports[0]), self.root, source))

    def client_over(self, wire: Wire) -> Client:
        """Return a client with this connection, which ends with the test."""
        self.wires.append(wire)
        return Client(wire, self.directory)

    def memory(self, what: str = "VmRSS") -> float:
        """Return the MiB of memory that are resident now, or were at the peak (`VmHWM`)."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process with all its threads."""
        fields = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compiled(work: Path) -> dict[str, str]:
    """Return an environment in which Python keeps what it compiled: here are many starts."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**env, "PYTHONPYCACHEPREFIX": str(work / "pycache")}


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command failed with exit code 1 and one line of reason; return the line."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("acmeiot: "), done.stderr
    assert done.stderr.endswith("\n"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("acmeiot: ").rstrip("\n")

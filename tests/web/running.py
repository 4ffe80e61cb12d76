"""A server under test as its own process, the way a person would start it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_ports
from tests.web.client import Client, Wire

READY = re.compile(r"ready (https://\S+/acme/directory) sha256:([0-9a-f]{64})\n")
NAMES = ("--name", "router.lan", "--name", "router.local")


def acmeiot(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of acmeiot to its end."""
    line = [sys.executable, "-m", "acmeiot", *map(str, arguments)]
    options = {"input": "", "timeout": 60, **options}
    return subprocess.run(line, capture_output=True, text=True, **options)


@dataclass
class Running:
    """A server: `start` it, `stop` it, start it again."""

    state: Path
    arguments: tuple[str, ...] = ()
    ports: list[int] = field(default_factory=free_ports)
    directory: str = ""
    root_hash: str = ""
    process: subprocess.Popen[str] | None = None
    umask: int = 0o022

    @property
    def log(self) -> Path:
        """Return the file of the server's log."""
        return self.state.with_name(self.state.name + ".log")

    @property
    def listen(self) -> tuple[str, ...]:
        """Return the options for its two listeners."""
        acme, plain = self.ports
        return ("--listen", f"127.0.0.1:{acme}", "--http-listen", f"127.0.0.1:{plain}")

    def start(self) -> Running:
        """Start it and wait until it is ready."""
        line = [sys.executable, "-m", "acmeiot", "serve", "--state", str(self.state)]
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*line, *self.listen, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                umask=self.umask,
            )
        assert self.process.stdout is not None
        said = READY.fullmatch(self.process.stdout.readline())
        assert said, self.log.read_text()
        self.directory, self.root_hash = said.groups()
        self.root.write_bytes(self.plain("/root.pem"))
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        try:
            code = self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        return code

    @property
    def root(self) -> Path:
        """Return the root's PEM file, as it was at the start."""
        return self.state.with_name(self.state.name + ".root.pem")

    def url(self, path: str, host: str = "router.lan") -> str:
        """Return an HTTPS URL of the server."""
        return f"https://{host}:{self.ports[0]}{path}"

    def plain(self, path: str, body: bytes | None = None) -> bytes:
        """Return what the plain HTTP listener answers."""
        url = f"http://127.0.0.1:{self.ports[1]}{path}"
        with urllib.request.urlopen(url, body, 20) as answer:
            return bytes(answer.read())

    def client(self, source: str = "127.0.0.1", *, register: bool = True) -> Client:
        """Return a client, with an account."""
        client = Client(Wire(("127.0.0.1", self.ports[0]), self.root, source), self.directory)
        if register:
            client.register().ok(201)
        return client

    def admin(self, *arguments: object) -> str:
        """Run an admin command that must succeed, and return what it says."""
        command, *rest = arguments
        done = acmeiot(command, "--state", self.state, *rest)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def ask(self, *arguments: object) -> dict[str, Any]:
        """Run an admin command with --json and return its answer."""
        answer = json.loads(self.admin(*arguments, "--json"))
        assert isinstance(answer, dict)
        return answer

    def wait_for_log(self, text: str, seconds: float = 10.0) -> str:
        """Return the log as soon as it holds the text."""
        ends = time.monotonic() + seconds
        while text not in (log := self.log.read_text()):
            assert time.monotonic() < ends, log
            time.sleep(0.02)
        return log

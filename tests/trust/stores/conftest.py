"""A machine whose system store is its own, with the servers of two homes on its loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.host import Host
from tests.trust.stores.homes import HOST, ROOT, Home, home

PORTS = {0: 8443, 1: 8444}
# The roots that this machine has of its own; few, so that a bundle is made quickly.
KEPT = ("mozilla/ISRG_Root_X1.crt", "mozilla/GlobalSign_Root_CA.crt")
HOOK = """\
#!/bin/sh
cat >> "$HOOK_LOG"
"""


@dataclass
class Machine:
    """A namespace with files of its own in place of the system's."""

    host: Host
    work: Path

    def store(self, name: str, verb: str, *arguments: str | Path, fails: bool = False) -> str:
        """Have a store do something here; return what it said."""
        env = {
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.work / "home"),
            "HOOK_LOG": str(self.work / "hooked"),
        }
        argv = (sys.executable, "-m", "tests.trust.stores.homes", name, verb, *arguments)
        return self.host.run("env", "-C", ROOT, *argv, env=env, fails=fails).strip()

    def root(self, number: int) -> Path:
        """Return the file of a home's root."""
        return self.work / f"root{number}.pem"

    def url(self, number: int) -> str:
        """Return where a home's server is."""
        return f"https://{HOST}:{PORTS[number]}/"


def servers(machine: Machine, number: int, of: Home) -> None:
    """Start a home's server, and wait until it listens."""
    work = machine.work
    (work / f"root{number}.pem").write_bytes(of.root)
    (work / f"chain{number}.pem").write_bytes(of.chain)
    (work / f"key{number}.pem").write_bytes(of.key)
    chain = work / f"chain{number}.pem"
    machine.host.start(
        *("openssl", "s_server", "-accept", f"127.0.0.1:{PORTS[number]}", "-www", "-quiet"),
        *("-cert", chain, "-cert_chain", chain, "-key", work / f"key{number}.pem"),
        log=work / "server.log",
    )
    listening = f"ss -ltn | grep -q :{PORTS[number]}"
    machine.host.wait_for(listening)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own: nothing here reaches the real system's roots."""
    own = {
        "certs": "/etc/ssl/certs",
        "local": "/usr/local/share/ca-certificates",
        "hooks": "/etc/ca-certificates/update.d",
        "conf": "/etc/ca-certificates.conf",
        "hosts": "/etc/hosts",
    }
    for name in ("certs", "local", "hooks", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "conf").write_text("\n".join(KEPT) + "\n")
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {HOST}\n")
    (tmp_path / "hooks" / "record").write_text(HOOK)
    (tmp_path / "hooks" / "record").chmod(0o755)
    with ExitStack() as end:
        made = Machine(Host.first(end), tmp_path)
        made.host.run("ip", "link", "set", "lo", "up")
        for name, place in own.items():
            made.host.run("mount", "--bind", tmp_path / name, place)
        env = {"HOOK_LOG": str(tmp_path / "hooked")}
        made.host.run("update-ca-certificates", env=env)
        for number in PORTS:
            servers(made, number, home(number))
        yield made

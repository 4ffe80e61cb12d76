"""The servers under measurement, each started as a person would, on the router of a home."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.interop.home import PEERS, ROUTER, Home

CADDYFILE = """\
{{
	admin off
	skip_install_trust
	auto_https disable_redirects
	storage file_system {store}
}}
https://router.lan:9443 {{
	tls internal
	acme_server
}}
"""
PEBBLE_PORT, PEBBLE_ADMIN = 14000, 15000

SELF = "from platform import *; print(python_implementation(), python_version(), python_compiler())"


@dataclass(slots=True)
class Running:
    """A started server: its process, its directory, and the root that its TLS and leafs have."""

    name: str
    process: subprocess.Popen[bytes]
    directory: str
    root: Path
    cold_start: float

    def cpu_seconds(self) -> float:
        """Return user and system time of the process with all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what: str = "VmRSS") -> float:
        """Return resident MiB now, or at its peak (`VmHWM`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


Start = Callable[[Home, Path, ExitStack], Running]


def interpreter(python: str) -> str:
    """Return what a Python says of itself.

    Two of one version differ: a distribution's was optimized by a profile and links more tightly.
    """
    asked = subprocess.run([python, "-c", SELF], check=True, capture_output=True, text=True)
    return f"{asked.stdout.strip()}, {python}"


def acmeiot(
    home: Home, work: Path, end: ExitStack, *, python: str | Path = sys.executable
) -> Running:
    """Start this project's server with a durable store."""
    options: list[str | Path] = [
        "--state",
        work / "state",
        "--name",
        "router.lan",
        "--limits",
        "off",
    ]
    options += ["--listen", f"{ROUTER}:8555", "--http-listen", f"{ROUTER}:8556"]
    options += ["--approval", "auto", "--policy", "challenge", "--profile", "compat"]
    options += ["--resolver", ROUTER]
    command: list[str | Path] = [python, "-m", "acmeiot", "serve", *options]
    began = time.perf_counter()
    process = end.enter_context(
        home.router.serving(*command, log=work / "acmeiot.log", stdout=subprocess.PIPE)
    )
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    took = time.perf_counter() - began
    assert line.startswith("ready "), (work / "acmeiot.log").read_text()
    root = work / "acmeiot-root.pem"
    root.write_text(home.router.run("curl", "-sSf", "http://router.lan:8556/root.pem"))
    return Running("acmeiot", process, line.split()[1], root, took)


def caddy(home: Home, work: Path, end: ExitStack) -> Running:
    """Start Caddy's `acme_server`, which stores what it issues in files and bbolt."""
    config = work / "Caddyfile"
    config.write_text(CADDYFILE.format(store=work / "caddy"))
    directory = "https://router.lan:9443/acme/local/directory"
    env = ["env", f"XDG_DATA_HOME={work}", f"XDG_CONFIG_HOME={work}", f"HOME={work}"]
    began = time.perf_counter()
    command: list[str | Path] = [*env, PEERS / "usr/bin/caddy", "run", "--config", config]
    process = end.enter_context(home.router.serving(*command, log=work / "caddy.log"))
    root = work / "caddy/pki/authorities/local/root.crt"
    took = _wait(home, directory, began)
    return Running("caddy", process, directory, root, took)


def pebble(home: Home, work: Path, end: ExitStack) -> Running:
    """Start Pebble, which keeps everything in memory; its delays and random refusals are off."""
    key, cert = _pebble_certificate(home, work)
    config = work / "pebble.json"
    listen = {"listenAddress": f"{ROUTER}:{PEBBLE_PORT}"}
    manage = {"managementListenAddress": f"{ROUTER}:{PEBBLE_ADMIN}"}
    ports = {"httpPort": 80, "tlsPort": 443, "certificate": str(cert), "privateKey": str(key)}
    config.write_text(json.dumps({"pebble": {**listen, **manage, **ports}}))
    directory = f"https://router.lan:{PEBBLE_PORT}/dir"
    quick = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"]
    began = time.perf_counter()
    command: list[str | Path] = [*quick, "pebble", "-config", config, "-dnsserver", f"{ROUTER}:53"]
    process = end.enter_context(home.router.serving(*command, log=work / "pebble.log"))
    return Running("pebble", process, directory, cert, _wait(home, directory, began))


def _pebble_certificate(home: Home, work: Path) -> tuple[Path, Path]:
    """Make the TLS certificate that Pebble must be given; its issuing root is its own affair."""
    key, cert = work / "pebble.key", work / "pebble.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
    subject = ["-nodes", "-subj", "/CN=router.lan", "-addext", "subjectAltName=DNS:router.lan"]
    home.router.run(*request, *subject, "-days", "2", "-keyout", key, "-out", cert)
    return key, cert


def _wait(home: Home, directory: str, began: float) -> float:
    home.router.wait_for(f"curl -ksf -o /dev/null {directory}")
    return time.perf_counter() - began


SERVERS: dict[str, Start] = {"acmeiot": acmeiot, "caddy": caddy, "pebble": pebble}

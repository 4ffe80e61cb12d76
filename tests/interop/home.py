"""A home to speak ACME in: a network of its own with a router, its resolver, and a printer.

Everything lives in one network namespace, so clients run with the ports they have by default and
with the names people use, and nothing is sent to any other network. The router's resolver is a real
dnsmasq; the TXT records of dns-01 lie in zones of a real named that takes signed updates.
"""

import base64
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

ROUTER = "192.168.1.1"
PRINTER = "192.168.1.20"
NAMESERVER = "192.168.1.53"
DYNAMIC_ZONES = ("_acme-challenge.printer.lan", "_acme-challenge.printer.local")
UPDATE_KEY = "printer"
UPDATE_SECRET = base64.b64encode(bytes(range(32))).decode()

PEERS = Path(__file__).parents[2] / ".peers"

DNSMASQ = f"""\
port=53
listen-address={ROUTER}
bind-interfaces
no-resolv
no-hosts
cache-size=0
pid-file=
local=/lan/local/internal/
address=/lan/{PRINTER}
address=/local/{PRINTER}
address=/internal/{PRINTER}
address=/router.lan/{ROUTER}
address=/router.local/{ROUTER}
address=/ns.lan/{NAMESERVER}
""" + "".join(f"server=/{zone}/{NAMESERVER}\n" for zone in DYNAMIC_ZONES)

ZONE = "$TTL 1\n@ IN SOA ns.lan. hostmaster.lan. 1 60 60 60 1\n@ IN NS ns.lan.\n"


class Home:
    """One network namespace and the programs in it; leaving the `with` block ends them all."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.bundle = work / "ca-certificates.crt"
        self._end = ExitStack()
        self._enter: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.push(self._end)
            self._make_namespace()
            self._start_dns()
            self._end = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def run(
        self, *argv: str | Path, env: Mapping[str, str] | None = None, fails: bool = False
    ) -> str:
        """Run a program to its end and return all it said.

        Raises:
            AssertionError: it failed, or did not although `fails` says that it should.
        """
        done = subprocess.run(
            [*self._enter, *map(str, argv)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        command = " ".join(map(str, argv))
        assert (done.returncode != 0) == fails, f"{command}\nexit {done.returncode}\n{done.stdout}"
        return done.stdout

    def start(
        self, *argv: str | Path, log: Path, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program that stays until the home is left, or dies with this process."""
        process = self._popen(argv, log, stdout)
        self._end.callback(_end, process)
        return process

    @contextmanager
    def serving(self, *argv: str | Path, log: Path) -> Iterator[None]:
        """Start a program that stays for the length of a `with` block."""
        process = self._popen(argv, log)
        try:
            yield
        finally:
            _end(process)

    def _popen(
        self, argv: tuple[str | Path, ...], log: Path, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*self._enter, "setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=out,
            )

    def wait_for(self, test: str, *arguments: str | Path) -> None:
        """Repeat a shell test until it holds.

        Raises:
            AssertionError: it did not for 20 seconds.
        """
        self.run(
            *("timeout", "20", "sh", "-c", f"until {test}; do sleep 0.1; done", "sh", *arguments)
        )

    def trust(self, root: Path) -> None:
        """Add a root to the bundle that programs of this home read as the system's."""
        with self.bundle.open("a", encoding="ascii") as bundle:
            bundle.write(root.read_text(encoding="ascii"))

    def _make_namespace(self) -> None:
        mapped = ["--map-root-user"] if os.geteuid() else []
        holder = subprocess.Popen(
            ["unshare", *mapped, "--net", "--mount", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._end.callback(_end, holder)
        assert holder.stdout is not None
        assert holder.stdout.read(1) == b"\n", "this machine lets nobody make a network namespace"
        user = ["--user", "--preserve-credentials"] if mapped else []
        spaces = [*user, "--net", "--mount", "--root", "--wd"]
        self._enter = ["nsenter", "--target", str(holder.pid), *spaces, "--"]
        self.run("ip", "link", "set", "lo", "up")
        for address in (ROUTER, PRINTER, NAMESERVER):
            self.run("ip", "address", "add", f"{address}/24", "dev", "lo")
        self.bundle.touch()
        resolv = self.work / "resolv.conf"
        resolv.write_text(f"nameserver {ROUTER}\n", encoding="ascii")
        self.run("mount", "--bind", resolv, "/etc/resolv.conf")
        self.run("mount", "--bind", self.bundle, "/etc/ssl/certs/ca-certificates.crt")

    def _start_dns(self) -> None:
        (self.work / "dnsmasq.conf").write_text(DNSMASQ, encoding="ascii")
        self.start(
            "dnsmasq",
            "--no-daemon",  # as the user it is: in a user's own namespace there is no other
            f"--conf-file={self.work / 'dnsmasq.conf'}",
            log=self.work / "dnsmasq.log",
        )
        self.start(
            PEERS / "usr/sbin/named", "-g", "-c", self._named_conf(), log=self.work / "named.log"
        )
        for zone in DYNAMIC_ZONES:
            self._await_zone(zone)

    def _named_conf(self) -> Path:
        blocks = []
        for zone in DYNAMIC_ZONES:
            file = self.work / f"{zone}.zone"
            file.write_text(ZONE, encoding="ascii")
            blocks.append(
                f'zone "{zone}" {{ type primary; file "{file}";'
                f' allow-update {{ key "{UPDATE_KEY}"; }}; }};'
            )
        conf = self.work / "named.conf"
        conf.write_text(
            f'key "{UPDATE_KEY}" {{ algorithm hmac-sha256; secret "{UPDATE_SECRET}"; }};\n'
            f'options {{ directory "{self.work}"; listen-on {{ {NAMESERVER}; }};'
            " listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no;"
            " dnssec-validation no; notify no; };\ncontrols { };\n" + "\n".join(blocks),
            encoding="ascii",
        )
        return conf

    def _await_zone(self, zone: str) -> None:
        """Ask the resolver for a zone of the name server until both are up."""
        question = f"dig +short +tries=1 +time=1 @{ROUTER} {zone} SOA"
        self.wait_for(f"{question} | grep -q hostmaster")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()

"""Whole homes: a router with dnsmasq and this project's server, and machines that come and go.

Each machine is a network namespace with its own view of the few system files that its programs
read and write, so that several homes and the machines that move between them stand side by side,
and nothing of this computer's own network or trust changes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

from tests.interop.host import Host

PROJECT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
FILES: Final = PROJECT / "files/dhcp"
ACMEIOT: Final = (sys.executable, "-m", "acmeiot")
READY: Final = re.compile(r"ready (https://\S+) sha256:([0-9a-f]{64})$")

PRINTER_MAC: Final = "52:54:00:00:00:20"
LAPTOP_MAC: Final = "52:54:00:00:00:30"

# Deeper folders that a machine's programs write into. What root owns here is nobody's in the user
# namespace of somebody else, so these are made anew over it.
_WRITTEN: Final = (
    "/var/lib", "/etc/ssl/certs", "/etc/ca-certificates/update.d",
    "/usr/local/share/ca-certificates",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes one home another than the next: its router, addresses and domain."""

    name: str = "home"
    mac: str = "52:54:00:00:01:01"
    net: str = "192.168.1"  # "": an IPv6-only home
    net6: str = "fd00:1:"
    domain: str = "lan"
    label: str = "router"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The router's own addresses."""
        both = ((self.net, f"{self.net}.1"), (self.net6, f"{self.net6}:1"))
        return tuple(address for net, address in both if net)

    @property
    def printer(self) -> str:
        """The address that the router keeps for the printer."""
        return f"{self.net}.20" if self.net else f"{self.net6}:20"

    def dnsmasq(self, interface: str, work: Path) -> str:
        """Return the configuration of a router's dnsmasq, as it is without this project."""
        records = ",".join((f"{self.label}.{self.domain}", f"{self.label}.local", *self.addresses))
        lines = [
            f"interface={interface}", "bind-interfaces", "no-resolv", "no-hosts", "pid-file=",
            "user=root", "group=", "log-dhcp", f"domain={self.domain}",
            f"local=/{self.domain}/local/",
            f"dhcp-leasefile={work}/leases", f"conf-dir={work}/dnsmasq.d,*.conf",
            f"host-record={records}",
            # In a home a printer says this itself, by multicast DNS; here nothing would read it.
            f"host-record=printer.local,{self.printer}",
        ]  # fmt: skip
        if self.net:
            lines += [
                f"dhcp-range={self.net}.100,{self.net}.199,1h", "dhcp-authoritative", "no-ping",
                f"dhcp-host={PRINTER_MAC},printer,{self.net}.20",
            ]  # fmt: skip
        if self.net6:
            lines += [
                "enable-ra", f"dhcp-range={self.net6}:100,{self.net6}:199,64,1h",
                f"dhcp-host={PRINTER_MAC},printer,[{self.net6}:20]",
            ]  # fmt: skip
        return "\n".join(lines) + "\n"


class Cabling(Protocol):
    """Where a cable ends: it has a bridge `lan`."""

    def run(self, *argv: str | Path) -> str:
        """Run a program where that bridge is."""


class Machine:
    """A computer with its own /run, resolv.conf and home directory, and one cable, `eth0`."""

    def __init__(self, host: Host, work: Path, mac: str) -> None:
        work.mkdir()
        self.host, self.work, self.mac = host, work, mac
        self.home = work / "home"
        self.home.mkdir()
        self._resolv = work / "resolv.conf"
        self._resolv.touch()
        self._at: Cabling | None = None
        host.run("ip", "link", "set", "lo", "up")
        host.run("mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run")
        for place in ("/etc", "/var", "/usr/lib", "/usr/local"):
            self._overlay(place)
        host.run("mount", "--bind", self._resolv, "/etc/resolv.conf")

    def _overlay(self, place: str) -> None:
        """Let this machine write there; nobody else sees it."""
        upper, scratch = (self.work / f"{kind}{place.replace('/', '-')}" for kind in ("fs", "tmp"))
        upper.mkdir()
        scratch.mkdir()
        for folder in _WRITTEN:
            if Path(folder).is_relative_to(place):
                (upper / Path(folder).relative_to(place)).mkdir(parents=True)
        where = f"userxattr,lowerdir={place},upperdir={upper},workdir={scratch}"
        self.host.run("mount", "-t", "overlay", "overlay", "-o", where, place)

    def run(self, *argv: str | Path, fails: bool = False, **env: str) -> str:
        """Run a program to its end and return all it said."""
        return self.host.run(*argv, env={"HOME": str(self.home), **env}, fails=fails)

    def acmeiot(self, *argv: str | Path, fails: bool = False) -> str:
        """Run one of this project's commands."""
        return self.run(*ACMEIOT, *argv, fails=fails)

    def plug(self, router: Cabling) -> None:
        """Put the cable into a router; nothing is asked yet."""
        assert self._at is None, "the cable is in another router"
        far = f"to{self.host.pid}"
        router.run(*f"ip link add {far} type veth peer name eth0 netns {self.host.pid}".split())
        router.run("ip", "link", "set", far, "master", "lan", "up")
        self.run("ip", "link", "set", "eth0", "address", self.mac, "up")
        self._at = router

    def unplug(self) -> None:
        """Pull the cable, and forget what was learnt by it, as a DHCP client does."""
        self.run("ip", "link", "delete", "eth0")
        self.run("rm", "-rf", "/run/acmeiot/dhcp")
        self._resolv.write_text("")
        self._at = None

    def dhcp(self, hostname: str) -> None:
        """Get an IPv4 address by busybox's client, which calls this project's hook."""
        self.run(
            *("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1"),
            *("-x", f"hostname:{hostname}", "-O", "125", "-s", HERE / "udhcpc-script"),
            HOOK=str(FILES / "udhcpc"),
            ACMEIOT_SAW=str(FILES / "acmeiot-saw"),
        )

    def join(self, router: Cabling, hostname: str) -> None:
        """Plug in and get an address."""
        self.plug(router)
        self.dhcp(hostname)


class Router(Machine):
    """A machine with a LAN: dnsmasq serves it, and this project's server once it is started."""

    def __init__(self, host: Host, work: Path, plan: Plan) -> None:
        super().__init__(host, work, plan.mac)
        self.plan = plan
        self.state = work / "state"
        self.snippets = work / "dnsmasq.d"
        self.snippets.mkdir()
        self.ready = ""
        self._dns, self._server = ExitStack(), ExitStack()
        self._server_process: subprocess.Popen[bytes] | None = None
        self.run("ip", "link", "add", "lan", "address", plan.mac, "type", "bridge")
        for address in plan.addresses:
            prefix = "64" if ":" in address else "24"
            self.run("ip", "address", "add", f"{address}/{prefix}", "dev", "lan", "nodad")
        # A router's LAN has a link before anything is plugged in, and with it IPv6: without either,
        # dnsmasq would miss the first router solicitations, and hosts wait long for the next.
        self.run(*"ip link add cpu type veth peer name switch".split())
        for value, setting in (("0", "lan/accept_dad"), ("1", "switch/disable_ipv6")):
            self.run("sh", "-c", f"echo {value} >/proc/sys/net/ipv6/conf/{setting}")
        self.run(*"ip link set cpu master lan up".split())
        for interface in ("switch", "lan"):
            self.run("ip", "link", "set", interface, "up")
        self.host.wait_for("ip -6 address show dev lan scope link -tentative | grep -q fe80")
        self.start_dns("lan")

    def start_dns(self, interface: str) -> None:
        """Start dnsmasq, or start it again with what its directory holds now."""
        self._dns.close()
        conf = self.work / "dnsmasq.conf"
        conf.write_text(self.plan.dnsmasq(interface, self.work))
        # As its service does where a lease file is expected by others.
        (self.work / "leases").touch()
        command = ("dnsmasq", "--no-daemon", f"--conf-file={conf}")
        self._dns.enter_context(self.host.serving(*command, log=self.work / "dnsmasq.log"))
        server = self.plan.addresses[0]
        self.host.wait_for(
            f"dig +short +tries=1 +time=1 @{server} {self.plan.label}.{self.plan.domain} ANY"
            " | grep -q ."
        )
        self._resolv.write_text(f"nameserver {server}\n")

    def serve(self, *options: str) -> None:
        """Start this project's server as the router's init script does."""
        config = self.work / "acmeiot.toml"
        config.write_text(f'lease_files = ["{self.work}/leases"]\nhosts_files = []\n')
        label, domain = self.plan.label, self.plan.domain
        command: tuple[str | Path, ...] = (
            *(*ACMEIOT, "serve", "--state", self.state, "--config", config, "--domain", domain),
            *("--name", f"{label}.{domain}", "--name", f"{label}.local", *options),
        )
        log = self.work / "server.log"
        serving = self.host.serving(*command, log=log, stdout=subprocess.PIPE)
        process = self._server.enter_context(serving)
        assert process.stdout is not None
        self.ready = process.stdout.readline().decode().strip()
        assert READY.match(self.ready), f"{self.ready!r}\n{log.read_text()}"

    def stop_serving(self) -> None:
        """End the server, as a dead one."""
        self._server.close()

    def announce(self, *options: str) -> None:
        """Tell the LAN about the server, and have dnsmasq read it."""
        where = ("--dnsmasq-dir", self.snippets, "--dnsmasq-conf", self.work / "dnsmasq.conf")
        self.owner("announce", *map(str, where), *options)
        self.start_dns("lan")

    def owner(self, command: str, *argv: str) -> str:
        """Run one of the owner's commands against the server."""
        return self.acmeiot(command, "--state", self.state, *argv)

    def owner_prints(self, command: str, argument: str) -> str:
        """Return what a command about the server prints."""
        return self.acmeiot(command, argument, "--state", self.state)

    def asked(self, command: str, *argv: str) -> Any:
        """Return the JSON answer of one of the owner's commands."""
        return json.loads(self.owner(command, "--json", *argv))

    @property
    def directory(self) -> str:
        """The URL of its directory, as its ready line has it."""
        return self.ready.split()[1]

    @property
    def root(self) -> str:
        """The hash of its root's key, as its ready line has it."""
        return self.ready.rpartition(":")[2]

    def end(self) -> None:
        """Stop what runs on it."""
        self._server.close()
        self._dns.close()


class Street:
    """The homes and machines of one test; leaving it ends them all."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._end = ExitStack()
        self._first: Host | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def host(self) -> Host:
        """Make a machine of namespaces that is not linked to anything."""
        if self._first is None:
            self._first = Host.first(self._end)
            return self._first
        return self._first.beside()

    def router(self, plan: Plan | None = None) -> Router:
        """Build a home: its router with dnsmasq, and no server yet."""
        plan = plan or Plan()
        router = Router(self.host(), self._work / plan.name, plan)
        self._end.callback(router.end)
        return router

    def machine(self, name: str, mac: str) -> Machine:
        """Make a machine whose cable is in nothing."""
        return Machine(self.host(), self._work / name, mac)


@contextmanager
def home(work: Path, *options: str) -> Iterator[tuple[Street, Router]]:
    """Build one home with its server running and announced."""
    with Street(work) as street:
        router = street.router()
        router.serve(*options)
        router.announce()
        yield street, router

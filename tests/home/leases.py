"""A LAN whose DHCP server forces options on everybody, and a machine for one DHCP client.

The machine sees the system's own files, and over them, for itself alone, what `tests/apt-install`
only unpacked and what it writes: a client is installed and set up as its own documents say.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.interop.host import Host

PROJECT: Final = Path(__file__).parents[2]
PEERS: Final = PROJECT / ".peers"
FILES: Final = PROJECT / "files/dhcp"
SERVER: Final = "192.168.77.1"
SERVER6: Final = "fd00:77::1"

DNSMASQ: Final = f"""\
interface=lan
bind-interfaces
no-resolv
no-hosts
no-ping
pid-file=
user=root
group=
domain=lan
dhcp-authoritative
dhcp-range=192.168.77.100,192.168.77.199,1h
dhcp-range={SERVER6}00,{SERVER6}99,64,1h
enable-ra
"""

# The directories over which a machine has its own files, and where packages are unpacked to that.
OVERLAID: Final = {"etc": ("etc",), "usr/lib": ("lib", "usr/lib"), "var/lib": ()}


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer whose cable `eth0` is in the LAN; `run` is its /run, seen from outside."""

    host: Host
    run: Path
    log: Path
    files: Path

    def install(self, name: str, path: str) -> None:
        """Put a file of this project where its own comment says."""
        shutil.copy(FILES / name, self._own(path))

    def append(self, path: str, text: str) -> None:
        """Add to a configuration file, made where there is none."""
        system, own = Path(path), self._own(path)
        if system.exists():
            shutil.copy(system, own)
        with own.open("a") as file:
            file.write(text)

    def _own(self, path: str) -> Path:
        own = self.files / path.removeprefix("/")
        own.parent.mkdir(parents=True, exist_ok=True)
        return own

    def on(self) -> None:
        """Let the machine see its files: those put there, over the unpacked, over the system's."""
        above = self.files / "above"
        above.mkdir()
        self.host.run("mount", "-t", "tmpfs", "none", above)
        for number, (path, unpacked) in enumerate(OVERLAID.items()):
            upper, spare = above / f"{number}", above / f"{number}.work"
            self.host.run("mkdir", upper, spare)
            layers = [self.files / path, *(PEERS / place for place in unpacked), Path("/", path)]
            lower = ":".join(str(layer) for layer in layers if layer.is_dir())
            options = f"lowerdir={lower},upperdir={upper},workdir={spare}"
            self.host.run("mount", "-t", "overlay", "-o", options, "overlay", f"/{path}")
        self.host.run("mount", "--bind", self.run, "/run")
        # Read-only, as in a container: no udev is waited for.
        self.host.run("mount", "-t", "sysfs", "-o", "ro", "none", "/sys")

    @property
    def index(self) -> int:
        """The interface's number."""
        return int(self.host.run("cat", "/sys/class/net/eth0/ifindex"))


@contextmanager
def lan(work: Path, options: Sequence[str]) -> Iterator[Machine]:
    """Make the LAN, with these lines in its dnsmasq's configuration, and one machine on it.

    The machine is off: programs are installed and set up first.
    """
    with ExitStack() as end:
        router = Host.first(end)
        host = router.beside()
        router.run(*f"ip link add lan type veth peer name eth0 netns {host.pid}".split())
        for machine, interface in ((router, "lan"), (host, "eth0")):
            # An address is there at once: nobody else is on this link to have it already.
            dad = f"/proc/sys/net/ipv6/conf/{interface}/accept_dad"
            machine.run("sh", "-c", f"echo 0 >{dad}; ip link set lo up; ip link set {interface} up")
        for machine, interface in ((router, "lan"), (host, "eth0")):
            machine.wait_for(f"ip -6 address show dev {interface} scope link | grep -q fe80")
        for address in (f"{SERVER}/24", f"{SERVER6}/64"):
            router.run("ip", "address", "add", address, "dev", "lan")
        conf = work / "dnsmasq.conf"
        conf.write_text(DNSMASQ + f"dhcp-leasefile={work}/leases\n" + "\n".join(options) + "\n")
        command = ("dnsmasq", "--no-daemon", f"--conf-file={conf}")
        router.start(*command, log=work / "dnsmasq.log")
        yield _machine(host, work)


def _machine(host: Host, work: Path) -> Machine:
    """Return a machine that has what every DHCP client writes to, as its own."""
    made = Machine(host, work / "run", work / "client.log", work / "files")
    for path in (made.run, *(made.files / place for place in OVERLAID)):
        path.mkdir(parents=True)
    (made.files / "var/lib/dhcpcd").mkdir()
    (made.files / "etc/resolv.conf").touch()
    (made.files / "etc/machine-id").write_text("0123456789abcdef" * 2 + "\n")
    for name, line in (("passwd", "systemd-network:x:{0}:{0}::/:"), ("group", "{1}:x:{0}:")):
        (made.files / "etc" / name).write_text(_users(Path("/etc", name), line))
    return made


def _users(system: Path, line: str) -> str:
    """Return a passwd or group file with the user that an unpacked networkd wants to be.

    Where there is nobody but root to become, that is root, and dhcpcd's user is not there.
    """
    kept, root = system.read_text().splitlines(), os.geteuid() == 0
    if not root:
        kept = [one for one in kept if not one.startswith(("systemd-network:", "dhcpcd:"))]
    if not any(one.startswith("systemd-network:") for one in kept):
        kept.append(line.format(998 if root else 0, "systemd-network"))
    return "\n".join(kept) + "\n"

"""A LAN whose DHCP server forces options on everybody, and a machine for one DHCP client.

The machine sees the system's own files, and over them, for itself alone, what `tests/apt-install`
only unpacked and what it writes: a client is installed and set up as its own documents say.
"""

from __future__ import annotations

import os
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
OVERLAID: Final = {
    "/etc": ("etc",),
    "/usr/lib": ("lib", "usr/lib"),
    "/var/lib": (),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer whose cable `eth0` is in the LAN; `run` is its /run, seen from outside."""

    host: Host
    run: Path
    log: Path

    def install(self, name: str, path: str) -> None:
        """Put a file of this project where its own comment says; a script can be run."""
        mode = "755" if os.access(FILES / name, os.X_OK) else "644"
        self.host.run("install", "-D", "-m", mode, FILES / name, path)

    def append(self, path: str, text: str) -> None:
        """Add to a configuration file, made where there is none."""
        script = 'mkdir -p "$(dirname "$0")" && printf %s "$1" >>"$0"'
        self.host.run("sh", "-c", script, path, text)

    @property
    def index(self) -> int:
        """The interface's number."""
        return int(self.host.run("cat", "/sys/class/net/eth0/ifindex"))


@contextmanager
def lan(work: Path, options: Sequence[str]) -> Iterator[Machine]:
    """Make the LAN, with these lines in its dnsmasq's configuration, and one machine on it."""
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
        run = work / "run"
        run.mkdir()
        _own_files(host, work / "own", run)
        yield Machine(host, run, work / "client.log")


def _own_files(host: Host, own: Path, run: Path) -> None:
    """Give a machine its own view of where its programs write."""
    own.mkdir()
    host.run("mount", "-t", "tmpfs", "none", own)
    for path, unpacked in OVERLAID.items():
        upper, spare = (own / f"{path[1:].replace('/', '-')}{kind}" for kind in ("", ".work"))
        host.run("mkdir", upper, spare)
        lower = ":".join(
            [str(PEERS / place) for place in unpacked if (PEERS / place).is_dir()] + [path]
        )
        layers = f"lowerdir={lower},upperdir={upper},workdir={spare}"
        host.run("mount", "-t", "overlay", "-o", layers, "overlay", path)
    host.run("mount", "--bind", run, "/run")
    # Read-only, as in a container: no udev is waited for.
    host.run("mount", "-t", "sysfs", "-o", "ro", "none", "/sys")
    _own_users(host)


def _own_users(host: Host) -> None:
    """Add the user that an unpacked networkd wants to be; where there is only root, that is it."""
    root = os.geteuid() == 0
    number = 998 if root else 0
    line = f"systemd-network:x:{number}:{number}::/:/usr/sbin/nologin"
    script = (
        f"grep -q ^systemd-network: /etc/passwd || echo '{line}' >>/etc/passwd;"
        f"grep -q ^systemd-network: /etc/group || echo 'systemd-network:x:{number}:' >>/etc/group"
    )
    if not root:
        # In a user's own namespace there is nobody else to become.
        script = f"sed -i '/^systemd-network:/d;/^dhcpcd:/d' /etc/passwd /etc/group; {script}"
    host.run("sh", "-c", script)

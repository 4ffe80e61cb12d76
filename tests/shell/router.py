"""A router's root file system under busybox ash, in namespaces of its own.

This machine's programs lie below, busybox's in their place, then our shims of OpenWrt's uci, procd
and ubus, then the package's own files. What is written goes to memory and is gone with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from tests.interop.host import Host

TOP: Final = Path(__file__).parents[2]
SHIMS: Final = Path(__file__).parent / "openwrt"
FILES: Final = TOP / "files/router"
SECTION: Final = "cfg01411c"  # what UCI calls the first anonymous section
CONF_DIR: Final = f"/tmp/dnsmasq.{SECTION}.d"  # 24.10 and later

# Not busybox's: what is looked at is the kernel's, and the package runs this project's Python.
_OTHERS: Final = ("ip", "busybox")

_MOUNT: Final = """
set -e
mount -t tmpfs memory "$1"
cd "$1"
mkdir upper work root stage
cp -a "$2"/. stage
mount -t overlay overlay -o "lowerdir=stage:/,upperdir=upper,workdir=work" root
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs memory root/tmp
rm -rf root/run root/var
ln -s tmp/run root/run
ln -s tmp root/var
mkdir -p root/tmp/run root/tmp/log root/tmp/etc root/tmp/hosts root/etc/rc.d
mkdir -p "root$3" root/tmp/state/network
mount --bind "$3" "root$3"
ip link set lo up
ip link add br-lan type bridge
ip link add br-guest type bridge
ip address add 192.168.1.1/24 dev br-lan
ip address add fd00:1::1/64 dev br-lan nodad
ip address add 192.168.9.1/24 dev br-guest
ip link set br-lan up
ip link set br-guest up
"""

# dnsmasq's and odhcpd's and uhttpd's services, as far as the package calls them.
_SERVICE: Final = """\
#!/bin/sh
echo "{name} $*" >>/var/log/inits
[ "$1" != running ] || [ ! -e /tmp/{name}-is-down ]
"""

CONFIG: Final = {
    "acmeiot": "config acmeiot main\n\toption enabled 1\n",
    "network": """
config interface lan
	option device br-lan
config interface guest
	option device br-guest
config interface wan
""",
    "system": "config system\n\toption hostname OpenWrt\n",
    "dhcp": """
config dnsmasq
	option domain lan

config dhcp lan
	option interface lan
	option dhcpv4 server
	option dhcpv6 server

config dhcp guest
	option interface guest
	option dhcpv6 server

config odhcpd odhcpd
	option maindhcp 0
	option leasefile /tmp/hosts/odhcpd
""",
    "uhttpd": """
config uhttpd main
	list listen_https '0.0.0.0:443'
	option cert /etc/uhttpd.crt
	option key /etc/uhttpd.key
""",
}


class Router:
    """One router; it ends with `end`."""

    def __init__(self, end: ExitStack, work: Path) -> None:
        self._root = work / "memory"
        self._root.mkdir()
        stage = work / "stage"
        _furnish(stage)
        self.host = Host.first(end)
        self.host.run("sh", "-c", _MOUNT, "sh", self._root, stage, TOP)
        for name, text in CONFIG.items():
            self.write(f"/etc/config/{name}", text)
        for name in ("dnsmasq", "odhcpd", "uhttpd", "rpcd"):
            self.write(f"/etc/init.d/{name}", _SERVICE.format(name=name), "0755")
        self.write("/sbin/hwclock", "#!/bin/sh\n", "0755")  # a clock that runs without power
        self.dnsmasq(SECTION, CONF_DIR)
        self.sh("reload_config")  # as at each boot

    def sh(self, script: str, *, fails: bool = False, env: Mapping[str, str] | None = None) -> str:
        """Run a script under busybox ash and return what it printed, errors among it."""
        environ = {
            "PROCD_SHIM_NO_USERS": "1",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ROUTER": str(self._root),
            **(env or {}),
        }
        command: list[str | Path] = ["chroot", self._root / "root", "/usr/bin/env", "-i"]
        command += [f"{name}={value}" for name, value in environ.items()]
        return self.host.run(*command, "/bin/sh", "-c", script, fails=fails)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file on the router."""
        command = self.host.entered(
            "sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"'
        )
        target = f"{self._root}/root{path}"
        subprocess.run([*command, "sh", target, mode], input=text.encode(), check=True)

    def read(self, path: str) -> str:
        """Return a file's content; "" where there is none."""
        return self.sh(f"cat '{path}' 2>/dev/null || :")

    def dnsmasq(self, section: str, directory: str, interface: str = "lan") -> None:
        """Write what OpenWrt's dnsmasq service makes of one of its sections."""
        network = {"lan": "192.168.1", "guest": "192.168.9"}[interface]
        self.sh(f"mkdir -p {directory}")
        self.write(
            f"/var/etc/dnsmasq.conf.{section}",
            f"conf-dir={directory}\ndhcp-range=set:{interface},{network}.100,{network}.200,12h\n",
        )

    def uci(self, *settings: str) -> None:
        """Set options, and commit."""
        self.sh("\n".join([*(f"uci set '{setting}'" for setting in settings), "uci commit"]))

    @property
    def log(self) -> str:
        """The system log."""
        return self.read("/var/log/messages")

    @property
    def inits(self) -> list[str]:
        """What the other services were told to do."""
        words = ("restart", "reload", "start", "stop")
        return [line for line in self.read("/var/log/inits").splitlines() if line.endswith(words)]

    def programs(self) -> list[str]:
        """Return the command lines of what was started on this router and still runs."""
        own = f"ROUTER={self._root}\0".encode()
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and own in (process / "environ").read_bytes() + b"\0":
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return [line for line in found if line]

    def until(self, test: str, seconds: int = 40) -> None:
        """Wait until a shell test holds."""
        tries = f"for _ in $(seq {seconds * 5}); do {test} && exit 0; sleep 0.2; done; exit 1"
        try:
            self.sh(tries)
        except AssertionError:
            raise AssertionError(f"not in {seconds} s: {test}\n{self.log}") from None

    def service(self, action: str, **env: str) -> str:
        """Call the package's init script."""
        return self.sh(f"/etc/init.d/acmeiot {action}", env=env)


def _furnish(stage: Path) -> None:
    """Put together what lies over this machine's files, which has /bin, /sbin and /lib in /usr."""
    programs = stage / "usr/bin"
    programs.mkdir(parents=True)
    applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True)
    for applet in applets.stdout.split():
        if applet not in _OTHERS:
            (programs / applet).symlink_to("busybox")
    for tree in (SHIMS, FILES):
        for path in tree.rglob("*"):
            if path.is_file():
                parts = path.relative_to(tree).parts
                below = ("usr",) if parts[0] in ("bin", "sbin", "lib") else ()
                target = stage.joinpath(*below, *parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copy2(path, target)
    launcher = f'#!/bin/sh\ncd {TOP} && exec {sys.executable} -m acmeiot "$@"\n'
    (programs / "acmeiot").write_text(launcher)
    (programs / "acmeiot").chmod(0o755)
    (stage / "usr/lib/acmeiot/version").write_text("0.1.0-r1\n")
    (stage / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/ash\n")
    (stage / "etc/group").write_text("root:x:0:\n")
    (stage / "etc/hosts").write_text("127.0.0.1 localhost\n")

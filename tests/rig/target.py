"""The router under test, whichever it is: switched on, spoken with, and its plug pulled."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from tests.rig.guest import Guest
from tests.rig.monitor import Monitor
from tests.rig.switch import LAN_ADDRESS, Switch

PROBED: Final = f"http://{LAN_ADDRESS}:8556/root.pem"


class Target(ABC):
    """A router that the scenario can be played on.

    Its first network card is in the switch's `lan`, where it is 192.168.1.1, its second in `wan`.
    """

    packager: str  # the program that installs and removes packages
    patience = 1  # how many times longer than others it may take
    by_readme = False  # what README tells a router's owner to type works as it stands
    poweroff = "poweroff"
    block = "vda"  # a shell expression: the disk that the state is on

    def __init__(self, name: str, switch: Switch, work: Path, memory: int) -> None:
        self.name = name  # in figures and in what is said
        self.switch, self.work, self.memory = switch, work, memory
        self.guest: Guest | None = None
        self.disk = work / "disk"  # what outlives its boots
        self._put = 0

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Return QEMU's command line, without what every target has."""

    @abstractmethod
    def wipe(self) -> None:
        """Set it back to what it was when it was bought; it must be off."""

    @abstractmethod
    def settle(self, guest: Guest) -> None:
        """Wait until the console has a shell and the LAN its address."""

    def boot(self, *extra: str) -> None:
        """Switch it on, with further options of QEMU, and wait for its shell."""
        self.settle(self._power(*extra))

    def _power(self, *extra: str) -> Guest:
        # -no-reboot: a panic ends the guest, and the test sees it.
        common = (
            *("-accel", "tcg", "-m", str(self.memory), "-nographic", "-no-reboot", "-nodefaults"),
            *("-serial", "stdio", "-monitor", "none", "-device", "virtio-rng-pci"),
            *("-qmp", f"unix:{self.work}/qmp,server=on,wait=off"),
            *_net("lan", "52:54:00:00:00:01"), *_net("wan", "52:54:00:00:00:02"),
        )  # fmt: skip
        enter = self.switch.host.entered("setpriv", "--pdeathsig", "KILL")
        self.guest = Guest([*enter, *self.command(), *common, *extra], self.work / "serial.log")
        return self.guest

    @property
    def on(self) -> Guest:
        """The guest, which must be running."""
        assert self.guest is not None, "the router is off"
        return self.guest

    def sh(self, command: str, *, timeout: float = 60, fails: bool = False) -> str:
        """Run a command line on its console and return all it printed."""
        return self.on.run(command, timeout=timeout * self.patience, fails=fails)

    def until(self, test: str, seconds: int = 60) -> None:
        """Repeat a shell test on the router until it holds.

        Raises:
            AssertionError: it did not in time; the message has the log's end and what runs.
        """
        seconds *= self.patience
        # Counted by the uptime: the clock may be set in between. The shell reads it by itself, so
        # that the waiting leaves the router's time to what is waited for.
        now = "read -r up _ </proc/uptime"
        loop = (
            f"{now}; end=$((${{up%.*}} + {seconds})); until {test}; do"
            f" {now}; [ ${{up%.*}} -lt $end ] || exit 9; sleep 0.3 2>/dev/null || sleep 1; done"
        )
        code, said = self.on.code(f"({loop})", timeout=seconds * 3 + 60)
        if code != 0:
            log = self.sh("{ cat /var/log/messages || logread; } 2>/dev/null | tail -20; ps w")
            raise AssertionError(f"not in {seconds} s: {test}\n{said}\n{log}")

    def put(self, content: bytes | Path, path: str) -> None:
        """Write a file on the router, over its LAN."""
        self._put += 1
        url = self.switch.offer(content, f"{self._put}")
        self.sh(f"wget -q -O {path} {url}")

    def take(self, path: str) -> bytes:
        """Return what a file on the router has, over its console."""
        return bytes.fromhex(self.sh(f"hexdump -v -e '1/1 \"%02x\"' {path}", timeout=120))

    def install(self, *packages: Path) -> str:
        """Install packages, or upgrade to them, as a person does; return what was said."""
        names = []
        for package in packages:
            self.put(package, f"/tmp/{package.name}")
            names.append(f"/tmp/{package.name}")
        said = self.sh(f"{self.packager} install {' '.join(names)}", timeout=300)
        self.sh(f"rm {' '.join(names)}")
        return said

    def remove(self, *names: str) -> str:
        """Remove packages; return what was said."""
        return self.sh(f"{self.packager} remove {' '.join(names)}", timeout=120)

    def typed(self, *lines: str) -> str:
        """Run lines as they stand, as a person who has logged in; return what was said."""
        return self.sh(typing(*lines), timeout=300)

    def until_served(self, seconds: float = 120) -> float:
        """Wait until the LAN gets the root from the server; return when (perf_counter)."""
        return self.switch.until_served(PROBED, seconds * self.patience)

    def seconds_to_ready(self, start: str) -> tuple[float, float]:
        """Run what starts the server; return the seconds to ready, by the wall and of QEMU's CPU.

        The CPU's seconds hardly change when other programs keep this computer busy.
        """
        wall, spent = time.perf_counter(), self.on.cpu_seconds()
        self.sh(start)
        return self.until_served() - wall, self.on.cpu_seconds() - spent

    def cut(self) -> None:
        """Pull the plug: nothing is written any more."""
        self.on.power_off()
        self.guest = None

    def halt(self) -> None:
        """Shut it down as a person does, and wait until it is off."""
        self.on.say(self.poweroff)
        self.on.ended(30 * self.patience)
        self.guest = None

    def freeze(self, folder: Path) -> None:
        """Stop it as it is, with all that it has in memory, and keep that and its disk."""
        with Monitor(self.work / "qmp") as monitor:
            monitor.move_out(folder / "memory")
        self.cut()
        _copy(self.disk, folder / "disk")

    def thaw(self, folder: Path) -> None:
        """Let it go on as another that was frozen, of the same kind and memory.

        Of the time between it knows nothing but that its clock is set.
        """
        assert self.guest is None, "a running router's disk"
        _copy(folder / "disk", self.disk)
        self._power("-incoming", f"exec:cat '{folder}/memory'")
        with Monitor(self.work / "qmp") as monitor:
            monitor.until_running()
        self.sh(f"date -s @{time.time():.0f}")

    def written(self) -> int:
        """Return the bytes that reached the disk with the state since the boot.

        They are the sectors of /sys/block/*/stat, the file system's own journal included.
        """
        return int(self.sh(f"sync; cat /sys/block/{self.block}/stat").split()[6]) * 512

    def end(self) -> None:
        """Leave nothing running."""
        if self.guest is not None:
            self.guest.close()
            self.guest = None


def typing(*lines: str) -> str:
    """Return the command line that runs lines for a person who has logged in."""
    return "\n".join(("(. /etc/profile; set -e", *lines, ")"))


def _copy(disk: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", disk, to], check=True)


def _net(side: str, mac: str) -> list[str]:
    return [
        "-netdev", f"tap,id={side},ifname=tap-{side},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev={side},mac={mac}",
    ]  # fmt: skip


def disk(serial: str, path: Path, options: str, place: str = "") -> list[str]:
    """Return QEMU's options for a disk that the guest finds by its serial, wherever it is."""
    return [
        "-drive", f"file={path},format=raw,if=none,id={serial},{options}",
        "-device", f"virtio-blk-pci,drive={serial},serial={serial}{place}",
    ]  # fmt: skip

"""The emulated router: a guest on two taps, whose LAN is a switch that machines plug into."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.interop.host import Host
from tests.rig.guest import Guest
from tests.rig.image import Image

LAN_ADDRESS: Final = "192.168.1.1"
OVERLAY_MIB: Final = 64


class Switch:
    """What lies between the router's LAN port and its hosts: a bridge without an address."""

    def __init__(self, end: ExitStack) -> None:
        self._end = end
        self.host = Host.first(end)
        for setting in ("all", "default"):
            self.host.run("sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1")
        for side in ("lan", "wan"):
            self.host.run(*f"ip link add {side} type bridge mcast_snooping 0".split())
            self.host.run("ip", "link", "set", side, "up")
            self.host.run("ip", "tuntap", "add", f"tap-{side}", "mode", "tap")
            self.host.run("ip", "link", "set", f"tap-{side}", "master", side, "up")

    def plug(self, pid: int, interface: str = "eth0") -> None:
        """Plug the machine that lives by this process into the LAN."""
        far = f"to{pid}"
        self.host.run(*f"ip link add {far} type veth peer name {interface} netns {pid}".split())
        self.host.run("ip", "link", "set", far, "master", "lan", "up")


class Emulated:
    """A router made of an image, an overlay that outlives its boots, and files handed to it."""

    def __init__(self, image: Image, switch: Switch, work: Path, memory: int = 128) -> None:
        self._image, self._switch, self._work, self._memory = image, switch, work, memory
        self.overlay = work / "overlay.ext4"
        with self.overlay.open("wb") as file:
            file.truncate(OVERLAY_MIB << 20)
        command = ("mke2fs", "-q", "-t", "ext4", "-L", "overlay", str(self.overlay))
        subprocess.run(command, check=True)
        self.guest: Guest | None = None

    def boot(self, files: Mapping[str, bytes | Path] | None = None, *extra: str) -> Guest:
        """Switch it on with `files` on a disk beside; wait for its shell, with LAN address."""
        payload = self._work / "payload.tar"
        with tarfile.open(payload, "w", format=tarfile.GNU_FORMAT) as archive:
            for name, content in (files or {}).items():
                path = content if isinstance(content, Path) else self._work / f"put-{name}"
                if not isinstance(content, Path):
                    path.write_bytes(content)
                archive.add(path, name)
        # -no-reboot: a panic ends the guest, and the test sees it.
        command: list[str | Path] = [
            *self._image.arch.qemu, "-accel", "tcg", "-m", str(self._memory), "-nographic",
            "-no-reboot", "-nodefaults", "-serial", "stdio", "-monitor", "none",
            "-kernel", self._image.kernel, "-initrd", self._image.initrd,
            "-append", f"console={self._image.arch.console} quiet panic=-1",
            *_disk("root", self._image.root, "readonly=on"),
            *_disk("overlay", self.overlay, "cache=writethrough"),
            *_disk("payload", payload, "readonly=on"),
            "-device", "virtio-rng-pci",
            *_net("lan", "52:54:00:00:00:01"), *_net("wan", "52:54:00:00:00:02"),
            *extra,
        ]  # fmt: skip
        guest = Guest(self._switch.host.entered(*command), self._work / "serial.log")
        self.guest = guest
        guest.shell()
        guest.run("ip link add br-lan type bridge && ip link set br-lan up")
        guest.run("ip link set eth0 master br-lan up && ip link set eth1 up")
        guest.run(f"ip address add {LAN_ADDRESS}/24 dev br-lan")
        guest.run("mkdir -p /tmp/payload && tar -xf /dev/$(grep -l payload /sys/block/vd*/serial"
                  " | cut -d/ -f4) -C /tmp/payload")  # fmt: skip
        return guest


def _disk(serial: str, path: Path, options: str) -> list[str]:
    return [
        "-drive", f"file={path},format=raw,if=none,id={serial},{options}",
        "-device", f"virtio-blk-pci,drive={serial},serial={serial}",
    ]  # fmt: skip


def _net(side: str, mac: str) -> list[str]:
    return [
        "-netdev", f"tap,id={side},ifname=tap-{side},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev={side},mac={mac}",
    ]  # fmt: skip

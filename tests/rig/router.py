"""The emulated router: an image, what lies over it, and a disk that outlives its boots."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.rig.guest import Guest
from tests.rig.image import image, layer
from tests.rig.switch import LAN_ADDRESS, Switch
from tests.rig.target import Target, disk

HERE: Final = Path(__file__).parent
SHIMS: Final = HERE.parent / "shell/openwrt"
OVERLAY_MIB: Final = 64
WITHOUT_A_CLOCK: Final = ("-rtc", "base=1970-01-01T00:00:00")


class DebianRouter(Target):
    """Debian's kernel, busybox, dnsmasq and Python, with shims for what only OpenWrt has.

    It is no OpenWrt, and what is seen on it says nothing about OpenWrt's own programs.
    """

    packager = "opkg"  # a shim, as all that only OpenWrt has
    poweroff = "guest-off"
    by_readme = True
    block = "$(grep -l overlay /sys/block/vd*/serial | cut -d/ -f4)"

    def __init__(self, arch: str, switch: Switch, work: Path, memory: int = 128) -> None:
        super().__init__(arch, switch, work, memory)
        self._image = image(arch)
        self.patience = self._image.arch.patience
        self._layer = work / "layer.squashfs"
        layer(self._layer, SHIMS, HERE / "guest")
        self.wipe()

    def freeze(self, folder: Path) -> None:
        super().freeze(folder)
        shutil.copyfile(self._layer, folder / "layer")

    def thaw(self, folder: Path) -> None:
        # What is in memory of a disk must be what the disk has, to the octet.
        shutil.copyfile(folder / "layer", self._layer)
        super().thaw(folder)

    def wipe(self) -> None:
        assert self.guest is None, "a running router's disk"
        with self.disk.open("wb") as file:
            file.truncate(OVERLAY_MIB << 20)
        command = ("mke2fs", "-q", "-t", "ext4", "-L", "overlay", str(self.disk))
        subprocess.run(command, check=True)

    def command(self) -> list[str | Path]:
        arch = self._image.arch
        return [
            *arch.qemu, "-kernel", self._image.kernel, "-initrd", self._image.initrd,
            "-append", f"console={arch.console} quiet panic=-1 {arch.settings}",
            *disk("root", self._image.root, "readonly=on", arch.place(0)),
            *disk("layer", self._layer, "readonly=on", arch.place(1)),
            *disk("overlay", self.disk, "cache=writethrough", arch.place(2)),
        ]  # fmt: skip

    def settle(self, guest: Guest) -> None:
        guest.shell(60 * self.patience)
        guest.run(f"ip -4 address show dev br-lan | grep -q {LAN_ADDRESS}")

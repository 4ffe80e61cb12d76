"""A real OpenWrt in the place of the emulated router, when somebody has one.

Its scenario was played on a root file system of OpenWrt 24.10.3's own programs and scripts, built
from their sources for glibc, with Debian's kernel and Python, and on a disk image made of that as
OpenWrt's for x86-64 are; of one for armsr only the boot. No image that OpenWrt made has been tried.
It relies on how those have it: first card LAN with 192.168.1.1, a root console after Enter, `opkg`
up to 24.10 and `apk` from 25.12 on.
"""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.rig.guest import Guest
from tests.rig.image import ARCHES, image
from tests.rig.switch import LAN_ADDRESS, Switch
from tests.rig.target import Target, disk

_BOOT: Final = 180  # seconds; 60 to 90 were seen for a first boot without an accelerator
_STARTED: Final = "logread | grep -q 'procd: - init complete -'"
_MEMORY: Final = 256
# From Debian's qemu-efi-aarch64.
_FIRMWARE: Final = Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
_ROOT_MIB: Final = 512
# What the scenario expects beyond the LAN: a WAN port without DHCP, and its time server.
_SETTINGS: Final = (
    "network.wan.proto=static", "network.wan.ipaddr=10.99.0.2", "network.wan.netmask=255.255.255.0",
    "system.ntp.server=10.99.0.1",
)  # fmt: skip


class OpenWrt(Target):
    """A real OpenWrt on QEMU, by its serial console.

    `packages` is a folder with what the image lacks of the package's dependencies; on a release
    with apk it also has this project's own packages, as the feed builds them.
    """

    def __init__(
        self, name: str, switch: Switch, work: Path, packages: Path | None, memory: int = _MEMORY
    ) -> None:
        super().__init__(name, switch, work, max(memory, _MEMORY))
        self._packages = packages
        self.wipe()

    def boot(self, *extra: str) -> None:
        # Debian's kernel takes 40 MiB; what is left of 128 is too little for LuCI and two Pythons.
        self.memory = max(self.memory, _MEMORY)
        super().boot(*extra)

    def settle(self, guest: Guest) -> None:
        guest.press_enter(b"Please press Enter to activate this console", _BOOT)
        # Images have no `quiet`: what the kernel tells the console would lie between answers.
        guest.say("dmesg -n 4")
        self.packager = "apk" if guest.code("command -v apk")[0] == 0 else "opkg"
        # It invites long before everything is started, and a first boot writes its settings then.
        self.until(_STARTED, _BOOT)
        guest.run(" && ".join(f"uci set {setting}" for setting in _SETTINGS))
        guest.run("uci commit; reload_config")
        self.until(f"ip -4 address show dev br-lan | grep -q {LAN_ADDRESS}")

    def install(self, *packages: Path) -> str:
        own = [self._native(path) for path in packages]
        named = {path.name.partition("_")[0] for path in packages}
        suffix = "apk" if self.packager == "apk" else "ipk"
        needed = [
            path
            for path in sorted((self._packages or Path("/nonexistent")).glob(f"*.{suffix}"))
            if not path.name.startswith(tuple(named))
        ]
        names = []
        for path in (*needed, *own):
            self.put(path, f"/tmp/{path.name}")
            names.append(f"/tmp/{path.name}")
        verb = "add --allow-untrusted" if self.packager == "apk" else "install"
        said = self.sh(f"{self.packager} {verb} {' '.join(names)}", timeout=600)
        self.sh(f"rm {' '.join(names)}")
        return said

    def remove(self, *names: str) -> str:
        verb = "del" if self.packager == "apk" else "remove"
        return self.sh(f"{self.packager} {verb} {' '.join(names)}", timeout=300)

    def _native(self, package: Path) -> Path:
        """Return the package for this release's packager."""
        if self.packager == "opkg":
            return package
        name = package.name.partition("_")[0]
        found = sorted((self._packages or Path("/nonexistent")).glob(f"{name}-[0-9]*.apk"))
        assert found, f"this OpenWrt takes .apk files: put {name}-VERSION.apk into OPENWRT_PKGS"
        return found[-1]


class OpenWrtImage(OpenWrt):
    """`make rig OPENWRT_IMAGE=path`: a combined image for x86-64 or armsr-armv8, .gz or not."""

    def __init__(
        self, path: Path, switch: Switch, work: Path, packages: Path | None, memory: int = _MEMORY
    ) -> None:
        self._path = path
        self._arm = "armsr" in path.name or "armv8" in path.name
        assert self._arm or "-efi" not in path.name, f"{path}: QEMU's BIOS boots that without -efi"
        assert not self._arm or _FIRMWARE.exists(), f"{_FIRMWARE}: Debian's qemu-efi-aarch64 has it"
        super().__init__(f"OpenWrt {path.name}", switch, work, packages, memory)

    def wipe(self) -> None:
        assert self.guest is None, "a running router's disk"
        if self._path.suffix != ".gz":
            shutil.copyfile(self._path, self.disk)
            return
        with self.disk.open("wb") as file:
            for block in unpacked(self._path):
                file.write(block)

    def command(self) -> list[str | Path]:
        firmware: list[str | Path] = ["-bios", _FIRMWARE] if self._arm else []
        machine = ARCHES["aarch64" if self._arm else "x86_64"].qemu
        return [*machine, *firmware, *disk("root", self.disk, "cache=writethrough")]


class OpenWrtRoot(OpenWrt):
    """`make rig OPENWRT_ROOT=path`: a directory with a root file system, on a disk of its own.

    The kernel is the emulated router's, of the architecture that RIG_ARCHES names first: the
    directory's own /sbin/init runs as process 1. Kernel modules of OpenWrt's are not loaded, so
    its firewall has nothing to talk to.
    """

    def __init__(
        self, arch: str, path: Path, switch: Switch, work: Path, packages: Path | None
    ) -> None:
        self._path, self._image = path, image(arch)
        super().__init__(f"OpenWrt root {path.name}", switch, work, packages)

    def wipe(self) -> None:
        assert self.guest is None, "a running router's disk"
        with self.disk.open("wb") as file:
            file.truncate(_ROOT_MIB << 20)
        command = ("mke2fs", "-q", "-t", "ext4", "-d", self._path, "-L", "rootfs", self.disk)
        subprocess.run(command, check=True)

    def command(self) -> list[str | Path]:
        console = self._image.arch.console
        return [
            *self._image.arch.qemu, "-kernel", self._image.kernel, "-initrd", self._image.initrd,
            "-append", f"console={console} quiet panic=-1 whole",
            *disk("whole", self.disk, "cache=writethrough"),
        ]  # fmt: skip


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield what was compressed into a .gz file, without what OpenWrt appends: its signature.

    Raises:
        AssertionError: the file ends too early, as a broken download does.
    """
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header and checksum
    with path.open("rb") as file:
        while not stream.eof:
            packed = file.read(1 << 20)
            assert packed, f"{path} is not whole"
            yield stream.decompress(packed)

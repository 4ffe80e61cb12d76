"""The emulated router's disk: Debian's kernel, busybox, dnsmasq and Python for its architecture.

Two are played on always, with the library versions that OpenWrt 24.10 ships, from PyPI. `armhf` is
there on request, as Debian 13 has it, whose versions are near those of OpenWrt 25.12: nobody makes
wheels for it. `mipsel` is, too, and Debian 12 was the last to have it, with cryptography 38: what
that lacks comes from a STAND-IN (cryptography38.py), so there our code is seen to run on a 32-bit
MIPS, and not OpenWrt's library.

Nothing is installed on this computer and nothing of the other architecture runs here: packages are
downloaded, unpacked, and packed into a squashfs image. It stands for an OpenWrt router in what it
has (busybox, procd-like services, a read-only root under a small overlay); it is not OpenWrt.

usage: python -m tests.rig.image ARCHITECTURE...
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rig.debian import HERE_IS, Apt, output, run

HERE: Final = Path(__file__).parent
WORK: Final = HERE.parents[1] / ".rig"
FIRST_INIT: Final = HERE / "first-init"
STAND_IN: Final = HERE / "cryptography38.py"
_RECIPE: Final = (Path(__file__), HERE / "debian.py", FIRST_INIT, STAND_IN)
_MERGED: Final = ("bin", "sbin", "lib", "lib64")

PACKAGES: Final = (
    "busybox-static", "dnsmasq-base", "python3-minimal", "python3", "openssl", "ca-certificates",
    "iproute2",
)  # fmt: skip
# What OpenWrt 24.10 ships, but for the two that its feed lacks, which our package brings along.
OURS: Final = "3.11"
WHEELS: Final = ("cryptography==41.0.7", "bottle==0.12.25", "dnspython==2.4.1")
# Loaded before there is a root file system, with what they depend on.
MODULES: Final = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "squashfs", "overlay", "crc32c_generic",
    "ext4", "bridge",
)  # fmt: skip
# Of no use on a router, and half of the unpacked size.
PRUNED: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info",
    "usr/share/perl", "usr/share/zoneinfo",
)  # fmt: skip
_PRUNED_OF_PYTHON: Final = ("test", "idlelib", "tkinter", "pydoc_data")


@dataclass(frozen=True, slots=True)
class Arch:
    """An architecture: Debian's name for it and its kernel, PyPI's platform, QEMU's machine.

    `settings` are the kernel's: what guards one process from another costs an emulator much.
    `debs` and `wheels` are its libraries, `release` and `python` what Debian they are for, with a
    `stand_in` for what the library lacks, and `patience` how many times longer than others it
    takes. `slot` is the one that its disks share where there are few.
    """

    name: str
    kernel: str
    platform: str
    qemu: tuple[str, ...]
    console: str
    settings: str = ""
    debs: tuple[str, ...] = ()
    wheels: tuple[str, ...] = WHEELS
    release: str = HERE_IS
    python: str = OURS
    stand_in: bool = False
    patience: int = 1
    slot: str = ""

    def place(self, disk: int) -> str:
        """Return QEMU's option that puts a disk, counted from 0, where there is place for it."""
        return f",multifunction=on,addr={self.slot}.{disk}" if self.slot else ""


ARCHES: Final = {
    "aarch64": Arch(
        "arm64", "linux-image-cloud-arm64", "manylinux2014_aarch64",
        ("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53"), "ttyAMA0",
        "nokaslr",  # with it the kernel has page tables of its own: a third of Python's time
    ),
    "x86_64": Arch(
        "amd64", "linux-image-cloud-amd64", "manylinux2014_x86_64",
        # The least that OpenWrt's runs on; wider registers are slower when they are emulated.
        ("qemu-system-x86_64", "-M", "pc", "-cpu", "qemu64"), "ttyS0", "mitigations=off",
    ),
    "armhf": Arch(
        "armhf", "linux-image-armmp-lpae", "",
        ("qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15"), "ttyAMA0",
        debs=("python3-cryptography", "python3-bottle", "python3-dnspython"), wheels=(),
        release="trixie", python="3.13", patience=3,
    ),
    "mipsel": Arch(
        "mipsel", "linux-image-4kc-malta", "",
        # Python starts in a quarter of a 24Kf's time: that has fewer TLB entries, and no register
        # for a thread's own memory. Debian's programs have "not a number" in its older form.
        ("qemu-system-mipsel", "-M", "malta", "-cpu", "P5600"), "ttyS0", "ieee754=relaxed",
        debs=("python3-cryptography", "python3-bottle", "python3-dnspython"), wheels=(),
        stand_in=True, patience=4, slot="12",  # only four slots have an interrupt
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots: a kernel, a small first root, and the read-only root of the router."""

    arch: Arch
    kernel: Path
    initrd: Path
    root: Path


def image(arch: str) -> Image:
    """Return the image of an architecture, built anew when its recipe has changed."""
    chosen = ARCHES[arch]
    work = WORK / arch
    made = Image(chosen, work / "vmlinuz", work / "initrd", work / "root.squashfs")
    stamp = work / "recipe"
    recipe = hashlib.sha256(b"".join(path.read_bytes() for path in _RECIPE)).hexdigest()
    if not stamp.exists() or stamp.read_text() != recipe:
        shutil.rmtree(work / "root", ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        _build(chosen, work, made)
        stamp.write_text(recipe)
    return made


def layer(target: Path, *trees: Path) -> None:
    """Pack root trees, later ones over earlier ones, into what lies over the root at boot.

    In the root /bin, /sbin and /lib are links into /usr, so that is where theirs go, too.
    """
    with tempfile.TemporaryDirectory() as work:
        for tree in trees:
            for path in sorted(tree.rglob("*")):
                name = path.relative_to(tree)
                if path.is_file() and "__pycache__" not in name.parts:
                    merged = Path("usr", name) if name.parts[0] in _MERGED else name
                    (Path(work) / merged).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, Path(work) / merged)
        target.unlink(missing_ok=True)
        run("mksquashfs", work, target, "-comp", "zstd", "-all-root", "-quiet", "-no-progress")


def _build(arch: Arch, work: Path, made: Image) -> None:
    debs = Apt(arch.name, arch.release, work / "apt").fetch(arch.kernel, *PACKAGES, *arch.debs)
    root = work / "root"
    for folder in _MERGED:
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for deb in debs:
        command = ("dpkg-deb", "--fsys-tarfile", str(deb))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacked:
            run("tar", "-x", "-k", "-C", root, "--no-same-owner", stdin=unpacked.stdout)
        assert unpacked.returncode == 0, deb
    _wheels(arch, root / "usr/lib/python3/dist-packages", work)
    if arch.stand_in:
        _stand_in(root / "usr/lib/python3/dist-packages")
    python = f"usr/lib/python{arch.python}"
    for path in (*PRUNED, *(f"{python}/{name}" for name in _PRUNED_OF_PYTHON)):
        shutil.rmtree(root / path, ignore_errors=True)
    _furnish(root)
    interpreter = python_for(arch.python)
    run(interpreter, "-m", "compileall", "-q", root / python, root / "usr/lib/python3")
    _initrd(root, work, made)
    made.root.unlink(missing_ok=True)
    run("mksquashfs", root, made.root, "-comp", "zstd", "-all-root", "-quiet", "-no-progress")


def python_for(version: str) -> str:
    """Return an interpreter on this computer that makes bytecode for a guest's, such as 3.11.

    Raises:
        AssertionError: there is none.
    """
    if version == OURS:
        return f"python{version}"
    found = output(HERE.parent / "next-python").strip()
    here = output(found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    assert here == version, f"{found} is {here}, and bytecode for {version} is wanted"
    return found


def _wheels(arch: Arch, target: Path, work: Path) -> None:
    if not arch.wheels:
        return
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--platform", arch.platform, "--python-version", arch.python, "--only-binary=:all:"),
        *("--no-compile", "--upgrade", "--target"), target, *arch.wheels,
    )


def _stand_in(libraries: Path) -> None:
    """Let the library call the stand-in when it has been loaded."""
    shutil.copy(STAND_IN, libraries)
    for module, part in (
        ("hazmat/primitives/asymmetric/types.py", "types"),
        ("x509/__init__.py", "x509"),
    ):
        with (libraries / "cryptography" / module).open("a") as file:
            file.write(f"\nimport {STAND_IN.stem}\n\n{STAND_IN.stem}.{part}(globals())\n")


def _furnish(root: Path) -> None:
    """Write what the packages' own scripts would."""
    for folder in ("dev", "proc", "sys", "tmp", "root", "overlay", "rom"):
        (root / folder).mkdir(exist_ok=True)
    # As on OpenWrt: what varies is in RAM.
    shutil.rmtree(root / "var", ignore_errors=True)
    (root / "var").symlink_to("tmp")
    shutil.rmtree(root / "run", ignore_errors=True)
    (root / "run").symlink_to("tmp/run")
    etc = root / "etc"
    (etc / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/var:/bin/false\n"
        "dnsmasq:x:453:453:dnsmasq:/var/run/dnsmasq:/bin/false\n"
    )
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\ndnsmasq:x:453:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    applets = output("busybox", "--list-full").split()
    assert "sbin/hwclock" in applets, "this computer's busybox does not name its applets"
    for applet in applets:
        path = root / "usr" / applet.removeprefix("usr/")
        # Debian's iproute2 and python stay; everything else is busybox, as on OpenWrt.
        if not path.exists() and not path.is_symlink() and path.name != "ip":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to("/usr/bin/busybox")
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("busybox")


def _initrd(root: Path, work: Path, made: Image) -> None:
    """Pack busybox, the init script and a few modules; take kernel and modules out of the root."""
    [modules] = (root / "usr/lib/modules").iterdir()
    run("depmod", "-b", root, modules.name)
    shutil.copyfile(next((root / "boot").glob("vmlinu[xz]-*")), made.kernel)
    first = work / "initrd.d"
    shutil.rmtree(first, ignore_errors=True)
    (first / "bin").mkdir(parents=True)
    shutil.copy2(root / "usr/bin/busybox", first / "bin/busybox")
    for order, path in enumerate(_with_dependencies(modules)):
        target = first / "modules" / f"{order:03}-{path.name.removesuffix('.xz')}"
        target.parent.mkdir(exist_ok=True)
        content = path.read_bytes()
        target.write_bytes(lzma.decompress(content) if path.suffix == ".xz" else content)
    shutil.copy2(FIRST_INIT, first / "init")
    shutil.rmtree(root / "usr/lib/modules")
    shutil.rmtree(root / "boot")
    listing = output("find", ".", cwd=first)
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
        input=listing.encode(), cwd=first, check=True, capture_output=True,
    ).stdout  # fmt: skip
    made.initrd.write_bytes(subprocess.run(["gzip", "-9"], input=packed, check=True,
                                           capture_output=True).stdout)  # fmt: skip


def _with_dependencies(modules: Path) -> list[Path]:
    """Return the files of MODULES in an order in which they can be loaded."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for module in MODULES:
        path = by_name.get(module)
        if path is None:  # built in
            continue
        for each in (*reversed(needs[path]), path):
            if each not in order:
                order.append(each)
    return [modules / path for path in order]


def _main() -> None:
    """Build what is not there yet, side by side."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for arch, made in zip(sys.argv[1:], pool.map(image, sys.argv[1:]), strict=True):
            size = made.root.stat().st_size >> 20
            print(f"{arch}: {made.root}, {size} MiB, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    _main()

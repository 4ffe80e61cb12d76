"""The emulated router's disk: Debian's kernel, busybox, dnsmasq and Python for its architecture,
with the library versions that OpenWrt 24.10 ships, from PyPI.

Nothing is installed on this computer and nothing of the other architecture runs here: packages are
downloaded, unpacked, and packed into a squashfs image. It stands for an OpenWrt router in what it
has (busybox, procd-like services, a read-only root under a small overlay); it is not OpenWrt.

usage: python -m tests.rig.image ARCHITECTURE...
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
WORK: Final = HERE.parents[1] / ".rig"
FIRST_INIT: Final = HERE / "first-init"
_MERGED: Final = ("bin", "sbin", "lib", "lib64")

PACKAGES: Final = (
    "busybox-static", "dnsmasq-base", "python3-minimal", "python3", "openssl", "ca-certificates",
    "iproute2",
)  # fmt: skip
# What OpenWrt 24.10 ships, but for the two that its feed lacks, which our package brings along.
WHEELS: Final = ("cryptography==41.0.7", "bottle==0.12.25", "dnspython==2.4.1")
# Loaded before there is a root file system, with what they depend on.
MODULES: Final = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "squashfs", "overlay", "ext4", "bridge",
)  # fmt: skip
# Of no use on a router, and half of the unpacked size.
PRUNED: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info",
    "usr/lib/python3.11/test", "usr/lib/python3.11/idlelib", "usr/lib/python3.11/tkinter",
    "usr/lib/python3.11/pydoc_data", "usr/share/perl", "usr/share/zoneinfo",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arch:
    """An architecture: Debian's name for it and its kernel, PyPI's platform, QEMU's machine.

    `settings` are the kernel's: what guards one process from another costs an emulator much.
    """

    name: str
    kernel: str
    platform: str
    qemu: tuple[str, ...]
    console: str
    settings: str


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
    recipe = hashlib.sha256(Path(__file__).read_bytes() + FIRST_INIT.read_bytes()).hexdigest()
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
        _run("mksquashfs", work, target, "-comp", "zstd", "-all-root", "-quiet", "-no-progress")


def _build(arch: Arch, work: Path, made: Image) -> None:
    apt = _apt(arch, work)
    debs = _fetch(apt, work, [*PACKAGES, _kernel_package(apt, arch)])
    root = work / "root"
    for folder in _MERGED:
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for deb in debs:
        command = ("dpkg-deb", "--fsys-tarfile", str(deb))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacked:
            _run("tar", "-x", "-k", "-C", root, "--no-same-owner", stdin=unpacked.stdout)
        assert unpacked.returncode == 0, deb
    _wheels(arch, root / "usr/lib/python3/dist-packages", work)
    for path in PRUNED:
        shutil.rmtree(root / path, ignore_errors=True)
    _furnish(root)
    _initrd(root, work, made)
    made.root.unlink(missing_ok=True)
    _run("mksquashfs", root, made.root, "-comp", "zstd", "-all-root", "-quiet", "-no-progress")


def _apt(arch: Arch, work: Path) -> dict[str, str]:
    """Make an apt of its own, that knows no installed package and one architecture."""
    state, cache = work / "apt/state", work / "apt/cache"
    for folder in (state / "lists/partial", cache / "archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    conf = work / "apt/apt.conf"
    conf.write_text(
        f'APT::Architecture "{arch.name}";\nAPT::Architectures {{ "{arch.name}"; }};\n'
        f'Dir::State "{state}";\nDir::State::status "{state}/status";\nDir::Cache "{cache}";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAPT::Install-Recommends "0";\n'
    )
    environ = {**os.environ, "APT_CONFIG": str(conf)}
    _run("apt-get", "update", "-qq", env=environ)
    return environ


def _kernel_package(apt: dict[str, str], arch: Arch) -> str:
    said = _output("apt-cache", "depends", arch.kernel, env=apt)
    return next(
        line.split()[1] for line in said.splitlines() if line.strip().startswith("Depends: linux-")
    )


def _fetch(apt: dict[str, str], work: Path, packages: Iterable[str]) -> list[Path]:
    archives = work / "apt/cache/archives"
    kernel = [name for name in packages if name.startswith("linux-image")]
    others = [name for name in packages if name not in kernel]
    command = ("apt-get", "install", "-y", "-qq", "--download-only")
    _run(*command, *others, env=apt)
    # Alone: of what it depends on nothing is needed to boot.
    _run("apt-get", "download", "-qq", *kernel, env=apt, cwd=archives)
    return sorted(archives.glob("*.deb"))


def _wheels(arch: Arch, target: Path, work: Path) -> None:
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--platform", arch.platform, "--python-version", "3.11", "--only-binary=:all:"),
        *("--no-compile", "--target", target, "--upgrade", *WHEELS),
    )


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
    applets = _output("busybox", "--list-full").split()
    for applet in applets:
        path = root / "usr" / applet.removeprefix("usr/")
        # Debian's iproute2 and python stay; everything else is busybox, as on OpenWrt.
        if not path.exists() and not path.is_symlink() and path.name != "ip":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to("/usr/bin/busybox")
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("busybox")
    python = root / "usr/lib/python3.11"
    _run("python3.11", "-m", "compileall", "-q", python, root / "usr/lib/python3")


def _initrd(root: Path, work: Path, made: Image) -> None:
    """Pack busybox, the init script and a few modules; take kernel and modules out of the root."""
    [modules] = (root / "usr/lib/modules").iterdir()
    _run("depmod", "-b", root, modules.name)
    shutil.copyfile(next((root / "boot").glob("vmlinuz-*")), made.kernel)
    first = work / "initrd.d"
    shutil.rmtree(first, ignore_errors=True)
    (first / "bin").mkdir(parents=True)
    shutil.copy2(root / "usr/bin/busybox", first / "bin/busybox")
    for order, path in enumerate(_with_dependencies(modules)):
        target = first / "modules" / f"{order:03}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copy2(FIRST_INIT, first / "init")
    shutil.rmtree(root / "usr/lib/modules")
    shutil.rmtree(root / "boot")
    listing = _output("find", ".", cwd=first)
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


def _run(*argv: str | Path, **how: object) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        [*map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how
    )
    command = " ".join(map(str, argv))
    assert done.returncode == 0, f"{command}\n{done.stdout.decode(errors='replace')[-4000:]}"


def _output(*argv: str | Path, **how: object) -> str:
    return str(
        subprocess.run(  # type: ignore[call-overload]
            [*map(str, argv)], check=True, stdout=subprocess.PIPE, text=True, **how
        ).stdout
    )


def _main() -> None:
    """Build what is not there yet, side by side."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for arch, made in zip(sys.argv[1:], pool.map(image, sys.argv[1:]), strict=True):
            size = made.root.stat().st_size >> 20
            print(f"{arch}: {made.root}, {size} MiB, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    _main()

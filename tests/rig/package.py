"""The packages that the rig installs: this tree's, built once for each state of it.

usage: python -m tests.rig.package OUTPUT LIBRARIES, by another Python than ours: its bytecode
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from acmeiot import __version__
from tests.openwrt.maker import TOP, ipk
from tests.rig.image import OURS, WORK, python_for
from tests.rig.readme import told

NEXT_VERSION: Final = f"{__version__}.1"


@dataclass(frozen=True, slots=True)
class Built:
    """The server's package and LuCI's, and the server's of the version after."""

    server: Path
    luci: Path
    upgrade: Path


def built(python: str = OURS) -> Built:
    """Build the packages for a version of Python, unless they were from the same files before."""
    digest = hashlib.sha256("\n".join((python, *told().package)).encode())
    for folder in ("acmeiot", "openwrt", "files/router", "tests/rig/package.py"):
        root = TOP / folder
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(TOP)}\n".encode() + path.read_bytes())
    packed = WORK / "packages" / digest.hexdigest()[:16]
    WORK.mkdir(exist_ok=True)
    with (WORK / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other router's process wants the same
        if not packed.exists():
            shutil.rmtree(WORK / "packages", ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=WORK) as work:
                _build(Path(work), python)
                shutil.copytree(work, packed)
    [luci] = packed.glob("luci-app-acmeiot_*.ipk")
    older, newer = sorted(packed.glob("acmeiot_*.ipk"), key=lambda path: len(path.name))
    return Built(older, luci, newer)


def _build(output: Path, python: str) -> None:
    maker = ipk()
    libraries = maker._installed()
    if python != OURS:
        command = (python_for(python), "-m", "tests.rig.package", output, libraries)
        subprocess.run(command, cwd=TOP, check=True)
        return
    for path in made_by_readme():
        shutil.copy(path, output)
    _build_upgrade(maker, output, libraries)


def _build_upgrade(maker: Any, output: Path, libraries: Path) -> None:
    package = upgraded(maker, maker.acmeiot(libraries))
    (output / package.filename).write_bytes(package.pack(maker.source_date()))


def made_by_readme() -> list[Path]:
    """Run what README says makes the packages; return them, which lie where it says."""
    [line] = told().package
    # Not as a part of the `make` that may have started this.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ("sh", "-c", line)
    done = subprocess.run(command, cwd=TOP, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    said = re.findall(r"^(\S+\.ipk)  \d+ bytes$", done.stdout, re.MULTILINE)
    made = [Path(path) for path in said]
    promised = re.findall(r"dist/\S+\.ipk", line)
    there = [path.match(each) for path, each in zip(made, promised, strict=True)]
    assert there == [True, True], f"README says {promised}, and there is {done.stdout}"
    return made


def upgraded(maker: Any, package: Any) -> Any:
    """Return the package as its next version might be: a new number, and a new default setting."""
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "acmeiot"
        shutil.copytree(TOP / "acmeiot", copy, ignore=shutil.ignore_patterns("__pycache__"))
        init = copy / "__init__.py"
        text = init.read_text()
        assert f'"{__version__}"' in text
        init.write_text(text.replace(f'"{__version__}"', f'"{NEXT_VERSION}"'))
        files = {**package.files, **maker.modules(copy, maker.SITE)}
    files["etc/config/acmeiot"] += b"\t# New in this version.\n"
    version = package.control["Version"].replace(__version__, NEXT_VERSION)
    assert version != package.control["Version"]
    return replace(package, files=files, control={**package.control, "Version": version})


def members(package: Path, part: str) -> Mapping[str, bytes]:
    """Return the files in `data` or `control` of an .ipk file, by their path without `./`."""
    with tarfile.open(package) as outer:
        inner = outer.extractfile(f"./{part}.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archive:
            found = {}
            for member in archive.getmembers():
                file = archive.extractfile(member)
                if file is not None:
                    found[member.name.removeprefix("./")] = file.read()
            return found


def control(package: Path) -> Mapping[str, str]:
    """Return the one-line fields of a package's control file."""
    text = members(package, "control")["control"].decode()
    return dict(re.findall(r"^(\S+): (.*)$", text, re.MULTILINE))


def _main() -> None:
    """Build for the Python that runs, as on OpenWrt no package is: its .ipk files are for 3.11."""
    output, libraries = map(Path, sys.argv[1:])
    maker: Any = ipk()
    maker.PYTHON = sys.version_info[:2]
    maker.SITE = f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    maker.build(libraries, output)
    _build_upgrade(maker, output, libraries)


if __name__ == "__main__":
    _main()

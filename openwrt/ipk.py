"""Build installable .ipk files without an SDK: the same bytes each time, from the same source.

What a package is called, needs and runs stands in the feed's Makefiles beside this file and is read
from there. Python modules go in as bytecode of CPython 3.11, which every OpenWrt that takes .ipk
files ships (23.05 and 24.10; from 25.12 on packages are .apk and come from the feed): OpenWrt's
Python never writes bytecode itself, so from source each start would compile everything anew.

usage: python openwrt/ipk.py --libraries DIR --output DIR
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TOP: Final = HERE.parent
PYTHON: Final = (3, 11)
MINOR: Final = ".".join(map(str, PYTHON))
SITE: Final = f"usr/lib/python{MINOR}/site-packages"
# Beside site-packages, where a feed's own package of the same library may come to lie.
BUNDLED: Final = "usr/lib/acmeiot/python"
LIBRARIES: Final = {"python3-waitress": "waitress", "python3-segno": "segno"}

LAUNCHER: Final = f"""\
#!/usr/bin/python3
import sys

sys.path.append("/{BUNDLED}")
from acmeiot.cli import main

sys.exit(main())
"""

# What OpenWrt's build puts into every package (include/package-pack.mk does the same).
FIRST: Final = {"postinst": '[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n', "prerm": ""}
WRAPPER: Final = """\
#!/bin/sh
{first}[ -s ${{IPKG_INSTROOT}}/lib/functions.sh ] || exit 0
. ${{IPKG_INSTROOT}}/lib/functions.sh
default_{name} $0 $@
"""


class BadRecipe(Exception):
    """A Makefile without what a package needs; the text names it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a feed's Makefile says of one package."""

    name: str
    text: str

    @classmethod
    def read(cls, name: str) -> Recipe:
        """Read the Makefile of the package in the folder of its name."""
        text = (HERE / name / "Makefile").read_text("utf-8").replace("\\\n", " ")
        return cls(name, text)

    def variable(self, name: str) -> str:
        """Return the value of `NAME:=value`, at the start of a line or indented in a define."""
        found = re.search(rf"^\s*{name}:=(.*)$", self.text, re.MULTILINE)
        if found is None:
            raise BadRecipe(f"openwrt/{self.name}/Makefile has no {name}:=")
        return " ".join(found[1].split())

    def block(self, name: str) -> str:
        """Return what stands between `define Package/<package>/NAME` and `endef`, "" for none."""
        pattern = rf"^define Package/{self.name}/{name}\n(.*?)^endef$"
        found = re.search(pattern, self.text, re.MULTILINE | re.DOTALL)
        return found[1].replace("$$", "$") if found else ""

    @property
    def version(self) -> str:
        """The version as opkg and apk compare it."""
        return f"{self.variable('PKG_VERSION')}-r{self.variable('PKG_RELEASE')}"


@dataclass(frozen=True, slots=True)
class Package:
    """Everything that one .ipk file holds. `files` are by their path without a leading slash."""

    control: Mapping[str, str]
    files: Mapping[str, bytes]
    conffiles: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """`NAME_VERSION_ARCHITECTURE.ipk`."""
        parts = (self.control[key] for key in ("Package", "Version", "Architecture"))
        return "_".join(parts) + ".ipk"

    def pack(self, epoch: int) -> bytes:
        """Return the file's bytes: a gzipped tar of debian-binary, data and control."""
        data = _tar({f"./{path}": content for path, content in self.files.items()}, epoch)
        fields = {**self.control, "Installed-Size": str(len(gzip.decompress(data)))}
        description = fields.pop("Description")
        lines = [f"{key}: {value}" for key, value in fields.items() if value]
        control = "\n".join([*lines, f"Description: {_folded(description)}", ""])
        members = {"./control": control, **{f"./{name}": s for name, s in self.scripts.items()}}
        if self.conffiles:
            members["./conffiles"] = "\n".join([*self.conffiles, ""])
        inner = _tar({name: text.encode() for name, text in members.items()}, epoch)
        outer = {"./debian-binary": b"2.0\n", "./data.tar.gz": data, "./control.tar.gz": inner}
        return _tar(outer, epoch, ordered=True)


def _folded(text: str) -> str:
    return "\n ".join(line.strip() for line in text.strip().splitlines())


def _tar(members: Mapping[str, bytes], epoch: int, *, ordered: bool = False) -> bytes:
    """Return a gzipped GNU tar; the members are sorted unless their order is given."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in members if ordered else sorted(members):
            for folder in () if ordered else _folders(name, archive.getnames()):
                archive.addfile(_entry(folder, epoch, 0o755, tarfile.DIRTYPE))
            entry = _entry(name, epoch, _mode(name, members[name]), tarfile.REGTYPE)
            entry.size = len(members[name])
            archive.addfile(entry, io.BytesIO(members[name]))
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def _folders(name: str, there: list[str]) -> Iterator[str]:
    parts = name.split("/")[1:-1]
    for depth in range(1, len(parts) + 1):
        folder = "./" + "/".join(parts[:depth])
        if folder not in there:
            yield folder


def _entry(name: str, epoch: int, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, epoch
    return entry


def _mode(name: str, content: bytes) -> int:
    """Return 0755 for scripts, 0600 for what a router's owner sets, 0644 for the rest."""
    if name.startswith("./etc/config/"):
        return 0o600
    sourced = name.startswith(("./etc/hotplug.d/", "./etc/uci-defaults/"))
    return 0o755 if content.startswith(b"#!") and not sourced else 0o644


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path there."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def modules(root: Path, under: str) -> dict[str, bytes]:
    """Return a Python package as it is on a router: bytecode in the place of source."""
    if sys.version_info[:2] != PYTHON:
        raise BadRecipe(f"bytecode for OpenWrt is made by CPython {MINOR}, not {sys.version}")
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / root.name
        for name, content in tree(root).items():
            if "__pycache__" not in name and not name.endswith((".typed", ".pyi")):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes(content)
        _compile(copy, work, under)
        return {
            f"{under}/{root.name}/{name}": content
            for name, content in tree(copy).items()
            if not name.endswith(".py")
        }


def _compile(copy: Path, work: str, under: str) -> None:
    # A process of its own, with a fixed order of sets: what else is in memory shows in bytecode. A
    # hash in the place of the source's time, and no path of this machine in tracebacks. Docstrings
    # stay behind: nothing on a router reads them, and they would be a ninth of the package.
    command = (
        *(sys.executable, "-S", "-m", "compileall", "-q", "-b", "-o", "2"),
        *("--invalidation-mode", "unchecked-hash", "-s", work, "-p", f"/{under}", str(copy)),
    )
    done = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    if done.returncode:
        raise BadRecipe(f"{copy.name} does not compile: {done.stdout}{done.stderr}")


def acmeiot(libraries: Path) -> Package:
    """Return the server's package, with the libraries that OpenWrt's own feed lacks."""
    recipe = Recipe.read("acmeiot")
    files = modules(TOP / "acmeiot", SITE)
    for module in LIBRARIES.values():
        files |= modules(libraries / module, BUNDLED)
    files |= tree(TOP / "files/router")
    files["usr/bin/acmeiot"] = LAUNCHER.encode()
    files["usr/lib/acmeiot/version"] = f"{recipe.version}\n".encode()
    kept = recipe.block("conffiles").split()
    # As OpenWrt's build: a folder to keep becomes a line for sysupgrade, a file a conffile.
    folders = [path for path in kept if path.endswith("/")]
    files["lib/upgrade/keep.d/acmeiot"] = "".join(f"{path}\n" for path in folders).encode()
    return Package(
        _control(recipe, _depends(recipe), "net", {"Require-User": recipe.variable("USERID")}),
        files,
        tuple(path for path in kept if path not in folders),
        _scripts(recipe),
    )


def luci() -> Package:
    """Return the package of the page in LuCI."""
    recipe = Recipe.read("luci-app-acmeiot")
    folder = HERE / recipe.name
    files = {f"www/{name}": content for name, content in tree(folder / "htdocs").items()}
    files |= tree(folder / "root")
    depends = ["libc", *recipe.variable("LUCI_DEPENDS").replace("+", "").split()]
    return Package(_control(recipe, depends, "luci", {}), files, (), _scripts(recipe))


def _depends(recipe: Recipe) -> list[str]:
    words = recipe.variable("DEPENDS").split()
    names = [word.removeprefix("+") for word in words if word.startswith("+")]
    # Of its own up to 25.12, so wherever there is opkg.
    names.append("python3-email")
    named = [*(name for name in names if name not in LIBRARIES), recipe.variable("EXTRA_DEPENDS")]
    return ["libc", *(f"{n} (>={MINOR})" if n == "python3-light" else n for n in named)]


def _control(
    recipe: Recipe, depends: list[str], section: str, more: Mapping[str, str]
) -> dict[str, str]:
    text = recipe.block("description") or recipe.variable("LUCI_DESCRIPTION")
    return {
        "Package": recipe.name,
        "Version": recipe.version,
        "Depends": ", ".join(depends),
        "License": recipe.variable("PKG_LICENSE"),
        "Section": section,
        **more,
        "Architecture": "all",
        "Description": text,
    }


def _scripts(recipe: Recipe) -> dict[str, str]:
    scripts = {name: WRAPPER.format(name=name, first=first) for name, first in FIRST.items()}
    ours = {name: f"{name}-pkg" for name in FIRST} | {"postrm": "postrm"}
    return scripts | {ours[name]: body for name in ours if (body := recipe.block(name))}


def source_date() -> int:
    """Return SOURCE_DATE_EPOCH, else the time of the last commit, seconds since 1970."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(epoch)
    command = ("git", "-C", str(TOP), "log", "-1", "--format=%ct")
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def build(libraries: Path, output: Path) -> list[Path]:
    """Write both packages to `output` and return their paths."""
    output.mkdir(parents=True, exist_ok=True)
    epoch, written = source_date(), []
    for package in (acmeiot(libraries), luci()):
        path = output / package.filename
        path.write_bytes(package.pack(epoch))
        written.append(path)
    return written


def _main() -> None:
    parser = argparse.ArgumentParser(description="Build the .ipk files.")
    parser.add_argument("--libraries", type=Path, help="where waitress and segno are installed")
    parser.add_argument("--output", type=Path, default=TOP / "dist")
    args = parser.parse_args()
    for path in build(args.libraries or _installed(), args.output):
        print(f"{path}  {path.stat().st_size} bytes")


def _installed() -> Path:
    found = importlib.util.find_spec("waitress")
    if found is None or found.origin is None:
        raise BadRecipe("waitress is not installed here; name its folder with --libraries")
    return Path(found.origin).parents[1]


if __name__ == "__main__":
    try:
        _main()
    except BadRecipe as error:
        sys.exit(f"ipk: {error}")

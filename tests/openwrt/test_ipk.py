"""The .ipk files: the same bytes each time, in exactly the shape that opkg was seen to take."""

from __future__ import annotations

import ast
import gzip
import io
import re
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from acmeiot import __version__
from tests.openwrt.maker import TOP, ipk

EPOCH: Final = 1_700_000_000
# opkg takes bytecode of one CPython only; the packages are made with it.
pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="bytecode for OpenWrt is made by CPython 3.11"
)


@cache
def packed(name: str) -> bytes:
    """Return a package's bytes."""
    maker = ipk()
    package = maker.luci() if name == "luci-app-acmeiot" else maker.acmeiot(maker._installed())
    return bytes(package.pack(EPOCH))


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return archive.getmembers()


def member(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def control(name: str) -> dict[str, str]:
    """Return the fields of a package's control file."""
    text = member(member(packed(name), "./control.tar.gz"), "./control").decode()
    assert text.endswith("\n")
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(" "):
            fields[list(fields)[-1]] += line
        else:
            key, colon, value = line.partition(": ")
            assert colon, line
            fields[key] = value
    return fields


both = pytest.mark.parametrize("name", ["acmeiot", "luci-app-acmeiot"])


@both
def test_twice_is_the_same(name: str, tmp_path: Path) -> None:
    """In another process, too: nothing of a hash, a clock or a folder's order is in it."""
    command = [sys.executable, "openwrt/ipk.py", "--output", str(tmp_path)]
    subprocess.run(command, cwd=TOP, check=True, env={"SOURCE_DATE_EPOCH": str(EPOCH)})
    [made] = tmp_path.glob(f"{name}_*.ipk")
    assert made.read_bytes() == packed(name)
    assert made.name == f"{name}_{__version__}-r1_all.ipk"


@both
def test_the_outer_container(name: str) -> None:
    data = packed(name)
    assert data[:2] == b"\x1f\x8b"
    assert data[4:8] == b"\0\0\0\0"  # gzip -n
    assert [entry.name for entry in members(data)] == [
        "./debian-binary", "./data.tar.gz", "./control.tar.gz",
    ]  # fmt: skip
    assert member(data, "./debian-binary") == b"2.0\n"
    assert gzip.decompress(data)[257:265] == b"ustar  \0"  # GNU's, which opkg is given


@both
@pytest.mark.parametrize("inner", ["./data.tar.gz", "./control.tar.gz"])
def test_the_inner_ones(name: str, inner: str) -> None:
    entries = members(member(packed(name), inner))
    names = [entry.name for entry in entries]
    assert all(each.startswith("./") and ".." not in each for each in names)
    files = [entry.name for entry in entries if entry.isfile()]
    assert files == sorted(files)
    assert len(set(names)) == len(names)
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {
        (0, 0, "", "")
    }
    assert {entry.mtime for entry in entries} == {EPOCH}
    folders = {entry.name for entry in entries if entry.isdir()}
    for each in names:  # each folder comes with it, and before what is in it
        parent = each.rpartition("/")[0]
        assert parent in (".", *folders) or inner == "./control.tar.gz"


@both
def test_the_control_file(name: str) -> None:
    fields = control(name)
    assert all(value.strip() for value in fields.values())  # opkg crashes on an empty field
    order = ["Package", "Version", "Depends", "License", "Section", "Require-User",
             "Architecture", "Installed-Size", "Description"]  # fmt: skip
    assert list(fields) == [key for key in order if key in fields]
    assert fields["Version"] == f"{__version__}-r1"
    assert fields["Architecture"] == "all"
    data = gzip.decompress(member(packed(name), "./data.tar.gz"))
    assert fields["Installed-Size"] == str(len(data))
    assert all(re.fullmatch(r"[a-z0-9-]+( \(>=[0-9.]+\))?", each)
               for each in fields["Depends"].split(", "))  # fmt: skip


def test_what_it_depends_on() -> None:
    wanted = control("acmeiot")["Depends"].split(", ")
    assert "python3-light (>=3.11)" in wanted
    assert "python3-cryptography (>=41.0.7)" in wanted
    assert not {"python3-waitress", "python3-segno"} & set(wanted)  # they are in it
    assert control("acmeiot")["Require-User"] == "acmeiot:acmeiot"
    assert control("luci-app-acmeiot")["Depends"] == "luci-base, acmeiot"


@both
def test_scripts(name: str) -> None:
    inner = member(packed(name), "./control.tar.gz")
    entries = {entry.name: entry.mode for entry in members(inner)}
    scripts = {"./postinst", "./prerm", "./postinst-pkg"}
    assert scripts <= set(entries)
    for script in entries:
        if script not in ("./control", "./conffiles"):
            assert entries[script] == 0o755
            assert "$$" not in member(inner, script).decode()
            subprocess.run(["busybox", "sh", "-n"], input=member(inner, script), check=True)
    for phase in ("postinst", "prerm"):
        assert f"default_{phase} $0 $@" in member(inner, f"./{phase}").decode()


def test_conffiles_and_what_sysupgrade_keeps() -> None:
    inner = member(packed("acmeiot"), "./control.tar.gz")
    data = member(packed("acmeiot"), "./data.tar.gz")
    assert member(inner, "./conffiles") == b"/etc/config/acmeiot\n"
    assert member(data, "./lib/upgrade/keep.d/acmeiot") == b"/etc/acmeiot/\n"
    assert "./conffiles" not in [
        entry.name for entry in members(member(packed("luci-app-acmeiot"), "./control.tar.gz"))
    ]


@both
def test_modes(name: str) -> None:
    for entry in members(member(packed(name), "./data.tar.gz")):
        if entry.isdir():
            assert entry.mode == 0o755, entry.name
            continue
        content = member(member(packed(name), "./data.tar.gz"), entry.name)
        expected = 0o755 if content.startswith(b"#!") else 0o644
        if entry.name.startswith("./etc/config/"):
            expected = 0o600
        assert entry.mode == expected, entry.name


def test_files() -> None:
    names = {entry.name for entry in members(member(packed("acmeiot"), "./data.tar.gz"))}
    for path in (TOP / "files/router").rglob("*"):
        if path.is_file():
            assert f"./{path.relative_to(TOP / 'files/router')}" in names
    site = "./usr/lib/python3.11/site-packages/acmeiot"
    assert {
        f"{site}/cli.pyc",
        f"{site}/web/trust.html",
        "./usr/lib/acmeiot/python/waitress/server.pyc",
    } <= names
    assert not [each for each in names if each.endswith(".py") or "__pycache__" in each]
    data = member(packed("acmeiot"), "./data.tar.gz")
    assert member(data, "./usr/lib/acmeiot/version") == f"{__version__}-r1\n".encode()
    assert str(TOP).encode() not in member(data, f"{site}/cli.pyc")


# -- the feed's recipes

# Of the standard library: which of OpenWrt's packages has it, python3-light all the rest.
SPLIT: Final = {
    "ssl": "openssl", "urllib": "urllib", "email": "email", "logging": "logging",
    "sqlite3": "sqlite3", "asyncio": "asyncio", "ctypes": "ctypes", "xml": "xml", "uuid": "uuid",
    "multiprocessing": "multiprocessing", "unittest": "unittest", "decimal": "decimal",
    "unicodedata": "codecs", "dbm": "dbm", "lzma": "lzma", "readline": "readline",
    "curses": "ncurses", "pydoc": "pydoc", "doctest": "pydoc", "venv": "venv", "cgi": "cgi",
    # What these import in turn: tables of the feed's python3-package-*.mk, and tried.
    "http": "email urllib", "wsgiref": "email urllib", "statistics": "decimal",
    "fractions": "decimal", "xmlrpc": "xml", "plistlib": "xml", "importlib.metadata": "email",
}  # fmt: skip
# Of other projects, by the name that is imported.
LIBRARIES: Final = {
    "cryptography": "cryptography", "bottle": "bottle", "dns": "dns", "waitress": "waitress",
    "segno": "segno",
}  # fmt: skip
# Only for the agents and for probing, where people install it with pip, or for glibc, or for mypy.
NOT_ON_A_ROUTER: Final = {"pyroute2", "scapy", "ctypes", "_typeshed"}


def imported() -> set[str]:
    """Return every module that the package imports, but its own."""
    found: set[str] = set()
    for path in (TOP / "acmeiot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return {name for name in found if name.partition(".")[0] not in ("acmeiot", "__future__")}


def test_dependencies_cover_what_is_imported() -> None:
    recipe = ipk().Recipe.read("acmeiot")
    text = recipe.variable("DEPENDS") + " " + recipe.variable("EXTRA_DEPENDS")
    there = set(re.findall(r"python3-([a-z0-9]+)", text)) | {"email"}  # see its own test
    for name in imported():
        top = name.partition(".")[0]
        if top in NOT_ON_A_ROUTER:
            continue
        if top in sys.stdlib_module_names:
            needed = SPLIT.get(name, SPLIT.get(top, "light")).split()
        else:
            needed = [LIBRARIES[top]]
        for each in needed:
            assert each in there, f"{name} is imported, and needs python3-{each}"


def test_versions_agree() -> None:
    assert ipk().Recipe.read("acmeiot").variable("PKG_VERSION") == __version__
    assert ipk().Recipe.read("luci-app-acmeiot").variable("PKG_VERSION") == __version__
    # Valid for apk, too.
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)*(_(alpha|beta|rc)[0-9]+)?", __version__)


# What an SDK's rules.mk and the like define that our Makefiles use, as far as make looks at it.
STUB: Final = """
empty :=
INCLUDE_DIR := $(TOPDIR)/include
PKG_BUILD_DIR = $(TOPDIR)/build_dir/$(PKG_NAME)
PKG_INSTALL_DIR = $(PKG_BUILD_DIR)/ipkg-install
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
CP := cp -fpR
define Py3Package
endef
"""
# Says what a package is, as the feed's scan does; its install is run by the test.
PACKAGE: Final = """
define BuildPackage
$(eval $(Package/$(1)))
$(info package $(1) depends $(DEPENDS) extra $(EXTRA_DEPENDS) user $(USERID) title $(TITLE))
endef
all: ; @:
install: ; $(call Py3Package/acmeiot/install,$(DESTDIR))
prepare: ; $(Build/Prepare)
"""


def sdk(tmp_path: Path, *, email: bool) -> Path:
    """Make a top directory that has as much of an SDK as make needs to read our Makefiles."""
    python = tmp_path / "feeds/packages/lang/python"
    for path, text in {
        tmp_path / "rules.mk": STUB,
        tmp_path / "include/package.mk": "",
        tmp_path / "feeds/luci/luci.mk": "define Package/$(PKG_NAME)\nTITLE:=$(LUCI_TITLE)\n"
        "DEPENDS:=$(LUCI_DEPENDS)\nendef\n"
        + PACKAGE
        + "$(eval $(call BuildPackage,$(PKG_NAME)))\n",
        python / "python3-package.mk": PACKAGE + "define Package/$(PKG_NAME)-src\nendef\n",
        python / "pypi.mk": "",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if email:
        (python / "python3/files").mkdir(parents=True)
        (python / "python3/files/python3-package-email.mk").touch()
    return tmp_path


def make(folder: str, top: Path, *words: str) -> str:
    done = subprocess.run(
        ["make", "--warn-undefined-variables", "-C", str(TOP / "openwrt" / folder),
         f"TOPDIR={top}", *words], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "folder", ["acmeiot", "luci-app-acmeiot", "python-waitress", "python-segno"]
)
def test_make_reads_the_recipe(folder: str, tmp_path: Path) -> None:
    said = make(folder, sdk(tmp_path, email=True), "-n", "all")
    name = folder.replace("python-", "python3-")
    assert f"package {name} depends +" in said


@pytest.mark.parametrize("email", [True, False])
def test_the_package_of_email_is_named_where_there_is_one(tmp_path: Path, email: bool) -> None:
    """Up to 25.12; later the feed has no such package, and none could be installed."""
    said = make("acmeiot", sdk(tmp_path, email=email), "-n", "all")
    assert ("+python3-email" in said) == email
    assert "extra python3-cryptography (>=41.0.7) user acmeiot:acmeiot" in said


def test_the_recipe_installs_the_same_files(tmp_path: Path) -> None:
    """With an SDK's macros: what lies on the router is what the .ipk has, but for Python's own."""
    top, root = sdk(tmp_path, email=True), tmp_path / "root"
    make("acmeiot", top, "prepare")
    launcher = top / "build_dir/acmeiot/ipkg-install/usr/bin/acmeiot"
    launcher.parent.mkdir(parents=True)
    launcher.touch()
    make("acmeiot", top, "install", f"DESTDIR={root}")
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    data = member(packed("acmeiot"), "./data.tar.gz")
    ours: dict[str, Any] = {entry.name[2:]: entry.mode for entry in members(data) if entry.isfile()}
    python = {
        each for each in ours if each.startswith(("usr/lib/python3", "usr/lib/acmeiot/python"))
    }
    # Written by OpenWrt's build itself, from the conffiles.
    assert there == set(ours) - python - {"lib/upgrade/keep.d/acmeiot"}
    for each in there:
        if each != "usr/bin/acmeiot":
            assert (root / each).read_bytes() == member(data, f"./{each}")
            assert (root / each).stat().st_mode & 0o777 == ours[each], each

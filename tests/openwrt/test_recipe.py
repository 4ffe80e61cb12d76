"""The recipes of the feed: what make reads in them, and what they put where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from acmeiot import __version__
from tests.openwrt.maker import TOP, ipk, member, members, only_on_3_11, packed

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
# Only for the agents and for probing, where people install it with pip, or for glibc, for Windows,
# for old versions of Python, or for mypy.
NOT_ON_A_ROUTER: Final = {"pyroute2", "scapy", "ctypes", "importlib_metadata", "_typeshed"}


def imported(root: Path) -> set[str]:
    """Return every module that a package imports, but its own."""
    found: set[str] = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name for name in found if name.partition(".")[0] not in (root.name, "__future__")}


@pytest.mark.parametrize("name", ["acmeiot", "python-waitress", "python-segno"])
def test_dependencies_cover_what_is_imported(name: str) -> None:
    recipe = ipk().Recipe.read(name)
    there = set(re.findall(r"python3-([a-z0-9]+)", recipe.variable("DEPENDS")))
    root = ipk()._installed() / name.removeprefix("python-")
    if name == "acmeiot":
        root = TOP / "acmeiot"
        there |= set(re.findall(r"python3-([a-z0-9]+)", recipe.variable("EXTRA_DEPENDS")))
        there.add("email")  # see its own test
    for module in imported(root):
        top = module.partition(".")[0]
        if top in NOT_ON_A_ROUTER:
            continue
        if top in sys.stdlib_module_names:
            needed = SPLIT.get(module, SPLIT.get(top, "light")).split()
        else:
            needed = [LIBRARIES[top]]
        for each in needed:
            assert each in there, f"{module} is imported, and needs python3-{each}"


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
$(info built with $(strip $(PKG_BUILD_DEPENDS)).)
endef
all: ; @:
install: ; $(call Py3Package/acmeiot/install,$(DESTDIR))
prepare: ; $(Build/Prepare)
"""


def sdk(tmp_path: Path, *, email: bool, setuptools: str = "") -> Path:
    """Make a top directory that has as much of an SDK as make needs to read our Makefiles."""
    python = tmp_path / "feeds/packages/lang/python"
    for path, text in {
        tmp_path / "rules.mk": STUB,
        tmp_path / "include/package.mk": "",
        tmp_path / "feeds/luci/luci.mk": "LUCI_URL?=LuCI's\nLUCI_MAINTAINER?=LuCI's\n"
        "$(info see $(LUCI_URL) maintained by [$(LUCI_MAINTAINER)])\n"
        "define Package/$(PKG_NAME)\nTITLE:=$(LUCI_TITLE)\n"
        "DEPENDS:=$(LUCI_DEPENDS)\nendef\n"
        + PACKAGE
        + "$(eval $(call BuildPackage,$(PKG_NAME)))\n",
        python / "python3-package.mk": PACKAGE + "define Package/$(PKG_NAME)-src\nendef\n",
        python / "pypi.mk": "",
        python / "python-setuptools/Makefile": setuptools,
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


def test_the_page_is_not_of_luci_s_community(tmp_path: Path) -> None:
    """Whose address and name luci.mk puts into each package that says nothing."""
    said = make("luci-app-acmeiot", sdk(tmp_path, email=True), "-n", "all")
    url = ipk().Recipe.read("acmeiot").variable("URL")
    assert f"see {url} maintained by []" in said


@pytest.mark.parametrize("email", [True, False])
def test_the_package_of_email_is_named_where_there_is_one(tmp_path: Path, email: bool) -> None:
    """Up to 25.12; later the feed has no such package, and none could be installed."""
    said = make("acmeiot", sdk(tmp_path, email=email), "-n", "all")
    assert ("+python3-email" in said) == email
    assert "extra python3-cryptography (>=41.0.7) user acmeiot:acmeiot" in said


@pytest.mark.parametrize("folder", ["acmeiot", "python-waitress"])
def test_the_host_has_setuptools(folder: str, tmp_path: Path) -> None:
    """With its Python on 24.10, where asking for a package of it makes the build warn."""
    said = make(folder, sdk(tmp_path / "a", email=True), "-n", "all")
    assert "built with python3/host." in said
    later = sdk(tmp_path / "b", email=True, setuptools="$(eval $(call HostBuild))\n")
    assert "built with python3/host python-setuptools/host." in make(folder, later, "-n", "all")


def test_the_workflow_names_folders() -> None:
    """Make knows python-segno, the folder; of python3-segno, the package in it, it has no rule."""
    workflow = (TOP / ".github/workflows/openwrt.yml").read_text("utf-8")
    named = re.search(r"^ *PACKAGES: (.*)$", workflow, re.MULTILINE)
    assert named is not None
    assert set(named[1].split()) == {path.parent.name for path in TOP.glob("openwrt/*/Makefile")}


@only_on_3_11
def test_the_recipe_installs_the_same_files(tmp_path: Path) -> None:
    """With an SDK's macros: what lies on the router is what the .ipk has, but for Python's own."""
    top, root = sdk(tmp_path, email=True), tmp_path / "root"
    make("acmeiot", top, "prepare")
    build = top / "build_dir/acmeiot"
    # With README.md, which setup.py puts into a description, 25 KiB more on each router.
    assert {path.name for path in build.iterdir()} == {
        "LICENSE", "acmeiot", "files", "pyproject.toml", "setup.py",
    }  # fmt: skip
    launcher = build / "ipkg-install/usr/bin/acmeiot"
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

"""Every shell file of the repository: its shape, and what packages run while they are installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.openwrt.maker import ipk
from tests.shell.router import FILES, TOP, Router

FOLDERS = ("files", "openwrt", "tests")
_FIRST = re.compile(rb"#!\s*/bin/(?:busybox )?(?:sh|ash)\b")


def scripts() -> list[Path]:
    """Return all shell files that git knows, or would: by their first line, or where they lie."""
    command = ("git", "-C", str(TOP), "ls-files", "-co", "--exclude-standard", *FOLDERS)
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = []
    for path in map(TOP.joinpath, listed):
        text = path.read_bytes() if path.is_file() else b""
        if _FIRST.match(text) or (path.suffix != ".py" and b"# shellcheck shell=" in text[:2000]):
            found.append(path)
    return found


def test_shellcheck() -> None:
    names = [str(path.relative_to(TOP)) for path in scripts()]
    assert len(names) > 20
    assert {"files/router/etc/init.d/acmeiot", "tests/apt-install"} <= set(names)
    # What a file includes lies elsewhere on the router than here.
    command = ("shellcheck", "--shell=dash", "--exclude=SC1091", *names)
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_sourced_is_checked_too() -> None:
    """Files without a first line have a directive instead, or nobody looks at them."""
    checked = set(scripts())
    for path in FILES.rglob("*"):
        if path.is_file() and path.suffix != ".json" and "config" not in path.parts:
            assert path in checked, path


def test_house_style() -> None:
    for path in scripts():
        lines = path.read_text().splitlines()
        assert len(lines) <= 250, f"{path}: {len(lines)} lines"
        start = None
        for number, line in enumerate(lines):
            if re.match(r"\w+\(\) \{$", line.split(" #")[0]):
                start = number
            elif line == "}" and start is not None:
                assert number - start <= 40, f"{path}:{start + 1}: {number - start} lines"
                start = None


# OpenWrt's busybox is built without these, and Debian's with them: tr takes [:upper:] for the seven
# characters, so that OpenWrt became OwenWrt, and sleep refuses fractions.
_NOT_ON_OPENWRT = re.compile(r"^[^#\n]*(?:\btr\b.*\[:|\bsleep [0-9]*\.)", re.MULTILINE)


def test_a_router_s_busybox_has_less() -> None:
    """What runs on a router asks nothing of busybox that OpenWrt leaves out."""
    for path in scripts():
        if path.relative_to(TOP).parts[0] in ("files", "openwrt"):
            found = _NOT_ON_OPENWRT.search(path.read_text())
            assert found is None, f"{path}: {found[0]}"


@pytest.mark.parametrize("package", ["acmeiot", "luci-app-acmeiot"])
def test_nothing_runs_on_the_computer_that_builds_an_image(router: Router, package: str) -> None:
    """With IPKG_INSTROOT set the scripts are another machine's: they touch nothing of this one."""
    scripts = ipk().Recipe.read(package)
    router.write("/tmp/luci-indexcache.1.json", "")
    # Not into the folder of this project, which may lie there.
    look = "find /etc /tmp -xdev -type f | sort | xargs md5sum"
    before = router.sh(look)
    for name in ("postinst", "prerm", "postrm"):
        if body := scripts.block(name):
            router.sh(body, env={"IPKG_INSTROOT": "/nowhere"})
    assert router.sh(look) == before
    assert router.inits == []


def test_luci_s_package_tells_rpcd(router: Router) -> None:
    recipe = ipk().Recipe.read("luci-app-acmeiot")
    for count, name in enumerate(("postinst", "postrm"), start=1):
        router.write("/tmp/luci-indexcache.1.json", "")
        router.sh(recipe.block(name))
        assert router.inits == ["rpcd reload"] * count
        assert router.sh("ls /tmp/luci-indexcache* 2>/dev/null || :") == ""


def test_an_upgrade_is_no_removal(router: Router) -> None:
    recipe = ipk().Recipe.read("acmeiot")
    router.write("/usr/lib/acmeiot/package", "#!/bin/sh\necho $1 >>/tmp/said\n", "0755")
    router.sh(recipe.block("prerm"), env={"PKG_UPGRADE": "1"})
    assert router.read("/tmp/said") == ""
    router.sh(recipe.block("prerm"))
    assert router.read("/tmp/said") == "leaving\n"
    assert "usage" in router.sh(f"sh {FILES}/usr/lib/acmeiot/package what", fails=True)

"""The .ipk files: the same bytes each time, in exactly the shape that opkg was seen to take."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot import __version__
from tests.openwrt.maker import EPOCH, TOP, member, members, only_on_3_11, packed

# opkg takes bytecode of one CPython only; the packages are made with it.
pytestmark = only_on_3_11


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
    assert control("luci-app-acmeiot")["Depends"] == "libc, luci-base, acmeiot"


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
    # Letter for letter what OpenWrt 24.10's own build was seen to write.
    unasked = '[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n'
    for phase, first in {"postinst": unasked, "prerm": ""}.items():
        assert member(inner, f"./{phase}").decode() == (
            f"#!/bin/sh\n{first}[ -s ${{IPKG_INSTROOT}}/lib/functions.sh ] || exit 0\n"
            f". ${{IPKG_INSTROOT}}/lib/functions.sh\ndefault_{phase} $0 $@\n"
        )


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
    useless = (".py", ".pyi", ".typed")
    assert not [each for each in names if each.endswith(useless) or "__pycache__" in each]
    data = member(packed("acmeiot"), "./data.tar.gz")
    assert member(data, "./usr/lib/acmeiot/version") == f"{__version__}-r1\n".encode()
    assert str(TOP).encode() not in member(data, f"{site}/cli.pyc")

"""openwrt/ipk.py, which is a program and no part of a Python package; and what it makes."""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[2]
EPOCH: Final = 1_700_000_000

only_on_3_11 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="bytecode for OpenWrt is made by CPython 3.11"
)


@cache
def ipk() -> ModuleType:
    """Return it as a module."""
    spec = importlib.util.spec_from_file_location("ipk", TOP / "openwrt/ipk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ipk"] = module
    spec.loader.exec_module(module)
    return module


@cache
def packed(name: str) -> bytes:
    """Return a package's bytes."""
    maker = ipk()
    package = maker.luci() if name == "luci-app-acmeiot" else maker.acmeiot(maker._installed())
    return bytes(package.pack(EPOCH))


def members(data: bytes) -> list[tarfile.TarInfo]:
    """Return what a gzipped tar holds."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return archive.getmembers()


def member(data: bytes, name: str) -> bytes:
    """Return one file of a gzipped tar."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()

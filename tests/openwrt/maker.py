"""openwrt/ipk.py, which is a program and no part of a Python package."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

TOP = Path(__file__).parents[2]


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

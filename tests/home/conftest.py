"""A street to build homes in, for one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home.network import Router, Street


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """No home yet."""
    with Street(tmp_path) as made:
        yield made


@pytest.fixture
def router(street: Street) -> Router:
    """One home, with dnsmasq and without a server."""
    return street.router()

"""A store in a directory of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acmeiot.store.sqlite import SqliteStore
from tests.store.doubting import DoubtingStore


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[SqliteStore]:
    made = DoubtingStore(state)
    yield made
    made.close()

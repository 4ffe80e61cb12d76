"""An authority on the disk of the test, and the material to try it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.core.records import AuditEntry
from tests.ca import peers

Open = Callable[..., Authority]


@pytest.fixture
def audit() -> list[AuditEntry]:
    """What the authority reported."""
    return []


@pytest.fixture
def now() -> int:
    """The real time: some peers know no other."""
    return peers.now()


@pytest.fixture
def reopen(tmp_path: Path, audit: list[AuditEntry], now: int) -> Open:
    """Open the test's authority (again), with other settings or at another time."""

    def open_authority(at: int = now, **settings: object) -> Authority:
        config = AuthorityConfig(**settings)  # type: ignore[arg-type]
        return Authority.open(tmp_path / "state" / "ca", config, now=at, record=audit.append)

    return open_authority


@pytest.fixture
def authority(reopen: Open) -> Authority:
    """A new authority with the default settings."""
    return reopen()

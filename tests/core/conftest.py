"""Homes for the tests of the rules: real store, real authority; time and network are told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acmeiot.ca.roots import Authority, AuthorityConfig
from tests.core.fakes import DAY, NOW
from tests.core.home import Home, Settings

MakeHome = Callable[..., Home]


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an authority that is ten days old."""
    directory = tmp_path_factory.mktemp("authority") / "ca"
    open_authority(directory, NOW - 10 * DAY)
    return directory


@pytest.fixture(scope="session")
def authority(founded: Path) -> Authority:
    """The authority that the homes share; it only signs."""
    return open_authority(founded, NOW)


@pytest.fixture
def own_authority(founded: Path, tmp_path: Path) -> Authority:
    """An authority that a test may change."""
    shutil.copytree(founded, tmp_path / "ca")
    return open_authority(tmp_path / "ca", NOW)


def open_authority(directory: Path, now: int) -> Authority:
    """Open an authority whose events nobody reads here."""
    return Authority.open(directory, AuthorityConfig(), now=now, record=lambda _: None)


@pytest.fixture
def make_home(tmp_path: Path, authority: Authority) -> Iterator[MakeHome]:
    """Make a home with these settings; a bug that it logged fails the test."""
    homes: list[Home] = []

    def make(issuer: Authority = authority, **settings: Any) -> Home:
        homes.append(Home(tmp_path / f"home-{len(homes)}", issuer, Settings(**settings)))
        return homes[-1]

    yield make
    for home in homes:
        home.store.close()
        assert not home.events.faults


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    """A home with lease tables that lets every device in."""
    return make_home()


@pytest.fixture
def asking(make_home: MakeHome) -> Home:
    """A home whose owner is asked."""
    return make_home(approval="ask")

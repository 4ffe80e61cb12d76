"""A clock that was years ahead for one start, and is right again: the home keeps its authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from acmeiot.ca.roots import Authority
from tests.ca import material
from tests.ca.conftest import Open
from tests.ca.test_succession import START, assert_nothing_outlives_its_issuer

DAY = 86400
YEAR = 365 * DAY
BACK = START + 7200  # when the clock is right again


def ids(authority: Authority) -> tuple[list[str], list[str]]:
    return [one.id for one in authority.roots()], [one.id for one in authority.issuers()]


@pytest.mark.parametrize("years", [5, 6, 8.5, 9, 11, 30])
def test_what_was_before_comes_back(years: float, reopen: Open) -> None:
    """Root and intermediate, with their keys, whatever the wrong clock called expired."""
    before = ids(reopen(START))
    wrong = START + int(years * YEAR)
    ahead = reopen(wrong)
    assert ahead.tick(wrong)
    assert ids(ahead) != before
    assert_nothing_outlives_its_issuer(ahead, wrong)
    assert ahead.issue(material.request(wrong, life=89 * DAY)).serial

    again = reopen(BACK)
    assert again.reaches(BACK)
    assert again.tick(BACK)
    assert not again.tick(BACK)
    assert ids(again) == before
    assert again.crosses() == ()
    assert len(again.server_chain()) == 2
    leaf = again.issue(material.request(BACK, life=89 * DAY))
    issuer = again.issuers()[0].certificate
    material.load(leaf.der).verify_directly_issued_by(issuer)
    assert_nothing_outlives_its_issuer(again, BACK)


def test_twice_ahead_is_no_worse(reopen: Open) -> None:
    """The second start by the wrong clock finds what the first one made."""
    before = ids(reopen(START))
    for years in (6, 11, 11):
        reopen().tick(START + years * YEAR)
    assert reopen().tick(BACK)
    assert ids(reopen()) == before


def test_a_root_of_the_wrong_clock_never_comes_by_surprise(reopen: Open, tmp_path: Path) -> None:
    """Its date comes one day, when the home has long had another successor."""
    reopen(START).tick(START + 11 * YEAR)
    stray = reopen().roots()[0].id
    authority = reopen()
    authority.tick(BACK)
    for week in range(15 * 52):
        authority.tick(BACK + week * 7 * DAY)
        assert stray not in ids(authority)[0]
    kept = {path.stem for path in (tmp_path / "state" / "ca").glob("*.key")}
    assert kept == {*ids(authority)[0], *ids(authority)[1]}


def test_a_clock_that_was_behind_costs_no_root_either(reopen: Open) -> None:
    """Who forges NTP's answers can send the clock back before a rotation, but not for ever."""
    authority = reopen(START)
    later = START + YEAR
    authority.rotate(later)
    both, crosses = ids(authority), authority.crosses()
    assert authority.tick(BACK)
    assert ids(reopen()) == ([both[0][1]], [both[1][1]])
    assert reopen().crosses() == ()
    assert authority.tick(later + DAY)
    assert ids(authority) == both
    assert [one.der for one in reopen().crosses()] == [one.der for one in crosses]


def test_an_old_root_comes_back_behind_its_successor(reopen: Open) -> None:
    """Some still trust it alone; what signs stays the newest."""
    authority = reopen(START)
    right = START + 9 * YEAR
    authority.tick(right)
    both = ids(authority)[0]
    assert len(both) == 2
    authority.tick(START + int(10.5 * YEAR))
    assert ids(authority)[0] == both[:1]
    authority.tick(right)
    assert ids(reopen())[0] == both


def test_what_expired_is_kept_for_a_year(reopen: Open, tmp_path: Path) -> None:
    """Not published, but on the disk, until it and its succession are a year old."""
    authority = reopen(START)
    (first,) = authority.issuers()
    key = tmp_path / "state" / "ca" / f"{first.id}.key"
    assert authority.tick(first.not_after - 90 * DAY)
    assert authority.tick(first.not_after)
    assert first not in authority.issuers()
    assert not authority.tick(first.not_after + YEAR - 1)
    assert key.exists()
    assert authority.tick(first.not_after + YEAR)
    assert not key.exists()


def test_before_every_root_nothing_is_reached(reopen: Open) -> None:
    authority = reopen(START)
    assert authority.reaches(START)
    assert not authority.reaches(START - DAY)
    assert not authority.reaches(START + 11 * YEAR)

"""Fifteen years of an authority on a clock of our own, week by week."""

from __future__ import annotations

from pathlib import Path

import pytest

from acmeiot.ca.index import Certified
from acmeiot.ca.profiles import validity
from acmeiot.ca.roots import Authority
from acmeiot.core.records import AuditEntry
from tests.ca import assertions, material, peers
from tests.ca.conftest import Open

DAY = 86400
WEEK = 7 * DAY
START = 1_795_348_259  # November 2026
WEEKS = 15 * 365 // 7 + 1
DOMAINS = ["local", "lan"]


def assert_nothing_outlives_its_issuer(authority: Authority, at: int) -> None:
    """Assert the profile and the order of all ends, of everything that is published."""
    by_key = {root.key_identifier: root for root in authority.roots()}
    for root in authority.roots():
        assertions.assert_is_root(root.certificate, DOMAINS, ["router.lan", "router.local"])
        assert at < root.not_after
    for issuer in authority.issuers():
        above = by_key[issuer.signed_by]
        assertions.assert_is_intermediate(issuer.certificate, above.certificate, DOMAINS)
        assert at < issuer.not_after <= above.not_after
    for cross in authority.crosses():
        subject, above = by_key[cross.key_identifier], by_key[cross.signed_by]
        assertions.assert_is_cross(
            cross.certificate, subject.certificate, above.certificate, DOMAINS
        )


class Life:
    """An authority as years pass, and what each week's verifier says of its newest leaf."""

    def __init__(self, authority: Authority, where: Path) -> None:
        self.authority, self.where = authority, where
        self.roots: list[Certified] = []  # each as it became current
        self.issuers: list[Certified] = []
        self.last_leaves: dict[str, tuple[bytes, int]] = {}  # of each issuer: DER, notAfter
        self.verified = 0

    def week(self, at: int) -> None:
        """Tick, issue the longest leaf, and verify it with every root that a client may have."""
        changed = self.authority.tick(at)
        assert not self.authority.tick(at), "once is enough"
        if changed or not self.roots:
            assert_nothing_outlives_its_issuer(self.authority, at)
        self._note()
        leaf = self.authority.issue(material.request(at, life=89 * DAY))  # never shortened
        assert leaf.not_after <= self.authority.longest()
        self.last_leaves[leaf.issuer_id] = (leaf.der, leaf.not_after)
        for root in self.roots:
            if root.not_after > at:
                self._verify(leaf.der, self.authority.server_chain(), root, at)

    def _note(self) -> None:
        for known, now in (
            (self.roots, self.authority.roots()),
            (self.issuers, self.authority.issuers()),
        ):
            if not known or known[-1].id != now[0].id:
                known.append(now[0])

    def _verify(self, leaf: bytes, chain: tuple[bytes, ...], root: Certified, at: int) -> None:
        peers.openssl(material.case(leaf, chain, [root.der], "printer.lan", self.where, at))
        self.verified += 1

    def old_leaves_verify(self, at: int) -> None:
        """Verify the last leaf of each superseded issuer, for the newest root and its own."""
        for issuer_id, (leaf, not_after) in self.last_leaves.items():
            if not_after > at and not self.authority.is_current(issuer_id):
                chain = tuple(self.authority.chains(issuer_id)[1])
                for root in self.authority.roots():
                    self._verify(leaf, chain, root, at)


@pytest.fixture
def life(reopen: Open, tmp_path: Path, request: pytest.FixtureRequest) -> Life:
    """An authority that begins in November 2026."""
    return Life(reopen(START, **getattr(request, "param", {})), tmp_path)


def test_fifteen_years(life: Life, audit: list[AuditEntry], tmp_path: Path) -> None:
    """Intermediates and roots succeed each other by themselves; who trusts any living root
    verifies every leaf, at its time, however long ago that client learned of a root."""
    for week in range(WEEKS):
        at = START + week * WEEK
        life.week(at)
        if week % 4 == 0:
            life.old_leaves_verify(at)
    # One root at 80 % of ten years; it lives on beside the new one for two years.
    assert len(life.roots) == 2
    assert life.roots[1].not_before - START == pytest.approx(8 * 365 * DAY, abs=2 * WEEK)
    assert [root.id for root in life.authority.roots()] == [life.roots[1].id]
    assert life.authority.crosses() == ()
    assert len(life.issuers) == 5 - 1
    assert life.verified > WEEKS + 2 * 52  # the overlap, and some old leaves
    events = [entry.event for entry in audit]
    assert (events.count("root"), events.count("intermediate")) == (2, len(life.issuers))
    # What expired is gone from the disk, keys and all.
    kept = {f"{one.id}.key" for one in (*life.authority.roots(), *life.authority.issuers())}
    assert {path.name for path in (tmp_path / "state" / "ca").glob("*.key")} == kept


@pytest.mark.parametrize("life", [{"root_days": 365}, {"root_days": 480}], indirect=True)
def test_short_roots(life: Life) -> None:
    """The shortest lives that are allowed: no leaf is ever shortened, no intermediate wasted."""
    for week in range(0, 3 * 365 // 7, 2):
        life.week(START + week * WEEK)
        life.old_leaves_verify(START + week * WEEK)
    assert len(life.issuers) == len(life.roots) >= 3


def test_client_of_long_ago_during_overlap(life: Life) -> None:
    """A laptop that has slept for 23 months knows only the old root."""
    life.week(START)
    old = life.roots[0]
    succession = old.not_before + int(0.8 * (old.not_after - old.not_before)) + 1
    assert not life.authority.tick(succession - DAY) or life.authority.roots()[0] == old
    assert life.authority.tick(succession)
    assert life.authority.roots()[0] != old
    late = succession + 23 * 30 * DAY
    assert late < old.not_after
    life.authority.tick(late)
    leaf = life.authority.issue(material.request(late))
    peers.openssl(
        material.case(
            leaf, life.authority.server_chain(), [old.der], "printer.lan", life.where, late
        )
    )


def test_server_that_was_off_for_years(life: Life) -> None:
    """Everything has expired: a new root, which the dead one does not vouch for."""
    life.week(START)
    old = life.roots[0]
    late = START + 12 * 365 * DAY
    life.week(late)
    assert [root.id for root in life.authority.roots()] != [old.id]
    assert life.authority.crosses() == ()
    assert len(life.authority.server_chain()) == 2


def test_short_absence_is_made_up_at_start(life: Life, reopen: Open) -> None:
    """Opening alone changes nothing; the tick that follows does."""
    late = START + 5 * 365 * DAY + 100 * DAY  # the intermediate has just expired
    authority = reopen(late)
    assert authority.longest() < late
    assert authority.tick(late)
    leaf = authority.issue(material.request(late, life=89 * DAY))
    assert validity(material.load(leaf.der))[1] == leaf.not_after
    assert len(authority.issuers()) == 1

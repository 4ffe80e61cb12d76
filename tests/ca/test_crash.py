"""Power cuts and full disks in the middle of making and rotating an authority."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acmeiot.ca.index import INDEX
from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.core.records import AuditEntry
from tests.ca import material, peers

# All that touches the disk goes through these.
STEPS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "chmod")
CUT = 77


def forget(_entry: AuditEntry) -> None:
    """Take an audit entry and keep nothing."""


def open_authority(directory: Path, now: int) -> Authority:
    """Open the authority with the default settings."""
    return Authority.open(directory, AuthorityConfig(), now=now, record=forget)


def before_each_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> None:
    """Call `act` before each step that touches the disk."""
    for name in STEPS:
        real = getattr(os, name)

        def step(*args: object, name: str = name, real: object = real, **more: object) -> object:
            act(name)
            return real(*args, **more)  # type: ignore[operator]

        monkeypatch.setattr(os, name, step)


def cut_power_at(step: int, work: Callable[[], object], patch: pytest.MonkeyPatch) -> bool:
    """Run `work` in a process that dies before its n-th step; return whether it died."""
    child = os.fork()
    if child == 0:
        left = step

        def act(_name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(CUT)  # nothing is cleaned up, as when the power goes

        try:
            before_each_step(patch, act)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, CUT)
    return code == CUT


def assert_works(authority: Authority, directory: Path, where: Path, now: int) -> None:
    """Assert that it issues what verifies, and that nothing is left over on the disk."""
    leaf = authority.issue(material.request(now))
    chain, root = authority.server_chain(), authority.root_der
    peers.openssl(material.case(leaf, chain, [root], "printer.lan", where, now))
    kept = {f"{one.id}.key" for one in (*authority.roots(), *authority.issuers())}
    assert {path.name for path in directory.iterdir()} == {INDEX, *kept}


def test_power_cut_during_the_first_start(
    tmp_path: Path, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    died = True
    while died:
        steps += 1
        directory = tmp_path / str(steps) / "ca"
        directory.parent.mkdir()
        died = cut_power_at(steps, lambda at=directory: open_authority(at, now), monkeypatch)  # type: ignore[misc]
        assert_works(open_authority(directory, now), directory, tmp_path, now)
    assert steps > 12  # three files, each made, flushed, renamed, its directory flushed


def test_power_cut_during_rotation(
    tmp_path: Path, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and whole, or new and whole; an old client verifies either way (R-36)."""
    original = tmp_path / "original" / "ca"
    old = open_authority(original, now).root_der
    seen, steps, died = [], 0, True
    while died:
        steps += 1
        directory = tmp_path / str(steps) / "ca"
        shutil.copytree(original, directory)
        authority = open_authority(directory, now)
        died = cut_power_at(steps, lambda ca=authority: ca.rotate(now), monkeypatch)  # type: ignore[misc]
        after = open_authority(directory, now)
        assert_works(after, directory, tmp_path, now)
        seen.append(after.root_der != old)
        assert len(after.crosses()) == (2 if seen[-1] else 0)
        leaf = after.issue(material.request(now))
        peers.openssl(
            material.case(leaf, after.server_chain(), [old], "printer.lan", tmp_path, now)
        )
    assert seen[0] is False
    assert seen[-1] is True
    assert sorted(seen) == seen, "once new, always new"
    assert steps > 12


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_disk_that_fails_during_rotation(
    number: int, tmp_path: Path, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old authority keeps working, in memory and after a restart; later it rotates."""
    steps, failed = 0, True
    while failed:
        steps += 1
        directory = tmp_path / str(steps) / "ca"
        authority = open_authority(directory, now)
        old, left = authority.root_der, steps

        def fail(_name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            before_each_step(patch, fail)
            try:
                authority.rotate(now)
                failed = False
            except OSError:
                failed = True
        if failed:
            assert authority.root_der == old
            authority.issue(material.request(now))
            authority.rotate(now)
        assert authority.root_der != old
        assert_works(open_authority(directory, now), directory, tmp_path, now)
    assert steps > 12


def test_read_only_disk_after_the_change_is_told(
    tmp_path: Path, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is done when only the sweeping fails; the audit says so, the next start sweeps."""
    told: list[AuditEntry] = []
    directory = tmp_path / "ca"
    authority = Authority.open(directory, AuthorityConfig(), now=now, record=told.append)
    (directory / "stale.key").write_bytes(b"left over")
    old = authority.root_der

    def act(name: str) -> None:
        if name == "unlink":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        before_each_step(patch, act)
        authority.rotate(now)
    assert authority.root_der != old
    assert told[-1].event == "sweep"
    assert "Read-only" in str(told[-1].detail["warning"])
    assert_works(open_authority(directory, now), directory, tmp_path, now)

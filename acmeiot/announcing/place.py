"""Put in place what was planned, or nothing of it; and take back exactly that.

What goes where is remembered before it goes there, so that --remove and `status` know of it
whatever happens in between.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from acmeiot import durable
from acmeiot.announcing.plan import Plan, is_ours
from acmeiot.client.errors import AgentError
from acmeiot.lan import odhcpd
from acmeiot.lan.announced import Announced, check_place, sha256

Json = dict[str, Any]
Pools = Mapping[str, list[str]]  # what is ours in each

_READABLE: Final = 0o644  # dnsmasq, web servers and ours are other users
_RESTART: Final = 120  # seconds


@dataclass(slots=True)
class _Change:
    """Files and pools as they were, so that all can be as it was."""

    uci: odhcpd.Uci | None
    files: dict[Path, bytes | None] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)  # of the pools

    def __bool__(self) -> bool:
        """Tell whether anything was changed."""
        return bool(self.files or self.changed)

    def write(self, path: Path, data: bytes | None) -> None:
        """Write a file, or delete it for None, unless it is so already."""
        now = _content(path)
        if now == data:
            return
        self.files.setdefault(path, now)
        _place(path, data)

    def withdraw(self, path: Path, digest: str) -> bool:
        """Delete a file unless somebody else has changed it; tell whether it is gone."""
        data = _content(path)
        if data is not None and not is_ours(data, digest):
            return False
        self.write(path, None)
        return True

    def put(self, old: Pools, new: Mapping[str, str]) -> dict[str, list[str]]:
        """Replace in the pools' strings what we appended before by what we append now.

        Return what of the old somebody's commit has written out, and still stands there.
        """
        both = {**old, **new}
        if self.uci is None and both:
            raise AgentError(f"{odhcpd.PROGRAM} is gone, and with it what pool {min(both)} says")
        uci = cast(odhcpd.Uci, self.uci)
        self.pools = {pool: uci.get(_raw(pool)) for pool in both}
        # All first: a commit below must not write out what waits in another pool.
        committed = {pool: uci.committed(_raw(pool)) for pool in both}
        for pool in sorted(both, key=lambda pool: pool in new):
            ours = new.get(pool, "")
            plain = committed[pool]
            for each in dict.fromkeys([*old.get(pool, ()), ours]):
                plain = odhcpd.removed(plain, each)
            why_not = odhcpd.objection(plain) if ours else None
            if why_not is not None:
                raise AgentError(f"pool {pool} has changed: {why_not}")
            then = odhcpd.appended(plain, ours)
            if then != self.pools[pool]:
                self.changed.append(pool)
            uci.put(_raw(pool), then, lasting=not ours)
        return {
            pool: [each for each in old.get(pool, ()) if each in committed[pool]] for pool in new
        }

    def undo(self) -> None:
        """Make all as it was."""
        for path, data in self.files.items():
            _place(path, data)
        for pool, value in self.pools.items():
            if self.uci is not None and self.uci.get(_raw(pool)) != value:
                self.uci.put(_raw(pool), value)


def _raw(pool: str) -> str:
    return f"{pool}.{odhcpd.RAW}"


def put(memory: Path, plan: Plan, before: Announced | None, restart: str | None) -> bool:
    """Write everything and have it read; tell whether anything changed.

    `before` is what the file `memory` remembers. Raises AgentError, BrokenMemory, UciError or
    OSError with all as it was.
    """
    check_place(memory)
    files = {str(path): sha256(data) for path, data in plan.files.items()}
    pools = {pool: [ours] for pool, ours in plan.pools.items()}
    items = tuple(item.as_json() for item in plan.items)
    after = Announced(
        int(time.time()), plan.ad.fqdn, plan.directory, plan.root, items, plan.records, files, pools
    )
    old_files, old_pools = (before.files, before.pools) if before is not None else ({}, {})
    change = _Change(plan.uci)
    both = _joined(old_pools, pools)
    _place(memory, replace(after, files={**old_files, **files}, pools=both).as_bytes())
    try:
        standing = change.put(old_pools, plan.pools)
        for name, digest in old_files.items():
            if name not in files:
                change.withdraw(Path(name), digest)
        for path, data in plan.files.items():
            change.write(path, data)
        if change and restart:
            _restart(restart, "all is as it was before")
    except BaseException:
        change.undo()
        _place(memory, before.as_bytes() if before is not None else None)
        if change and restart:
            _run(restart)
        raise
    _place(memory, replace(after, pools=_joined(standing, pools)).as_bytes())
    return bool(change)


def _joined(old: Pools, new: Pools) -> dict[str, list[str]]:
    return {
        pool: list(dict.fromkeys([*old.get(pool, ()), *new.get(pool, ())]))
        for pool in {**old, **new}
    }


def remove(memory: Path, before: Announced | None, restart: str | None) -> Json:
    """Take back what is remembered; what others made of our files since stays."""
    answer: Json = {"removed": [], "pools": [], "left": [], "changed": False}
    if before is None:
        return answer
    change = _Change(odhcpd.Uci.here() if before.pools else None)
    try:
        change.put(before.pools, {})
    except BaseException:
        change.undo()
        raise
    left = [
        name for name, digest in before.files.items() if not change.withdraw(Path(name), digest)
    ]
    memory.unlink(missing_ok=True)
    if change and restart:
        _restart(restart, "what was announced is taken back all the same")
    removed = [str(path) for path in change.files]
    return {"removed": removed, "pools": change.changed, "left": left, "changed": bool(change)}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _place(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
    else:
        durable.write(path, data, _READABLE)


def _restart(command: str, otherwise: str) -> None:
    said = _run(command)
    if said is not None:
        raise AgentError(f"{command!r} failed{said}; {otherwise}")


def _run(command: str) -> str | None:
    """Run the caller's command; return how it failed, None if it did not."""
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=_RESTART,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f": {error}"
    return (
        f" ({done.returncode}): {' '.join(done.stdout.split())[:200]}" if done.returncode else None
    )

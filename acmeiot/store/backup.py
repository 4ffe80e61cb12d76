"""The backup: one sealed file with the database, the authority's keys and how new it all is.

A restored state must not be a step back in time that nobody notices: revoked certificates would
be good again and CRL numbers would repeat. So a backup carries a stamp, a restore over anything
newer needs `force`, and what was restored counts on with a margin and in a new generation.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from acmeiot import durable
from acmeiot.core.ports import StoreFull
from acmeiot.core.records import CRL_NUMBER, AuditEntry
from acmeiot.store import schema, sealed
from acmeiot.store.database import DATABASE, READY, hold, siblings
from acmeiot.store.errors import DamagedError, StateError
from acmeiot.store.sealed import BackupError
from acmeiot.store.sqlite import SqliteStore

GENERATION: Final = "generation"  # a fact of the store
# More CRLs than a home publishes between a backup and the end of what it made afterwards.
CRL_MARGIN: Final = 1000
AUTHORITY: Final = "ca"  # the directory with the keys
MAX_FILES: Final = 500
MAX_FILE: Final = 1 << 20  # bytes of one file beside the database
_BUILDING: Final = ".restoring-"
_KEPT: Final = ".before-restore-"


@dataclass(frozen=True, slots=True)
class Stamp:
    """How new a state is. `made` and `newest_issue` are epoch seconds, `root` a hex SPKI hash."""

    made: int
    newest_issue: int
    audit_seq: int
    audit_hash: str
    crl_number: int
    generation: int
    schema: int
    root: str

    def behind(self, present: Stamp) -> list[str]:
        """Return, for a person, what the present state has that this one does not."""
        pairs = (
            ("certificates issued up to", self.newest_issue, present.newest_issue),
            ("audit entries up to", self.audit_seq, present.audit_seq),
            ("CRL number", self.crl_number, present.crl_number),
            ("generation", self.generation, present.generation),
        )
        return [f"{what} {here} (backup: {there})" for what, there, here in pairs if there < here]


@dataclass(frozen=True, slots=True)
class Backup:
    """An opened backup: its stamp and its files by their path in the state directory."""

    stamp: Stamp
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did; `kept` is where the state from before lies now, if there was any."""

    stamp: Stamp
    kept: Path | None


def seal(
    store: SqliteStore,
    directory: Path,
    passphrase: str,
    *,
    now: int,
    root: str = "",
    others: Sequence[str] = (),
) -> bytes:
    """Return the backup of a running server's state directory as one sealed file.

    `root` is the hex SPKI hash of the current root, `others` are more files by their path in the
    directory. ValueError for a bad passphrase or too much to hold; OSError when a file cannot be
    read.
    """
    with store.alone():
        stamp, database = _stamp(store, now, root), store.snapshot()
    files = {DATABASE: database, **_steady(lambda: _read_files(directory, others))}
    contents = [{"path": path, "size": len(data)} for path, data in files.items()]
    manifest = {"stamp": dataclasses.asdict(stamp), "files": contents}
    head = json.dumps(manifest, separators=(",", ":")).encode("ascii") + b"\n"
    return sealed.seal(b"".join((head, *files.values())), passphrase)


def unseal(blob: bytes, passphrase: str) -> Backup:
    """Open a backup; raise BackupError for another file, a damaged one or a wrong passphrase."""
    content = sealed.unseal(blob, passphrase)
    head, _, rest = content.partition(b"\n")
    try:
        manifest = json.loads(head)
        stamp = Stamp(**manifest["stamp"])
        files, at = {}, 0
        for entry in manifest["files"]:
            path, size = _checked(entry["path"]), entry["size"]
            if size < 0:
                raise ValueError(f"{path} has {size} bytes")
            files[path] = rest[at : at + size]
            at += size
    except (KeyError, TypeError, ValueError) as error:
        raise BackupError(f"the backup's list of contents cannot be read: {error}") from error
    if at != len(rest) or DATABASE not in files or len(files) > MAX_FILES:
        raise BackupError("the backup's list of contents does not fit what is in it")
    return Backup(stamp, files)


def restore(backup: Backup, state: Path, force: bool = False, *, now: int) -> Restored:
    """Put a backup in the place of a state directory; what was there is kept beside it.

    Refuses, with a StateError and nothing changed, while a server runs, and without `force` when
    the state there is newer than the backup or cannot be compared because a newer program wrote
    it. A damaged database is no hindrance. StoreFull when the disk will not take it.
    """
    state = state.absolute()
    if backup.stamp.schema > len(schema.MIGRATIONS):
        raise StateError("the backup was made by a newer acmeiot; install that version first")
    with _held(state) as held:
        present = _present(state, held, force=force)
        if present is not None and not force and (newer := backup.stamp.behind(present)):
            raise StateError(
                f"{state} is newer than the backup: {'; '.join(newer)}."
                " With --force what came after the backup is given up"
            )
        try:
            ready = _build(backup, state, present, now)
            return Restored(backup.stamp, _swap(state, ready, now))
        except OSError as error:
            raise StoreFull(f"cannot restore to {state}: {error.strerror}") from error


def _stamp(store: SqliteStore, now: int, root: str) -> Stamp:
    seq, seal_ = store.audit_head()
    return Stamp(
        made=now,
        newest_issue=store.newest_issue(),
        audit_seq=seq,
        audit_hash=seal_,
        crl_number=int(store.fact(CRL_NUMBER) or "0"),
        generation=int(store.fact(GENERATION) or "1"),
        schema=len(schema.MIGRATIONS),
        root=root,
    )


def _steady(read: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    """Read until two readings agree: the authority may be replacing its files just now."""
    files = read()
    for _ in range(5):
        again = read()
        if again == files:
            return files
        files = again
    raise ValueError(f"the files in {AUTHORITY} change all the time; try again")


def _read_files(directory: Path, others: Sequence[str]) -> dict[str, bytes]:
    paths = [path for path in sorted((directory / AUTHORITY).rglob("*")) if path.is_file()]
    paths += [directory / _checked(name) for name in others]
    if len(paths) >= MAX_FILES:
        raise ValueError(f"{len(paths)} files are more than a backup can hold ({MAX_FILES})")
    found = {}
    for path in paths:
        if path.stat().st_size > MAX_FILE:
            raise ValueError(f"{path} is larger than {MAX_FILE} bytes: it is none of ours")
        found[path.relative_to(directory).as_posix()] = path.read_bytes()
    return found


def _checked(name: str) -> str:
    """Return a relative path that stays inside; ValueError for any other."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name:
        raise ValueError(f"{name!r} is not a path inside the state directory")
    return name


@contextmanager
def _held(state: Path) -> Iterator[int | None]:
    """Lock the state directory, if there is one, until the block ends."""
    held = hold(state, create=False) if state.is_dir() else None
    try:
        yield held
    finally:
        if held is not None:
            os.close(held)


def _present(state: Path, held: int | None, *, force: bool) -> Stamp | None:
    """Return how new the state is that lies there; None when there is none that can be read."""
    if held is None or not (state / DATABASE).exists():
        return None
    try:
        store = SqliteStore(state, create=False, held=held)
    except DamagedError:
        return None
    except StateError:
        if force:
            return None
        raise
    try:
        return _stamp(store, 0, "")
    finally:
        store.close()


def _build(backup: Backup, state: Path, present: Stamp | None, now: int) -> Path:
    """Write the new state beside the old one; return its directory when it is on the disk."""
    for left in siblings(state, _BUILDING):
        shutil.rmtree(left)  # of a restore that was interrupted: half a state, with keys in it
    building = _beside(state, _BUILDING, now)
    building.mkdir(mode=0o700)
    try:
        for name, data in backup.files.items():
            _write(building, name, data)
        store = SqliteStore(building, create=False)
        try:
            _count_on(store, backup.stamp, present, now)
        finally:
            store.close()
        for folder in (building, *(path for path in building.rglob("*") if path.is_dir())):
            durable.sync_directory(folder)
        ready = _beside(state, READY, now)
        building.rename(ready)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return ready


def _count_on(store: SqliteStore, stamp: Stamp, present: Stamp | None, now: int) -> None:
    """Make sure that what this state publishes supersedes all that either state ever did."""
    both = (stamp, present or stamp)
    with store.writing():
        store.put_fact(CRL_NUMBER, str(max(each.crl_number for each in both) + CRL_MARGIN))
        store.put_fact(GENERATION, str(max(each.generation for each in both) + 1))
        store.append_audit(AuditEntry(now, "restore", "backup", dataclasses.asdict(stamp)))


def _swap(state: Path, ready: Path, now: int) -> Path | None:
    """Rename the old state away and the new one into its place; undo if that fails."""
    kept = None
    try:
        if state.exists() and any(state.iterdir()):
            kept = _beside(state, _KEPT, now)
            state.rename(kept)
        ready.rename(state)  # over an empty directory, or where nothing is
    except BaseException:
        if kept is not None and kept.exists() and not state.exists():
            kept.rename(state)
        shutil.rmtree(ready, ignore_errors=True)
        raise
    durable.sync_directory(state.parent)
    return kept


def _beside(state: Path, infix: str, now: int) -> Path:
    """Return a free name next to the state directory."""
    name = state.name + infix + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    number, path = 1, state.with_name(name)
    while path.exists():
        number, path = number + 1, state.with_name(f"{name}-{number}")
    return path


def _write(root: Path, name: str, data: bytes) -> None:
    path = root / name
    for folder in reversed(PurePosixPath(name).parents):
        (root / folder).mkdir(mode=0o700, exist_ok=True)
    durable.write_new(path, data)

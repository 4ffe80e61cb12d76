"""The sealed backup: whole or refused, and never a step back in time that nobody notices."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core.ports import StoreFull
from acmeiot.core.records import AuditEntry
from acmeiot.store import backup as backup_module
from acmeiot.store import schema, sealed
from acmeiot.store.backup import Backup, restore, seal, unseal
from acmeiot.store.database import DATABASE
from acmeiot.store.errors import DamagedError, StateError
from acmeiot.store.sealed import BackupError
from acmeiot.store.sqlite import SqliteStore
from tests.store import samples
from tests.store.samples import DAY, NOW

PASSPHRASE = "a printer, a lamp"
KEY = b"-----BEGIN PRIVATE KEY-----\nnot really\n"
HEADER = 17 + 16 + 16 + 12 + 8


def fill(store: SqliteStore, state: Path) -> None:
    (state / "ca" / "old").mkdir(parents=True, mode=0o700)
    (state / "ca" / "root.key").write_bytes(KEY)
    (state / "ca" / "old" / "root.pem").write_bytes(b"\0\n\xff")
    (state / "config.toml").write_text("domain = 'lan'\n")
    store.put_certificate(samples.certificate("a", id="one"))
    store.append_audit(AuditEntry(NOW, "issue", "one"))
    store.put_fact("crl_number", "7")


@pytest.fixture
def blob(store: SqliteStore, state: Path) -> bytes:
    fill(store, state)
    return seal(store, state, PASSPHRASE, now=NOW, root="ab" * 32, others=["config.toml"])


@pytest.fixture
def content(blob: bytes) -> Backup:
    return unseal(blob, PASSPHRASE)


@pytest.fixture
def closed(store: SqliteStore) -> None:
    """End the server whose state it is."""
    store.close()


def entries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir())


def test_round_trip(content: Backup, closed: None, tmp_path: Path) -> None:
    stamp = content.stamp
    assert (stamp.made, stamp.newest_issue, stamp.audit_seq) == (NOW, NOW, 1)
    assert (stamp.crl_number, stamp.generation, stamp.root) == (7, 1, "ab" * 32)
    assert stamp.schema == len(schema.MIGRATIONS)
    assert set(content.files) == {DATABASE, "ca/root.key", "ca/old/root.pem", "config.toml"}

    there = tmp_path / "elsewhere"
    restored = restore(content, there, now=NOW + 5)
    assert restored.kept is None
    assert (there / "ca" / "root.key").read_bytes() == KEY
    assert (there / "ca" / "old" / "root.pem").read_bytes() == b"\0\n\xff"
    for path in (there, *there.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    store = SqliteStore(there, create=False)
    assert store.certificate("one") is not None
    assert store.verify_audit() is None
    assert [entry.event for entry in store.audit(9)] == ["issue", "restore"]
    assert store.audit_head()[0] == 2
    store.close()
    assert entries(tmp_path) == ["elsewhere", "state"]


def test_later_crls_supersede(content: Backup, closed: None, tmp_path: Path) -> None:
    """The numbers go on with a margin above whatever either state has published."""
    there = tmp_path / "elsewhere"
    restore(content, there, now=NOW)
    store = SqliteStore(there)
    assert (store.fact("crl_number"), store.fact("generation")) == ("1007", "2")
    store.put_fact("crl_number", "5000")
    store.put_fact("generation", "9")
    store.close()
    restore(content, there, force=True, now=NOW)
    store = SqliteStore(there)
    assert (store.fact("crl_number"), store.fact("generation")) == ("6000", "10")
    store.close()


def test_the_old_state_is_kept(content: Backup, closed: None, state: Path) -> None:
    restored = restore(content, state, now=0)
    assert restored.kept == state.with_name("state.before-restore-19700101T000000Z")
    assert (restored.kept / "ca" / "root.key").read_bytes() == KEY
    store = SqliteStore(restored.kept, create=False)
    assert store.fact("generation") is None
    store.close()
    again = restore(content, state, force=True, now=0)
    assert again.kept == state.with_name("state.before-restore-19700101T000000Z-1")


def test_not_while_a_server_runs(content: Backup, store: SqliteStore, state: Path) -> None:
    for force in (False, True):
        with pytest.raises(StateError, match="another acmeiot serve"):
            restore(content, state, force, now=NOW)
    store.put_fact("still", "works")
    assert entries(state.parent) == ["state"]


@pytest.mark.parametrize("newer", ["issue", "audit", "crl", "generation"])
def test_an_older_backup_needs_force(
    content: Backup, closed: None, state: Path, newer: str
) -> None:
    store = SqliteStore(state)
    match newer:
        case "issue":
            store.put_certificate(samples.certificate("a", not_before=NOW + 1))
            reason = rf"certificates issued up to {NOW + 1} \(backup: {NOW}\)"
        case "audit":
            store.append_audit(AuditEntry(NOW, "revoke", "one"))
            reason = r"audit entries up to 2 \(backup: 1\)"
        case "crl":
            store.put_fact("crl_number", "8")
            reason = r"CRL number 8 \(backup: 7\)"
        case _:
            store.put_fact("generation", "2")
            reason = r"generation 2 \(backup: 1\)"
    store.close()
    with pytest.raises(StateError, match=f"{state} is newer than the backup: {reason}.*--force"):
        restore(content, state, now=NOW)
    assert entries(state.parent) == ["state"]
    assert restore(content, state, force=True, now=NOW).kept is not None


def test_a_restored_state_is_newer_than_its_backup(
    content: Backup, closed: None, state: Path
) -> None:
    restore(content, state, now=NOW)
    with pytest.raises(StateError, match="generation 2"):
        restore(content, state, now=NOW)


def test_a_fresh_router_takes_a_backup(content: Backup, closed: None, tmp_path: Path) -> None:
    """A new router has made a server certificate and a CRL already; that is nothing to lose."""
    there = tmp_path / "new-router"
    store = SqliteStore(there)
    store.put_certificate(samples.certificate("", not_before=NOW + DAY, order_id=None))
    store.append_audit(AuditEntry(NOW + DAY, "root", "made"))
    store.put_fact("crl_number", "1")
    store.close()
    assert restore(content, there, now=NOW + DAY).kept is not None


def test_over_an_empty_directory(content: Backup, closed: None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert restore(content, tmp_path / "empty", now=NOW).kept is None
    SqliteStore(tmp_path / "empty", create=False).close()


def test_it_is_the_way_out_of_damage(content: Backup, closed: None, state: Path) -> None:
    (state / DATABASE).write_bytes(b"")
    with pytest.raises(DamagedError, match="acmeiot restore"):
        SqliteStore(state)
    restored = restore(content, state, now=NOW)
    assert restored.kept is not None
    assert (restored.kept / DATABASE).read_bytes() == b""
    SqliteStore(state, create=False).close()


def test_a_state_of_a_newer_program_needs_force(
    content: Backup, closed: None, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, "CREATE TABLE later (id TEXT);"))
    SqliteStore(state).close()
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    with pytest.raises(StateError, match="newer acmeiot"):
        restore(content, state, now=NOW)
    assert restore(content, state, force=True, now=NOW).kept is not None


def test_a_backup_of_a_newer_program(content: Backup, closed: None, tmp_path: Path) -> None:
    newer = replace(content, stamp=replace(content.stamp, schema=len(schema.MIGRATIONS) + 1))
    with pytest.raises(StateError, match="newer acmeiot"):
        restore(newer, tmp_path / "there", force=True, now=NOW)
    assert entries(tmp_path) == ["state"]


def test_a_failure_puts_everything_back(
    content: Backup, closed: None, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rename fails, as on a mount point: the old state is in its place again."""
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if ".restored-" in path.name:
            raise OSError(16, "Device or resource busy")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StoreFull, match=f"cannot restore to {state}: Device or resource busy"):
        restore(content, state, now=NOW)
    assert entries(state.parent) == ["state"]
    SqliteStore(state, create=False).close()


def test_a_disk_without_room_for_it(
    content: Backup, closed: None, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull, match="No space left"):
        restore(content, state, now=NOW)
    monkeypatch.undo()
    assert entries(state.parent) == ["state"]


def test_keys_of_an_interrupted_restore_do_not_stay(
    content: Backup, closed: None, state: Path
) -> None:
    left = state.with_name("state.restoring-20260101T000000Z")
    left.mkdir()
    (left / "root.key").write_bytes(KEY)
    restore(content, state, now=NOW)
    assert not left.exists()


def test_wrong_passphrase(blob: bytes) -> None:
    with pytest.raises(BackupError, match="passphrase is not the one"):
        unseal(blob, PASSPHRASE + ".")


def test_an_accent_is_an_accent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some keyboards send é as one character, some as two."""
    one, two = (unicodedata.normalize(form, "café au lait") for form in ("NFC", "NFD"))
    assert one != two
    assert sealed.unseal(sealed.seal(b"x", one), two) == b"x"


@pytest.mark.parametrize("passphrase", ["", "seven c"])
def test_short_passphrases(store: SqliteStore, state: Path, passphrase: str) -> None:
    with pytest.raises(ValueError, match="at least 8 characters"):
        seal(store, state, passphrase, now=NOW)


@pytest.mark.parametrize("length", [0, 5, 16, 17, 40, HEADER - 1, HEADER, HEADER + 15, -1])
def test_cut_off(blob: bytes, length: int) -> None:
    with pytest.raises(BackupError, match=r"no backup|cut off|not whole"):
        unseal(blob[:length], PASSPHRASE)


def test_something_added(blob: bytes) -> None:
    with pytest.raises(BackupError, match="not whole"):
        unseal(blob + b"\n", PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"PK\3\4" + bytes(99), b"acmeiot-backup-2\n" + bytes(99)])
def test_another_file(data: bytes) -> None:
    with pytest.raises(BackupError, match="no backup"):
        unseal(data, PASSPHRASE)


def test_flipped_bits(blob: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bit of the header and bits all over the rest; scrypt is cheap here to try many."""
    monkeypatch.setattr(sealed, "_N", 2)
    data = sealed.seal(sealed_content := b"content " * 100, PASSPHRASE)
    assert sealed.unseal(data, PASSPHRASE) == sealed_content
    places = [*range(HEADER * 8), *range(HEADER * 8, len(data) * 8, 61), len(data) * 8 - 1]
    for bit in places:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BackupError):
            sealed.unseal(bytes(flipped), PASSPHRASE)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_stumble(data: bytes) -> None:
    for blob in (data, sealed.MAGIC + data):
        with pytest.raises(BackupError):
            unseal(blob, PASSPHRASE)


def test_bounds(monkeypatch: pytest.MonkeyPatch, store: SqliteStore, state: Path) -> None:
    fill(store, state)
    (state / "ca" / "core").write_bytes(bytes(backup_module.MAX_FILE + 1))
    with pytest.raises(ValueError, match=r"core is larger than"):
        seal(store, state, PASSPHRASE, now=NOW)
    (state / "ca" / "core").unlink()
    monkeypatch.setattr(backup_module, "MAX_FILES", 2)
    with pytest.raises(ValueError, match="files are more than"):
        seal(store, state, PASSPHRASE, now=NOW)
    monkeypatch.undo()
    monkeypatch.setattr(sealed, "MAX_SEALED", 1000)
    with pytest.raises(ValueError, match="more than a backup can hold"):
        seal(store, state, PASSPHRASE, now=NOW)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "./a"])
def test_names_stay_inside(store: SqliteStore, state: Path, name: str) -> None:
    with pytest.raises(ValueError, match="inside the state directory"):
        seal(store, state, PASSPHRASE, now=NOW, others=[name])


@pytest.mark.parametrize("what", ["name", "size", "extra", "no database", "no stamp", "no JSON"])
def test_contents_that_do_not_fit(
    content: Backup, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who has the passphrase could make one; it is refused all the same."""
    monkeypatch.setattr(sealed, "_N", 2)
    names = {DATABASE: 4, "../x" if what == "name" else "ca/x": 4}
    if what == "no database":
        del names[DATABASE]
    stamp = {
        field: getattr(content.stamp, field)
        for field in content.stamp.__dataclass_fields__
        if what != "no stamp" or field != "generation"
    }
    files = [{"path": name, "size": -1 if what == "size" else size} for name, size in names.items()]
    head = json.dumps({"stamp": stamp, "files": files}).encode()
    body = bytes(4 * len(names) + (1 if what == "extra" else 0))
    made = sealed.seal((b"{" if what == "no JSON" else head) + b"\n" + body, PASSPHRASE)
    with pytest.raises(BackupError, match="list of contents"):
        unseal(made, PASSPHRASE)


def test_keys_that_change_while_they_are_read(
    store: SqliteStore, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation in the middle: the backup has the files of one moment, or is refused."""
    fill(store, state)
    real, count = Path.read_bytes, iter(range(1000))

    def changing(path: Path) -> bytes:
        if path.name == "root.key":
            path.write_bytes(b"%d" % min(next(count), most))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", changing)
    most = 2
    files = unseal(seal(store, state, PASSPHRASE, now=NOW), PASSPHRASE).files
    assert files["ca/root.key"] == b"2"
    most = 1000
    with pytest.raises(ValueError, match="change all the time"):
        seal(store, state, PASSPHRASE, now=NOW)


def test_a_backup_of_a_busy_server(store: SqliteStore, state: Path, tmp_path: Path) -> None:
    """The stamp and the database are of one moment, whatever is written meanwhile."""
    fill(store, state)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            with store.writing():
                store.append_audit(AuditEntry(NOW, "issue", "x"))
                store.put_fact("count", str(store.audit_head()[0]))

    thread = threading.Thread(target=write)
    thread.start()
    blobs = [seal(store, state, PASSPHRASE, now=NOW) for _ in range(3)]
    done.set()
    thread.join()
    for blob in blobs:
        there = tmp_path / "there"
        opened = unseal(blob, PASSPHRASE)
        restore(opened, there, now=NOW)
        copy = SqliteStore(there, create=False)
        assert copy.audit_head()[0] == opened.stamp.audit_seq + 1  # and the restore itself
        if opened.stamp.audit_seq > 1:
            assert copy.fact("count") == str(opened.stamp.audit_seq)
        assert copy.verify_audit() is None
        copy.close()
        shutil.rmtree(there)

"""Backup and restore by the commands: one sealed file, and never a silent step back."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.test_cli import refused
from tests.web.client import Wire
from tests.web.house import House
from tests.web.running import NAMES, Running, acmeiot


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple\n")
    return path


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as house:
        yield house


@pytest.fixture
def home(tmp_path: Path, house: House) -> Iterator[Running]:
    """A server in a house."""
    options = (
        *NAMES, "--resolver", f"127.0.0.1:{house.dns_port}", "--http01-port", f"{house.http_port}",
        "--allow-loopback", "--approval", "auto", "--limits", "off",
    )  # fmt: skip
    running = Running(tmp_path / "state", options).start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()
    while Wire.opened:
        Wire.opened.pop().close()


def test_backup_and_restore(home: Running, house: House, tmp_path: Path, passphrase: Path) -> None:
    """Specs 6 "factory reset": the same root, accounts and certificates elsewhere."""
    client = home.client()
    issued = house.issue(client)
    before = client.post(issued.order["certificate"]).body
    file = tmp_path / "home.backup"
    said = home.admin("backup", file, "--passphrase-file", passphrase)
    assert said == f"wrote {file}, {file.stat().st_size} bytes\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in file.read_bytes()
    assert not list(tmp_path.glob("*.part"))
    home.stop()

    there = tmp_path / "elsewhere"
    done = acmeiot("restore", "--state", there, file, "--passphrase-file", passphrase, "--json")
    answer = json.loads(done.stdout)
    assert (answer["root"], answer["kept"], answer["state"]) == (home.root_hash, None, str(there))
    moved = Running(there, home.arguments, home.ports).start()
    assert moved.root_hash == home.root_hash
    client.nonces.clear()
    assert client.post(issued.order["certificate"]).body == before
    house.issue(client)
    assert [e["event"] for e in moved.ask("audit")["audit"]].count("restore") == 1
    assert moved.ask("status")["audit_broken_at"] is None
    for path in (there, *there.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    moved.stop()


def test_restore_over_a_newer_state(
    home: Running, house: House, tmp_path: Path, passphrase: Path
) -> None:
    """Specs 6: never a silent step back; with --force the state from before is kept beside."""
    file = tmp_path / "home.backup"
    home.admin("backup", file, "--passphrase-file", passphrase)
    client = home.client()
    house.issue(client)
    line = ("restore", "--state", home.state, file, "--passphrase-file", passphrase)
    assert "another acmeiot serve uses" in refused(*line)
    home.stop()
    said = refused(*line)
    assert said.startswith(f"1 acmeiot: {home.state} is newer than the backup: ")
    assert "--force" in said
    assert home.start().ask("status")["certificates"] == 1
    home.stop()
    done = acmeiot(*line, "--force")
    assert (done.returncode, done.stderr) == (0, "")
    (kept,) = tmp_path.glob("state.before-restore-*")
    assert f"the state from before is kept in {kept}" in done.stdout
    assert home.start().ask("status")["certificates"] == 0
    home.stop()


def test_backup_is_not_overwritten(home: Running, tmp_path: Path, passphrase: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("precious")
    line = ("backup", "--state", home.state, file, "--passphrase-file", passphrase)
    assert refused(*line) == (
        f"1 acmeiot: {file} exists; name another file, or overwrite it with --force"
    )
    assert file.read_text() == "precious"
    assert acmeiot(*line, "--force").returncode == 0
    assert file.read_bytes().startswith(b"acmeiot-backup-1\n")
    gone = tmp_path / "gone" / "file"
    line = ("backup", "--state", home.state, gone, "--passphrase-file", passphrase)
    assert refused(*line) == f"1 acmeiot: cannot write {gone}: No such file or directory"
    home.stop()


def test_wrong_passphrases(home: Running, tmp_path: Path, passphrase: Path) -> None:
    file, wrong, short, none = (tmp_path / n for n in ("file", "wrong", "short", "none"))
    home.admin("backup", file, "--passphrase-file", passphrase)
    wrong.write_text("incorrect horse\n")
    short.write_text("seven77\n")
    state = tmp_path / "new"
    restore, backup = ("restore", "--state", state, file), ("backup", "--state", home.state)
    assert refused(*restore, "--passphrase-file", wrong) == (
        "1 acmeiot: the passphrase is not the one this backup was sealed with"
    )
    assert "at least 8 characters" in refused(*backup, none, "--passphrase-file", short)
    assert f"cannot read {none}" in refused(*backup, tmp_path / "x", "--passphrase-file", none)
    assert "--passphrase-file" in refused(*restore)
    assert not state.exists()
    assert not (tmp_path / "x").exists()
    home.stop()


@pytest.mark.parametrize("damage", ["empty", "other", "cut", "altered", "longer", "missing"])
def test_restore_of_what_is_no_backup(
    home: Running, tmp_path: Path, passphrase: Path, damage: str
) -> None:
    """The state that is there stays."""
    file = tmp_path / "file"
    home.admin("backup", file, "--passphrase-file", passphrase)
    home.stop()
    good = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"", "other": b"PK\3\4 something else", "cut": good[:-9],
            "altered": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "longer": good + b"x",
        }.get(damage, good)
    )  # fmt: skip
    if damage == "missing":
        file.unlink()
    line = ("restore", "--state", home.state, file, "--passphrase-file", passphrase, "--force")
    assert refused(*line).startswith("1 acmeiot: ")
    assert home.start().ask("status")["root"]["sha256"] == home.root_hash
    home.stop()


def test_a_passphrase_is_asked_for_twice(home: Running, tmp_path: Path) -> None:
    """On a terminal, without echo."""
    for words, code in ((("one two three", "one two four"), 1), (("one two three",) * 2, 0)):
        ours, theirs = pty.openpty()
        out = tmp_path / f"out{code}"
        process = subprocess.Popen(
            [sys.executable, "-m", "acmeiot", "backup", "--state", home.state, out],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        said = b""
        for prompt, word in zip((b"Passphrase: ", b"Again: "), words, strict=True):
            while not said.endswith(prompt):
                said += os.read(ours, 1000)
            os.write(ours, word.encode() + b"\n")
        with suppress(OSError):  # how a terminal says that its program is gone
            while more := os.read(ours, 1000):
                said += more
        os.close(ours)
        assert process.wait(20) == code
        assert b"three" not in said
        assert (b"the two passphrases differ" in said) is (code == 1)
        assert out.exists() is (code == 0)

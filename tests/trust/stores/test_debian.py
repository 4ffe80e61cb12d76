"""Debian's system store: its real program, curl and OpenSSL, on a machine of the test's own."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.trust.stores import programs
from acmeiot.trust.stores.debian import Debian
from tests.trust.stores.conftest import Machine
from tests.trust.stores.homes import HOST, home

NAME = "debian"


def opens(machine: Machine, number: int) -> list[bool]:
    """Tell whether curl (the bundle) and OpenSSL (the links) believe a home's server."""
    port = machine.url(number).rpartition(":")[2].rstrip("/")
    check = ("-verify_return_error", "-verify_hostname", HOST, "-servername", HOST)
    programs = [
        ("curl", "--silent", "--show-error", "--output", "/dev/null", machine.url(number)),
        ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *check),
    ]
    return [tries(machine, *argv) for argv in programs]


def tries(machine: Machine, *argv: str) -> bool:
    """Tell whether a program succeeds; a failure must be about the certificate."""
    script = '"$@" </dev/null && echo succeeded || echo failed'
    said = machine.host.run("sh", "-c", script, "sh", *argv)
    assert said.endswith("succeeded\n") or "verif" in said or "certificate" in said, said
    return said.endswith("succeeded\n")


def test_join_and_leave(machine: Machine) -> None:
    """A-3.3-4: programs believe this home's servers while its root is in, and only then."""
    before = sorted(path.name for path in (machine.work / "certs").iterdir())
    bundle = (machine.work / "certs/ca-certificates.crt").read_bytes()
    assert machine.store(NAME, "available") == "True"
    assert machine.store(NAME, "holds", machine.root(0)) == "False"
    assert opens(machine, 0) == [False, False]
    for _ in range(2):  # once more is no harm
        machine.store(NAME, "add", machine.root(0), home(0).nickname)
        assert machine.store(NAME, "holds", machine.root(0)) == "True"
    assert opens(machine, 0) == [True, True]
    assert opens(machine, 1) == [False, False]
    (anchor,) = (machine.work / "local").iterdir()
    assert stat.S_IMODE(anchor.stat().st_mode) == 0o644
    machine.store(NAME, "verify", machine.url(0))
    assert "certificate verify failed" in machine.store(NAME, "verify", machine.url(1), fails=True)
    for _ in range(2):
        machine.store(NAME, "remove", machine.root(0), home(0).nickname)
        assert machine.store(NAME, "holds", machine.root(0)) == "False"
    assert opens(machine, 0) == [False, False]
    # As it was, the links and the hooks' view included: Java keeps its own copy by these.
    assert sorted(path.name for path in (machine.work / "certs").iterdir()) == before
    assert (machine.work / "certs/ca-certificates.crt").read_bytes() == bundle
    hooked = [line for line in (machine.work / "hooked").read_text().split() if "acmeiot" in line]
    assert [line[0] for line in hooked] == ["+", "-"]


def test_two_homes(machine: Machine) -> None:
    """Taking one home out leaves the other in."""
    for number in (0, 1):
        machine.store(NAME, "add", machine.root(number), home(number).nickname)
    machine.store(NAME, "remove", machine.root(0), home(0).nickname)
    assert opens(machine, 0) == [False, False]
    assert opens(machine, 1) == [True, True]


def test_after_half_of_each(machine: Machine) -> None:
    """A crash between the file and the bundle: the next add or remove makes it whole."""
    machine.store(NAME, "add", machine.root(0), home(0).nickname)
    (anchor,) = (machine.work / "local").iterdir()
    content = anchor.read_bytes()
    anchor.unlink()  # half removed
    machine.store(NAME, "remove", machine.root(0), home(0).nickname)
    assert machine.store(NAME, "holds", machine.root(0)) == "False"
    anchor.write_bytes(content)  # half added
    machine.store(NAME, "remove", machine.root(0), home(0).nickname)
    assert not anchor.exists()
    anchor.write_bytes(content)
    machine.store(NAME, "add", machine.root(0), home(0).nickname)
    assert opens(machine, 0) == [True, True]


def test_the_owners_own_file_stays(machine: Machine) -> None:
    """The owner's own copy of the root is held already, and is never taken out."""
    (machine.work / "local" / "mine.crt").write_bytes(home(0).root)
    machine.host.run("update-ca-certificates", env={"HOOK_LOG": "/dev/null"})
    assert machine.store(NAME, "holds", machine.root(0)) == "True"
    machine.store(NAME, "remove", machine.root(0), home(0).nickname)
    assert machine.store(NAME, "holds", machine.root(0)) == "True"
    assert opens(machine, 0) == [True, True]


# -- where the program fails


def store_with(tmp_path: Path, script: str) -> Debian:
    """Return a store whose program is this script."""
    program = tmp_path / "update"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "anchors").mkdir()
    bundle, conf = tmp_path / "bundle", tmp_path / "conf"
    return Debian(tmp_path / "anchors", bundle, str(program), conf)


def test_program_fails(tmp_path: Path) -> None:
    """The error names the store and what the program said, fit to be printed."""
    store = store_with(tmp_path, "printf 'no \\033[31mspace\\n' >&2; exit 7")
    with pytest.raises(AgentError, match=r"debian: \S+/update failed \(7\): no \?\[31mspace"):
        store.add(home(0).root, home(0).nickname)


def test_program_does_nothing(tmp_path: Path) -> None:
    """A program that ends well and puts nothing into the bundle has failed."""
    with pytest.raises(AgentError, match=r"update did not put .*acmeiot-\w+.crt into .*/bundle"):
        store_with(tmp_path, "exit 0").add(home(0).root, home(0).nickname)


def test_program_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not end is ended, with all it started."""
    monkeypatch.setattr(programs, "TIMEOUT", 0.5)
    store = store_with(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; sleep 60")
    with pytest.raises(AgentError, match="update: took too long"):
        store.add(home(0).root, home(0).nickname)
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline


def alive(pid: str) -> bool:
    """Tell whether a process runs; whoever adopts a dead one may take a moment to bury it."""
    try:
        return "State:\tZ" not in Path("/proc", pid, "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_program_missing(tmp_path: Path) -> None:
    """Without the program the store is not available, and says so when asked nevertheless."""
    store = store_with(tmp_path, "exit 0")
    assert store.available()
    (tmp_path / "update").unlink()
    assert not store.available()
    with pytest.raises(AgentError, match=r"debian: .*/update: .*No such file"):
        store.add(home(0).root, home(0).nickname)


def test_not_root(tmp_path: Path) -> None:
    """Who may not write into the directory does not have the store."""
    store = store_with(tmp_path, "exit 0")
    missing = Debian(tmp_path / "nothing", store.bundle, store.program)
    assert not missing.available()


@pytest.mark.parametrize("text", [b"", b"nonsense", home(0).root * 2])
def test_no_root(tmp_path: Path, text: bytes) -> None:
    """What is not one certificate is never written anywhere."""
    store = store_with(tmp_path, "exit 0")
    with pytest.raises(AgentError, match="a root is one certificate in PEM"):
        store.add(text, "acmeiot")
    assert list(store.directory.iterdir()) == []

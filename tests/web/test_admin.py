"""Every command over the admin socket: what it shows and does, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.web.client import Client, Json
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running, acmeiot
from tests.web.test_approval import answer_all, cert, pending

PAIR = ("printer.lan", "printer.local")


# -- reading


def test_status(server: Running, house: House, client: Client) -> None:
    house.issue(client)
    answer = server.ask("status")
    assert answer["directory"] == server.directory
    assert answer["root"]["sha256"] == server.root_hash
    assert answer["devices"]["approved"] >= 1
    assert answer["certificates"] >= 1
    assert (answer["approval"], answer["policy"]) == ("auto", "challenge")
    assert answer["clock"]["doubt"] is None
    assert answer["audit_broken_at"] is None
    assert answer["server"]["not_after"] - time.time() > 29 * 86400
    said = server.admin("status")
    for text in (server.directory, f"sha256:{server.root_hash}", "approval auto"):
        assert text in said
    assert "WARNING" not in said


def test_status_warns(make_server: Serve) -> None:
    """Specs 6: an audit that was altered, and a domain that the root does not cover."""
    running = make_server("--approval", "auto").start()
    running.ask("pair")
    running.ask("pair")
    running.stop()
    database = sqlite3.connect(running.state / "acmeiot.sqlite")
    database.execute("DROP TRIGGER audit_never_changes")
    database.execute("UPDATE audit SET subject = 'nobody' WHERE seq = 3")
    database.commit()
    database.close()
    running.arguments = (*running.arguments, "--domain", "lan", "--domain", "internal")
    answer = running.start().ask("status")
    assert answer["audit_broken_at"] == 3
    assert answer["uncovered_domains"] == ["internal"]
    warnings = [line for line in running.admin("status").splitlines() if "WARNING" in line]
    assert warnings == [
        "WARNING       the root does not cover internal: acmeiot rotate",
        "WARNING       the audit was altered at entry 3",
    ]
    running.stop()


def test_tables(server: Running, house: House, client: Client) -> None:
    """Human tables line up; the same facts stand in the JSON."""
    issued = house.issue(client, "table.lan", "table.local")
    for command, word in (("devices", "table.lan"), ("certs", f"{issued.leaf.serial_number:x}")):
        lines = server.admin(command).splitlines()
        (row,) = (line for line in lines if word in line)
        assert lines[0].split()[1] == "STATUS"
        at = lines[0].index("STATUS")
        assert row[at:].split()[0] in ("approved", "good")
        assert row[at - 1] == " "
        assert len(server.ask(command)[command]) == len(lines) - 1


def test_empty_tables(asking: Running) -> None:
    for command in ("devices", "certs"):
        assert asking.admin(command) == "none\n"
        assert asking.ask(command) == {command: []}


def test_audit(asking: Running, house: House) -> None:
    """Specs 6 "log and audit": what was decided and signed, by whom, chained."""
    asking.admin("pair")
    asking.admin("pair", "--window")
    client = asking.client()
    issued = house.issue(client)
    serial = f"{issued.leaf.serial_number:x}"
    asking.admin("revoke", serial)
    asking.admin("rotate")
    asking.admin("block", "printer.lan")
    entries = asking.ask("audit")["audit"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert len({entry["hash"] for entry in entries}) == len(entries)
    events = [entry["event"] for entry in entries]
    assert [e for e in events if e not in ("root", "intermediate")] == [
        "pair", "window", "approve", "issue", "revoke", "block",
    ]  # fmt: skip
    assert events.count("root") == 2
    (issue,) = (entry for entry in entries if entry["event"] == "issue")
    assert issue["subject"] == serial
    assert issue["detail"]["names"] == list(PAIR)
    (revoke,) = (entry for entry in entries if entry["event"] == "revoke")
    assert revoke["detail"]["by"] == "the owner"
    said = asking.admin("audit").splitlines()
    assert said[0].split() == ["SEQ", "TIME", "EVENT", "SUBJECT", "DETAIL"]
    assert len(said) == len(entries) + 1


# -- revoke


def test_revoke_by_serial_and_by_name(server: Running, house: House) -> None:
    client = server.client("127.0.0.31")
    first = house.issue(client, "twice.lan", "twice.local")
    second = house.issue(client, "twice.lan", "twice.local")
    serial = f"{first.leaf.serial_number:040X}"
    pairs = ":".join(serial[i : i + 2] for i in range(0, 40, 2))  # as openssl prints it
    said = server.admin("revoke", pairs, "--reason", "4")
    assert said == f"revoked {first.leaf.serial_number:x} (twice.lan twice.local)\n"
    assert cert(server, first.leaf.serial_number)["reason"] == "superseded"
    (revoked,) = server.ask("revoke", "TWICE.local")["revoked"]
    assert revoked["serial"] == f"{second.leaf.serial_number:x}"
    assert "revoked" in server.admin("certs")


# -- bad calls


def refused(*arguments: object, **options: Any) -> str:
    """Run a command that must fail with 1 or 2 and one line that names the wrong thing."""
    done = acmeiot(*arguments, **options)
    assert done.returncode in (1, 2), done
    assert done.stdout == "", done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("acmeiot"), lines
    return f"{done.returncode} {lines[0].partition(': ')[2]}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["approve", "nobody"], "1 'nobody' is not a device"),
        (["block", "8.8.8.8"], "1 '8.8.8.8' is not a device"),
        (["forget", ""], "1 device: a text is needed"),
        (["revoke", "beef"], "1 no living certificate has serial or name 'beef'"),
        (["revoke", "x.lan", "--reason", "6"], "1 reason: 6 is not one of 0, 1, 3, 4, 5, 9"),
        (["revoke", "x.lan", "--reason", "six"], "2 argument --reason: invalid int value: 'six'"),
        (["pair", "--minutes", "0"], "2 argument --minutes: '0' is not a number of minutes from 1"),
        (["pair", "--minutes", "1441"], "2 argument --minutes: '1441' is not"),
        (["pair", "--minutes", "\u00b2"], "2 argument --minutes: '\u00b2' is not"),
        (["pair", "--window", "-1"], "2 argument --window"),
        (["pair", "--note", "x" * 81], "1 note: a text of at most 80 characters"),
        (["approve"], "2 the following arguments are required: device"),
        (["status", "--jso"], "2 unrecognized arguments: --jso"),
        (["backup", "/nowhere/file"], "1 no terminal to ask for the passphrase"),
    ],
)
def test_bad_call(server: Running, arguments: list[str], said: str) -> None:
    before = server.ask("audit")
    command, *rest = arguments
    assert refused(command, "--state", server.state, *rest).startswith(said)
    assert server.ask("audit") == before


def test_a_device_cannot_be_decided_twice(asking: Running, house: House) -> None:
    client = asking.client()
    answer_all(client, house, client.order(*PAIR).json)
    device = pending(asking)["id"]
    asking.admin("approve", device)
    assert f"device {device} is approved" in refused("approve", "--state", asking.state, device)
    asking.admin("forget", device)
    assert f"device {device} is forgotten" in refused("approve", "--state", asking.state, device)


def test_an_ambiguous_device(asking: Running, house: House) -> None:
    for name in ("one.lan", "two.lan"):
        client = asking.client("127.0.0.41")
        answer_all(client, house, client.order(name).json)
    said = refused("approve", "--state", asking.state, "127.0.0.41")
    assert "names 2 devices; use the id" in said


def test_no_server(tmp_path: Path, server: Running) -> None:
    """Each command says that there is none, and where it looked; nothing is made there."""
    passphrase = tmp_path / "pass"
    passphrase.write_text("correct horse\n")
    file = tmp_path / "file"
    file.write_text("")
    for state in (tmp_path / "none", tmp_path, file):
        for line in (["status"], ["devices"], ["certs"], ["audit"], ["rotate"], ["pair"],
                     ["approve", "x"], ["block", "x"], ["forget", "x"], ["revoke", "x"],
                     ["backup", tmp_path / "out", "--passphrase-file", passphrase]):  # fmt: skip
            command, *rest = line
            said = refused(command, "--state", state, *rest)
            assert said.startswith(f"1 no server is running on the state {state}"), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pass"]


def test_a_dead_servers_socket(make_server: Serve) -> None:
    import signal

    running = make_server("--approval", "auto").start()
    running.stop(signal.SIGKILL)
    assert (running.state / "admin.sock").is_socket()
    assert "no server is running" in refused("status", "--state", running.state)


def test_somebody_elses_socket(tmp_path: Path) -> None:
    """A socket that hangs up or talks nonsense is no server."""
    for answer in (b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"):
        (tmp_path / "admin.sock").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "admin.sock"))
            listener.listen()
            stranger = threading.Thread(target=talk, args=(listener, answer))
            stranger.start()
            said = refused("status", "--state", tmp_path)
            stranger.join(10)
        assert said.startswith("1 the server"), said


def talk(listener: socket.socket, answer: bytes) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.recv(1000)
        peer.sendall(answer)


# -- the socket itself


class Unix(http.client.HTTPConnection):
    """HTTP over the admin socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def call(running: Running, method: str, path: str, body: bytes | None = None) -> tuple[int, Json]:
    connection = Unix(running.state / "admin.sock")
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/approve", b"", 400),
        ("/approve", b"{", 400),
        ("/approve", b"[]", 400),
        ("/approve", b'{"device": 7}', 400),
        ("/approve", b'{"device": "' + b"x" * 20000 + b'"}', 400),
        ("/window", b'{"seconds": -1}', 400),
        ("/window", b'{"seconds": true}', 400),
        ("/window", b'{"seconds": 1e9}', 400),
        ("/pair", b'{"note": 1}', 400),
        ("/revoke", b'{"cert": "x", "reason": true}', 400),
        ("/revoke", b'{"cert": "x", "reason": "1"}', 400),
        ("/revoke", b"{}", 400),
        ("/backup", b'{"passphrase": "short"}', 409),
        ("/backup", b"{}", 400),
        ("/nothing", b"{}", 404),
        ("/status", b"{}", 405),
    ],
)
def test_calls_that_cannot_be(server: Running, path: str, body: bytes, status: int) -> None:
    """What the commands never send; LuCI might."""
    got, answer = call(server, "POST", path, body)
    assert got == status, answer
    assert list(answer) == ["error"]
    assert answer["error"]
    assert call(server, "GET", "/status")[0] == 200


def test_the_socket_is_the_owners(server: Running) -> None:
    """Nobody else can open it, and no page of a browser reaches it."""
    found = (server.state / "admin.sock").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.getuid()
    for port in server.ports:
        assert b"pairing" not in plain_get(port, "/status")


def plain_get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(f"GET {path} HTTP/1.0\r\nHost: router.lan\r\n\r\n".encode())
        try:
            return peer.recv(4000)
        except ConnectionResetError:
            return b""

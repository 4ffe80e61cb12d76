"""A disk that is full or read-only under the whole server: said clearly, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from acmeiot.web.objects import NEW_ACCOUNT
from tests.crash.disk import Disk
from tests.crash.server import Server, one_line, options
from tests.crash.stubborn import Downloaded, Stubborn, ids
from tests.crash.whole import assert_whole
from tests.web.client import Answer, Client, b64
from tests.web.house import House
from tests.web.keys import certificate_key, request

REFUSALS = 3
ATTEMPTS = 1000  # the log of the database takes some more after the disk is full


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk."""
    at = tmp_path / "disk"
    at.mkdir()
    with Disk(at) as disk:
        yield disk


@pytest.fixture
def server(house: House, disk: Disk, tmp_path: Path) -> Iterator[Server]:
    """A server with its state on the disk, not yet started."""
    chosen = options(house, "--limits", "off")
    server = Server(disk.at / "var", chosen, tmp_path, disk.enter)
    with ExitStack() as stack:
        stack.callback(server.end)
        yield server


def new_client(server: Server, house: House) -> Stubborn:
    """Return a client with an account."""
    client = Stubborn(server.client(), house)
    client.register()
    return client


def order(client: Stubborn, name: str) -> tuple[str, dict[str, object]]:
    """Return URL and object of a new order."""
    made = client.post(client.client.directory["newOrder"], {"identifiers": ids(name)})
    return made.header("Location") or "", made.ok(201)


def assert_refused(answer: Answer) -> None:
    """Assert that the client is told in words that the server's disk is full."""
    detail = answer.is_problem("serverInternal", 503)["detail"]
    assert "no space left on the device" in detail, detail
    assert "Traceback" not in detail


def use_up(client: Client) -> None:
    """Write little by little until the server can store nothing at all any more."""
    refusals = 0
    for number in range(ATTEMPTS):
        answer = client.post(client.kid, {"contact": [f"mailto:owner{number}@printer.lan"]})
        if answer.status != 200:
            assert_refused(answer)
            refusals += 1
            if refusals == REFUSALS:
                return
    pytest.fail("the disk is full, but the server goes on storing")


def test_disk_fills_under_the_server(server: Server, disk: Disk, house: House) -> None:
    server.start()
    client = new_client(server, house)
    first = client.issue("first.lan")
    ready_url, ready = order(client, "ready.lan")
    client.prove(ready["authorizations"][0])  # type: ignore[index]
    open_url, open_ = order(client, "open.lan")
    disk.fill()
    use_up(client.client)
    refuse_everything(server, client, ready)
    assert client.post(ready_url).ok()["status"] == "ready"
    assert client.post(open_url).ok()["status"] == "pending"
    assert client.download(first.url) == first.pem
    status = server.status()
    assert (status["certificates"], status["audit_broken_at"]) == (1, None)
    disk.free()
    late = client.finish(ready_url, ready, ("ready.lan",))
    client.prove(open_["authorizations"][0])  # type: ignore[index]
    later = client.finish(open_url, open_, ("open.lan",))
    last = new_client(server, house).issue("last.lan")
    assert server.running.poll() is None
    check_after(server, disk, [first, late, later, last])


def refuse_everything(server: Server, client: Stubborn, ready: dict[str, object]) -> None:
    """Assert that whatever must be stored is refused, to old clients and to a new one."""
    csr = b64(request(certificate_key(), ["ready.lan"]))
    assert_refused(client.post(str(ready["finalize"]), {"csr": csr}))
    assert_refused(client.post(client.client.directory["newOrder"], {"identifiers": ids("x.lan")}))
    stranger = server.client()
    assert_refused(stranger.post(server.url(NEW_ACCOUNT), {}))
    done = server.admin("pair")
    assert "no space left on the device" in one_line(done)


def check_after(server: Server, disk: Disk, downloaded: list[Downloaded]) -> None:
    """Assert that the state is whole, before and after a clean end."""
    assert server.status()["certificates"] == len(downloaded)
    assert server.terminate() == 0
    assert_whole(disk.copy(server.state, server.work / "copy"), downloaded)
    log = server.log.read_text()
    assert "no space left on the device" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_start_on_a_bad_disk(server: Server, disk: Disk, house: House, trouble: str) -> None:
    """A first start: one line, and it works later. A home that is there is served on if it can."""
    server.start()
    downloaded = new_client(server, house).issue("first.lan")
    assert server.terminate() == 0
    other = Server(disk.at / "other", server.options, server.work / "second", disk.enter)
    other.work.mkdir()
    if trouble == "full":
        disk.fill()
    else:
        disk.protect("ro")
    word = {"full": "no space left", "read-only": "read-only"}[trouble]
    if trouble == "full":
        server.start()
        assert server.status()["certificates"] == 1
        server.kill()
    for each in (other,) if trouble == "full" else (server, other):
        said = each.refused()
        assert word in said.lower(), said
        assert str(each.state) in said, said
    if trouble == "full":
        disk.free()
    else:
        disk.protect("rw")
    other.start()
    other.kill()
    server.start()
    assert len(server.roots) == 1
    again = new_client(server, house).issue("second.lan")
    server.kill()
    assert_whole(disk.copy(server.state, server.work / "copy"), [downloaded, again])


def test_backup_to_a_full_disk(server: Server, disk: Disk, house: House, tmp_path: Path) -> None:
    server.start()
    new_client(server, house).issue("first.lan")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    target = disk.at / "home.backup"
    arguments = (target, "--passphrase-file", passphrase)
    disk.fill()
    said = one_line(server.admin("backup", *arguments))
    assert said == f"cannot write {target}: No space left on device"
    assert {path.name for path in disk.seen(disk.at).iterdir()} == {"var", "ballast"}
    disk.free()
    done = server.admin("backup", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["bytes"] == disk.seen(target).stat().st_size

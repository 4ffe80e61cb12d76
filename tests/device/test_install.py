"""Files in use change together or not at all, and come back if the service does not take them."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acmeiot import durable
from acmeiot.client import tls
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.device import install, status
from acmeiot.device.install import Installer, InstallError, Proof, Targets
from acmeiot.device.reload import reloader
from acmeiot.device.servers import Pair
from tests.device.rig import LABEL, Rig
from tests.ports import free_ports


def pair(number: int) -> Pair:
    """Return a pair that can be told from others."""
    return Pair(Path(f"/{number:x}"), b"chain %d" % number, b"key %d" % number)


@pytest.fixture(params=["one directory", "two directories", "one file"])
def targets(tmp_path: Path, request: pytest.FixtureRequest) -> Targets:
    """Where a service's files may lie."""
    (tmp_path / "private").mkdir()
    key, chain = tmp_path / "key.pem", tmp_path / "cert.pem"
    if request.param == "two directories":
        key = tmp_path / "private" / "key.pem"
    return Targets(chain if request.param == "one file" else key, chain)


def test_files_are_put_and_replaced(targets: Targets) -> None:
    for number in (1, 2, 3):
        content = targets.content(pair(number))
        targets.put(content)
        assert targets.found() == content
        assert targets.key.stat().st_mode & 0o777 == 0o600
    if targets.key != targets.chain:
        assert targets.chain.stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_behind(targets: Targets) -> None:
    for number in range(5):
        targets.put(targets.content(pair(number)))
    files = [p for p in targets.chain.parent.rglob("*") if p.is_file() and not p.is_symlink()]
    assert len(files) == (1 if targets.key == targets.chain else 2)


def test_owner_and_mode(tmp_path: Path) -> None:
    targets = Targets(tmp_path / "key", tmp_path / "cert", os.getuid(), os.getgid(), 0o640)
    targets.put(targets.content(pair(1)))
    assert targets.key.stat().st_mode & 0o777 == 0o640


def test_the_service_reaches_its_files_whatever_the_umask(targets: Targets) -> None:
    """The agent's unit has UMask=0077; the service is another user."""
    before = os.umask(0o077)
    try:
        targets.put(targets.content(pair(1)))
        targets.put(targets.content(pair(2)))
    finally:
        os.umask(before)
    folders = {path.resolve().parent for path in (targets.key, targets.chain)}
    made = {*folders, *(each.parent for each in folders)} - {
        targets.chain.parent, targets.key.parent, *targets.chain.parent.parents,
    }  # fmt: skip
    assert {each.stat().st_mode & 0o777 for each in made} <= {0o755}
    assert targets.key.stat().st_mode & 0o777 == 0o600
    if targets.key != targets.chain:
        assert targets.chain.stat().st_mode & 0o777 == 0o644


def test_root_does_not_work_in_others_directories(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in the place of the old certificate would have any file of the system copied."""
    secret = tmp_path / "shadow"
    secret.write_bytes(b"root's own")
    targets.chain.symlink_to(secret)
    targets.chain.parent.chmod(0o757)
    installer = Installer(targets)
    for uid in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        if uid == 0:
            with pytest.raises(InstallError, match=f"others than root can write to {tmp_path}"):
                installer.install(pair(1), "printer.lan")
            assert sorted(targets.chain.parent.iterdir()) == sorted(
                [targets.chain, secret, tmp_path / "private"]
            )
    targets.chain.parent.chmod(0o755)
    installer.install(pair(1), "printer.lan")


# What changes what is seen in a directory.
STEPS = ("replace", "symlink_to", "unlink", "mkdir", "rmdir")


class Cut(BaseException):
    """The power is gone."""


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Call something before and after each change to the file system's names."""

    def install_hook(look: Callable[[], None]) -> None:
        for name in STEPS:
            real = getattr(Path, name)

            def step(path: Path, *args: object, real: object = real, **how: object) -> object:
                look()
                result = real(path, *args, **how)  # type: ignore[operator]
                look()
                return result

            monkeypatch.setattr(Path, name, step)

    return install_hook


@pytest.mark.parametrize("factory", ["links", "files", "nothing"])
def test_nobody_ever_sees_a_key_beside_anothers_certificate(
    tmp_path: Path, at_each_step: Callable[[Callable[[], None]], None], factory: str
) -> None:
    targets = Targets(tmp_path / "key.pem", tmp_path / "cert.pem")
    if factory == "files":
        targets.key.write_bytes(b"key 0")
        targets.chain.write_bytes(b"chain 0")
    if factory == "links":
        targets.put(targets.content(pair(0)))
    seen: list[tuple[bytes | None, bytes | None]] = []
    at_each_step(lambda: seen.append(tuple(targets.found().values())))  # type: ignore[arg-type]
    targets.put(targets.content(pair(1)))
    before = (None, None) if factory == "nothing" else (b"key 0", b"chain 0")
    assert list(dict.fromkeys(seen)) == [before, (b"key 1", b"chain 1")]


@pytest.mark.parametrize("factory", ["links", "files", "nothing"])
def test_a_power_cut_at_any_step(
    tmp_path: Path, at_each_step: Callable[[Callable[[], None]], None], factory: str
) -> None:
    left = 0

    def cut() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Cut

    at_each_step(cut)
    for number in range(1, 200):
        folder = tmp_path / str(number)
        folder.mkdir()
        targets = Targets(folder / "key.pem", folder / "cert.pem")
        if factory == "files":
            targets.key.write_bytes(b"key 0")
            targets.chain.write_bytes(b"chain 0")
        if factory == "links":
            left = 0
            targets.put(targets.content(pair(0)))
        left = number
        try:
            targets.put(targets.content(pair(1)))
        except Cut:
            left = 0
            before = (None, None) if factory == "nothing" else (b"key 0", b"chain 0")
            assert tuple(targets.found().values()) in (before, (b"key 1", b"chain 1"))
            targets.put(targets.content(pair(2)))
            assert tuple(targets.found().values()) == (b"key 2", b"chain 2")
        else:
            assert number > 5
            return
    pytest.fail("there are more steps than that")


def test_a_full_flash_leaves_the_old_files(
    targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets.put(targets.content(pair(1)))
    full = OSError(28, "No space left on device")
    written = 0

    def write_new(path: Path, data: bytes, mode: int, owner: durable.Owner) -> None:
        nonlocal written
        written += 1
        real(path, data[:2], mode, owner)
        if written == (1 if targets.key == targets.chain else 2):
            raise full

    real = durable.write_new
    monkeypatch.setattr(durable, "write_new", write_new)
    with pytest.raises(InstallError, match=r"cannot write .*cert.pem: No space left on device"):
        Installer(targets).install(pair(2), "printer.lan")
    assert targets.found() == targets.content(pair(1))
    monkeypatch.undo()
    Installer(targets).install(pair(3), "printer.lan")
    assert targets.found() == targets.content(pair(3))


# -- reload


def test_a_reload_command_runs_without_a_shell(tmp_path: Path) -> None:
    mark = tmp_path / "$(id) ; touch x"
    reloader(f"touch '{mark}'")()
    assert mark.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo it is; echo broken >&2; exit 3'", "failed with exit code 3: it is broken"),
        ("/nowhere/reload", "cannot run /nowhere/reload: No such file or directory"),
        ("sh -c 'kill -9 $$'", "was ended by signal 9"),
        ("sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x; exit 1'", "exit code 1: xxx"),
    ],
)
def test_a_failing_command_is_quoted(command: str, said: str) -> None:
    with pytest.raises(AgentError) as caught:
        reloader(command)()
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_command_that_hangs_ends_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    command = f"sh -c 'sleep 60 & echo $! > {mark}; wait'"
    with pytest.raises(AgentError, match="did not end in 1 s"):
        reloader(command, timeout=1.0)()
    started = Path(f"/proc/{mark.read_text().strip()}")
    for _ in range(100):  # a signal takes a moment
        if not started.exists() or "State:\tZ" in (started / "status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


@pytest.mark.parametrize("command", ["", "   ", "'unfinished"])
def test_what_is_no_command(command: str) -> None:
    with pytest.raises(UsageError, match="--reload"):
        reloader(command)


# -- the proof, with a real service


class Service:
    """A TLS service that reads its files when told to, as a web server does."""

    def __init__(self, targets: Targets) -> None:
        self.targets, self.obeys, self.reloads = targets, True, 0
        self.port = free_ports(1)[0]
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._context: ssl.SSLContext | None = None

    def reload(self) -> None:
        """Read the files; raise AgentError if they do not fit, as a failing command does."""
        self.reloads += 1
        if not self.obeys:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.targets.chain, self.targets.key)
        except (OSError, ssl.SSLError) as error:
            raise AgentError(f"the service did not start: {error}") from None
        self._context = context

    def serve(self) -> None:
        """Shake hands until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if self._context is not None:
                        self._context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    def stop(self) -> None:
        """Close the listener."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def service(rig: Rig) -> Iterator[Service]:
    """The device's own service, on the rig's files."""
    service = Service(rig.targets)
    thread = threading.Thread(target=service.serve)
    thread.start()
    rig.settings["targets"] = rig.targets
    rig.reload = service.reload
    rig.proof = Proof("127.0.0.1", service.port, asked=True, presented=tls.presented_chain)
    yield service
    service.stop()
    thread.join()


def served(service: Service) -> bytes:
    """Return the certificate that the service shows, DER."""
    return tls.presented_chain("127.0.0.1", service.port, f"{LABEL}.lan", 5)[0]


def test_the_new_certificate_is_seen_served(rig: Rig, service: Service) -> None:
    outcome = rig.good()
    assert f"served at 127.0.0.1 port {service.port}" in outcome.said
    assert served(service) == install.first(rig.chain())
    rig.good()
    assert service.reloads == 1, "a service that has its files is left in peace"


def test_a_service_that_keeps_the_old_one_gets_its_files_back(
    rig: Rig, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_PROOF_SECONDS", 1)
    first = rig.good()
    old = rig.targets.found()
    rig.clock.ahead = first.renew_at - rig.clock.now() + 1
    service.obeys = False
    for _ in range(3):
        outcome = rig.visit()
        assert outcome.state == status.FAILED
        assert "does not serve the new certificate" in outcome.said
        assert "the old files are back" in outcome.said
        assert rig.targets.found() == old
        assert served(service) == install.first(rig.chain())
    assert len(rig.certs()) == 2, "one was ordered, not one for each failure"
    service.obeys = True
    second = rig.good()
    assert second.serial != first.serial
    assert rig.certs() == [second.serial]
    assert served(service) == install.first(rig.chain())


def test_a_reload_that_fails_puts_the_old_files_back(rig: Rig, service: Service) -> None:
    first = rig.good()
    old = rig.targets.found()
    rig.clock.ahead = first.renew_at - rig.clock.now() + 1
    rig.reload = reloader("false")
    assert "false failed with exit code 1" in rig.visit().said
    assert rig.targets.found() == old


def test_a_service_that_nobody_named_is_judged_only_if_it_served_the_old_one(
    rig: Rig, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_PROOF_SECONDS", 1)
    rig.proof = Proof("127.0.0.1", service.port, asked=False, presented=tls.presented_chain)
    service.obeys = False
    first = rig.good()  # there is nothing at that port, or something else
    service.obeys = True
    service.reload()
    service.obeys = False
    rig.clock.ahead = first.renew_at - rig.clock.now() + 1
    assert "does not serve the new certificate" in rig.visit().said


def test_files_that_somebody_changed_are_put_right(rig: Rig, service: Service) -> None:
    rig.good()
    rig.targets.chain.unlink()
    rig.targets.chain.write_bytes(b"something else")
    rig.good()
    assert rig.targets.chain.read_bytes() == rig.chain()
    assert service.reloads == 2

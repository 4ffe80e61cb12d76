"""The server as a whole under a clock that a test sets: waits, doubts, renewals, the end.

Fifteen years of it are in test_daemon_years.py.
"""

from __future__ import annotations

import dataclasses
import errno
import http.client
import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from acmeiot import RELEASED, clock, daemon
from acmeiot.ca.issue import names_in
from acmeiot.ca.profiles import names_responder, validity
from acmeiot.config import Config, ConfigError, load
from acmeiot.core.records import LeafRequest
from acmeiot.daemon import Daemon
from acmeiot.events import LogEvents
from tests.ports import free_ports
from tests.test_clock import FakeTime
from tests.web.client import Client, Wire, binding, lifetime
from tests.web.house import House
from tests.web.running import NAMES, Running

DAY = 86400
PAIR = ("printer.lan", "printer.local")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as house:
        yield house


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The system's clock, which begins with the real time and then stands."""
    fake = FakeTime(time.time())
    monkeypatch.setattr(clock, "time", fake)
    return fake


class Home:
    """A daemon in this process."""

    def __init__(self, state: Path, house: House, **flags: Any) -> None:
        acme, plain = self.ports = free_ports()
        self.config: Config = load(
            None,
            {
                "state": str(state), "name": ["router.lan", "router.local"], "approval": "auto",
                "listen": f"127.0.0.1:{acme}", "http_listen": f"127.0.0.1:{plain}",
                "resolver": f"127.0.0.1:{house.dns_port}", "http01_port": house.http_port,
                "allow_loopback": True, "limits": "off", **flags,
            },
        )  # fmt: skip
        self.state = state
        self.daemon: Daemon | None = None

    def start(self) -> Daemon:
        """Open and serve."""
        made = Daemon.open(self.config, LogEvents(), lambda: False)
        assert made is not None
        made.listen()
        self.run(made)
        return made

    def run(self, made: Daemon) -> None:
        """Serve, in a thread."""
        self.daemon, self.thread = made, threading.Thread(target=made.run)
        self.thread.start()

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.stop()
            self.thread.join(15)
            assert not self.thread.is_alive()
        self.daemon = None

    def client(self, *, register: bool = True) -> Client:
        root = self.state.with_name("root.pem")
        root.write_bytes(self.plain("/root.pem")[1])
        wire = Wire(("127.0.0.1", self.ports[0]), root)
        client = Client(wire, f"https://router.lan:{self.ports[0]}/acme/directory")
        if register:
            client.register().ok(201)
        return client

    def plain(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body of a plain HTTP answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[1], timeout=20)
        try:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def shown(self) -> list[x509.Certificate]:
        """Return the chain on the disk, after checking that the handshake shows its first."""
        chain = x509.load_pem_x509_certificates((self.state / "tls/server.pem").read_bytes())
        pem = ssl.get_server_certificate(("127.0.0.1", self.ports[0]))
        assert x509.load_pem_x509_certificate(pem.encode()) == chain[0]
        return chain


@pytest.fixture
def home(tmp_path: Path, house: House) -> Iterator[Callable[..., Home]]:
    """Make homes that end with the test."""
    with ExitStack() as stack:

        def make(**flags: Any) -> Home:
            home = Home(tmp_path / "state", house, **flags)
            stack.callback(home.stop)
            return home

        yield make
        while Wire.opened:
            Wire.opened.pop().close()


Make = Callable[..., Home]


# -- the clock gate (decision 9)


def test_a_root_is_not_made_before_the_time_is_known(
    home: Make, now: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Specs 6 "no clock at boot": it waits, says why, and goes on by itself."""
    caplog.set_level(logging.INFO, "acmeiot")
    here, sane = home(), now.at
    now.at = 0
    opened: list[Daemon | None] = []
    waiting = threading.Thread(
        target=lambda: opened.append(Daemon.open(here.config, LogEvents(), lambda: False))
    )
    waiting.start()
    until(lambda: "waiting for the time" in caplog.text)
    assert not (here.state / "ca").exists()
    assert not opened
    now.at = sane
    waiting.join(10)
    (made,) = opened
    assert made is not None
    made.listen()
    here.run(made)
    assert [record.message for record in caplog.records if "1970" in record.message]


def until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_whoever_waits_for_the_time_can_be_stopped(home: Make, now: FakeTime) -> None:
    here = home()
    now.at = RELEASED - 1
    assert Daemon.open(here.config, LogEvents(), lambda: True) is None
    now.at = time.time()
    here.start()  # nothing was left locked or half made


def test_nothing_is_signed_while_the_clock_is_in_doubt(
    home: Make, house: House, now: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with Retry-After; what needs no signature goes on; all is well again with the time."""
    here = home()
    running = here.start()
    client = here.client()
    issued = house.issue(client)
    ready = client.order(*PAIR).ok(201)
    asked, unasked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(issued.leaf, issued.chain[1], kind)
        .build()
        .public_bytes(Encoding.DER)
        for kind in (hashes.SHA256(), hashes.SHA1())
    )
    before = here.plain("/ocsp", asked)
    crl = here.plain("/crl")
    sane, now.at = now.at, now.at - 3 * DAY

    for answer in (
        client.order(*PAIR),
        client.finalize(ready),
    ):
        problem = answer.is_problem("serverInternal", 503)
        assert "clock" in problem["detail"]
        assert int(answer.header("Retry-After") or "0") > 0
    client.post(client.kid).ok()
    client.chain(issued.order["certificate"])
    client.other()
    assert here.plain("/trust")[0] == 200
    assert here.plain("/ocsp", asked) == before
    assert here.plain("/ocsp", unasked) == (200, bytes.fromhex("30030a0103"))  # tryLater
    assert here.plain("/crl") == crl
    status, said = here.plain(f"/crl/{running._authority.roots()[0].id}.crl")
    assert (status, b"clock" in said) == (503, True)
    doubt = running.status()["clock"]
    assert isinstance(doubt, dict)
    assert "went back" in doubt["doubt"]
    with pytest.raises(ValueError, match="no new root is made now: the clock went back"):
        running.rotate()
    caplog.clear()
    caplog.set_level(logging.INFO, "acmeiot")
    running.upkeep()
    running.upkeep()
    assert len([r for r in caplog.records if r.message.startswith("clock: ")]) == 1

    now.at = sane
    client.finalize(ready).ok()
    house.issue(client)
    assert running.status()["clock"] == {"now": int(sane), "doubt": None}


def test_a_known_home_is_served_before_the_time_is_known(
    home: Make, house: House, now: FakeTime
) -> None:
    """After a power cut the router wakes up in the past; roots, pages and TLS are there."""
    here = home()
    here.start()
    client = here.client()
    house.issue(client)
    here.stop()
    sane, now.at = now.at, now.at - 400 * DAY
    running = here.start()
    client.nonces.clear()
    client.order(*PAIR).is_problem("serverInternal", 503)
    assert here.plain("/trust")[0] == 200
    server = running.status()["server"]
    assert isinstance(server, dict)
    assert server["not_after"] > sane + 28 * DAY, "the one from before is used again"
    now.at = sane
    running.upkeep()
    house.issue(client)
    server = running.status()["server"]
    assert isinstance(server, dict)
    assert server["not_after"] > sane + 28 * DAY


def test_ntp_mends_what_a_clock_in_the_future_did(
    home: Make, house: House, now: FakeTime, tmp_path: Path
) -> None:
    """A stray date among its files sent the router years ahead, and nobody had set its clock."""
    heard = tmp_path / "clock-set"
    here = home(clock_set_file=str(heard), leaf_days=10)
    now.up = 299
    heard.touch()
    here.start()
    house.issue(here.client())
    here.stop()
    heard.unlink()

    true, now.at = now.at, now.at + 300 * DAY
    running = here.start()
    client = here.client()
    client.order(*PAIR).is_problem("serverInternal", 503)
    assert "nobody has set it" in str(running.status()["clock"])
    now.up = 300  # no NTP, so it is believed
    running.upkeep()
    house.issue(client)
    assert lifetime(here.shown()[0])[0] > true + 200 * DAY
    here.stop()

    now.at = true + 60
    running = here.start()
    assert "which is before" in str(running.status()["clock"])
    heard.touch()
    running.upkeep()
    assert lifetime(here.shown()[0])[0] < true
    house.issue(here.client())


@pytest.mark.parametrize("years", [6, 11])
@pytest.mark.parametrize("late", [False, True], ids=["NTP first", "NTP later"])
def test_a_start_years_ahead_costs_nothing(
    years: int, late: bool, home: Make, house: House, now: FakeTime, tmp_path: Path
) -> None:
    """Issuers are succeeded by a clock that was wrong: with the right one all is as it was."""
    heard = tmp_path / "clock-set"
    here = home(clock_set_file=str(heard))
    now.up = 400
    root = here.start().ready_line
    client = here.client()
    issued = house.issue(client)
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(issued.leaf, issued.chain[1], hashes.SHA256())
        .build()
        .public_bytes(Encoding.DER)
    )
    answered = ocsp.load_der_ocsp_response(here.plain("/ocsp", asked)[1])
    assert answered.certificate_status is ocsp.OCSPCertStatus.GOOD
    issuers = here.shown()[1:]
    here.stop()

    true, now.at = now.at, now.at + years * 365 * DAY
    running = here.start()
    assert here.shown()[1] != issuers[0]
    for _ in range(3):
        running.upkeep()
    here.stop()

    now.at = true + 60
    if late:
        running = here.start()
        assert "which is before" in str(running.status()["clock"])
        running.upkeep()
        assert here.shown()[1] != issuers[0]
        heard.touch()
        running.upkeep()
    else:
        heard.touch()
        running = here.start()
    assert running.ready_line == root
    assert running.status()["clock"] == {"now": int(now.at), "doubt": None}
    assert here.shown()[1:] == issuers
    assert lifetime(here.shown()[0])[0] < true
    client.nonces.clear()
    client.chain(house.issue(client).order["certificate"])
    answered = ocsp.load_der_ocsp_response(here.plain("/ocsp", asked)[1])
    assert answered.certificate_status is ocsp.OCSPCertStatus.GOOD


def test_ntp_cannot_go_back_before_the_home(home: Make, now: FakeTime, tmp_path: Path) -> None:
    """There is no issuer from before: the time is doubted, as it is without NTP."""
    heard = tmp_path / "clock-set"
    here = home(clock_set_file=str(heard))
    heard.touch()
    root = here.start().ready_line
    here.stop()
    now.at -= DAY
    running = here.start()
    assert running.ready_line == root
    assert "which is before" in str(running.status()["clock"])


def test_the_servers_certificate_is_kept_from_start_to_start(home: Make, now: FakeTime) -> None:
    """No flash is written for a start; other names, a cut file or a late hour make a new one."""
    here = home()

    def after_a_start() -> list[x509.Certificate]:
        here.start()
        chain = here.shown()
        here.stop()
        return chain

    first = after_a_start()
    assert after_a_start() == first
    here.config = dataclasses.replace(here.config, name=("router.lan", "gate.lan"))
    renamed = after_a_start()
    assert renamed[0] != first[0]
    here.config = dataclasses.replace(here.config, name=("router.lan", "router.local"))
    again = after_a_start()
    assert again[0] not in (first[0], renamed[0])
    pem = here.state / "tls/server.pem"
    pem.write_bytes(pem.read_bytes()[:900])
    mended = after_a_start()
    assert mended[0] != again[0]
    now.at += 21 * DAY
    assert after_a_start()[0] != mended[0]


def test_the_servers_certificate_sends_nobody_to_the_responder(home: Make) -> None:
    """Firefox asks it, and it has no record of this one; nor does one from before stay."""
    here = home()
    authority = here.start()._authority
    leaf = here.shown()[0]
    assert not names_responder(leaf)
    here.stop()
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    old = authority.issue(LeafRequest(spki, names_in(leaf), "strict", *validity(leaf)))
    served = here.state / "tls/server.pem"
    new, earlier = (
        ssl.DER_cert_to_PEM_cert(der) for der in (leaf.public_bytes(Encoding.DER), old.der)
    )
    assert new in served.read_text()
    served.write_text(served.read_text().replace(new, earlier))
    here.start()
    assert not names_responder(here.shown()[0])


def test_a_clock_set_back_behind_the_issuer_is_not_believed(
    home: Make, house: House, now: FakeTime
) -> None:
    """Decision 9: a leaf made then would begin before its issuer, which no verifier takes."""
    here = home()
    here.start()
    client = here.client()
    now.at -= 600
    client.order(*PAIR).is_problem("serverInternal", 503)
    now.at += 600
    house.issue(client)


def test_a_leaf_dated_ahead_does_not_stop_the_clock(
    home: Make, house: House, now: FakeTime
) -> None:
    """R-21: notBefore may lie 30 days ahead, and the server restarts in a minute."""
    here = home()
    here.start()
    client = here.client()
    ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now.at + 29 * DAY))
    house.issue(client, notBefore=ahead)
    here.stop()
    now.at += 60
    here.start()
    client.nonces.clear()
    house.issue(client)


# -- what time ends


def test_a_pairing_key_expires(home: Make, now: FakeTime) -> None:
    """R-18."""
    here = home(require_pairing_key=True)
    owner = here.start()._core.owner
    client = here.client(register=False)
    url = client.directory["newAccount"]
    for wait, answered in ((61, 403), (59, 201)):
        key = owner.accounts.make_pairing_key(60, "")
        now.at += wait
        eab = binding(key.kid, key.key, client.key.jwk, url)
        assert client.register(externalAccountBinding=eab).status == answered


def test_the_pairing_window_closes(home: Make, house: House, now: FakeTime) -> None:
    """Decision 5."""
    here = home(approval="ask", approval_wait=0)
    running = here.start()
    running._core.owner.devices.open_window(600)
    house.issue(here.client())
    now.at += 601
    client = here.client()
    (url,) = client.order("late.lan").ok(201)["authorizations"]
    client.post(house.answer(client, client.post(url).ok())["url"], {}).ok()
    (one,) = client.poll(url).ok()["challenges"]
    assert one["error"]["type"].endswith(":userActionRequired")
    assert running.status()["window_ends"] is None


# -- what time brings


def test_the_servers_certificate_is_renewed_without_a_restart(
    home: Make, now: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    here = home()
    running = here.start()
    first = here.shown()[0]
    assert lifetime(first)[1] - now.at > 29 * DAY
    now.at += 19 * DAY
    running.upkeep()
    assert here.shown()[0] == first
    now.at += DAY + 7200
    running.upkeep()
    second = here.shown()[0]
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    assert lifetime(second)[1] - now.at > 29 * DAY


def test_a_new_root_is_in_the_handshake_at_once(home: Make, now: FakeTime) -> None:
    here = home()
    running = here.start()
    before = here.shown()
    running.rotate()
    after = here.shown()
    assert after[0] != before[0]
    assert after[-1] != before[-1]
    assert after[-1].public_bytes(Encoding.PEM) == here.plain("/root.pem")[1]


def test_upkeep_goes_on_after_a_failure(
    home: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk today, a bug tomorrow: the day after, certificates are renewed again."""
    monkeypatch.setattr(daemon, "_UPKEEP", 0.01)
    failures: list[Exception] = [ZeroDivisionError("a bug"), OSError(errno.ENOSPC, "disk full")]
    calls = []

    def upkeep(self: Daemon) -> None:
        calls.append(self)
        if len(calls) > 1 and failures:
            raise failures.pop()

    here = home()
    made = Daemon.open(here.config, LogEvents(), lambda: False)
    assert made is not None
    made.listen()
    monkeypatch.setattr(Daemon, "upkeep", upkeep)
    here.run(made)
    until(lambda: len(calls) > 5)
    here.stop()
    assert "disk full; trying again in an hour" in caplog.text
    assert "fault: upkeep: ZeroDivisionError('a bug')" in caplog.text


def test_a_domain_that_the_root_does_not_cover(
    home: Make, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The owner added a domain: said at the start and in the status; `rotate` helps."""
    here = home()
    here.start()
    here.stop()
    there = home(domain=["lan", "internal"])
    running = there.start()
    assert "the root does not cover .internal: run `acmeiot rotate`" in caplog.text
    assert running.status()["uncovered_domains"] == ["internal"]
    client = there.client()
    problem = client.order("printer.internal").is_problem("rejectedIdentifier", 403)
    assert "acmeiot rotate" in problem["detail"]
    running.rotate()
    assert running.status()["uncovered_domains"] == []
    client.order("printer.internal").ok(201)


# -- starting and stopping


def test_what_cannot_be_configured_leaves_no_trace(home: Make, tmp_path: Path) -> None:
    for flags in ({"resolver": "8.8.8.8"}, {"name": ["router.example.com"]}):
        with pytest.raises(ConfigError):
            Daemon.open(home(**flags).config, LogEvents(), lambda: False)
    assert list(tmp_path.iterdir()) == []


def test_without_ipv6_the_default_addresses_are_ipv4_alone(
    home: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel without IPv6 is no reason not to serve; an address that was named is."""
    made, tried = home().start(), []

    def add(host: str, _port: int) -> None:
        tried.append(host)
        if ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "cannot listen on :: port 8555: no IPv6")

    made._config = load(None, {})
    made._bind("listen", add)
    assert tried == ["0.0.0.0", "::"]
    assert "no IPv6" in caplog.text
    made._config = load(None, {"listen": ["[fd00::1]:8555"]})
    with pytest.raises(OSError, match="no IPv6"):
        made._bind("listen", add)


def test_policy_follows_the_lease_file(home: Make, tmp_path: Path) -> None:
    """Decision 5: `lease` where there is a table, unless a test names the resolver."""
    leases = tmp_path / "dhcp.leases"
    for there, resolver, policy, rule in (
        (False, [], "", "challenge"),
        (True, [], "", "lease"),
        (True, ["127.0.0.1"], "", "challenge"),
        (True, ["127.0.0.1"], "lease", "lease"),
        (True, [], "challenge", "challenge"),
    ):
        leases.unlink(missing_ok=True)
        if there:
            leases.write_text("")
        here = home(lease_files=[str(leases)], resolver=resolver, policy=policy, mdns=False)
        assert here.start().status()["policy"] == rule
        here.stop()


def test_it_ends_in_the_middle_of_a_proof(tmp_path: Path, house: House) -> None:
    """SIGTERM while a slow device is asked: a clean end, soon; the proof can be sought again."""
    options = (
        *NAMES, "--resolver", f"127.0.0.1:{house.dns_port}", "--http01-port", f"{house.http_port}",
        "--allow-loopback", "--approval", "auto", "--limits", "off",
    )  # fmt: skip
    running = Running(tmp_path / "state", options).start()
    client = running.client()
    order = client.order("asleep.lan").ok(201)
    (url,) = order["authorizations"]
    one = house.answer(client, client.post(url).ok())
    house.delays[f"/.well-known/acme-challenge/{one['token']}"] = 8
    assert client.post(one["url"], {}).ok()["status"] == "processing"
    began = time.monotonic()
    assert running.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 7
    assert "Traceback" not in running.log.read_text()
    house.delays.clear()
    running.start()
    client.nonces.clear()
    assert client.post(url).ok()["status"] == "pending"
    house.prove(client, order)
    client.wire.close()
    running.stop()

"""A device and a real server: joining, staying, renewing, changing its name."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.client import tls
from acmeiot.client.network import Network
from acmeiot.client.objects import Renewal
from acmeiot.client.tls import Root
from acmeiot.device import requests, status
from acmeiot.device.account import Account
from acmeiot.device.agent import LONGEST_PAUSE
from acmeiot.device.requests import Request
from acmeiot.device.servers import Facts
from tests.device.conftest import Serve
from tests.device.rig import (
    ELSEWHERE,
    HOME,
    LABEL,
    NAMES,
    WIFI,
    FakeLan,
    Rig,
    certs,
    subject_names,
)
from tests.web.house import House
from tests.web.running import Running

DAY = 86400


def contacts(rig: Rig) -> tuple[str, ...]:
    """Return the contacts of this device's account, as the server has them."""
    (server,) = rig.state.servers()
    facts = server.facts()
    root = Root.of(tls.split_pem(server.root())[0])
    with Account(server, rig.lan.again(facts.url, root.sha256), root, rig.clock) as account:
        return account.client().register(only_existing=True).contacts


def test_a_new_device_gets_its_certificate(rig: Rig, server: Running) -> None:
    outcome = rig.good()
    leaf = rig.leaf()
    assert subject_names(leaf) == NAMES  # A-3.2.3-3
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"  # A-3.2.3-2
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA384)
    assert contacts(rig) == (f"https://{LABEL}.lan/", f"https://{LABEL}.local/")  # A-3.2.2-1
    assert (outcome.root, outcome.pinned) == (server.root_hash, "trusted on first use")  # A-3.4-3
    assert outcome.serial in certs(server)


def test_keys_are_nobody_elses_and_not_in_the_log(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rig.settings["targets"] = rig.targets
    rig.good()
    state = rig.state.folder
    assert state.stat().st_mode & 0o777 == 0o700
    kept = [path for path in state.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.name for path in kept} >= {"account.key", "key.pem", "chain.pem", "root.pem"}
    for path in (*kept, rig.targets.key.resolve()):  # A-4.3-1
        assert path.stat().st_mode & 0o777 == 0o600, path
    secrets = [path.read_text() for path in kept if "PRIVATE" in path.read_text()]
    assert len(secrets) == 2
    for line in "".join(secrets).splitlines():
        assert line.startswith("-----") or line not in caplog.text


def test_a_restart_orders_nothing(rig: Rig, server: Running) -> None:
    first = rig.good()
    audit = server.ask("audit")["audit"]
    again = rig.good()
    assert (again.serial, again.said) == (first.serial, "verified")  # A-3.4-2
    assert server.ask("audit")["audit"] == audit


def test_addresses_only_if_wanted(rig: Rig) -> None:
    rig.settings["addresses"] = True  # A-3.2.3-4
    rig.good()
    assert subject_names(rig.leaf()) == {*NAMES, "127.0.0.1"}


def test_domains_that_the_network_tells(rig: Rig, make_server: Serve) -> None:
    other = make_server("--approval", "auto", "--domain", "lan", "--domain", "internal")
    rig.lan.servers[HOME.key] = other.directory
    rig.lan.told = ("internal", "lan")
    rig.good()
    assert subject_names(rig.leaf()) == {*NAMES, f"{LABEL}.internal"}


# -- renewal


def test_it_renews_in_the_servers_window_with_a_fresh_key(rig: Rig, server: Running) -> None:
    first = rig.good()
    old = rig.leaf()
    window = (first.renew_at, first.not_after)
    assert first.not_after - 12 * DAY < window[0] < first.not_after - 4 * DAY
    rig.clock.ahead = first.renew_at - rig.clock.now() - 60
    assert rig.good().serial == first.serial
    rig.clock.ahead += 120
    second = rig.good()
    assert second.serial != first.serial
    assert rig.leaf().public_key() != old.public_key()
    assert rig.certs() == [second.serial]  # the old key is gone
    assert certs(server)[first.serial]["revoked_at"] is None  # and needs no revocation


def test_the_moment_of_renewal_is_drawn_once(rig: Rig) -> None:
    drawn = {rig.good(woken=True).renew_at for _ in range(3)}
    assert len(drawn) == 1
    assert rig.state.servers()[0].facts().renew_at in drawn


def test_a_key_is_kept_if_the_owner_wants_it(rig: Rig) -> None:
    rig.settings["keep_key"] = True
    first, old = rig.good(), rig.leaf().public_key()
    rig.clock.ahead = first.renew_at - rig.clock.now() + 1
    assert rig.good().serial != first.serial
    assert rig.leaf().public_key() == old


def test_a_revoked_certificate_is_replaced_when_it_looks_next(rig: Rig, server: Running) -> None:
    first = rig.good()
    server.admin("revoke", first.serial)
    rig.clock.ahead = 3601
    second = rig.good()
    assert second.serial != first.serial


def test_a_server_that_says_to_renew_too_late_is_not_waited_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = Renewal(4_000_000_000, 5_000_000_000, 60, "")
    monkeypatch.setattr("acmeiot.client.acme.Client.renewal", lambda *_: late)
    outcome = rig.good()
    assert rig.clock.now() < outcome.renew_at < outcome.not_after
    assert "begins when the certificate has ended" in caplog.text


@pytest.mark.filterwarnings("ignore:Parsed a")
@pytest.mark.parametrize("serial", [0, -5, 1 << 160, int("ab" * 30, 16)])
def test_a_serial_that_is_none(
    rig: Rig, serial: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """RFC 5280 section 4.1.2.2: an error of that server, and not this program's end."""
    words = ("-subj", "/CN=x", "-set_serial", str(serial), "-addext", "subjectAltName=DNS:x.lan")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384",
         "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "cert", *words],
        check=True, capture_output=True,
    )  # fmt: skip
    chain = (tmp_path / "cert").read_bytes()
    monkeypatch.setattr("acmeiot.device.visit.obtain", lambda *_, **__: chain)
    outcome = rig.visit()
    assert outcome.state == status.FAILED
    assert "serial is not a positive number" in outcome.said


def test_a_server_that_always_says_renew_is_not_obeyed_for_ever(
    rig: Rig, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rig.good()
    rig.clock.ahead = 3601
    past = Renewal(first.renew_at - 90 * DAY, first.renew_at - 80 * DAY, 60, "")
    monkeypatch.setattr("acmeiot.client.acme.Client.renewal", lambda *_: past)
    agent = rig.agent()
    (second,) = agent.round()
    assert second.serial != first.serial
    for _ in range(5):
        (outcome,) = agent.round(woken=True)
        assert (outcome.serial, outcome.again) == (second.serial, LONGEST_PAUSE)


# -- another name


def events(server: Running, *serials: str) -> list[tuple[str, str]]:
    """Return what the server's audit says of some certificates, oldest first."""
    entries = sorted(server.ask("audit")["audit"], key=lambda entry: entry["seq"])
    return [(e["event"], e["subject"]) for e in entries if e["subject"] in serials]


def rename(rig: Rig, label: str) -> None:
    """Ask for another name, as the command does."""
    requests.ask(rig.state.folder, Request(label=label))


def test_a_new_name_comes_first_and_the_old_is_revoked(rig: Rig, server: Running) -> None:
    old = rig.good()
    rename(rig, "kitchen-12cd56")
    new = rig.good()
    assert subject_names(rig.leaf()) == {"kitchen-12cd56.lan", "kitchen-12cd56.local"}
    assert events(server, old.serial, new.serial) == [  # A-4.6-2
        ("issue", old.serial), ("issue", new.serial), ("revoke", old.serial),
    ]  # fmt: skip
    assert contacts(rig) == ("https://kitchen-12cd56.lan/", "https://kitchen-12cd56.local/")
    assert rig.good().serial == new.serial  # --name of before does not undo it
    assert rig.certs() == [new.serial]


@pytest.mark.parametrize("where", ["revoke", "use", "add"])
def test_a_power_cut_in_a_change_of_name(
    rig: Rig, server: Running, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rig.good()
    rename(rig, f"cut-{where}-12cd56")
    place = {
        "revoke": "acmeiot.device.account.Account.revoke",
        "use": "acmeiot.device.servers.Server.use",
        "add": "acmeiot.device.servers.Server.add",
    }[where]

    def cut(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(place, cut)
        with pytest.raises(SystemExit):
            rig.visit()
    new = rig.good()
    assert certs(server)[old.serial]["revoked_at"] is not None  # A-4.6-2
    assert subject_names(rig.leaf()) == {f"cut-{where}-12cd56.lan", f"cut-{where}-12cd56.local"}
    assert rig.certs() == [new.serial]
    issued = [one for one in certs(server).values() if f"cut-{where}-12cd56.lan" in one["names"]]
    assert len(issued) == (2 if where == "add" else 1)  # what it has, it takes up


def test_another_name_option_is_a_change_of_name(rig: Rig, server: Running) -> None:
    old = rig.good()
    rig.settings["name"] = "study-12cd56"
    rig.good()
    assert certs(server)[old.serial]["revoked_at"] is not None
    assert subject_names(rig.leaf()) == {"study-12cd56.lan", "study-12cd56.local"}


def test_a_name_that_the_server_refuses_changes_nothing(rig: Rig, server: Running) -> None:
    old = rig.good()
    rename(rig, "router")
    outcome = rig.visit()
    assert outcome.state == status.FAILED
    assert "rejectedIdentifier" in outcome.said
    assert outcome.serial == old.serial
    assert certs(server)[old.serial]["revoked_at"] is None


# -- several networks


def test_each_server_has_its_own_keys_and_certificates(rig: Rig, make_server: Serve) -> None:
    first = rig.good()
    other = make_server()
    rig.lan.servers[ELSEWHERE.key] = other.directory
    rig.lan.joined = (HOME, ELSEWHERE)
    home, elsewhere = rig.agent().round()
    assert (home.serial, home.said) == (first.serial, "verified")
    assert (elsewhere.good, elsewhere.root) == (True, other.root_hash)
    one, two = rig.state.servers()  # A-4.8-2
    assert one.account_key() != two.account_key()
    assert rig.leaf().public_key() != rig.leaf(ELSEWHERE).public_key()
    assert rig.leaf().issuer != rig.leaf(ELSEWHERE).issuer


def test_two_networks_of_one_server_share_a_certificate(rig: Rig, server: Running) -> None:
    first = rig.good()
    rig.lan.servers[WIFI.key] = server.directory
    rig.lan.joined = (HOME, WIFI)
    outcomes = rig.agent().round()
    assert [one.serial for one in outcomes] == [first.serial] * 2  # A-3.4-4
    assert rig.chain(WIFI) == rig.chain(HOME)
    assert len(rig.state.memberships()) == 2  # A-3.4-2


def test_the_service_has_the_certificate_of_where_it_is(rig: Rig, make_server: Serve) -> None:
    rig.settings["targets"] = rig.targets
    rig.good()
    at_home = rig.chain()
    assert rig.targets.chain.read_bytes() == at_home
    other = make_server()
    rig.lan.servers[ELSEWHERE.key] = other.directory
    rig.lan.joined = (ELSEWHERE,)
    rig.good()
    assert rig.targets.chain.read_bytes() == rig.chain(ELSEWHERE) != at_home
    rig.lan.joined = (HOME,)
    del rig.lan.servers[HOME.key]  # its server is away, and still
    assert rig.visit().state == status.FAILED
    assert rig.targets.chain.read_bytes() == at_home


def test_the_service_has_the_certificate_of_the_first_network_that_has_one(
    rig: Rig, make_server: Serve
) -> None:
    rig.settings["targets"] = rig.targets
    other = make_server()
    rig.lan.joined = (ELSEWHERE, HOME)  # nobody answers on the first
    agent = rig.agent()
    assert [one.good for one in agent.round()] == [False, True]
    assert rig.targets.chain.read_bytes() == rig.chain(HOME)
    rig.lan.servers[ELSEWHERE.key] = other.directory
    rig.clock.waited += 61
    first, second = agent.round()
    assert rig.targets.chain.read_bytes() == rig.chain(ELSEWHERE)
    assert str(rig.targets.chain) in first.files
    assert HOME.key in second.files
    rig.lan.joined = (HOME,)  # that cable is pulled
    agent.round()
    assert rig.targets.chain.read_bytes() == rig.chain(HOME)


def test_old_networks_are_forgotten_but_not_this_one(tmp_path: Path, house: House) -> None:
    rig = Rig(tmp_path, FakeLan(house.dns_port), 1)
    state = rig.state
    for number in range(20):
        network = Network("eth0", f"52:54:00:00:00:{number:02x}")
        server = state.new_server(b"root %d" % number, Facts())
        gone = state.join(network.key, str(network), server, now=1000 + number)
        assert gone == ((f"eth0-5254000000{number - 16:02x}",) if number >= 16 else ())
    assert len(state.memberships()) == len(state.servers()) == 16
    assert {s.root() for s in state.servers()} == {b"root %d" % n for n in range(4, 20)}
    assert len(list((state.folder / "networks").iterdir())) == 16


def test_strangers_on_a_public_network_are_not_asked(rig: Rig) -> None:
    cafe = Network("wlan0", "52:54:00:00:00:09", ssid="cafe", public="open Wi-Fi")
    rig.lan.joined = (cafe,)
    assert rig.visit().state == status.PUBLIC
    assert rig.lan.asked == []

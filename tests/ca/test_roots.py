"""The authority as the rest of the server sees it: first start, settings, chains, rotation."""

from __future__ import annotations

import json
import shutil
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from acmeiot.ca import keys, profiles
from acmeiot.ca.index import INDEX, BrokenState
from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.core.ports import Issuer
from acmeiot.core.records import AuditEntry
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import Identifier
from tests.ca import material
from tests.ca.conftest import Open

DAY = 86400
SERVER = ["router.lan", "router.local"]


def state_of(tmp_path: Path) -> Path:
    """Return the directory of the test's authority."""
    return tmp_path / "state" / "ca"


def test_authority_fills_the_port(authority: Authority) -> None:
    port: Issuer = authority
    assert port.is_current(authority.issuers()[0].id)


def test_first_start_makes_root_and_intermediate(
    authority: Authority, audit: list[AuditEntry], tmp_path: Path
) -> None:
    """Private from the start (A-4.3-1), and in the audit."""
    directory = state_of(tmp_path)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name for path in directory.iterdir()} == {
        INDEX,
        f"{authority.roots()[0].id}.key",
        f"{authority.issuers()[0].id}.key",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert [entry.event for entry in audit] == ["root", "intermediate"]
    assert audit[0].detail["spki_sha256"] == authority.root_spki_sha256
    assert authority.root_spki_sha256[:6] in audit[0].subject


def test_second_start_changes_nothing(authority: Authority, reopen: Open, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in state_of(tmp_path).iterdir()}
    again = reopen()
    assert {path.name: path.read_bytes() for path in state_of(tmp_path).iterdir()} == before
    assert again.root_der == authority.root_der
    assert again.root_pem == authority.root_pem
    assert again.roots() == authority.roots()
    assert again.issuers() == authority.issuers()


def test_wide_directory_is_narrowed(reopen: Open, tmp_path: Path) -> None:
    state_of(tmp_path).mkdir(parents=True)
    state_of(tmp_path).chmod(0o755)
    reopen()
    assert stat.S_IMODE(state_of(tmp_path).stat().st_mode) == 0o700


def test_wide_key_file_is_told(
    authority: Authority, reopen: Open, audit: list[AuditEntry], tmp_path: Path
) -> None:
    path = state_of(tmp_path) / f"{authority.roots()[0].id}.key"
    path.chmod(0o644)
    reopen()
    assert (audit[-1].event, audit[-1].subject) == ("key-mode", path.name)
    assert audit[-1].detail["mode"] == "0644"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Settings.


@pytest.mark.parametrize("days", [365, 366, 1000, 3650, 3651, 3652])
@pytest.mark.parametrize(
    "start",
    [
        1_709_164_800,  # 29 February 2024: a leap day
        1_709_251_200,  # 1 March 2024
        1_677_628_800,  # 1 March 2023: the year to come has 366 days
        1_795_348_259,
    ],
)
def test_root_lives_one_to_ten_years(days: int, start: int, reopen: Open) -> None:
    """A-3.2.1-4, in days and by the calendar."""
    root = reopen(start, root_days=days).roots()[0]
    first, last = utc(root.not_before), utc(root.not_after)
    assert 365 * DAY <= root.not_after - root.not_before <= 3653 * DAY
    assert abs(root.not_after - root.not_before - days * DAY) <= DAY
    later = (last.year - first.year, last.month, last.day, last.time())
    assert (1, first.month, min(first.day, 28), first.time()) <= later
    assert later <= (10, first.month, first.day, first.time())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root_days": 364}, "a root lives 1 to 10 years, .* not 364 days"),  # A-3.2.1-4
        ({"root_days": 3660}, "not 3660 days"),
        ({"root_days": 0}, "not 0 days"),
        ({"root_key": "p256"}, "'p256' is not allowed: draft-sweet-iot-acme 3.2.1"),  # A-3.2.1-3
        ({"root_key": "rsa2048"}, "'rsa2048' is not allowed"),
        ({"root_key": "ed25519"}, "choose one of p384, p521, rsa3072, rsa4096"),
        ({"intermediate_days": 100}, "at least 180 days, not 100"),
        ({"server_names": ()}, "needs at least one full name"),
        ({"server_names": ("router.example.com",)}, "below neither local nor a domain"),
        ({"server_names": ("lan",)}, "below neither local nor a domain"),
        ({"server_names": ("Router.lan",)}, "lower case"),
        ({"domains": ("lan.",)}, "without final dot"),
        ({"domains": ("*.lan",)}, "or wildcard"),
        ({"domains": (".lan",)}, "empty label"),
        ({"http_base": "https://router.lan"}, "http_base is like http://router.lan:8556"),
        ({"http_base": "http://router.lan/"}, "http_base is like http://router.lan:8556"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AuthorityConfig(**settings)  # type: ignore[arg-type]


def test_domain_that_came_later_is_uncovered(authority: Authority, reopen: Open, now: int) -> None:
    """The constraints of a root cannot be widened; a new root has them."""
    assert authority.uncovered == ()
    later = reopen(domains=("lan", "home.arpa"))
    printer = Identifier("dns", "printer.home.arpa")
    assert list(later.uncovered) == ["home.arpa"]
    assert not later.permits(printer)
    later.rotate(now)
    assert later.permits(printer)
    assert list(later.uncovered) == []


def test_renewed_intermediate_has_the_constraints_of_its_root(
    authority: Authority, reopen: Open, now: int
) -> None:
    """Wider ones would be a promise that the root does not keep."""
    later = reopen(domains=("lan", "home.arpa"))
    assert later.tick(now + 1800 * DAY)
    root, issuer = later.roots()[0].certificate, later.issuers()[0].certificate
    assert profiles.Constraints.of(root) == profiles.Constraints.of(issuer)
    assert authority.root_der == later.root_der


# Broken states: never a new root in the place of one that cannot be read.


def of_version_50(index: str) -> str:
    """Return the index's root, PEM, as a flipped bit makes it one of a version there is not."""
    der = ssl.PEM_cert_to_DER_cert(json.loads(index)["roots"][0])
    broken = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x31", 1)
    assert broken != der
    return ssl.DER_cert_to_PEM_cert(broken)


def test_a_served_certificate_of_no_version(authority: Authority, tmp_path: Path) -> None:
    """Whoever starts with such a file makes a new one."""
    broken = of_version_50((state_of(tmp_path) / INDEX).read_text())
    with pytest.raises(ValueError, match="49 is not a valid"):
        authority.server_until(broken.encode(), [], [])


def test_a_served_certificate_of_an_earlier_version(authority: Authority, now: int) -> None:
    """It sends browsers to the OCSP responder, which does not know it: a new one is due."""
    old = authority.issue(material.request(now, SERVER))
    chain = b"".join(
        ssl.DER_cert_to_PEM_cert(der).encode() for der in (old.der, *authority.server_chain())
    )
    assert authority.server_until(chain, SERVER, []) is None
    _, chain, not_after = authority.issue_server(SERVER, [], now)
    assert authority.server_until(chain, SERVER, []) == not_after


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-20], r"authority\.json is not JSON; restore the state from a backup"),
        (lambda _: "[]", "is not a JSON object"),
        (lambda _: "{}", "is damaged"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "has version 2.*reads 1"),
        (lambda text: text.replace("MII", "XII", 1), "is damaged"),
        (lambda text: text.replace("BEGIN", "BEGUN", 1), "is damaged"),
        (lambda text: json.dumps({**json.loads(text), "roots": []}), "is damaged"),
        (lambda text: json.dumps({**json.loads(text), "intermediates": []}), "is damaged"),
        (lambda text: json.dumps({**json.loads(text), "roots": [7]}), "is damaged"),
        (
            lambda text: json.dumps({**json.loads(text), "roots": [of_version_50(text)]}),
            "is damaged .*49 is not a valid X509 version",
        ),
    ],
)
def test_damaged_index_is_named(
    damage: object, message: str, authority: Authority, reopen: Open, tmp_path: Path
) -> None:
    path = state_of(tmp_path) / INDEX
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    before = sorted(one.name for one in state_of(tmp_path).iterdir())
    with pytest.raises(BrokenState, match=message):
        reopen()
    assert sorted(one.name for one in state_of(tmp_path).iterdir()) == before


def test_intermediate_of_another_root_is_named(
    authority: Authority, reopen: Open, tmp_path: Path
) -> None:
    directory = state_of(tmp_path)
    own = json.loads((directory / INDEX).read_text())
    shutil.move(directory, tmp_path / "first")
    reopen()
    other = json.loads((directory / INDEX).read_text())
    for path in (tmp_path / "first").glob("*.key"):
        shutil.copy(path, directory)
    (directory / INDEX).write_text(json.dumps({**own, "intermediates": other["intermediates"]}))
    with pytest.raises(BrokenState, match=r"the root that signed .* is missing"):
        reopen()


def test_key_of_another_certificate_is_named(
    authority: Authority, reopen: Open, tmp_path: Path
) -> None:
    directory = state_of(tmp_path)
    keys.save(directory / f"{authority.issuers()[0].id}.key", keys.make())
    with pytest.raises(BrokenState, match="is not the key of its certificate"):
        reopen()


def test_missing_key_is_named(authority: Authority, reopen: Open, tmp_path: Path) -> None:
    (state_of(tmp_path) / f"{authority.roots()[0].id}.key").unlink()
    with pytest.raises(keys.BadKeyFile, match="cannot read the key"):
        reopen()


# Chains and rotation.


def test_chains_of_one_root(authority: Authority) -> None:
    """R-30: without the root by default, with it as the alternative."""
    (issuer,) = authority.issuers()
    assert authority.chains(issuer.id) == (
        (issuer.der,),
        (issuer.der, authority.root_der),
    )
    assert authority.server_chain() == (issuer.der, authority.root_der)  # A-3.3-2
    assert authority.issuer_certificate(issuer.id) == issuer.der
    assert authority.issuer_certificate(authority.roots()[0].id) == authority.root_der
    with pytest.raises(KeyError):
        authority.chains("0" * 16)


def test_rotation_publishes_old_and_new(
    authority: Authority, audit: list[AuditEntry], now: int
) -> None:
    (old,), (old_issuer,) = authority.roots(), authority.issuers()
    authority.rotate(now)
    new, same_old = authority.roots()
    new_issuer, same_old_issuer = authority.issuers()
    assert (same_old, same_old_issuer) == (old, old_issuer)
    assert authority.root_der == new.der
    assert new.fingerprint != old.fingerprint  # -04: no key twice
    new_by_old, old_by_new = authority.crosses()
    assert authority.chains(new_issuer.id) == (
        (new_issuer.der, new_by_old.der),
        (new_issuer.der, new_by_old.der, new.der),
    )
    assert authority.chains(old_issuer.id)[0] == (old_issuer.der, old_by_new.der)
    assert authority.is_current(new_issuer.id)
    assert not authority.is_current(old_issuer.id)
    assert [entry.event for entry in audit[2:]] == ["root", "intermediate"]
    assert audit[2].detail["replaces"] == old.fingerprint


def test_rotated_state_opens_again(authority: Authority, reopen: Open, now: int) -> None:
    authority.rotate(now)
    again = reopen()
    assert again.roots() == authority.roots()
    assert again.crosses() == authority.crosses()
    assert again.server_chain() == authority.server_chain()
    for issuer in authority.issuers():
        assert again.chains(issuer.id) == authority.chains(issuer.id)


def test_oldest_of_too_many_roots_is_dropped(
    authority: Authority, reopen: Open, now: int, tmp_path: Path
) -> None:
    """With its issuers, cross-certificates and keys; the rest still opens."""
    first = authority.roots()[0]
    for _ in range(4):
        authority.rotate(now)
    assert len(authority.roots()) == 4
    assert first not in authority.roots()
    assert len(authority.crosses()) == 6
    assert not (state_of(tmp_path) / f"{first.id}.key").exists()
    assert len(list(state_of(tmp_path).glob("*.key"))) == 8
    assert reopen().server_chain() == authority.server_chain()
    assert len(authority.server_chain()) == 1 + 3 + 1


def test_leaf_of_the_moment_before_rotation_is_issued(authority: Authority, now: int) -> None:
    """Its times were fixed by the rules just before; the new intermediate takes them."""
    request = material.request(now)
    authority.rotate(now + 250)
    assert authority.issue(request).not_before == request.not_before


def test_issuing_while_rotating(authority: Authority, now: int) -> None:
    """Readers take no lock, and always see one whole state."""
    leaves, stop = [], threading.Event()

    def issue() -> None:
        while not stop.is_set():
            leaf = authority.issue(material.request(now))
            leaves.append((leaf, authority.issuer_certificate(leaf.issuer_id)))

    threads = [threading.Thread(target=issue) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        authority.rotate(now)
    stop.set()
    for thread in threads:
        thread.join()
    assert leaves
    for leaf, issuer in leaves:
        material.load(leaf.der).verify_directly_issued_by(material.load(issuer))


def test_server_certificate(authority: Authority, now: int) -> None:
    """A fresh key each time; never longer than the issuer."""
    one, chain, not_after = authority.issue_server(["router.lan"], ["192.168.1.1", "fe80::1"], now)
    two, _, _ = authority.issue_server(["router.lan"], [], now)
    assert one != two
    leaf = x509.load_pem_x509_certificates(chain)[0]
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in san] == ["router.lan", "192.168.1.1", "fe80::1"]
    assert not_after == now - 3600 + 30 * DAY
    late = authority.longest() - 5 * DAY
    assert authority.issue_server(["router.lan"], [], late)[2] == authority.longest()

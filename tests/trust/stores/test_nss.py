"""NSS databases with the real certutil; NSS's own verifier and TLS client say who is believed."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from acmeiot.client.errors import AgentError
from acmeiot.trust.stores import nss
from acmeiot.trust.stores.nss import Nss, chromium, firefox
from acmeiot.trust.stores.programs import Person, certificates
from tests.trust.stores.conftest import Machine
from tests.trust.stores.homes import home

OLD, NEW = ".pki/nssdb", ".local/share/pki/nssdb"


def of_browser(where: Path) -> Nss:
    """Return Chromium's store of a person who lives here."""
    return chromium(Person(where), {})


def of_firefox(where: Path) -> Nss:
    """Return Firefox's store of a person who lives here."""
    return firefox(Person(where), {})


def certutil(database: Path, *words: str | Path, says: str = "") -> str:
    """Run certutil as its owner would; return what it prints."""
    argv = ["certutil", "-d", f"sql:{database}", *map(str, words)]
    done = subprocess.run(argv, input=says, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def database(path: Path) -> Path:
    """Make an empty database, as a browser does."""
    path.mkdir(parents=True)
    certutil(path, "-N", "--empty-password")
    return path


def believes(path: Path, number: int) -> bool:
    """Tell whether NSS, with this database, believes a home's server."""
    for at, der in enumerate(certificates(home(number).chain)):
        (path / f"{at}.der").write_bytes(der)
    files = sorted(path.glob("?.der"))
    words = ["vfychain", "-pp", "-u", "1", "-d", f"sql:{path}", *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    said = done.stdout + done.stderr
    assert done.returncode == 0 or "ERROR -8172" in said, said  # SEC_ERROR_UNTRUSTED_ISSUER
    return done.returncode == 0


def listed(path: Path) -> dict[str, str]:
    """Return the nicknames in a database, and their trust."""
    lines = certutil(path, "-L").splitlines()[4:]
    return {line[: line.rindex(" ", 0, 61)].strip(): line.split()[-1] for line in lines if line}


def test_join_and_leave(tmp_path: Path) -> None:
    """A-3.3-4: a root is believed for TLS servers between add and remove; both may be repeated."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    assert store.available()
    assert not store.holds(home(0).root)
    assert not believes(path, 0)
    for _ in range(2):
        store.add(home(0).root, home(0).nickname)
        assert store.holds(home(0).root)
    assert believes(path, 0)
    assert not believes(path, 1)
    assert listed(path) == {home(0).nickname: "C,,"}
    for _ in range(2):
        store.remove(home(0).root, home(0).nickname)
        assert not store.holds(home(0).root)
    assert not believes(path, 0)
    assert listed(path) == {}


def test_two_homes(tmp_path: Path) -> None:
    """Taking one home out leaves the other in, even if it is asked for by the other's nickname."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    for number in (0, 1):
        store.add(home(number).root, home(number).nickname)
    store.remove(home(0).root, home(1).nickname)
    assert len(listed(path)) == 2
    store.remove(home(0).root, home(0).nickname)
    assert list(listed(path)) == [home(1).nickname]
    assert believes(path, 1)
    assert not believes(path, 0)


def root(days: int) -> bytes:
    """Make a root; all of them have one subject, as those of one home may."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Home CA")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)


def test_two_roots_of_one_subject(tmp_path: Path) -> None:
    """NSS shows both under either nickname; the right one is deleted, and trust is not mixed up."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    old, new = root(400), root(500)
    store.add(old, "acmeiot old")
    assert not store.holds(new)
    store.add(new, "acmeiot new")
    certutil(path, "-M", "-n", "acmeiot new", "-t", ",,")
    assert (store.holds(old), store.holds(new)) == (True, False)
    store.remove(old, "acmeiot old")
    assert list(listed(path)) == ["acmeiot new"]
    store.add(new, "acmeiot new")
    assert (store.holds(old), store.holds(new)) == (False, True)
    store.remove(old, "acmeiot new")
    assert (store.holds(old), store.holds(new)) == (False, True)


def test_after_half_an_add(tmp_path: Path) -> None:
    """certutil stores first and trusts then: what lies between is made whole, or removed."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    (tmp_path / "root.pem").write_bytes(home(0).root)
    half = ("-A", "-n", home(0).nickname, "-t", ",,", "-i", tmp_path / "root.pem")
    certutil(path, *half)
    assert not store.holds(home(0).root)
    store.remove(home(0).root, home(0).nickname)
    assert listed(path) == {}
    certutil(path, *half)
    store.add(home(0).root, home(0).nickname)
    assert store.holds(home(0).root)
    assert believes(path, 0)


def test_the_owners_own_stays(tmp_path: Path) -> None:
    """A root that the owner put in under another name is held already, and is not taken out."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    (tmp_path / "root.pem").write_bytes(home(0).root)
    certutil(path, "-A", "-n", "My router", "-t", "CT,C,C", "-i", tmp_path / "root.pem")
    assert store.holds(home(0).root)
    store.add(home(0).root, home(0).nickname)
    store.remove(home(0).root, home(0).nickname)
    assert listed(path) == {"My router": "CT,C,C"}


def test_first_database(tmp_path: Path) -> None:
    """Where there is none yet, the one is made that every Chromium takes; nobody else reads it."""
    store = of_browser(tmp_path)
    assert not store.holds(home(0).root)
    store.remove(home(0).root, home(0).nickname)
    assert list(tmp_path.iterdir()) == []
    store.add(home(0).root, home(0).nickname)
    assert believes(tmp_path / OLD, 0)
    assert stat.S_IMODE((tmp_path / OLD).stat().st_mode) == 0o700
    assert not (tmp_path / NEW).exists()


def test_newer_chromium(tmp_path: Path) -> None:
    """A database at the newer place is used; none is made at the old, where it would hide it."""
    path = database(tmp_path / NEW)
    of_browser(tmp_path).add(home(0).root, home(0).nickname)
    assert believes(path, 0)
    assert not (tmp_path / OLD).exists()


def test_every_database(tmp_path: Path) -> None:
    """Snap's and flatpak's browsers have their own; so may XDG_DATA_HOME say."""
    places = (
        OLD,
        "snap/chromium/current/.pki/nssdb",
        ".var/app/com.google.Chrome/data/pki/nssdb",
        ".var/app/org.chromium.Chromium/.pki/nssdb",
        "data/pki/nssdb",
    )
    paths = [database(tmp_path / place) for place in places]
    store = chromium(Person(tmp_path), {"XDG_DATA_HOME": str(tmp_path / "data")})
    store.add(home(0).root, home(0).nickname)
    assert all(believes(path, 0) for path in paths)
    certutil(paths[2], "-D", "-n", home(0).nickname)
    assert not store.holds(home(0).root)
    store.remove(home(0).root, home(0).nickname)
    assert not any(listed(path) for path in paths)


def test_firefox(tmp_path: Path) -> None:
    """Every profile that there is, wherever it lies; none is made."""
    assert not of_firefox(tmp_path).available()
    of_firefox(tmp_path).add(home(0).root, home(0).nickname)
    assert list(tmp_path.iterdir()) == []
    paths = [
        database(tmp_path / place / "abcd1234.default-release")
        for place in (
            ".mozilla/firefox",
            ".config/mozilla/firefox",
            "snap/firefox/common/.mozilla/firefox",
            ".var/app/org.mozilla.firefox/.mozilla/firefox",
        )
    ]
    database(tmp_path / OLD)
    store = of_firefox(tmp_path)
    assert store.available()
    store.add(home(0).root, home(0).nickname)
    assert store.holds(home(0).root)
    assert all(believes(path, 0) for path in paths)
    assert listed(tmp_path / OLD) == {}
    late = database(tmp_path / ".mozilla/firefox/new.profile")
    assert not store.holds(home(0).root)
    store.add(home(0).root, home(0).nickname)
    assert believes(late, 0)


def test_primary_password(tmp_path: Path) -> None:
    """A profile with a primary password cannot be changed from outside: said, and no hanging."""
    path = tmp_path / ".mozilla/firefox/x.default"
    path.mkdir(parents=True)
    (tmp_path / "password").write_text("correct horse\n")
    certutil(path, "-N", "-f", tmp_path / "password")
    with pytest.raises(AgentError, match=r"firefox: certutil .* failed"):
        of_firefox(tmp_path).add(home(0).root, home(0).nickname)
    assert not of_firefox(tmp_path).holds(home(0).root)


@pytest.mark.parametrize(
    ("nickname", "kept"),
    [
        ("pkcs11:object=x", "pkcs11_object=x"),
        ("a:b\nc\x1b", "a_b_c_"),
        (" ö  x ", "_ x"),
        ("-L", "-L"),
        ("", "acmeiot"),
        ("x" * 300, "x" * 120),
    ],
)
def test_odd_nicknames(tmp_path: Path, nickname: str, kept: str) -> None:
    """A home may call its root what it likes."""
    store, path = of_browser(tmp_path), database(tmp_path / OLD)
    store.add(home(0).root, nickname)
    assert store.holds(home(0).root)
    assert kept in certutil(path, "-L")
    store.remove(home(0).root, nickname)
    assert listed(path) == {}


def test_certutil_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program the error names the package."""
    database(tmp_path / OLD)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentError, match="chromium: certutil is missing; install libnss3-tools"):
        of_browser(tmp_path).holds(home(0).root)


def test_broken_database(tmp_path: Path) -> None:
    """A database that cannot be read is an error, not an empty one."""
    path = database(tmp_path / OLD)
    (path / "cert9.db").write_bytes(b"no database" * 100)
    with pytest.raises(AgentError, match=r"chromium: certutil .*cert"):
        of_browser(tmp_path).holds(home(0).root)


@pytest.mark.parametrize("mark", [".config/chromium", ".config/google-chrome"])
def test_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """Who has a Chromium will want a database, also before its first start made one."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert not of_browser(tmp_path).available()
    (tmp_path / mark).mkdir(parents=True)
    assert of_browser(tmp_path).available()


def test_root_acts_as_the_person(tmp_path: Path) -> None:
    """What root does in another's home belongs to that person, and is done with their rights."""
    if os.geteuid() != 0:
        assert Person.of(tmp_path).owner is None
        return
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o111)
    os.chown(tmp_path, 12345, 12345)
    person = Person.of(tmp_path)
    assert person.owner == (12345, 12345)
    store = chromium(person, {"XDG_DATA_HOME": "/root/data"})
    store.add(home(0).root, home(0).nickname)
    owners = {path.stat().st_uid for path in (tmp_path / ".pki").rglob("*")}
    assert owners == {12345}
    assert (os.geteuid(), os.getegid()) == (0, 0)
    (tmp_path / "elsewhere").symlink_to("/root")
    linked = Nss("chromium", person, list, lambda: True, tmp_path / "elsewhere/db")
    with pytest.raises(AgentError, match=r"chromium: .*Permission denied"):
        linked.add(home(0).root, home(0).nickname)


def test_real_connection(machine: Machine) -> None:
    """NSS's own TLS client connects to this home's server, and not to the other's."""
    path = database(machine.work / "home" / OLD)
    machine.store("chromium", "add", machine.root(0), home(0).nickname)
    machine.store("chromium", "verify", machine.url(0))
    said = machine.store("chromium", "verify", machine.url(1), fails=True)
    assert re.search(r"chromium: https://router.lan:8444/ with \S+/nssdb: .*UNTRUSTED_ISSUER", said)
    machine.store("chromium", "remove", machine.root(0), home(0).nickname)
    assert "chromium: https://router.lan:8443/" in machine.store(
        "chromium", "verify", machine.url(0), fails=True
    )
    assert listed(path) == {}


def test_fingerprint() -> None:
    """What NSS prints as SHA-256 is that of the whole certificate."""
    der = ssl.PEM_cert_to_DER_cert(home(0).root.decode())
    assert nss.der_hash(der) == hashlib.sha256(der).hexdigest()

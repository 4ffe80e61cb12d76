"""The stores that were never tried on their own systems: what they do with files and programs."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.trust import stores
from acmeiot.trust.stores import cups
from acmeiot.trust.stores.cups import Cups
from acmeiot.trust.stores.fedora import Fedora
from acmeiot.trust.stores.macos import Keychain
from acmeiot.trust.stores.programs import Person, run
from acmeiot.trust.stores.windows import CurrentUser
from tests.trust.stores.homes import home

ROOT, OTHER = home(0).root, home(1).root
NAME = home(0).nickname


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# -- Fedora


@pytest.fixture
def fedora(tmp_path: Path) -> Fedora:
    """Fedora's store with a stand-in that does with the files what update-ca-trust does."""
    anchors = tmp_path / "source/anchors"
    anchors.mkdir(parents=True)
    (tmp_path / "vendor.pem").write_bytes(OTHER)
    program = script(
        tmp_path / "update-ca-trust",
        f'[ "$*" = extract ] && cd {anchors} && '
        f"cat {tmp_path}/vendor.pem $(ls) > {tmp_path}/bundle.pem",
    )
    return Fedora(anchors, tmp_path / "bundle.pem", str(program))


def test_fedora(fedora: Fedora) -> None:
    """A-3.3-4: a file of its own among the anchors, and the bundle made anew, both ways."""
    assert fedora.available()
    assert not fedora.tested
    for _ in range(2):
        fedora.add(ROOT, NAME)
        assert fedora.holds(ROOT)
    (anchor,) = fedora.directory.iterdir()
    assert anchor.suffix == ".pem"
    assert anchor.read_bytes() == ROOT
    assert stat.S_IMODE(anchor.stat().st_mode) == 0o644
    for _ in range(2):
        fedora.remove(ROOT, NAME)
        assert not fedora.holds(ROOT)
    assert list(fedora.directory.iterdir()) == []
    assert fedora.holds(OTHER)


def test_no_fedora() -> None:
    """Debian is no Fedora."""
    assert not Fedora().available()


# -- CUPS


@pytest.fixture
def site(tmp_path: Path) -> Cups:
    """CUPS's configuration of a person."""
    (tmp_path / ".cups").mkdir()
    return Cups(tmp_path / ".cups", Person(tmp_path))


def believed(shown: bytes, site: Cups) -> bool:
    """Apply the rule of CUPS 2.5: the chain that a printer shows ends with the file's text."""
    text = (site.directory / "ssl/_site_.crt").read_bytes()
    return len(shown) > len(text) and shown.endswith(text)


def test_cups(site: Cups) -> None:
    """A-3.3-4: the site certificate is this home's root to the letter, then gone again."""
    assert site.available()
    for _ in range(2):
        site.add(ROOT.replace(b"\n", b"\r\n"), NAME)
        assert site.holds(ROOT)
    assert believed(home(0).chain, site)
    assert not believed(home(1).chain, site)
    for _ in range(2):
        site.remove(ROOT, NAME)
        assert not site.holds(ROOT)
    assert list((site.directory / "ssl").iterdir()) == []


@pytest.mark.parametrize("content", [OTHER, OTHER + ROOT, b"nonsense"])
def test_cups_of_somebody_else(site: Cups, content: bytes) -> None:
    """CUPS takes one certificate; another one there is its owner's, and stays."""
    path = site.directory / "ssl/_site_.crt"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"_site_.crt holds another certificate, and CUPS takes"):
        site.add(ROOT, NAME)
    assert not site.holds(ROOT)
    site.remove(ROOT, NAME)
    assert path.read_bytes() == content


def test_cups_empty_file(site: Cups) -> None:
    """An empty file is no certificate."""
    (site.directory / "ssl").mkdir()
    (site.directory / "ssl/_site_.crt").write_bytes(b"\n")
    site.add(ROOT, NAME)
    assert site.holds(ROOT)


def test_where_cups_keeps_it(tmp_path: Path) -> None:
    """As CUPS decides: ~/.cups if it is there, else the XDG place; root has the system's."""
    person = Person(tmp_path, (12345, 12345))
    assert cups.store(person, {"XDG_CONFIG_HOME": "/x"}).directory == tmp_path / ".config/cups"
    assert not cups.store(person, {}).available()
    (tmp_path / ".cups").mkdir()
    assert cups.store(person, {}).directory == tmp_path / ".cups"
    own = cups.store(Person(tmp_path), {"XDG_CONFIG_HOME": "/x"})
    assert own.directory == Path("/etc/cups" if os.geteuid() == 0 else "/x/cups")


# -- macOS and Windows: the command lines, as their documentation has them

RECORD = 'echo "$*" >> {log}; case "$*" in {cases} esac'


def test_macos(tmp_path: Path) -> None:
    """The words for security(1); untested against it."""
    keychain = tmp_path / "Library/Keychains/login.keychain-db"
    log, kept = tmp_path / "log", tmp_path / "kept.pem"
    cases = (
        f'add-trusted-cert*) for f; do :; done; cp "$f" {kept};; '
        f"find-certificate*) cat {kept} 2>/dev/null || :;; delete-certificate*) rm {kept};;"
    )
    security = script(tmp_path / "security", RECORD.format(log=log, cases=cases))
    store = Keychain(tmp_path, str(security))
    assert not store.available()
    keychain.parent.mkdir(parents=True)
    keychain.touch()
    assert store.available()
    assert not store.tested
    store.add(ROOT, NAME)
    assert store.holds(ROOT)
    assert not store.holds(OTHER)
    store.remove(OTHER, NAME)
    store.remove(ROOT, NAME)
    store.remove(ROOT, NAME)
    find = f"find-certificate -a -p {keychain}"
    lines = log.read_text().splitlines()
    assert lines[0].startswith(f"add-trusted-cert -r trustRoot -p ssl -k {keychain} ")
    assert lines[1:4] == [find] * 3
    assert lines[4:] == [find, f"delete-certificate -Z {sha1(ROOT)} -t {keychain}", find]


def test_windows(tmp_path: Path) -> None:
    """The words for certutil.exe and curl.exe; untested against them."""
    log, kept = tmp_path / "log", tmp_path / "kept"
    cases = (
        f'*addstore*) for f; do :; done; cp "$f" {kept};; '
        f"*-store*) test -e {kept};; *delstore*) rm {kept};;"
    )
    program = script(tmp_path / "certutil.exe", RECORD.format(log=log, cases=cases))
    curl = script(tmp_path / "curl.exe", f'echo "$*" >> {log}')
    store = CurrentUser(program, curl)
    assert store.available()
    assert not CurrentUser().available()
    assert not store.tested
    store.add(ROOT, NAME)
    assert kept.read_bytes() == home(0).der
    assert store.holds(ROOT)
    store.verify("https://router.lan:8555/")
    store.remove(ROOT, NAME)
    store.remove(ROOT, NAME)
    thumb = sha1(ROOT).lower()
    lines = log.read_text().splitlines()
    assert lines[0].startswith("-user -f -addstore Root ")
    assert lines[1:] == [
        f"-user -store Root {thumb}",
        "--silent --show-error --output NUL https://router.lan:8555/",
        f"-user -store Root {thumb}",
        f"-user -delstore Root {thumb}",
        f"-user -store Root {thumb}",
    ]


def sha1(pem: bytes) -> str:
    """Return the thumbprint of a root."""
    import hashlib
    import ssl

    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest().upper()


# -- all of them


def test_all_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each system has its own; a name is one word and stands once."""
    linux = stores.all_stores(tmp_path, {})
    assert [each.name for each in linux] == ["debian", "fedora", "chromium", "firefox", "cups"]
    assert [each.tested for each in linux] == [True, False, True, True, False]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert [each.name for each in stores.all_stores(tmp_path, {})] == ["macos"]
    monkeypatch.setattr(sys, "platform", "win32")
    assert [each.name for each in stores.all_stores(tmp_path, {})] == ["windows"]


def test_what_a_system_store_is_made_of_is_everybodys_to_read(tmp_path: Path) -> None:
    """Whatever the umask of who runs this: the unit's and the dispatcher's let nobody in."""
    before = os.umask(0o077)
    try:
        assert int(run("a store", ["sh", "-c", "umask"]).stdout, 8) == 0o022
        own = run("a store", ["sh", "-c", "umask"], Person(tmp_path))
        assert int(own.stdout, 8) == 0o077
    finally:
        os.umask(before)

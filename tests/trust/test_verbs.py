"""The commands as a person types them: this project's own server, a real NSS store, curl.

Only which network this machine is on is told by the test.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acmeiot import cli
from acmeiot.client import network
from acmeiot.client.network import Network, Survey
from acmeiot.trust import stores
from acmeiot.trust.stores import debian, nss
from acmeiot.trust.stores.programs import Person as Homebody
from tests.trust.fakes import CABLE, OTHER
from tests.web.running import NAMES, Running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    """The servers of two homes that know nothing of each other."""
    made = [
        Running(tmp_path_factory.mktemp(name) / "state", (*NAMES, "--allow-loopback")).start()
        for name in ("home", "neighbours")
    ]
    yield made
    for server in made:
        server.stop()


@dataclass
class Person:
    """A person with a home directory and an NSS database, somewhere."""

    home: Path
    capsys: pytest.CaptureFixture[str]
    here: list[Network] = field(default_factory=list)
    server: Running | None = None

    def trust(self, verb: str, *more: str, code: int = 0) -> str:
        """Run one of the commands; return what it printed, or complained about."""
        where = ["--home", str(self.home), "--store", "chromium"]
        if self.server is not None:
            url = f"https://127.0.0.1:{self.server.ports[0]}/acme/directory"
            where += ["--directory", url]
        assert cli.main(["trust", verb, *where, *more]) == code
        said = self.capsys.readouterr()
        return said.err if code else said.out

    def status(self) -> dict[str, Any]:
        """Return what the status says to programs."""
        said = json.loads(self.trust("status", "--json"))
        assert isinstance(said, dict)
        return said

    def accepts(self, server: Running) -> bool:
        """Tell whether NSS's own client believes a server with this person's roots."""
        done = subprocess.run(
            ["tstclnt", "-d", f"sql:{self.database}", "-h", "127.0.0.1", "-Q"]
            + ["-p", str(server.ports[0])],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
        )  # fmt: skip
        return done.returncode == 0

    @property
    def database(self) -> Path:
        """Return where Chromium keeps roots."""
        return self.home / ".pki/nssdb"


@pytest.fixture
def person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Person:
    """A person who is on no network."""
    made = Person(tmp_path / "home", capsys)
    made.database.mkdir(parents=True)
    command = ("certutil", "-N", "--empty-password", "-d", f"sql:{made.database}")
    subprocess.run(command, check=True)

    def survey(_interface: str | None, **_more: object) -> Survey:
        return Survey(tuple(made.here), ())

    monkeypatch.setattr(network, "survey", survey)
    # This computer's own stores are out of reach, whatever a test forgets.
    monkeypatch.setattr(stores, "all_stores", lambda home: (nss.chromium(Homebody(home), {}),))
    return made


def test_from_home_to_the_neighbours_and_away(person: Person, servers: list[Running]) -> None:
    """A-3.3-3, A-3.3-4, A-1-2, A-4.8-1: NSS itself accepts and refuses."""
    home, neighbours = servers
    assert not person.accepts(home)
    person.here, person.server = [CABLE], home
    assert home.root_hash in person.trust("once", "--mode", "tofu")
    assert person.accepts(home)
    person.here, person.server = [], None
    person.trust("once", "--mode", "tofu")
    assert not person.accepts(home)
    person.here, person.server = [OTHER], neighbours
    person.trust("once", "--mode", "tofu")
    assert person.accepts(neighbours)
    assert not person.accepts(home)
    said = person.status()
    assert [one["joined"] for one in said["networks"]] == [False, True]
    assert [one["root"]["sha256"] for one in said["networks"]] == [
        home.root_hash,
        neighbours.root_hash,
    ]
    assert [one["sha256"] for one in said["stores"]] == [neighbours.root_hash]
    assert said["stores"][0]["proven"] is True


def test_nobody_at_the_terminal_then_accept(person: Person, servers: list[Running]) -> None:
    person.here, person.server = [CABLE], servers[0]
    said = person.trust("once", code=1)
    assert f"acmeiot trust accept sha256:{servers[0].root_hash}" in said
    assert said.count("\n") == 1
    assert not person.accepts(servers[0])
    person.server = None
    assert "say which root" in person.trust("accept", code=1)
    assert "sha256: and 64 hex digits" in person.trust("accept", "lugab-masiz", code=2)
    said = person.trust("accept", "sha256:" + "0" * 64, code=1)
    assert "does not wait to be accepted" in said
    words = person.status()["networks"][0]["pending"]["words"]
    assert "WAITING" in person.trust("status")
    person.trust("accept", words)
    assert person.accepts(servers[0])
    assert person.status()["networks"][0]["root"]["verified"] is True
    assert "no root waits" in person.trust("accept", code=1)


def test_a_rogue_at_home(person: Person, servers: list[Running]) -> None:
    """A-4.7-2, A-4.2-1: refused and said so, the old root stays."""
    home, rogue = servers
    person.here, person.server = [CABLE], home
    person.trust("once", "--mode", "tofu")
    person.server = rogue
    said = person.trust("once", "--mode", "tofu", code=1)
    assert home.root_hash in said
    assert rogue.root_hash in said
    assert person.accepts(home)
    assert not person.accepts(rogue)
    said = person.trust("status")
    assert "CHANGED" in said
    assert f"sha256:{rogue.root_hash}" in said


def test_a_man_in_the_middle_and_the_expected_root(person: Person, servers: list[Running]) -> None:
    """A-4.2-1."""
    home, rogue = servers
    person.here, person.server = [CABLE], rogue
    expect = ("--mode", "managed", "--expect", f"sha256:{home.root_hash}")
    assert "not the expected one" in person.trust("once", *expect, code=1)
    assert not person.accepts(rogue)
    person.server = home
    person.trust("once", *expect)
    assert person.accepts(home)


def test_forget_and_reset(person: Person, servers: list[Running]) -> None:
    """A-4.4-1: the stored roots are gone."""
    person.here, person.server = [CABLE], servers[0]
    person.trust("once", "--mode", "tofu")
    person.server = None
    assert CABLE.key in person.trust("forget", "nowhere", code=1)
    person.trust("forget", CABLE.key)
    assert not person.accepts(servers[0])
    assert person.status()["networks"] == []
    person.server = servers[0]
    person.trust("once", "--mode", "tofu")
    assert person.accepts(servers[0])
    person.server = None
    person.trust("reset")
    assert not person.accepts(servers[0])
    assert person.status() == {"networks": [], "stores": [], "troubles": {}, "notices": []}
    listed = subprocess.run(
        ["certutil", "-L", "-d", f"sql:{person.database}"], capture_output=True, text=True
    )
    assert "acmeiot" not in listed.stdout


def test_events_for_programs(person: Person, servers: list[Running]) -> None:
    person.here, person.server = [CABLE], servers[0]
    said = json.loads(person.trust("once", "--mode", "tofu", "--json"))
    assert [one["kind"] for one in said] == ["believed", "stores"]
    person.server = None
    nowhere = ("--json", "--store", "chromium", "--directory", "https://127.0.0.1:9/")
    assert cli.main(["trust", "once", "--home", str(person.home), *nowhere]) == 1
    out, err = person.capsys.readouterr()
    (event,) = json.loads(out)
    assert (event["kind"], event["failed"]) == ("unreachable", True)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--store", "netscape"), "there is no netscape; there are"),
        (("--expect", "sha256:12"), "64 hex digits"),
        (("--directory", "http://x/"), "--directory is like"),
        (("--notify", "no-such-program"), "there is no such program"),
        (("--resolver", "8.8.8.8"), "--resolver"),
        (("--domain", "a b"), "--domain"),
        (("--config", "/dev/null/x"), "Not a directory"),
        (("--config", "/no/such/file"), "there is no such file"),
    ],
)
def test_options_that_cannot_be(person: Person, arguments: tuple[str, ...], said: str) -> None:
    assert said in person.trust("once", *arguments, code=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode = 7", "mode is str, not 7"),
        ('mode = "yes"', "mode is one of ask, tofu, managed"),
        ('expect = "sha256:00"', "expect is a list of str"),
        ("on_public = 1", "on_public is bool"),
        ("number = [true]", "number is a list of int"),
        ("colour = 1", "colour is no setting"),
        ("mode", "Expected '='"),
    ],
)
def test_settings_that_cannot_be(person: Person, text: str, said: str) -> None:
    config = person.home / ".config/acmeiot/trust.toml"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    assert said in person.trust("once", code=2)


def test_settings_from_the_file_and_flags_over_them(person: Person, servers: list[Running]) -> None:
    config = person.home / ".config/acmeiot/trust.toml"
    config.parent.mkdir(parents=True)
    config.write_text('mode = "managed"\nexpect = ["' + "0" * 64 + '"]\non_public = true\n')
    person.here, person.server = [CABLE], servers[0]
    assert "not the expected one" in person.trust("once", code=1)
    person.trust("once", "--expect", servers[0].root_hash)
    assert person.accepts(servers[0])


def test_another_persons_home_is_not_the_system(
    person: Person, servers: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = debian.Debian(directory=person.home, program="true")
    both = (system, nss.chromium(Homebody(person.home), {}))
    monkeypatch.setattr(stores, "all_stores", lambda _home: both)
    assert system.available()
    person.here = [CABLE]
    url = f"https://127.0.0.1:{servers[0].ports[0]}/acme/directory"
    where = ("--home", str(person.home), "--directory", url)
    assert cli.main(["trust", "once", "--mode", "tofu", *where]) == 0
    assert "in chromium: " in person.capsys.readouterr().out
    assert {one["store"] for one in person.status()["stores"]} == {"chromium"}


def test_a_state_that_cannot_be_written(person: Person) -> None:
    person.here = [CABLE]
    assert "/dev/null" in person.trust("once", "--state", "/dev/null/x", code=1)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_person_at_a_real_terminal(
    tmp_path: Path, person: Person, servers: list[Running], answer: str
) -> None:
    """The question, on a terminal of its own; what waits is asked for again by `accept`."""
    person.here, person.server = [CABLE], servers[0]
    person.trust("once", code=1)
    command = [sys.executable, "-m", "acmeiot", "trust", "accept", "--home", str(person.home)]
    command += ["--store", "chromium"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "200"}
    ) as asked:
        os.close(theirs)
        shown = _until(ours, "yes or no: ")
        os.write(ours, answer.encode() + b"\n")
        _drain(ours)
        assert asked.wait(60) == 0
    os.close(ours)
    assert servers[0].root_hash in shown
    assert "█" in shown
    root = person.status()["networks"][0]["root"]
    assert (root is not None) == (answer == "yes")


def _until(descriptor: int, text: str) -> str:
    shown = b""
    while text.encode() not in shown:
        shown += os.read(descriptor, 65536)
    return shown.decode()


def _drain(descriptor: int) -> None:
    """Read until the other side hangs up, which Linux reports as an error."""
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        return


def test_the_program_starts_without_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that never runs the agent does not load it."""
    code = (
        "import sys; from acmeiot import cli; cli._parser();"
        "print([m for m in sys.modules if m.startswith(('acmeiot.trust.', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['acmeiot.trust.command']"

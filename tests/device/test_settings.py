"""Options of the command line and of the file; what cannot be is said with its name."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.device import command, settings, verbs
from acmeiot.device.settings import Settings
from tests.web.running import acmeiot


def parse(*line: str) -> argparse.Namespace:
    """Return what `acmeiot device` makes of a command line."""
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["device", *line])


def read(*line: str) -> Settings:
    """Return the settings of `acmeiot device run`."""
    return verbs.settings_of(verbs.options_of(parse("run", *line)))


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verbs, "CONFIG", tmp_path / "none")
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/other")
    found = read()
    assert found.state == tmp_path
    assert (found.name, found.domains, found.addresses, found.targets) == ("", (), False, None)
    assert (found.challenge, found.http01_port, found.keep_key) == ("http-01", 80, False)


@pytest.mark.parametrize(("uid", "folder"), [(0, "/var/lib/acmeiot/device"), (1, None)])
def test_where_the_state_is(
    uid: int, folder: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    wanted = Path(folder) if folder else tmp_path / ".local/state/acmeiot/device"
    assert settings.default_state() == wanted


def test_a_file_has_the_same_options_and_flags_win(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text(
        'name = "printer-12cd56"\ndomain = ["lan", "internal"]\nip = true\nhttp01_port = 8080\n'
        f'key = "{tmp_path}/key"\ncert = "{tmp_path}/cert"\nmode = "0640"\nverify = 8443\n'
        f'expect = "sha256:{"a" * 64}"\nstate = "{tmp_path}/state"\nresolver = "127.0.0.1:53"\n'
    )
    found = read("--config", str(file), "--name", "other-12cd56", "--domain", "home.arpa")
    assert (found.name, found.domains) == ("other-12cd56", ("home.arpa",))
    assert (found.addresses, found.http01_port, found.expected) == (True, 8080, "a" * 64)
    assert found.targets is not None
    assert (found.targets.key, found.targets.mode) == (tmp_path / "key", 0o640)
    assert (found.verify, found.state) == (("", 8443), tmp_path / "state")


def test_pairing_uri() -> None:
    uri = "https://router.lan:8555/acme/directory#kid=k1&hmac=c2VjcmV0&root=sha256:" + "b" * 64
    found = read("--pair", uri)
    assert found.directory == "https://router.lan:8555/acme/directory"
    assert (found.eab, found.expected) == (("k1", "c2VjcmV0"), "b" * 64)


def test_pairing_uri_that_no_other_user_sees(tmp_path: Path) -> None:
    """Whoever may list processes may read their command lines."""
    uri = "https://router.lan:8555/acme/directory#kid=k1&hmac=c2VjcmV0&root=sha256:" + "b" * 64
    (tmp_path / "uri").write_text(f"{uri}\n")
    wanted = ("https://router.lan:8555/acme/directory", ("k1", "c2VjcmV0"), "b" * 64)
    found = read("--pair-file", str(tmp_path / "uri"))
    assert (found.directory, found.eab, found.expected) == wanted
    code = (
        "from acmeiot.device import settings; from pathlib import Path;"
        "print(settings.pairing(settings.line(Path('-'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=uri, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{wanted}\n"


def test_pairing_key_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("c2VjcmV0\n")
    found = read("--eab-kid", "k1", "--eab-hmac-file", str(tmp_path / "key"))
    assert found.eab == ("k1", "c2VjcmV0")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--expect", "abc"], "--expect is sha256: and 64 hex digits"),
        (["--pair", "https://router.lan/acme"], "--pair is https://"),
        (["--pair", "http://router.lan/acme#kid=1&hmac=2"], "--pair is https://"),
        (["--pair-file", "/nowhere"], "cannot read the key in /nowhere"),
        (["--key", "/k"], "--key and --cert go together"),
        (["--reload", "true"], "--reload is about installed files"),
        (["--key", "/k", "--cert", "/c", "--mode", "0644"], "octal, 0600 or 0640"),  # A-4.3-1
        (["--key", "/k", "--cert", "/c", "--owner", "nobody-at-all"], "--owner 'nobody-at-all'"),
        (["--key", "/k", "--cert", "/c", "--verify", "x:0"], "--verify: '0' is no port"),
        (["--http01-port", "99999"], "--http01-port: '99999' is no port"),
        (["--eab-kid", "k"], "--eab-kid and --eab-hmac-file go together"),
        (["--eab-kid", "k", "--eab-hmac-file", "/nowhere"], "cannot read the key in /nowhere"),
        (["--name", "a.b"], "one label such as"),
        (["--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ],
)
def test_what_cannot_be(line: list[str], said: str) -> None:
    with pytest.raises(AgentError) as caught:
        read(*line)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1\n", "colour is no option; there are cert, challenge, "),
        ("name = [\n", "is no TOML"),
        ("ip = 3\n", "ip cannot be 3"),
        ("name = true\n", "name cannot be True"),
        ("domain = [[]]\n", "domain cannot be"),
        ('challenge = "dns-01"\n', "--challenge is http-01 or tls-alpn-01"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "device.toml"
    file.write_text(text)
    with pytest.raises(AgentError) as caught:
        read("--config", str(file))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("443", ("", 443)),
        ("192.168.1.20:8443", ("192.168.1.20", 8443)),
        ("[fd00::1]:1", ("fd00::1", 1)),
    ],
)
def test_places(text: str, place: tuple[str, int]) -> None:
    assert settings.place(text) == place


def test_owners() -> None:
    assert settings.owner("root:root") == (0, 0)
    assert settings.owner("1:2") == (1, 2)
    assert settings.owner(":2") == (-1, 2)


def test_responders_by_option(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    for option in ([], ["--challenge", "tls-alpn-01"], ["--webroot", str(tmp_path)]):
        from acmeiot.device import state

        tools = verbs.tools_of(state.make(tmp_path / "state"), read(*option))
        made[" ".join(option[:1])] = type(tools.responder(["127.0.0.1"])).__name__
    assert made == {"": "Http01", "--challenge": "TlsAlpn01", "--webroot": "Webroot"}


def test_a_later_command_counts_on_the_options_of_the_start(tmp_path: Path) -> None:
    key = ("--key", "/k", "--cert", "/c")
    started = verbs.options_of(
        parse("once", "--state", str(tmp_path), *key, "--ip", "--domain", "a")
    )
    settings.remember(tmp_path, started | {"pair": "secret"})
    kept = (tmp_path / "options.json").read_text()
    assert "secret" not in kept
    again = parse("rename", "kitchen", "--state", str(tmp_path), "--domain", "b")
    found = verbs.settings_of(verbs.options_of(again))
    assert found.targets is not None
    assert (found.targets.key, found.addresses, found.domains) == (Path("/k"), True, ("b",))
    other = verbs.settings_of(verbs.options_of(parse("once", "--state", str(tmp_path))))
    assert other.targets is None


@pytest.mark.parametrize("verb", ["once", "run", "reset", "status"])
def test_a_state_that_cannot_be_is_one_line(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = acmeiot("device", verb, "--state", tmp_path / "file" / "state")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("acmeiot: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "file") in done.stderr

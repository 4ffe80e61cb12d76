"""The command line as a person meets it: what it prints, how it ends, what it never loses."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from acmeiot import __version__
from tests.web.running import NAMES, READY, Running, acmeiot


def refused(*arguments: object) -> str:
    """Run a command that must fail with one line; return exit code and line."""
    done = acmeiot(*arguments)
    assert done.stdout == "", done
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return f"{done.returncode} {done.stderr.strip()}"


# -- in general


def test_version_and_help() -> None:
    assert acmeiot("--version").stdout == f"acmeiot {__version__}\n"
    for line in ([], ["serve"], ["status"], ["pair"], ["restore"]):
        done = acmeiot(*line, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage: acmeiot" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "2 acmeiot: the following arguments are required: COMMAND"),
        (["sevre"], "2 acmeiot: argument COMMAND: invalid choice: 'sevre'"),
        (["serve", "--approval", "maybe"], "2 acmeiot serve: argument --approval: invalid choice"),
        (["serve", "--http01-port", "web"], "2 acmeiot serve: argument --http01-port: invalid int"),
        (["serve", "--no-such"], "2 acmeiot: unrecognized arguments: --no-such"),
        (["status", "extra"], "2 acmeiot: unrecognized arguments: extra"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    """One line, exit 2."""
    assert refused(*arguments).startswith(said)


@pytest.mark.parametrize("command", ["status", "devices", "pair", "approve x"])
def test_admin_commands_start_light(tmp_path: Path, command: str) -> None:
    """On a router each megabyte and each tenth of a second of an import is felt."""
    line = [sys.executable, "-X", "importtime", "-m", "acmeiot", *command.split()]
    done = subprocess.run([*line, "--state", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    loaded = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines() if "|" in row}
    assert "acmeiot.commands" in loaded
    heavy = ("cryptography", "bottle", "waitress", "dns", "sqlite3", "segno", "acmeiot.core")
    assert not [name for name in loaded if name.split(".")[0] in heavy or name in heavy]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m acmeiot --help | true"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert done.stderr == ""


# -- serve


BAD_FLAGS = [
    (["--listen", "8555"], "listen: '8555' is not ADDRESS:PORT"),
    (["--listen", "router.lan:8555"], "listen: 'router.lan:8555' is not ADDRESS:PORT"),
    (["--listen", "127.0.0.1"], "listen: '127.0.0.1' is not ADDRESS:PORT"),
    (["--listen", "127.0.0.1:0"], "listen: port 0 is not 1 to 65535"),
    (["--listen", "127.0.0.1:65536"], "listen: port 65536 is not 1 to 65535"),
    (["--http-listen", "::1:80"], "http_listen: '::1:80' is not ADDRESS:PORT"),
    (["--http-listen", "[::1:80"], "http_listen: '[::1:80' is not ADDRESS:PORT"),
    (["--name", "router.example.com"], "name: router.example.com ends in none of the local"),
    (["--name", "router"], "name: router ends in none of the local domains (local, lan)"),
    (["--name", "*.lan"], "name: '*.lan' is a wildcard"),
    (["--name", "a_b.lan"], "name: 'a_b' in 'a_b.lan' is not a host label"),
    (["--domain", ""], "domain: the DNS name is empty"),
    (["--domain", "local"], "domain: name the local domain"),
    (["--domain", "*.lan"], "domain: '*.lan' is a wildcard"),
    (["--resolver", "8.8.8.8"], "resolver: the resolver 8.8.8.8 is not on this LAN"),
    (["--resolver", "dns.lan"], "resolver: 'dns.lan' is not ADDRESS:PORT"),
    (["--http01-port", "0"], "http01_port: 0 is not 1 to 65535"),
    (["--pairing-window", "90000"], "pairing_window: 90000 is not 0 to 86400"),
    (["--state", ""], "state: name a directory"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "said"), BAD_FLAGS)
def test_serve_with_a_bad_option(tmp_path: Path, flags: list[str], said: str) -> None:
    """The option, the value and what would be right; nothing is made."""
    state = tmp_path / "state"
    assert refused("serve", "--state", state, *flags).startswith(f"2 acmeiot: {said}")
    assert not state.exists()


BAD_FILES = [
    ("aproval = 'ask'", "there is no option 'aproval'; did you mean 'approval'?"),
    ("zzz = 1", "there is no option 'zzz'"),
    ("approval = 'never'", "approval: 'never' is not one of ask, auto"),
    ("approval = true", "approval: True is not a text"),
    ("threads = '8'", "threads: '8' is not a whole number"),
    ("threads = true", "threads: True is not a whole number"),
    ("threads = 8.5", "threads: 8.5 is not a whole number"),
    ("threads = 65", "threads: 65 is not 1 to 64"),
    ("mdns = 'yes'", "mdns: 'yes' is not true or false"),
    ("domain = [1]", "domain: [1] is not a text or a list of texts"),
    ("listen = []", "listen: at least one ADDRESS:PORT is needed"),
    ("http_listen = []", "http_listen: at least one ADDRESS:PORT is needed"),
    ("leaf_days = 90", "leaf_days: 90 is not 1 to 89"),
    ("root_days = 364", "root_days: 364 is not 365 to 3652"),
    ("root_days = 3660", "root_days: 3660 is not 365 to 3652"),
    ("intermediate_days = 100", "intermediate_days: 100 is not 180 to 3652"),
    ("root_key = 'p256'", "root_key: 'p256' is not one of p384, p521, rsa3072, rsa4096"),
    ("terms = 'none'", "terms: 'none' is not a URL such as https://router.lan/terms"),
    ("website = 'ftp://x'", "website: 'ftp://x' is not a URL"),
    ("= 1", "not TOML"),
    ("x = [", "not TOML"),
]


@pytest.mark.parametrize(("text", "said"), BAD_FILES)
def test_serve_with_a_bad_file(tmp_path: Path, text: str, said: str) -> None:
    """A-3.2.1-3, A-3.2.1-4, A-3.2.4-1 among them: what must not be cannot be configured."""
    file = tmp_path / "acmeiot.toml"
    file.write_text(text)
    line = refused("serve", "--state", tmp_path / "state", "--config", file)
    assert line.startswith("2 acmeiot: ")
    assert said in line
    assert not (tmp_path / "state").exists()


def test_serve_with_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        line = refused("serve", "--state", tmp_path / "state", "--config", path)
        assert line.startswith(f"2 acmeiot: config {path}: ")
    (tmp_path / "latin").write_bytes(b"terms = '\xe4'")
    assert "not TOML" in refused("serve", "--config", tmp_path / "latin")


@pytest.mark.parametrize("where", ["/sys/acmeiot", "/proc/acmeiot", "{}/file/state", "{}/file"])
def test_serve_where_it_may_not_write(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("precious")
    state = where.format(tmp_path)
    ports = Running(tmp_path / "unused").listen
    line = refused("serve", "--state", state, *ports)
    assert line.startswith("1 acmeiot: ")
    assert state in line
    assert (tmp_path / "file").read_text() == "precious"


def stderr_of(*arguments: object) -> str:
    """Return the last line of a server that does not come up; what precedes it is the log."""
    done = acmeiot("serve", *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    *log, last = done.stderr.splitlines()
    assert all(line.startswith("acmeiot INFO ") for line in log), done.stderr
    return last


def test_serve_logs_where_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"syslog = '{tmp_path}/log'\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(f"{tmp_path}/log")
        log.settimeout(10)
        options = ("--config", str(tmp_path / "config.toml"), *NAMES)
        running = Running(tmp_path / "state", options).start()
        assert b"]: start: acmeiot " in log.recv(8192)
        assert running.stop() == 0


@pytest.mark.parametrize("which", [0, 1])
def test_serve_at_a_port_in_use(tmp_path: Path, which: int) -> None:
    running = Running(tmp_path / "state", NAMES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free, running.ports = running.ports, list(running.ports)
        running.ports[which] = taken.getsockname()[1]
        said = stderr_of("--state", running.state, *running.listen, *NAMES)
        assert said == (
            f"acmeiot: cannot listen on 127.0.0.1 port {running.ports[which]}: "
            "Address already in use"
        )
    running.ports = free
    running.start()
    assert running.stop() == 0


def test_serve_on_a_state_in_use(tmp_path: Path) -> None:
    """The first server is not disturbed."""
    running = Running(tmp_path / "state", NAMES).start()
    other = Running(running.state, NAMES)
    said = stderr_of("--state", running.state, *other.listen, *NAMES)
    assert said == f"acmeiot: another acmeiot serve uses {running.state}; stop it first"
    assert running.ask("status")["root"]["sha256"] == running.root_hash
    assert running.stop() == 0


def test_serve_on_a_broken_state(tmp_path: Path) -> None:
    """Nothing is made anew in place of what cannot be read."""
    running = Running(tmp_path / "state", NAMES).start()
    running.stop()
    for path in (running.state / "acmeiot.sqlite", *keys_of(running)):
        good = path.read_bytes()
        path.write_bytes(b"broken" * 100)
        said = stderr_of("--state", running.state, *running.listen, *NAMES)
        assert str(path) in said
        assert "restore" in said
        assert path.read_bytes() == b"broken" * 100
        path.write_bytes(good)
    running.start()
    assert running.stop() == 0


def keys_of(running: Running) -> list[Path]:
    found = [p for p in (running.state / "ca").rglob("*") if p.is_file()]
    keys = [p for p in found if b"PRIVATE KEY" in p.read_bytes()]
    assert len(keys) == 2
    return keys


def test_serve(tmp_path: Path) -> None:
    """One ready line; the second start finds the same home; SIGTERM and SIGINT end it with 0."""
    running = Running(tmp_path / "new" / "state", NAMES)
    (tmp_path / "new").mkdir()
    hashes = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.start()
        assert running.directory == running.url("/acme/directory")
        hashes.add(running.root_hash)
        assert running.stop(number) == 0
        assert "stop: stopped" in running.log.read_text()
    assert len(hashes) == 1
    log = running.log.read_text()
    assert "Traceback" not in log
    assert all(line.startswith("acmeiot ") for line in log.splitlines())
    assert f"start: acmeiot {__version__}, names under local, lan" in log


def test_serve_without_a_name_is_known_by_its_address(tmp_path: Path) -> None:
    running = Running(tmp_path / "state").start()
    assert running.directory == running.url("/acme/directory", "127.0.0.1")
    label = socket.gethostname().partition(".")[0].lower()
    assert running.ask("status")["server"]["names"] == [f"{label}.lan", f"{label}.local"]
    running.stop()


def test_hints_can_be_followed(tmp_path: Path) -> None:
    """What to type next, with this server's own values."""
    running = Running(tmp_path / "state", NAMES)
    line = [sys.executable, "-m", "acmeiot", "serve", "--state", running.state, "--hints"]
    process = subprocess.Popen(
        [*map(str, line), *running.listen, *NAMES],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(9)]
    assert READY.fullmatch(said[0])
    plain = f"http://router.lan:{running.ports[1]}"
    assert f"curl -o root.pem {plain}/root.pem" in said[2]
    assert running.url("/acme/directory") in "".join(said[3:5])
    assert "-d printer.lan -d printer.local" in "".join(said[3:5])
    done = subprocess.run(["sh", "-c", said[6]], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "none\n", "")
    assert f" approve ID --state {running.state}" in said[7]
    assert said[8] == f"Browsers: {plain}/trust\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 0


def test_the_state_directory_may_be_deep(tmp_path: Path) -> None:
    """A socket's path may have 107 octets; a state directory's may have more."""
    running = Running(tmp_path / ("d" * 60) / ("e" * 60) / "state", NAMES)
    running.state.parent.mkdir(parents=True)
    running.start()
    assert running.ask("status")["directory"] == running.directory
    running.stop()


def test_the_state_is_found_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACMEIOT_STATE", str(tmp_path / "there"))
    assert f"on the state {tmp_path / 'there'};" in refused("status")
    monkeypatch.delenv("ACMEIOT_STATE")
    assert "on the state var;" in refused("status")

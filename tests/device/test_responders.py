"""This device's answers to challenges, as the server's own validators and hostile strangers ask."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.device import responders
from acmeiot.device.responders import Http01, TlsAlpn01, Webroot
from acmeiot.protocol import names
from acmeiot.protocol.names import Identifier
from tests.device.conftest import Serve
from tests.device.rig import HOME, NAMES, Rig, subject_names
from tests.ports import free_ports

NAME = names.dns("printer-12cd56.lan")
TOKEN = "abcdefghijklmnopqrstuv"
PATH = f"/.well-known/acme-challenge/{TOKEN}"


@pytest.fixture
def http() -> Iterator[Http01]:
    """A responder with one proof."""
    with Http01(["127.0.0.1"], free_ports(1)[0]) as http, http.show(NAME, TOKEN, "proof"):
        yield http


def say(port: int, *parts: bytes) -> bytes:
    """Send something in parts and return the answer, as far as it goes."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                raw.sendall(part)
            while data := raw.recv(4096):
                answer += data
        return answer


def get(port: int, path: str) -> bytes:
    """Ask as a validator does."""
    return say(port, f"GET {path} HTTP/1.1\r\nHost: printer\r\n\r\n".encode())


def test_it_answers_for_its_token_only(http: Http01) -> None:
    answer = get(http.port, PATH)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nproof")
    for path in ("/", PATH + "x", PATH[:-1], f"{PATH}?x=1", "/.well-known/acme-challenge/"):
        assert get(http.port, path).startswith(b"HTTP/1.1 404 "), path


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET" + b"a" * 9000,
        b"\x16\x03\x01\x00\xff\r\n\r\n",
    ],
)
def test_what_is_no_get_is_not_found(http: Http01, request_: bytes) -> None:
    assert say(http.port, request_)[:13] in (b"HTTP/1.1 404 ", b"")
    assert get(http.port, PATH).endswith(b"proof")


def test_silent_strangers_do_not_keep_the_server_waiting_long(
    http: Http01, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responders, "_SECONDS", 0.5)
    with contextlib.ExitStack() as held:
        for _ in range(3 * responders.WORKERS):
            raw = held.enter_context(socket.create_connection(("127.0.0.1", http.port), 10))
            raw.sendall(b"GET ")
        assert get(http.port, PATH).endswith(b"proof")


@pytest.mark.parametrize("kind", [Http01, TlsAlpn01])
def test_strangers_who_never_come_to_an_end(
    kind: type[Http01 | TlsAlpn01], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds are for all of it, not for each octet."""
    monkeypatch.setattr(responders, "_SECONDS", 0.5)
    (port,) = free_ports(1)
    start = b"GET /" if kind is Http01 else b"\x16\x03\x01\x0f\x00\x01\x00\x0e\xfc\x03\x03"
    with kind(["127.0.0.1"], port), socket.create_connection(("127.0.0.1", port)) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(start)
        began = time.monotonic()
        raw.settimeout(0.005)
        while time.monotonic() - began < 5:
            try:
                raw.sendall(b"x")
                if not raw.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 3


def test_nothing_listens_any_more_afterwards() -> None:
    (port,) = free_ports(1)
    before = threading.active_count()
    for _ in range(3):  # the port is free again at once
        with Http01(["127.0.0.1"], port) as http, http.show(NAME, TOKEN, "proof"):
            get(port, PATH)
    with pytest.raises(ConnectionRefusedError):
        get(port, PATH)
    assert threading.active_count() == before


def test_a_port_that_is_taken_says_what_helps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AgentError, match=rf"127.0.0.1 port {port}: .*--webroot"):
            Http01(["127.0.0.1"], port).__enter__()


@pytest.mark.parametrize("token", ["", "short", "../../../../etc/passwd", "a/b" * 10, "a" * 300])
def test_a_token_leads_nowhere_else(tmp_path: Path, token: str) -> None:
    webroot = Webroot(tmp_path / "www")
    with webroot, pytest.raises(AgentError, match="no proper token"):
        webroot.show(NAME, token, "proof").__enter__()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_webroot_is_left_clean(tmp_path: Path) -> None:
    with Webroot(tmp_path) as webroot, webroot.show(NAME, TOKEN, "proof"):
        file = tmp_path / ".well-known" / "acme-challenge" / TOKEN
        assert file.read_text() == "proof"
        assert file.stat().st_mode & 0o777 == 0o644
    assert not file.exists()


def test_the_web_server_gets_into_a_new_webroot(tmp_path: Path) -> None:
    """Whatever the umask: the unit's is 0077."""
    before = os.umask(0o077)
    try:
        with Webroot(tmp_path) as webroot, webroot.show(NAME, TOKEN, "proof"):
            for folder in (tmp_path / ".well-known", tmp_path / ".well-known" / "acme-challenge"):
                assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_no_link_in_a_webroot_is_followed(tmp_path: Path) -> None:
    with Webroot(tmp_path / "www") as webroot:
        other = tmp_path / "other"
        (tmp_path / "www/.well-known/acme-challenge" / TOKEN).symlink_to(other)
        with pytest.raises(AgentError, match="cannot write"):
            webroot.show(NAME, TOKEN, "proof").__enter__()
    assert not other.exists()


def test_a_webroot_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "www").write_text("a file")
    with pytest.raises(AgentError, match="the web root"):
        Webroot(tmp_path / "www").__enter__()


def handshake(port: int, host: str, *protocols: str) -> str | None:
    """Return the protocol that a handshake ends with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        return tls.selected_alpn_protocol()


def test_tls_alpn_answers_for_its_name_only() -> None:
    (port,) = free_ports(1)
    address = Identifier("ip", "127.0.0.1")
    with (
        TlsAlpn01(["127.0.0.1"], port) as responder,
        responder.show(NAME, TOKEN, "proof"),
        responder.show(address, TOKEN, "proof"),
    ):
        assert handshake(port, str(NAME), "acme-tls/1") == "acme-tls/1"
        assert handshake(port, "1.0.0.127.in-addr.arpa", "acme-tls/1") == "acme-tls/1"
        with pytest.raises(ssl.SSLError):
            handshake(port, "other.lan", "acme-tls/1")
        say(port, b"no handshake at all")
        assert handshake(port, str(NAME), "acme-tls/1") == "acme-tls/1"


def test_the_servers_validator_takes_tls_alpn(rig: Rig) -> None:
    rig.responder = TlsAlpn01
    rig.settings["addresses"] = True
    rig.good()
    assert subject_names(rig.leaf()) == {*NAMES, "127.0.0.1"}


def test_the_servers_validator_takes_a_webroot(
    rig: Rig, make_server: Serve, tmp_path: Path
) -> None:
    import http.server

    class Site(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "www"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    rig.responder = lambda *_: Webroot(tmp_path / "www")  # type: ignore[assignment]
    rig.lan.servers[HOME.key] = make_server().directory
    with http.server.ThreadingHTTPServer(("127.0.0.1", rig.port), Site) as site:
        threading.Thread(target=site.serve_forever, args=(0.05,)).start()
        try:
            rig.good()
        finally:
            site.shutdown()
    assert subject_names(rig.leaf()) == NAMES

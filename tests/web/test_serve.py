"""The server against real sockets: hostile clients, limits, certificate swap, stop.

Clients come from several loopback addresses, so that one host's greed and another's need differ.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.web import serve, unixsocket
from acmeiot.web.serve import Limits, Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

GET = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_CLIENT_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(60)
BIG = 8 << 20
Answer = tuple[int, dict[str, str], bytes]


def make_context(folder: Path, serial: int) -> ssl.SSLContext:
    """Make a server context with a fresh P-384 certificate."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2026, 1, 1)  # noqa: DTZ001  # naive UTC, as every release takes it
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA384())
    )
    pem = folder / f"{serial}.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's default is none
    context.load_cert_chain(pem)
    return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def context(folder: Path) -> ssl.SSLContext:
    return make_context(folder, 1)


class Client:
    """A client that can stop in the middle of anything."""

    def __init__(
        self, address: tuple[str, int] | Path, *, tls: bool = True, source: str = "127.0.0.1"
    ) -> None:
        self.rest = b""
        if isinstance(address, Path):
            self.sock = socket.socket(socket.AF_UNIX)
            with unixsocket.address(address) as short:
                self.sock.connect(short)
        else:
            origin = ("::1" if ":" in address[0] else source, 0)
            self.sock = socket.create_connection(address, 10, source_address=origin)
        self.sock.settimeout(10)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw, self.sock = self.sock, socket.socket()
            self.sock.close()
            try:
                # A server that goes without close_notify is an error, as in any careful client.
                self.sock = context.wrap_socket(
                    raw, server_hostname="localhost", suppress_ragged_eofs=False
                )
            except OSError:
                raw.close()
                raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Client:
        self.sock.sendall(data)
        return self

    def read(self) -> Answer:
        """Read one answer that has a Content-Length; raise EOFError when the server is gone."""
        head = self._until(lambda data: b"\r\n\r\n" in data)
        head, _, self.rest = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        body = self._until(lambda data: len(data) >= length)
        self.rest = body[length:]
        return int(first.split(" ")[1]), headers, bytes(body[:length])

    def get(self, path: str = "/hello") -> Answer:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).read()

    def is_closed(self, within: float = 5.0) -> bool:
        """Tell whether the server has hung up on this client."""
        self.sock.settimeout(within)
        try:
            return self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def serial(self) -> int:
        assert isinstance(self.sock, ssl.SSLSocket)
        der = self.sock.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def _until(self, enough: Callable[[bytearray], bool]) -> bytes:
        parts = bytearray(self.rest)
        while not enough(parts):
            data = self.sock.recv(1 << 18)
            if not data:
                raise EOFError(bytes(parts[:200]))
            parts += data
        return bytes(parts)


class App:
    """A WSGI application with an exit for each test."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/nothing":
            start("204 No Content", [])
            return []
        answer: object = getattr(self, path.strip("/").split("/")[0])(environ, start)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    def hello(self, environ: WSGIEnvironment, _start: StartResponse) -> bytes:
        return b"hello " + str(environ["PATH_INFO"]).encode()

    def facts(self, environ: WSGIEnvironment, _start: StartResponse) -> dict[str, object]:
        names = ("REMOTE_ADDR", "acmeiot.local_address", "wsgi.url_scheme", "SERVER_PORT")
        return {name: environ[name] for name in names}

    def upload(self, environ: WSGIEnvironment, _start: StartResponse) -> int:
        return len(environ["wsgi.input"].read())

    def big(self, _environ: WSGIEnvironment, _start: StartResponse) -> bytes:
        return bytes(range(256)) * (BIG // 256)

    def wait(self, _environ: WSGIEnvironment, _start: StartResponse) -> bytes:
        self.entered.release()
        self.release.wait(20)
        return b"waited"

    def fail(self, _environ: WSGIEnvironment, start: StartResponse) -> bytes:
        start("200 OK", [("Content-Length", "3")])(b"par")
        raise FileNotFoundError("no such shelf")


class Running:
    """A server on loopback in a thread of its own."""

    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        self.app = App()
        self.server = Server(**options)
        self.server.add_tls("127.0.0.1", 0, self.app, context)
        self.server.add_http("127.0.0.1", 0, self.app)
        self.tls, self.http = self.server.addresses()
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.app.release.set()
        self.server.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.fixture
def start(context: ssl.SSLContext) -> Iterator[Callable[..., Running]]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Running:
            running = Running(context, **options)
            stack.callback(running.stop)
            return running

        yield begin


def test_an_answer_without_a_body_keeps_the_connection(start: Callable[..., Running]) -> None:
    """R-3: a client fetches its nonce by 204 and goes on; waitress's own head would hang up."""
    running = start()
    with Client(running.tls) as client:
        for _ in range(3):
            status, headers, body = client.get("/nothing")
            assert (status, body) == (204, b"")
            assert not {"connection", "content-length", "transfer-encoding"} & set(headers)
        assert client.get()[0] == 200


def test_a_kept_alive_connection_serves_many_requests(start: Callable[..., Running]) -> None:
    running = start()
    with Client(running.tls) as client:
        for number in range(50):
            status, headers, body = client.get(f"/hello/{number}")
            assert (status, body) == (200, f"hello /hello/{number}".encode())
    assert headers["server"] == "acmeiot"


def test_environ_tells_who_reached_what(start: Callable[..., Running]) -> None:
    running = start()
    with Client(running.tls, source="127.0.0.5") as client:
        assert json.loads(client.get("/facts")[2]) == {
            "REMOTE_ADDR": "127.0.0.5",
            "acmeiot.local_address": "127.0.0.1",
            "wsgi.url_scheme": "https",
            "SERVER_PORT": str(running.tls[1]),
        }
    with Client(running.http, tls=False) as client:
        assert json.loads(client.get("/facts")[2])["wsgi.url_scheme"] == "http"


def test_ipv6_is_served_beside_ipv4(context: ssl.SSLContext) -> None:
    server, app = Server(threads=1), App()
    server.add_http("0.0.0.0", 0, app)
    server.add_http("::", server.addresses()[0][1], app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with Client(("::1", server.addresses()[1][1]), tls=False) as client:
            facts = json.loads(client.get("/facts")[2])
    finally:
        server.stop()
        thread.join()
    assert facts["REMOTE_ADDR"] == facts["acmeiot.local_address"] == "::1"


def test_pipelined_requests_are_answered_in_order(start: Callable[..., Running]) -> None:
    with Client(start().tls) as client:
        client.send(b"".join(GET.replace(b"hello", b"hello/%d" % n) for n in range(200)))
        assert [client.read()[2] for _ in range(200)] == [
            b"hello /hello/%d" % number for number in range(200)
        ]


def test_a_request_in_single_bytes_is_one_request(start: Callable[..., Running]) -> None:
    with Client(start().tls) as client:
        for byte in GET:
            client.send(bytes([byte]))
        assert client.read()[0] == 200


def test_old_clients_and_those_that_ask_are_closed_after_the_answer(
    start: Callable[..., Running],
) -> None:
    running = start()
    for request in (
        b"GET /hello HTTP/1.0\r\n\r\n",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ):
        with Client(running.tls) as client:
            assert client.send(request).read()[0] == 200
            # A clean end: without close_notify `recv` raises.
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.recv(1) == b""


def test_who_asks_before_sending_a_body_is_waved_on(start: Callable[..., Running]) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with Client(start().tls) as client:
        assert client.send(head).read()[0] == 100
        assert client.send(b"12345").read()[2] == b"5"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_limit_is_exact_and_its_refusal_is_heard(
    start: Callable[..., Running], chunked: bool
) -> None:
    """R-8: 413 malformed, also for a client that sends everything before it listens."""
    running = start(limits=Limits(body_bytes=70_000))

    def upload(size: int) -> Answer:
        body, length = bytes(size), b"Content-Length: %d" % size
        if chunked:
            body, length = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body), b"Transfer-Encoding: chunked"
        with Client(running.tls) as client:
            client.send(b"POST /upload HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + body)
            return client.read()

    # The framing of chunks counts as body.
    size = 69_900 if chunked else 70_000
    assert upload(size)[::2] == (200, b"%d" % size)
    for size in (70_001, 700_000):
        status, headers, body = upload(size)
        assert (status, headers["content-type"]) == (413, "application/problem+json")
        assert json.loads(body)["type"] == "urn:ietf:params:acme:error:malformed"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /hello HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * 3000, 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\n\r\n", 400),
        (b"POST /upload HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /upload HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST /upload HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_requests_beyond_the_rules_get_a_problem_document(
    start: Callable[..., Running],
    caplog: pytest.LogCaptureFixture,
    request_bytes: bytes,
    status: int,
) -> None:
    running = start()
    with Client(running.tls) as client:
        answer = client.send(request_bytes).read()
        assert (answer[0], json.loads(answer[2])["status"]) == (status, status)
        assert b"Traceback" not in answer[2]
        assert client.is_closed()
    with Client(running.tls) as client:
        assert client.get()[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_application_that_fails_is_one_line_and_a_500(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = start()
    with Client(running.tls) as client:
        status, _, body = client.get("/fail/here")
    assert status == 500
    assert json.loads(body)["type"] == "urn:ietf:params:acme:error:serverInternal"
    assert b"shelf" not in body
    assert [record.getMessage() for record in caplog.records if record.name == "acmeiot.web"] == [
        "GET /fail/here failed: FileNotFoundError: no such shelf"
    ]


SERVER = """
import signal, ssl, sys
from acmeiot.web import unixsocket
from acmeiot.web.serve import Server
def app(environ, start):
    body = environ["wsgi.input"].read() or b"hello"
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain(sys.argv[1])
server = Server()
server.add_tls("127.0.0.1", 0, app, context)
signal.signal(signal.SIGTERM, lambda *_: server.stop())
print(server.addresses()[0][1], flush=True)
server.run()
print("clean", flush=True)
"""


@pytest.fixture
def process(folder: Path, context: ssl.SSLContext) -> Iterator[subprocess.Popen[str]]:
    """Run a server in a process of its own, whose memory can be read."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder / "1.pem")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def port_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    return "127.0.0.1", int(process.stdout.readline())


def test_a_normal_client_is_served_while_hostile_ones_hold_on(
    process: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """100 half-open TLS connections, 50 slow bodies and 25 slow headers, from six addresses."""
    address = port_of(process)
    with ExitStack() as held:

        def hostile(number: int, *, tls: bool) -> Client:
            source = f"127.0.1.{number % 6 + 1}"
            return held.enter_context(Client(address, tls=tls, source=source))

        with Client(address) as client:
            assert client.get()[0] == 200
        before = resident_kib(process.pid)
        for number in range(50):
            hostile(number, tls=False)
            hostile(number, tls=False).send(HALF_CLIENT_HELLO)
        for number in range(50):
            head = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
            hostile(number, tls=True).send(head + bytes(50_000))
        for number in range(25):
            hostile(number, tls=True).send(b"GET /slow HTTP/1.1\r\nX-Slow: " + b"y" * 8000)
        slowest = 0.0
        # A stranger to them, and one of their own addresses.
        for source in ("127.0.0.1", "127.0.1.1"):
            for _ in range(5):
                began = time.monotonic()
                with Client(address, source=source) as client:
                    assert [client.get()[0] for _ in range(7)] == [200] * 7
                slowest = max(slowest, time.monotonic() - began)
        growth = resident_kib(process.pid) - before
    with capsys.disabled():
        print(
            f"\n175 hostile connections held: RSS {before / 1024:.1f} MiB, grown by "
            f"{growth / 1024:.1f} MiB; slowest connection with 7 requests {slowest * 1000:.0f} ms"
        )
    assert growth < 24 * 1024
    assert process.poll() is None


def test_sigterm_ends_it_cleanly(process: subprocess.Popen[str]) -> None:
    address = port_of(process)
    with Client(address) as idle, Client(address, tls=False):
        assert idle.get()[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert process.stdout is not None
    assert process.stdout.read() == "clean\n"


def test_one_address_cannot_hold_more_than_its_share(start: Callable[..., Running]) -> None:
    running = start(limits=Limits(per_address=5))
    with ExitStack() as held:
        flood = [held.enter_context(Client(running.tls, tls=False)) for _ in range(12)]
        time.sleep(0.3)
        assert [one.is_closed(0.1) for one in flood] == [True] * 7 + [False] * 5
        # Its own next connection is served, at the cost of its oldest.
        assert held.enter_context(Client(running.tls)).get()[0] == 200
        assert [one.is_closed(0.1) for one in flood[7:]] == [True] + [False] * 4


def test_when_all_are_used_the_greediest_gives_way(start: Callable[..., Running]) -> None:
    running = start(limits=Limits(connections=8, per_address=8))
    with ExitStack() as held:
        modest = held.enter_context(Client(running.tls, tls=False, source="127.0.0.3"))
        greedy = [
            held.enter_context(Client(running.tls, tls=False, source="127.0.0.2")) for _ in range(7)
        ]
        kept = held.enter_context(Client(running.tls, source="127.0.0.4"))
        assert kept.get()[0] == 200
        assert [one.is_closed(0.1) for one in greedy] == [True] + [False] * 6
        assert not modest.is_closed(0.2)
        assert kept.get()[0] == 200


def test_finished_handshakes_and_working_requests_outlast_idle_sockets(
    start: Callable[..., Running],
) -> None:
    running = start(limits=Limits(per_address=3))
    with ExitStack() as held:
        working = held.enter_context(Client(running.tls)).send(GET.replace(b"hello", b"wait"))
        assert running.app.entered.acquire(timeout=5)
        idle = held.enter_context(Client(running.tls))
        assert idle.get()[0] == 200
        silent = [held.enter_context(Client(running.tls, tls=False)) for _ in range(4)]
        time.sleep(0.3)
        assert [one.is_closed(0.1) for one in silent] == [True] * 3 + [False]
        assert idle.get()[0] == 200
        running.app.release.set()
        assert working.read()[2] == b"waited"


def test_when_everyone_is_working_the_newcomer_is_refused(start: Callable[..., Running]) -> None:
    running = start(limits=Limits(per_address=2))
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(Client(running.tls)).send(GET.replace(b"hello", b"wait"))
            assert running.app.entered.acquire(timeout=5)
        assert held.enter_context(Client(running.tls, tls=False)).is_closed()


@pytest.mark.parametrize(
    ("said", "tls", "limits"),
    [
        (b"", False, Limits(handshake_seconds=0.3)),
        (HALF_CLIENT_HELLO, False, Limits(handshake_seconds=0.3)),
        (b"", True, Limits(idle_seconds=0.3)),
        (b"GET /hello HTTP/1.1\r\nX: ", True, Limits(request_seconds=0.3)),
        (b"POST /hello HTTP/1.1\r\nContent-Length: 90\r\n\r\n", True, Limits(request_seconds=0.3)),
    ],
)
def test_nobody_may_dawdle(
    start: Callable[..., Running], said: bytes, tls: bool, limits: Limits
) -> None:
    """The clock runs from the first byte: one more byte now and then buys no time."""
    with Client(start(limits=limits).tls, tls=tls) as client:
        client.send(said)
        began = time.monotonic()
        while not client.is_closed(0.05):
            assert time.monotonic() - began < 5, "still open"
            if said:
                with suppress(OSError):  # the server may hang up between the two
                    client.send(b"x")


def test_who_does_not_read_the_answer_loses_it(start: Callable[..., Running]) -> None:
    with Client(start(limits=Limits(request_seconds=0.3)).tls) as client:
        client.send(GET.replace(b"hello", b"big"))
        time.sleep(2.5)
        with pytest.raises((OSError, EOFError)):
            client.read()


def test_a_slow_reader_holds_no_thread_and_gets_every_byte(start: Callable[..., Running]) -> None:
    running = start(threads=1)
    with Client(running.tls) as slow, Client(running.tls) as normal:
        slow.send(GET.replace(b"hello", b"big"))
        time.sleep(0.2)
        assert normal.get()[0] == 200
        assert slow.read()[2] == bytes(range(256)) * (BIG // 256)
        assert slow.get()[0] == 200


def test_requests_that_wait_leave_the_others_alone(start: Callable[..., Running]) -> None:
    running = start(threads=4)
    with ExitStack() as held, Client(running.tls) as normal:
        for round_ in range(2):
            waiting = [held.enter_context(Client(running.tls)) for _ in range(3)]
            for one in waiting:
                one.send(GET.replace(b"hello", b"wait"))
                assert running.app.entered.acquire(timeout=5), f"round {round_}"
            assert [normal.get()[0] for _ in range(20)] == [200] * 20
            running.app.release.set()
            assert [one.read()[2] for one in waiting] == [b"waited"] * 3
            running.app.release.clear()


def test_new_connections_use_the_new_certificate(
    start: Callable[..., Running], folder: Path
) -> None:
    running = start()
    with Client(running.tls) as old:
        assert (old.serial(), old.get()[0]) == (1, 200)
        running.server.use_context(make_context(folder, 2))
        with Client(running.tls) as new:
            assert (new.serial(), new.get()[0]) == (2, 200)
        assert old.get()[0] == 200


def test_tls_before_1_2_is_refused(context: ssl.SSLContext, folder: Path) -> None:
    """R-1: TLS 1.2 and 1.3."""
    old = make_context(folder, 3)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    server = Server()
    with pytest.raises(ValueError, match="TLSv1_2"):
        server.add_tls("127.0.0.1", 0, App(), old)
    with pytest.raises(ValueError, match="TLSv1_2"):
        server.use_context(old)
    server.stop()
    server.run()


def test_stop_lets_answers_in_flight_finish(start: Callable[..., Running]) -> None:
    running = start()
    with Client(running.tls) as working, Client(running.tls) as idle:
        assert idle.get()[0] == 200
        working.send(GET.replace(b"hello", b"wait") + GET + GET)
        assert running.app.entered.acquire(timeout=5)
        running.server.stop()
        assert idle.is_closed()
        with pytest.raises(OSError, match=r"refused|reset|timed out|EOF|handshake"):
            Client(running.tls)
        running.app.release.set()
        assert working.read()[::2] == (200, b"waited")
        status, headers, _ = working.read()
        assert (status, headers["connection"]) == (200, "close")
        assert working.is_closed()
    running.thread.join(2)
    assert not running.thread.is_alive()


def test_stop_does_not_wait_for_ever(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "STOP_SECONDS", 0.3)
    running = start()
    with Client(running.tls) as stuck:
        stuck.send(GET.replace(b"hello", b"wait"))
        assert running.app.entered.acquire(timeout=5)
        running.server.stop()
        running.thread.join(3)
        assert not running.thread.is_alive()
    assert "still being worked on" in caplog.text
    running.server.stop()  # again, after the end


def serve_unix(path: Path) -> tuple[Server, threading.Thread]:
    server = Server(threads=1)
    server.add_unix(path, App())
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    return server, thread


def test_the_admin_socket_is_private_and_goes_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the 107 octets that a socket's address may have.
    path = tmp_path / ("deep" * 30) / "admin.sock"
    path.parent.mkdir()
    first: list[int] = []
    chmod = Path.chmod

    def watched(self: Path, mode: int) -> None:
        first.append(stat.S_IMODE(self.stat().st_mode))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    umask = os.umask(0)
    try:
        server, thread = serve_unix(path)
        assert os.umask(0) == 0, "the umask is as before"
    finally:
        os.umask(umask)
    assert first == [0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Client(path, tls=False) as client:
        assert json.loads(client.get("/facts")[2])["REMOTE_ADDR"] == ""
        server.stop()
        thread.join()
    assert not path.exists()


def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead, unixsocket.address(path) as short:
        dead.bind(short)
    server, thread = serve_unix(path)
    try:
        with Client(path, tls=False) as client:
            assert client.get()[0] == 200
        second = Server()
        with pytest.raises(OSError, match=f"another server is listening on {path}"):
            second.add_unix(path, App())
        second.stop()
        second.run()
        assert path.exists(), "the second server leaves the first one's socket alone"
    finally:
        server.stop()
        thread.join()


def test_what_cannot_be_listened_on_is_named(tmp_path: Path) -> None:
    server = Server()
    in_the_way = tmp_path / "notes.txt"
    in_the_way.write_text("keep me", encoding="ascii")
    with pytest.raises(FileExistsError, match=r"notes\.txt is in the way"):
        server.add_unix(in_the_way, App())
    assert in_the_way.read_text(encoding="ascii") == "keep me"
    with pytest.raises(OSError, match=r"cannot listen on .*nowhere"):
        server.add_unix(tmp_path / "nowhere" / "admin.sock", App())
    with pytest.raises(ValueError, match=r"'router\.lan' is not an IPv4 or IPv6 address"):
        server.add_http("router.lan", 0, App())
    server.add_http("127.0.0.1", 0, App())
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1 port"):
        server.add_http("127.0.0.1", server.addresses()[0][1], App())
    server.stop()
    server.run()


def test_limits_and_threads_are_positive() -> None:
    with pytest.raises(ValueError, match="body_bytes must be positive, not 0"):
        Limits(body_bytes=0)
    with pytest.raises(ValueError, match="at least one thread, not 0"):
        Server(threads=0)

"""http-01 against devices that answer rightly, wrongly, slowly, endlessly, or point elsewhere."""

import ipaddress
import itertools
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.core.ports import Validator
from acmeiot.core.records import Challenge
from acmeiot.protocol import names
from acmeiot.protocol.errors import AcmeError, ConnectionFailed, IncorrectResponse, TlsFailed
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import ChallengeType
from acmeiot.validate import Validators
from acmeiot.validate.http01 import MAX_ANSWER, MAX_BODY
from tests.validate.certificates import server_context
from tests.validate.device import Device, Names, Talk, Website, page, redirect

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
KEY_AUTHORIZATION = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
PROOF = KEY_AUTHORIZATION.encode()
PATH = f"/.well-known/acme-challenge/{TOKEN}"
PRINTER = names.dns("printer.lan")
HERE = "127.0.0.2"  # the device; 127.0.0.1 and 127.0.0.3 are others
CHALLENGE = Challenge(ChallengeType.HTTP_01, TOKEN)


def validate(
    port: int,
    *addresses: str,
    lan: Names | None = None,
    identifier: Identifier = PRINTER,
    limit: float = 5.0,
    tls_port: int = 443,
    allow_loopback: bool = True,
    sleep: Callable[[float], None] = lambda _: None,
) -> str:
    """Validate against these addresses, 127.0.0.2 when none are given."""
    validator: Validator = Validators(
        lan or Names(),
        http01_port=port,
        tlsalpn01_port=tls_port,
        allow_loopback=allow_loopback,
        limit=limit,
        sleep=sleep,
    )
    checked = [ipaddress.ip_address(address) for address in addresses or (HERE,)]
    return validator.validate(CHALLENGE, identifier, KEY_AUTHORIZATION, checked)


def refused(kind: type[AcmeError], port: int, *addresses: str, **options: object) -> str:
    """Validate, expecting this error about this identifier; return what it says."""
    with pytest.raises(kind) as caught:
        validate(port, *addresses, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert caught.value.identifier == options.get("identifier", PRINTER)
    return caught.value.detail


CONNECTED: list[tuple[str, int]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    # It stays for the whole process: unix sockets of other tests come by here, too.
    if event == "socket.connect" and isinstance(address := arguments[1], tuple):
        CONNECTED.append((address[0], address[1]))


sys.addaudithook(_note)


@contextmanager
def connecting() -> Iterator[list[tuple[str, int]]]:
    """Give the list of all places that this process connects to in the block."""
    CONNECTED.clear()
    yield CONNECTED


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n \t"])
def test_right_answer(end: bytes) -> None:
    """R-27: GET of the path, the Host header, no credentials; trailing whitespace may follow."""
    site = Website(**{PATH: page(PROOF + end, "Content-Type: text/plain")})
    with Device(site) as device:
        assert validate(device.port) == HERE
    lines = site.requests[0].split("\r\n")
    assert lines == [
        f"GET {PATH} HTTP/1.1",
        f"Host: printer.lan:{device.port}",
        "User-Agent: acmeiot",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("identifier", "address", "host"),
    [
        (names.ip("127.0.0.2"), "127.0.0.2", "127.0.0.2"),
        (names.ip("::1"), "::1", "[::1]"),
    ],
)
def test_host_header_of_an_address(identifier: Identifier, address: str, host: str) -> None:
    """R-27, RFC 8738: the literal, IPv6 in brackets."""
    site = Website(**{PATH: page(PROOF)})
    with Device(site, address) as device:
        assert validate(device.port, address, identifier=identifier) == address
    assert f"\r\nHost: {host}:{device.port}\r\n" in site.requests[0]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n" + PROOF,
        b"HTTP/1.1 200\r\n\r\n" + PROOF,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + PROOF,
        CHUNKED % (len(PROOF), PROOF),
    ],
)
def test_other_ways_to_say_it(answer: bytes) -> None:
    """Small devices have small web servers: HTTP/1.0, no length, chunks."""
    with Device(Website(**{PATH: answer})) as device:
        assert validate(device.port) == HERE


def test_ipv6_first() -> None:
    """R-27: IPv6 is tried before IPv4, whatever the order given."""
    four, six = Website(**{PATH: page(PROOF)}), Website(**{PATH: page(PROOF)})
    with Device(four) as device, Device(six, "::1", device.port):
        assert validate(device.port, HERE, "::1") == "::1"
    assert four.requests == []


def test_ipv4_where_ipv6_is_refused() -> None:
    """R-27: then IPv4."""
    with Device(Website(**{PATH: page(PROOF)})) as device:
        assert validate(device.port, "::1", HERE) == HERE


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(b"hello\x1b[31m\xff"), 'answers "hello.[31m.", the key authorization'),
        (page(b""), 'answers "", the key authorization'),
        (page(PROOF + b"x"), "the key authorization"),
        (page(b"y" * 200), 'answers "' + "y" * 100 + '"..., the key authorization'),
        (page(PROOF + b" " * MAX_BODY), f"answers with more than {MAX_BODY} bytes"),
        (page(b"", status="404 Not Found"), "HTTP status 404, 200 was expected; did the client"),
        (page(b"", status="500 Oops"), "HTTP status 500, 200 was expected"),
        (page(PROOF, status="206 Partial"), "HTTP status 206, 200 was expected"),
        (page(PROOF, status="300 Choices"), "HTTP status 300, 200 was expected"),
        (page(PROOF, status="304 Same"), "HTTP status 304, 200 was expected"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 'not HTTP as expected: "SSH-2.0-OpenSSH_9.2'),
        (b"\x15\x03\x01\0\2\2\x16", "not HTTP as expected"),
        (b"", "not HTTP as expected"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 150 + b"\r\n", "not HTTP as expected"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000, f"it is longer than {MAX_ANSWER} bytes"),
        (b"HTTP/1.1 100 C\r\n\r\n" * 5000, f"it is longer than {MAX_ANSWER} bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP as expected"),
    ],
)
def test_wrong_answer(answer: bytes, said: str) -> None:
    """R-27: wrong body, status or protocol is incorrectResponse; at most 100 characters of it."""
    with Device(Website(**{PATH: answer})) as device:
        detail = refused(IncorrectResponse, device.port)
    assert said in detail
    assert detail.isprintable()
    assert detail.startswith((f"http://printer.lan:{device.port}{PATH} at", "printer.lan (127"))


def drip(stream: socket.socket) -> None:
    """Send one byte at a time, never the last."""
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(200):
        stream.sendall(b"y")
        time.sleep(0.02)


def drip_body(stream: socket.socket) -> None:
    """Send a body one byte at a time, never the last."""
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        stream.sendall(b"y")
        time.sleep(0.02)


def silent(stream: socket.socket) -> None:
    """Say nothing until the other side goes."""
    while stream.recv(4096):
        pass


@pytest.mark.parametrize("talk", [drip, drip_body, silent])
def test_slow_devices_are_cut(talk: Talk) -> None:
    """R-27: the limit is for everything, not for each read."""
    with Device(talk) as device:
        began = time.monotonic()
        detail = refused(ConnectionFailed, device.port, limit=0.5)
        assert time.monotonic() - began < 2
    assert detail.endswith("took the connection, but its answer was not complete after 0.5 s")


def endless(stream: socket.socket) -> None:
    """Send a body without end, as fast as it goes."""
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        stream.sendall(b"y" * 65536)


def test_endless_body() -> None:
    """R-27: reading ends behind 4 KiB."""
    with Device(endless) as device:
        assert "more than 4096 bytes" in refused(IncorrectResponse, device.port)


def hang_up(stream: socket.socket) -> None:
    """Reset the connection instead of answering."""
    stream.recv(4096)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_reset() -> None:
    """R-27: a connection that breaks off is `connection`."""
    with Device(hang_up) as device:
        detail = refused(ConnectionFailed, device.port)
    assert detail.endswith("took the connection and broke it off: Connection reset by peer")


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_refused() -> None:
    """R-27: each address and port with what happened, for a person."""
    port = free_port()
    hint = "connection refused; is the client running on that device?"
    assert refused(ConnectionFailed, port, HERE, "::1") == (
        f"printer.lan (::1) port {port}: {hint}, printer.lan (127.0.0.2) port {port}: {hint}"
    )
    here = names.ip("127.0.0.2")
    assert refused(ConnectionFailed, port, identifier=here) == f"127.0.0.2 port {port}: {hint}"


def test_a_client_that_starts_late() -> None:
    """A refused connection is tried once more, a moment later."""
    port = free_port()
    late: list[Device] = []

    def start(_: float) -> None:
        late.append(Device(Website(**{PATH: page(PROOF)}), port=port).__enter__())

    assert validate(port, sleep=start) == HERE
    late[0].__exit__(None, None, None)


def test_no_second_try_at_the_end() -> None:
    """The second try keeps within the limit."""
    slept: list[float] = []
    refused(ConnectionFailed, free_port(), limit=0.9, sleep=slept.append)
    assert slept == []


@pytest.mark.parametrize("address", ["8.8.8.8", "100.64.0.1", "2001:db8::1", "::ffff:192.168.1.1"])
@pytest.mark.parametrize("others", [(), ("127.0.0.2",)])
def test_only_lan_addresses(address: str, others: tuple[str, ...]) -> None:
    """R-27, specs 6: whoever resolved them, one address outside the LAN ends it unsent."""
    with connecting() as connected:
        detail = refused(ConnectionFailed, 80, address, *others)
    shown = ipaddress.ip_address(address)
    assert f"leads to {shown}, which is not an address of a device on this LAN" in detail
    assert connected == []


def test_loopback_only_for_testing() -> None:
    """Specs 6: 127/8 and ::1 are refused unless allowed; no address at all is refused too."""
    for address in ("127.0.0.2", "::1"):
        with connecting() as connected:
            detail = refused(ConnectionFailed, 80, address, allow_loopback=False)
        assert f"leads to {address}" in detail
        assert connected == []
    with pytest.raises(ConnectionFailed, match=r"printer\.lan has no address"):
        Validators(Names()).validate(CHALLENGE, PRINTER, KEY_AUTHORIZATION, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    ["/proof", "proof", "//printer.lan:{port}/proof", "http://PRINTER.lan.:{port}/proof#x"],
)
def test_redirect_on_the_device(status: int, location: str) -> None:
    """R-27: redirects within the device are followed, relative ones and fragments too."""
    site = Website()
    with Device(site) as device:
        target = location.format(port=device.port)
        site.pages = {PATH: redirect(target, f"{status} There")}
        folder = PATH.rpartition("/")[0]
        site.pages["/proof"] = site.pages[f"{folder}/proof"] = page(PROOF)
        assert validate(device.port) == HERE
    assert [request.split("\r\n")[1] for request in site.requests] == [
        f"Host: printer.lan:{device.port}"
    ] * 2


def test_redirect_to_another_name_of_the_device() -> None:
    """Another name is looked up; it may lead to the same device only."""
    site = Website(**{"/p?q=1": page(PROOF)})
    with Device(site) as device:
        site.pages[PATH] = redirect(f"http://www.printer.lan:{device.port}/p?q=1")
        lan = Names(**{"www.printer.lan": ["192.168.1.9", HERE]})
        assert validate(device.port, lan=lan) == HERE
        assert lan.asked == ["www.printer.lan"]
        site.pages[PATH] = redirect(f"http://{HERE}:{device.port}/p?q=1")
        assert validate(device.port) == HERE


def test_redirect_to_https(tmp_path: Path) -> None:
    """R-27: the certificate met there is not checked: expired, another's name, self-signed."""
    secure = Website(**{PATH: page(PROOF)})
    with Device(secure, context=server_context(tmp_path, "other.example")) as tls:
        site = Website(**{PATH: redirect(f"https://printer.lan:{tls.port}{PATH}")})
        with Device(site) as device:
            assert validate(device.port, tls_port=tls.port) == HERE
            site.pages[PATH] = redirect(f"https://{HERE}:{tls.port}{PATH}")
            assert validate(device.port, tls_port=tls.port) == HERE
    assert f"Host: printer.lan:{tls.port}" in secure.requests[0]


def test_redirect_to_https_that_is_none() -> None:
    """A port that does not speak TLS is a `tls` error."""
    site = Website()
    with Device(site) as device:
        site.pages[PATH] = redirect(f"https://printer.lan:{device.port}/")
        detail = refused(TlsFailed, device.port)
    assert detail.endswith("the TLS handshake failed: WRONG_VERSION_NUMBER")


def test_slow_tls(tmp_path: Path) -> None:
    """The handshake of a redirect is within the limit too."""
    with Device(silent) as tls:
        site = Website(**{PATH: redirect(f"https://printer.lan:{tls.port}/")})
        with Device(site) as device:
            detail = refused(TlsFailed, device.port, tls_port=tls.port, limit=0.5)
    assert detail.endswith("the TLS handshake failed: not complete in time")


PORTS = "only the ports 80 and 443"
OTHER = "another device than the one being validated"
ABUSES = [
    ("http://127.0.0.1:22/", PORTS),
    ("http://printer.lan:22/", PORTS),
    ("http://printer.lan:0/", PORTS),
    ("http://127.0.0.1/", OTHER),
    ("http://192.168.1.1/", OTHER),
    ("http://169.254.169.254/latest/meta-data/", OTHER),
    ("http://8.8.8.8/", OTHER),
    ("http://[::1]/", OTHER),
    ("http://[::ffff:127.0.0.2]/", OTHER),
    ("https://127.0.0.1/", OTHER),
    ("http://router.lan/", OTHER),
    ("http://example.com/", OTHER),
    ("http://rebind.lan/", OTHER),
    ("http://printer.lan.evil.com/", OTHER),
    ("http://2130706433/", "looks like an IP address"),
    ("http://127.1/", "looks like an IP address"),
    ("http://0x7f000001/", OTHER),
    ("http://printer_lan/", "is not a host label"),
    ("https:///nothing", "the DNS name is empty"),
    ("http://printer.lan@127.0.0.1/", "no user, password or backslash"),
    ("http://user:secret@printer.lan/", "no user, password or backslash"),
    ("http://printer.lan\\@127.0.0.1/", "no user, password or backslash"),
    ("http://printer.lan:99999/", "it is not a URL"),
    ("http://[::1/", "it is not a URL"),
    ("ftp://printer.lan/", "only http and https are allowed"),
    ("file:///etc/passwd", "only http and https are allowed"),
    ("gopher://127.0.0.1:22/_", "only http and https are allowed"),
    ("javascript:alert(1)", "only http and https are allowed"),
    ("http://printer.lan/a b", "all printable ASCII"),
    ("http://printer.lan/\tHost:evil", "all printable ASCII"),
    ("http://printer.lan/\xfc", "all printable ASCII"),
    ("/" + "x" * 3000, "at most 2048 characters"),
    ("", "it has no Location"),
]


@pytest.mark.parametrize(("location", "rule"), ABUSES)
def test_redirect_abuse(location: str, rule: str) -> None:
    """R-27, specs 6 "SSRF": refused by name and rule, and nothing was connected to."""
    site = Website(**{PATH: redirect(location)})
    lan = Names(**{"router.lan": ["192.168.1.1"], "rebind.lan": ["127.0.0.1"]})
    with Device(site) as device, connecting() as connected:
        detail = refused(ConnectionFailed, device.port, lan=lan)
        assert set(connected) == {(HERE, device.port)}
    assert detail.startswith('printer.lan redirects to "')
    assert "which is not followed: " in detail
    assert rule in detail
    assert len(site.requests) == 1
    assert detail.isprintable()


def test_redirect_without_location() -> None:
    """A redirect that leads nowhere says so."""
    with Device(Website(**{PATH: page(b"", status="302 Found")})) as device:
        assert "it has no Location" in refused(ConnectionFailed, device.port)


def test_rebinding() -> None:
    """Specs 6: the resolver may answer what it likes the second time; it is not even asked."""
    site = Website(**{"/2": page(PROOF)})
    lan = Names(**{"printer.lan": ["127.0.0.1"]})
    with Device(site) as device, connecting() as connected:
        site.pages[PATH] = redirect(f"http://printer.lan:{device.port}/2")
        assert validate(device.port, lan=lan) == HERE
        assert set(connected) == {(HERE, device.port)}
    assert lan.asked == []


def test_too_many_redirects() -> None:
    """R-27: five are followed, the sixth is not; a circle ends."""
    site = Website(**{f"/{step}": redirect(f"/{step + 1}") for step in range(1, 5)})
    with Device(site) as device:
        site.pages |= {PATH: redirect("/1"), "/5": page(PROOF)}
        assert validate(device.port) == HERE
        site.pages["/5"] = redirect("/1")
        site.requests.clear()
        detail = refused(ConnectionFailed, device.port)
    assert "redirects more than 5 times, the last time to" in detail
    assert len(site.requests) == 6


def test_redirects_share_one_limit() -> None:
    """However many steps, ten seconds are for all of them."""
    counter = itertools.count()

    def slow(stream: socket.socket) -> None:
        stream.recv(4096)
        time.sleep(0.25)
        stream.sendall(redirect(f"/{next(counter)}"))

    with Device(slow) as device:
        began = time.monotonic()
        refused(ConnectionFailed, device.port, limit=0.6)
        assert time.monotonic() - began < 2


class Paired(socket.socket):
    """A socket that is connected to the test instead."""

    def connect(self, _address: object) -> None:
        """Stay as it is."""


@given(st.binary(max_size=400), st.booleans())
def test_any_answer(data: bytes, http: bool) -> None:
    """Arbitrary bytes are one of three refusals, or the right answer; nothing else is raised."""
    ours, theirs = socket.socketpair()
    theirs.sendall((b"HTTP/1.1 200 OK\r\n" if http else b"") + data)
    theirs.shutdown(socket.SHUT_WR)
    validator = Validators(
        Names(), open_socket=lambda *_: Paired(fileno=ours.detach()), sleep=lambda _: None
    )
    address = [ipaddress.ip_address("192.168.1.20")]
    with theirs, suppress(ConnectionFailed, IncorrectResponse, TlsFailed):
        validator.validate(CHALLENGE, PRINTER, KEY_AUTHORIZATION, address)

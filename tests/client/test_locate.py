"""From a bare name to directory and root: this project's server, and ones that are not what they
should be."""

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from acmeiot.client import locate as module
from acmeiot.client.dial import Unreachable
from acmeiot.client.discover import Candidate, Discovery
from acmeiot.client.errors import AgentError
from acmeiot.client.locate import Found, first, locate, resolve
from acmeiot.client.tls import Root
from acmeiot.lan import dnswire, interfaces
from acmeiot.lan.dnswire import Record
from acmeiot.lan.interfaces import Interface
from acmeiot.lan.multicast import Heard
from acmeiot.lan.unicast import Reply
from tests.client import issuers
from tests.client.issuers import Holder
from tests.validate.device import Device, Website, page, redirect
from tests.web.running import Running

ROUTER = Candidate("router.lan", None, None, None, "dhcp", "DHCP option 125")
HERE = "127.0.0.2"
WELL_KNOWN, DIRECTORY, SHORT = "/.well-known/acme", "/acme/directory", "/directory"


def at(*addresses: str) -> Callable[[Candidate], Found]:
    """Return a lookup that finds these addresses."""
    return lambda _: Found(addresses)


# -- this project's server


@pytest.fixture
def running(home_server: Running) -> Candidate:
    """Return this project's server as a candidate."""
    return replace(ROUTER, port=home_server.ports[0])


def test_real_server(home_server: Running, running: Candidate) -> None:
    """A-3.3-2: the root comes from the handshake, and is the one that the server says."""
    found = locate(running, at("127.0.0.1"))
    port = home_server.ports[0]
    assert found.url == f"https://router.lan:{port}{WELL_KNOWN}"
    assert (found.host, found.port, found.addresses) == ("router.lan", port, ("127.0.0.1",))
    assert found.root.sha256 == home_server.root_hash
    assert found.root.der == ssl.PEM_cert_to_DER_cert(home_server.root.read_text())
    assert found.root.der in found.chain
    assert found.candidate is running
    assert found.note is None


def test_told_path(running: Candidate) -> None:
    """A path that was told is the first."""
    found = locate(replace(running, path=DIRECTORY), at("127.0.0.1"))
    assert found.url.endswith(DIRECTORY)


@pytest.mark.parametrize("spell", [str.lower, str.upper])
def test_told_root(home_server: Running, running: Candidate, spell: Callable[[str], str]) -> None:
    """Sub-option 3 and fp: the root that was told, however it is written."""
    told = replace(running, root=spell(home_server.root_hash))
    assert locate(told, at("127.0.0.1")).root.sha256 == home_server.root_hash


def test_another_root_than_told(home_server: Running, running: Candidate) -> None:
    """Sub-option 3 and fp: any other root is refused (specs 6, TOFU MITM)."""
    told = replace(running, root="ab" * 32)
    with pytest.raises(AgentError, match=f"refused: .*{'ab' * 32}.*{home_server.root_hash}"):
        locate(told, at("127.0.0.1"))


def test_name_that_is_not_the_servers(running: Candidate) -> None:
    """Names are checked as soon as the root is known."""
    with pytest.raises(AgentError, match="is not trusted"):
        locate(replace(running, host="rooter.lan"), at("127.0.0.1"))


# -- ports and addresses


class Hands:
    """Handshakes that all fail, and which were tried."""

    def __init__(self, seconds: float = 0) -> None:
        self.tried: list[tuple[str, int]] = []
        self.now, self._seconds = 0.0, seconds

    def __call__(self, address: str, port: int, _host: str, _timeout: float) -> Sequence[bytes]:
        """Fail after some seconds."""
        self.tried.append((address, port))
        self.now += self._seconds
        raise Unreachable(f"{address} port {port}: no answer")

    def monotonic(self) -> float:
        """Return the seconds that the handshakes took."""
        return self.now


@pytest.mark.parametrize(
    ("told", "ports"),
    [
        (None, [443, 8555]),
        (8443, [8443, 443, 8555]),  # A-5.2-1: the SRV record's port is the first
        (8555, [8555, 443]),
        (443, [443, 8555]),
    ],
)
def test_order_of_ports(told: int | None, ports: list[int]) -> None:
    hands = Hands()
    with pytest.raises(Unreachable) as raised:
        locate(replace(ROUTER, port=told), at("192.168.1.1"), handshake=hands)
    assert [port for _, port in hands.tried] == ports
    for port in ports:
        assert f"192.168.1.1 port {port}: no answer" in str(raised.value)
    assert "DHCP option 125 names router.lan" in str(raised.value)


def test_silent_address_is_left_alone() -> None:
    """An address that does not answer at all answers on no other port."""
    hands = Hands(module._HANDSHAKE)
    lookup = at("192.168.1.1", "192.168.1.2")
    with pytest.raises(AgentError):
        locate(ROUTER, lookup, handshake=hands, monotonic=hands.monotonic)
    assert hands.tried == [("192.168.1.1", 443), ("192.168.1.2", 443)]


def test_bounded_time() -> None:
    """Sixteen silent addresses do not take sixteen times as long."""
    hands = Hands(module._HANDSHAKE)
    many = at(*(f"192.168.1.{n}" for n in range(1, 17)))
    with pytest.raises(AgentError, match="no time left"):
        locate(ROUTER, many, handshake=hands, monotonic=hands.monotonic)
    assert hands.now < module._ALL + 2 * module._HANDSHAKE


def test_next_address(home_server: Running, running: Candidate) -> None:
    """The address that answers is the first of the result."""
    found = locate(running, at("127.0.0.9", "127.0.0.1"))
    assert found.addresses == ("127.0.0.1", "127.0.0.9")


# -- servers that are not what they should be


@pytest.fixture(scope="module")
def root() -> Holder:
    return issuers.make("home root")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def site(opened: ExitStack, tmp_path: Path, root: Holder) -> Callable[..., tuple[Website, int]]:
    """Start a website behind TLS, with this chain or a good one; return it and its port."""

    def start(*chain: Holder) -> tuple[Website, int]:
        made = Website()
        context = issuers.context(tmp_path, *(chain or (issuers.server(root), root)))
        return made, opened.enter_context(Device(made, HERE, context=context)).port

    return start


Site = Callable[..., tuple[Website, int]]


def directory(base: str, **changes: object) -> bytes:
    """Return a directory whose resources are at `base`."""
    needed = {name: f"{base}/{name}" for name in module.NEEDED}
    return page(json.dumps({**needed, **changes}).encode())


def paths(website: Website) -> list[str]:
    return [request.split(" ")[1] for request in website.requests]


def look(port: int, **changes: object) -> module.Server:
    """Locate a server on loopback that is at one port only."""
    return locate(replace(ROUTER, port=port, **changes), at(HERE))  # type: ignore[arg-type]


@pytest.mark.parametrize("where", [WELL_KNOWN, DIRECTORY, SHORT])
def test_order_of_paths(site: Site, root: Holder, where: str) -> None:
    website, port = site()
    website.pages[where] = directory(f"https://router.lan:{port}")
    found = look(port, path="/told")
    assert found.url == f"https://router.lan:{port}{where}"
    assert found.root == Root.of(root.der)
    order = ["/told", WELL_KNOWN, DIRECTORY, SHORT]
    assert paths(website) == order[: order.index(where) + 1]


def test_redirect(site: Site) -> None:
    """The well-known path may lead on, on the same host."""
    website, port = site()
    website.pages[WELL_KNOWN] = redirect("/here")
    website.pages["/here"] = directory(f"https://router.lan:{port}")
    assert look(port).url == f"https://router.lan:{port}/here"


@pytest.mark.parametrize("path", ["//evil.lan/x", "no", "/a b", "/" + "x" * 500, "/a?b"])
def test_bad_path_is_not_asked_for(site: Site, path: str) -> None:
    website, port = site()
    website.pages[WELL_KNOWN] = directory(f"https://router.lan:{port}")
    look(port, path=path)
    assert paths(website) == [WELL_KNOWN]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (page(b"", status="500 Oh"), "answers 500"),
        (page(b"<html>"), "JSON"),
        (page(b"[]"), "object"),
        (page(b"{}"), "no ACME directory, it has no newNonce"),
        (directory("https://router.lan", newOrder=7), "newOrder"),
        (directory("http://router.lan"), "https"),
        (directory("https://evil.lan"), "another server, evil.lan:443"),
        (directory("https://router.lan", newNonce="https://evil.lan/"), "another server"),
        (directory("https://router.lan", newNonce="https://router.lan:99/"), "another server"),
        (redirect("https://evil.lan/"), "another host"),
    ],
)
def test_no_directory(site: Site, answer: bytes, why: str) -> None:
    website, port = site()
    website.default = answer
    with pytest.raises(AgentError, match=why):
        look(port)


def test_directory_elsewhere(site: Site, root: Holder) -> None:
    """The web server's own certificate is not the home's root: the directory's port has that."""
    _, port = site()
    web_root = issuers.make("web server")
    website, web_port = site(issuers.server(web_root), web_root)
    website.pages[WELL_KNOWN] = directory(f"https://router.lan:{port}")
    with pytest.raises(AgentError, match=f"points to port {port}.*answers 404"):
        look(web_port)
    real, port = site()
    real.pages[DIRECTORY] = directory(f"https://router.lan:{port}")
    website.pages[WELL_KNOWN] = directory(f"https://router.lan:{port}")
    found = look(web_port)
    assert found.root == Root.of(root.der)
    assert (found.port, found.url) == (port, f"https://router.lan:{port}{DIRECTORY}")


def test_directories_that_point_at_each_other(site: Site) -> None:
    one, one_port = site()
    other, other_port = site()
    one.default = directory(f"https://router.lan:{other_port}")
    other.default = directory(f"https://router.lan:{one_port}")
    with pytest.raises(AgentError, match="points to port"):
        look(one_port)
    assert len(one.requests) == len(other.requests) == 1


def test_directories_that_lead_ever_further(site: Site) -> None:
    """One step is the static object's; a server on each of its ports could lead us round for ever,
    deeper each time."""
    (one, one_port), (two, two_port), (three, three_port) = site(), site(), site()
    one.default = directory(f"https://router.lan:{two_port}")
    two.default = directory(f"https://router.lan:{three_port}")
    three.default = directory(f"https://router.lan:{three_port}")
    with pytest.raises(AgentError, match=f"points on to port {three_port}; not followed"):
        look(one_port)
    assert three.requests == []


def test_chain_without_root(site: Site, root: Holder) -> None:
    """A-3.3-2: what does not show its root gives none."""
    website, port = site(issuers.server(root))
    with pytest.raises(AgentError, match="root") as raised:
        look(port)
    assert not isinstance(raised.value, Unreachable)  # it was there: later is no better
    assert website.requests == []


def test_certificate_signed_by_itself(site: Site) -> None:
    """The web interface of a router on port 443 is no CA."""
    website, port = site(issuers.make("OpenWrt", ca=False, names=["router.lan"]))
    with pytest.raises(AgentError, match="signed by itself"):
        look(port)
    assert website.requests == []


def test_no_tls(opened: ExitStack) -> None:
    port = opened.enter_context(Device(Website(), HERE)).port
    with pytest.raises(AgentError, match="TLS"):
        look(port)


# -- which candidate


def test_next_srv_record(running: Candidate) -> None:
    """RFC 2782: the next record of the same service, where one is not there."""
    dead = replace(running, host="dead.lan", kind="srv")
    good = replace(running, kind="srv")

    def lookup(candidate: Candidate) -> Found:
        if candidate.host == "dead.lan":
            raise AgentError("dead.lan: no such name")
        return Found(("127.0.0.1",))

    assert first(Discovery((dead, good), ()), lookup).candidate is good
    with pytest.raises(AgentError, match=r"dead\.lan: no such name"):
        first(Discovery((dead,), ()), lookup)


def test_dns_does_not_replace_dhcp(running: Candidate) -> None:
    """A-3.1-1: a server that DHCP names and that is down is down; nobody else takes its place."""

    def lookup(candidate: Candidate) -> Found:
        assert candidate.kind == "dhcp"
        raise AgentError("dead.lan: no such name")

    named = replace(ROUTER, host="dead.lan")
    for other in (replace(running, kind="srv"), replace(running, interface="wlan0")):
        with pytest.raises(AgentError, match="no such name"):
            first(Discovery((named, other), ()), lookup)


# -- where the host is


class Dns:
    """A resolver with these records."""

    def __init__(self, *records: Record, dead: bool = False) -> None:
        self.records, self.dead = records, dead

    def ask(self, name: str, _kinds: Sequence[int]) -> Reply | str:
        """Answer."""
        if self.dead:
            return "the resolver 192.168.1.1 did not answer"
        known = tuple(one for one in self.records if one.name == name)
        said = "the resolver 192.168.1.1" if known else "the resolver says no such name"
        return Reply(known, said, exists=bool(known))


class Link:
    """A link on which these devices answer by multicast DNS."""

    def __init__(self, **answers: tuple[str, ...]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def ask(self, name: str) -> Heard:
        """Answer."""
        self.asked.append(name)
        return Heard(dict(self.answers), ("eth0",))


def record(name: str, address: str) -> Record:
    return Record(name, dnswire.AAAA if ":" in address else dnswire.A, address)


def named(host: str, interface: str | None = None) -> Candidate:
    return replace(ROUTER, host=host, interface=interface)


def test_resolver() -> None:
    dns = Dns(record("router.lan", "192.168.1.1"), record("router.lan", "fd00::1"))
    assert resolve(ROUTER, dns, Link()) == Found(("192.168.1.1", "fd00::1"))


def test_address_is_itself() -> None:
    """As after `--directory https://192.168.1.1:8555/...`."""
    assert module.look_up(named("192.168.1.1")) == Found(("192.168.1.1",))
    with pytest.raises(AgentError, match="not on this LAN"):
        module.look_up(named("8.8.8.8"))


def test_public_address_is_refused() -> None:
    """Nothing is sent beyond the LAN; the LAN's own addresses of the same name are taken."""
    public = record("router.lan", "203.0.113.5")
    with pytest.raises(AgentError, match=r"203\.0\.113\.5.*not on this LAN"):
        resolve(ROUTER, Dns(public, record("router.lan", "2001:db8::1")), Link())
    both = Dns(public, record("router.lan", "10.0.0.1"))
    assert resolve(ROUTER, both, Link()).addresses == ("10.0.0.1",)


def test_link_local_needs_its_link() -> None:
    dns = Dns(record("router.lan", "fe80::1"), record("router.lan", "192.168.1.1"))
    assert resolve(ROUTER, dns, Link()).addresses == ("192.168.1.1",)
    on_eth0 = resolve(named("router.lan", "eth0"), dns, Link())
    assert on_eth0.addresses == ("192.168.1.1", "fe80::1%eth0")


def test_dead_resolver_is_worth_another_try() -> None:
    with pytest.raises(Unreachable, match="did not answer"):
        resolve(ROUTER, Dns(dead=True), Link())


@pytest.mark.parametrize("dns", [Dns(), Dns(dead=True), Dns(Record("router.lan", 5, "x.lan"))])
def test_only_local_names_go_to_multicast(dns: Dns) -> None:
    """Multicast DNS is for `.local` alone (RFC 6762 section 3)."""
    link = Link(**{"192.168.1.66": ("192.168.1.66",)})
    with pytest.raises(AgentError, match=r"router\.lan: the resolver"):
        resolve(ROUTER, dns, link)
    assert link.asked == []


def test_local_name_at_the_resolver_first() -> None:
    """The router's own word is better than the link's (specs 6, `.local` hijack)."""
    link = Link(**{"192.168.1.66": ("192.168.1.66",)})
    dns = Dns(record("router.local", "192.168.1.1"))
    assert resolve(named("router.local"), dns, link) == Found(("192.168.1.1",))
    assert link.asked == []


@pytest.mark.parametrize("dns", [Dns(), Dns(dead=True)])
def test_local_name_by_multicast(dns: Dns) -> None:
    """A-4.5-1: the host may be resolved by multicast DNS, and that is said."""
    link = Link(**{"192.168.1.1": ("192.168.1.1",), "fe80::1": ("fd00::1", "192.168.1.1")})
    found = resolve(named("router.local"), dns, link)
    assert found.addresses == ("192.168.1.1", "fd00::1")
    assert found.note is not None
    assert "multicast DNS" in found.note
    assert "compare the root's fingerprint" in found.note


def test_rivals_by_multicast() -> None:
    """Two devices that claim the name: neither is believed."""
    link = Link(**{"192.168.1.1": ("192.168.1.1",), "192.168.1.66": ("192.168.1.66",)})
    with pytest.raises(AgentError, match=r"disagree.*192\.168\.1\.66"):
        resolve(named("router.local"), Dns(), link)


def test_nobody_by_multicast() -> None:
    with pytest.raises(AgentError, match="nobody answers"):
        resolve(named("router.local"), Dns(), Link())


def test_multicast_stays_on_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers on another network says nothing of this one (A-3.3-4)."""
    links = [Interface(n, name, 0x1003, ()) for n, name in enumerate(("eth0", "wlan0"))]
    monkeypatch.setattr(interfaces, "lan_interfaces", lambda: links)
    (link,) = module._multicast(named("router.local", "wlan0"))._interfaces()
    assert link.name == "wlan0"
    assert len(module._multicast(named("router.local"))._interfaces()) == 2


def test_each_ip_version_is_compared_alone() -> None:
    """One device answers with its IPv4 addresses from one, with those of IPv6 from another."""
    link = Link(**{"192.168.1.1": ("192.168.1.1",), "fe80::1": ("fd00::1",)})
    found = resolve(named("router.local"), Dns(), link)
    assert found.addresses == ("192.168.1.1", "fd00::1")

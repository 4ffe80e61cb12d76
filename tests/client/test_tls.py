"""Roots from handshakes: found, pinned, succeeded; from this project's server and from bad ones."""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from acmeiot.ca.roots import Authority
from acmeiot.ca.succession import AuthorityConfig
from acmeiot.client import tls
from acmeiot.client.dial import Unreachable, Untrusted
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Http
from acmeiot.client.tls import MAX_CHAIN, Root, presented_chain, root_of, trusting, vouched
from tests.client.issuers import Holder, context, make, server
from tests.validate.device import Device

HOST = "127.0.0.2"
Home = Callable[[], Authority]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Make authorities of homes of their own."""
    numbers = itertools.count()

    def open_one() -> Authority:
        folder = tmp_path / f"home{next(numbers)}"
        config = AuthorityConfig(http_base="http://router.lan:8556")
        return Authority.open(folder, config, now=int(time.time()), record=lambda _: None)

    return open_one


def handshake_chain(authority: Authority) -> list[bytes]:
    """Return what the server of this authority shows."""
    pem = authority.issue_server(["router.lan"], [], int(time.time()))[1]
    chain = x509.load_pem_x509_certificates(pem)
    return [one.public_bytes(Encoding.DER) for one in chain]


def silent(_: ssl.SSLSocket | object) -> None:
    """Say nothing."""


# -- the chain that is shown


def test_the_chain_of_a_handshake(tmp_path: Path) -> None:
    """All certificates come through, in their order, without any trust (A-3.3-2)."""
    root = make("root")
    middle = make("middle", root)
    leaf = server(middle)
    with Device(silent, HOST, context=context(tmp_path, leaf, middle, root)) as device:
        chain = presented_chain(HOST, device.port, "router.lan", 5)
    assert chain == (leaf.der, middle.der, root.der)
    assert root_of(chain).der == root.der


def test_the_chain_without_the_root_says_so(tmp_path: Path) -> None:
    """A-3.3-2: who does not send the root cannot be trusted on first use."""
    root = make("Home root")
    leaf = server(root)
    with Device(silent, HOST, context=context(tmp_path, leaf)) as device:
        chain = presented_chain(HOST, device.port, "router.lan", 5)
    with pytest.raises(AgentError, match=r"does not show its root.*CN=Home root"):
        root_of(chain)


def test_a_chain_of_a_hundred(tmp_path: Path) -> None:
    """Such a chain is left before a single signature is checked."""
    chain = [make("0")]
    for number in range(1, 100):
        chain.append(make(str(number), chain[-1]))
    leaf = server(chain[-1])
    shown = context(tmp_path, leaf, *reversed(chain))
    with (
        Device(silent, HOST, context=shown) as device,
        pytest.raises(AgentError, match=f"more than {MAX_CHAIN}"),
    ):
        presented_chain(HOST, device.port, "router.lan", 5)
    with pytest.raises(AgentError, match=f"more than {MAX_CHAIN}"):
        root_of([leaf.der, *(one.der for one in reversed(chain))])


def test_nobody_there() -> None:
    """What can be tried again is Unreachable."""
    with Device(silent, HOST) as device:
        port = device.port
        with pytest.raises(Unreachable, match=r"router\.lan: the TLS handshake failed"):
            presented_chain(HOST, port, "router.lan", 5)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.2 port \d+: connection refused"):
        presented_chain(HOST, port, "router.lan", 5)


def test_only_addresses_of_a_lan() -> None:
    """Nothing is sent to the Internet, nor to a name."""
    for address in ("8.8.8.8", "2001:db8::1", "::ffff:127.0.0.1"):
        with pytest.raises(AgentError, match="not an address of a local network"):
            presented_chain(address, 443, "router.lan", 1)
    with pytest.raises(AgentError, match="not an IP address"):
        presented_chain("router.lan", 443, "router.lan", 1)


def test_a_silent_server_takes_no_longer_than_allowed() -> None:
    """The handshake's end is the deadline's."""

    def wait(stream: object) -> None:
        time.sleep(2)

    start = time.monotonic()
    with Device(wait, HOST) as device, pytest.raises(Unreachable, match="not complete in time"):
        presented_chain(HOST, device.port, "router.lan", 0.3)
    assert time.monotonic() - start < 4


# -- the root of a chain


def test_root_of_a_home(home: Home) -> None:
    """The server's chain ends in the root whose hash it tells (A-3.3-2)."""
    authority = home()
    root = root_of(handshake_chain(authority))
    assert (root.der, root.sha256) == (authority.root_der, authority.root_spki_sha256)
    assert root.pem == authority.root_pem
    assert root.name == authority.root_name
    assert len(root.words.split("-")) == 8
    assert root.not_before < time.time() < root.not_after
    assert Root.of(root.der) == root


def test_the_root_that_signed_nothing() -> None:
    """A root laid beside somebody else's chain is not believed."""
    good, other = make("good"), make("other")
    leaf = server(good)
    with pytest.raises(AgentError, match=r"root other .* did not sign"):
        root_of([leaf.der, other.der])
    # The same name does not help it, nor does a signature by another key.
    with pytest.raises(AgentError, match="did not sign"):
        root_of([leaf.der, make("good").der])
    forged = make("server", good, ca=False, signed_with=other.key)
    with pytest.raises(AgentError, match=r"root good .* did not sign"):
        root_of([forged.der, good.der])


def test_every_signature_of_the_way_is_checked() -> None:
    """A link in the middle that the one above did not sign breaks the chain."""
    root = make("root")
    middle = make("middle", root, signed_with=make("thief").key)
    with pytest.raises(AgentError, match="did not sign"):
        root_of([server(middle).der, middle.der, root.der])


def test_who_may_not_sign_leads_nowhere() -> None:
    """A device's certificate is no issuer, whatever it signs."""
    root = make("root")
    printer = make("printer", root, ca=False)
    with pytest.raises(AgentError, match="did not sign"):
        root_of([server(printer).der, printer.der, root.der])
    no_ca = make("root", ca=False, signs=True)
    with pytest.raises(AgentError, match="did not sign"):
        root_of([server(no_ca).der, no_ca.der])
    no_usage = make("root", signs=False)
    with pytest.raises(AgentError, match="did not sign"):
        root_of([server(no_usage).der, no_usage.der])
    with pytest.raises(AgentError, match="may not sign certificates"):
        Root.of(no_usage.der)


def test_a_server_that_signed_itself() -> None:
    """The web page's own certificate of many a router is no home's root."""
    alone = make("router", names=["router.lan"])
    for chain in ([alone.der], [alone.der, alone.der]):
        with pytest.raises(AgentError, match="router is signed by itself, by no CA"):
            root_of(chain)


def test_a_root_signed_itself() -> None:
    """Root.of takes nothing else."""
    with pytest.raises(AgentError, match="middle is no root: it did not sign itself"):
        Root.of(make("middle", make("root")).der)
    with pytest.raises(AgentError, match="did not sign itself"):
        Root.of(make("root", signed_with=make("thief").key).der)


def test_no_certificates() -> None:
    """Nothing, and what is none."""
    with pytest.raises(AgentError, match="no certificate"):
        root_of([])
    of_version_50 = GOOD.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x31", 1)
    assert of_version_50 != GOOD.der
    for junk in (b"", b"\x30\x03\x02\x01\x00", b"x" * 1000, of_version_50):
        with pytest.raises(AgentError, match="cannot be read"):
            root_of([junk])


def test_names_are_made_printable() -> None:
    """What a stranger named its root cannot steer a terminal."""
    root = Root.of(make("a\x1b[31m\u202eb" + "c" * 50).der)
    assert root.name.startswith("a.[31m.bccc")
    assert root.name.isprintable()


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_for_a_chain(chain: list[bytes]) -> None:
    """Only AgentError comes out."""
    with pytest.raises(AgentError):
        root_of(chain)


GOOD = make("root")
LEAF = server(GOOD)


@example(0, 107, 1)  # a text of a type that older libraries do not know
@given(
    st.sampled_from([0, 1]),
    st.integers(0, min(len(GOOD.der), len(LEAF.der)) - 1),
    st.integers(1, 255),
)
def test_a_chain_with_one_octet_changed(which: int, place: int, by: int) -> None:
    """No octet under a signature can be another one: there is no such root then."""
    chain = [bytearray(LEAF.der), bytearray(GOOD.der)]
    chain[which][place] ^= by
    try:
        root = root_of([bytes(one) for one in chain])
    except AgentError:
        return
    # A signature has other spellings of the algorithm's name, but never of what is signed.
    body = x509.load_der_x509_certificate(root.der)
    assert body.tbs_certificate_bytes == GOOD.certificate.tbs_certificate_bytes


# -- succession


@pytest.mark.parametrize("times", [1, 2, 3])
def test_rotation_in_the_handshake(home: Home, tmp_path: Path, times: int) -> None:
    """Who pinned any of the old roots can connect, sees the new one, and the old vouches for it."""
    authority = home()
    old = [root_of(handshake_chain(authority))]
    for _ in range(times):
        authority.rotate(int(time.time()))
        old.append(root_of(handshake_chain(authority)))
    *old, new = old
    assert new.sha256 == authority.root_spki_sha256
    key, chain, _ = authority.issue_server(["router.lan"], [], int(time.time()))
    (tmp_path / "server.pem").write_bytes(key + chain)
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.minimum_version = ssl.TLSVersion.TLSv1_2
    shown.load_cert_chain(tmp_path / "server.pem")
    for pinned in (*old, new):
        with Device(ok, HOST, context=shown) as device:
            seen = presented_chain(HOST, device.port, "router.lan", 5)
            with Http(trusting(pinned), {("router.lan", device.port): [HOST]}) as http:
                assert http.request("GET", f"https://router.lan:{device.port}/").status == 200
        assert root_of(seen) == new
        assert vouched(pinned, new, seen)
        # Without the cross-certificates there is nothing that says so.
        assert vouched(pinned, new, [seen[0], seen[1], seen[-1]]) == (pinned == new)


def test_nobody_else_vouches(home: Home) -> None:
    """Another home's root is no successor, whatever is shown (A-4.7-2)."""
    ours, theirs = home(), home()
    before = root_of(handshake_chain(ours))
    ours.rotate(int(time.time()))
    theirs.rotate(int(time.time()))
    shown = [*handshake_chain(theirs), *(cross.der for cross in ours.crosses())]
    assert not vouched(before, root_of(handshake_chain(theirs)), shown)
    assert vouched(before, root_of(handshake_chain(ours)), shown)


def test_an_intermediate_does_not_become_a_root(home: Home) -> None:
    """The thief of a lesser key cannot have itself pinned: its certificate leaves no room."""
    root = make("root")
    middle = make("middle", root, room=0)
    risen = make("middle", key=middle.key)
    pinned, wanted = Root.of(root.der), Root.of(risen.der)
    assert not vouched(pinned, wanted, [middle.der, risen.der])
    cross = make("middle", root, room=1, key=middle.key)
    assert vouched(pinned, wanted, [cross.der])
    assert not vouched(pinned, wanted, [make("other", root, room=1, key=middle.key).der])
    assert not vouched(pinned, wanted, [make("middle", root, room=1).der])
    forged = make("middle", root, room=1, key=middle.key, signed_with=risen.key)
    assert not vouched(pinned, wanted, [forged.der])


def test_the_same_key_vouches_for_itself() -> None:
    """A root's identity is its key, not its certificate (A-3.3-6)."""
    first = make("root")
    again = make("root by another name", key=first.key, names=["other.local"])
    assert vouched(Root.of(first.der), Root.of(again.der), [])


def test_vouching_is_bounded() -> None:
    """A file of a thousand certificates is not searched."""
    root = Root.of(GOOD.der)
    with pytest.raises(AgentError, match="more than"):
        vouched(root, Root.of(make("other").der), itertools.repeat(GOOD.der))
    with pytest.raises(AgentError, match="cannot be read"):
        vouched(root, Root.of(make("other").der), [b"junk"])


# -- trusting


def ok(stream: object) -> None:
    """Answer one request."""
    assert isinstance(stream, ssl.SSLSocket)
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def fetch(device: Device, root: Holder, host: str) -> int:
    """Return the status of one request."""
    where = {(host, device.port): [HOST]}
    with Http(trusting(Root.of(root.der)), where) as http:
        return http.request("GET", f"https://{host}:{device.port}/").status


def test_trusting_one_root_only(tmp_path: Path) -> None:
    """Another root, or another name, is Untrusted and not merely unreachable."""
    root, other = make("root"), make("root")
    with Device(ok, HOST, context=context(tmp_path, server(root), root)) as device:
        assert fetch(device, root, "router.lan") == 200
        assert fetch(device, root, HOST) == 200
        with pytest.raises(Untrusted, match=r"certificate of router\.lan is not trusted"):
            fetch(device, other, "router.lan")
        with pytest.raises(Untrusted, match="mismatch") as refusal:
            fetch(device, root, "printer.lan")
        assert "printer.lan" in refusal.value.reason


def test_the_system_is_not_trusted() -> None:
    """Nor anybody, where no root is given; and no TLS before 1.2."""
    made = trusting()
    assert made.get_ca_certs() == []
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2


# -- PEM


def test_pem_with_anything_else() -> None:
    """A chain from a server holds certificates and nothing else (RFC 8555 section 9.1)."""
    good = tls.pem(GOOD.der)
    assert tls.split_pem(good + b"\n" + tls.pem(LEAF.der)) == (GOOD.der, LEAF.der)
    key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    for bad in (b"", b"hello", good + key, b"# x\n" + good, good.replace(b"-----E", b"----E")):
        with pytest.raises(AgentError, match="nothing else"):
            tls.split_pem(bad)
    with pytest.raises(AgentError, match="nothing else"):
        tls.split_pem(good + b" " * tls.MAX_PEM)
    with pytest.raises(AgentError, match="cannot be read"):
        tls.split_pem(good.replace(b"M", b"N"))

"""The client's requests: with this project's server, with Pebble, and with one that misbehaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot.client import csr
from acmeiot.client.acme import MAX_NONCE_TRIES, Client, Undecided, contacts
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled
from acmeiot.client.objects import Order
from acmeiot.client.obtain import obtain
from acmeiot.client.problem import Refused
from acmeiot.client.signing import AccountKey
from acmeiot.protocol import names
from acmeiot.protocol.names import Identifier
from tests.client.answering import answering
from tests.client.conftest import Place, place
from tests.client.issuers import make
from tests.client.peer import Serve, answer
from tests.client.script import Script, Watch, problem
from tests.web.house import House
from tests.web.running import Running

BOTH = [names.dns("printer.lan"), names.dns("printer.local")]
Play = Callable[..., Script]


@pytest.fixture
def play(serve: Serve) -> Play:
    """Start a server that follows a script."""

    def start(**pages: object) -> Script:
        script = Script({"/" + path: page for path, page in pages.items()})  # type: ignore[misc]
        script.peer = serve(script.talk)
        return script

    return start


def issue(client: Client, house: House, wanted: list[Identifier] = BOTH) -> x509.Certificate:
    """Return a certificate for these names."""
    pem = obtain(client, wanted, csr.fresh_key(), answering(house))
    return x509.load_pem_x509_certificate(pem)


def der(certificate: x509.Certificate) -> bytes:
    """Return it in DER."""
    return certificate.public_bytes(Encoding.DER)


# -- accounts


def test_the_same_key_is_the_same_account(either: Place) -> None:
    """Made once, found again; a stranger's key finds none (RFC 8555 section 7.3.1)."""
    client = either.client()
    made = client.register(contacts(BOTH) if "acme" in either.directory else ())
    assert (made.created, made.status) == (True, "valid")
    assert made.url == client.account
    again = either.client(client.key)
    found = again.register(only_existing=True)
    assert (found.created, found.url) == (False, made.url)
    with pytest.raises(Refused) as refusal:
        either.client().register(only_existing=True)
    assert (refusal.value.code, refusal.value.status) == ("accountDoesNotExist", 400)
    # Who has a key only, finds the account by itself.
    other = either.client(client.key)
    assert other.order([BOTH[0], BOTH[1]]).status == "pending"
    assert other.account == made.url


def test_contacts_of_a_device(home: Place) -> None:
    """A-3.2.2-1: an https URI for each name, told to the server and kept by it."""
    wanted = [*BOTH, names.ip("192.168.1.20"), BOTH[0], names.dns("*.nas.lan")]
    urls = contacts(wanted)
    assert urls == ("https://printer.lan/", "https://printer.local/")
    client = home.client()
    assert client.register(urls).contacts == urls
    client.update(["https://scanner.lan/"])
    assert client.register(only_existing=True).contacts == ("https://scanner.lan/",)


def test_an_account_that_ends(either: Place) -> None:
    """A factory reset ends it for good (A-4.4-1, RFC 8555 section 7.3.6)."""
    client = either.client()
    client.register()
    client.deactivate()
    assert client.account is None
    with pytest.raises(Refused, match="refuses"):
        either.client(client.key).order(BOTH)


def test_another_key_for_the_account(either: Place) -> None:
    """The old key is nobody's then (RFC 8555 section 7.3.5)."""
    client, new = either.client(), AccountKey.of(ec.generate_private_key(ec.SECP384R1()))
    url, old = client.register().url, client.key
    client.change_key(new)
    assert client.key is new
    assert client.order(BOTH).status == "pending"
    assert either.client(new).register(only_existing=True).url == url
    with pytest.raises(Refused, match="accountDoesNotExist"):
        either.client(old).register(only_existing=True)
    # And not to a key that has an account.
    taken = either.client()
    taken.register()
    with pytest.raises(Refused) as refusal:
        client.change_key(taken.key)
    # Pebble says serverInternal where the RFC wants a conflict.
    assert refusal.value.status == (409 if "acme" in either.directory else 500)
    assert client.key is new


def test_pairing_keys(start: Callable[..., Running], opened: ExitStack) -> None:
    """`acmeiot pair`'s key opens the door where one is required (RFC 8555 section 7.3.4)."""
    running = start("--approval", "ask", toml="require_pairing_key = true\n")
    locked = place(running, opened)
    assert locked.client().directory.eab_required
    with pytest.raises(Refused) as refusal:
        locked.client().register()
    assert refusal.value.code == "externalAccountRequired"
    pair = running.ask("pair")
    client = locked.client()
    assert client.register(eab=(pair["kid"], pair["hmac"])).created
    with pytest.raises(Refused):
        locked.client().register(eab=(pair["kid"], "AAAA" * 10))


def test_pairing_keys_of_pebble(pebble: Place) -> None:
    """The binding is what another server takes, too."""
    secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    assert pebble.client().register(eab=("printer", secret)).created
    with pytest.raises(Refused):
        pebble.client().register(eab=("printer", secret.replace("z", "y")))


# -- certificates


def test_all_chains(either: Place, house: House) -> None:
    """The default chain, and the alternates (RFC 8555 section 7.4.2)."""
    client = either.client()
    client.register()
    order = _finished(client, house)
    default, *others = client.chains(order)
    assert default == client.certificate(order)
    loaded = [x509.load_pem_x509_certificates(one) for one in (default, *others)]
    assert len({chain[0] for chain in loaded}) == 1
    assert len(others) >= 1
    if "acme" in either.directory:  # this project's alternate has the root (README)
        assert loaded[1][-1].public_bytes(Encoding.DER) == either.root.der


def _finished(client: Client, house: House) -> Order:
    order = client.order(BOTH)
    for authorization in client.authorizations(order):
        challenge = next(one for one in authorization.challenges if one.type == "http-01")
        with answering(house)(challenge, f"{challenge.token}.{client.key.thumbprint}"):
            client.respond(challenge)
            assert client.settled(authorization, ("pending",), 20).status == "valid"
    order = client.settled(client.read(order), ("pending",), 20)
    order = client.finalize(order, csr.request(csr.fresh_key(), BOTH))
    return client.settled(order, ("ready", "processing"), 20)


def test_revocation(either: Place, house: House) -> None:
    """By the account, by the certificate's key; a second time is no error, a stranger's is."""
    client, stranger = either.client(), either.client()
    client.register()
    stranger.register()
    key = csr.fresh_key()
    pem = obtain(client, BOTH, key, answering(house))
    certificate = der(x509.load_pem_x509_certificate(pem))
    with pytest.raises(Refused):
        stranger.revoke(certificate)
    with pytest.raises(Refused):
        either.client().revoke(certificate, key=csr.fresh_key())
    either.client().revoke(certificate, reason=1, key=key)
    either.client().revoke(certificate, key=key)
    other = issue(client, house)
    client.revoke(der(other), reason=4)
    client.revoke(der(other))


def test_what_a_revocation_says(play: Play) -> None:
    """The certificate, and the reason if there is one; the signer is the certificate's key."""
    script, key = play(revoke=b"{}"), csr.fresh_key()
    script.pages["/dir"] = {**script.pages["/dir"], "revokeCert": "/revoke"}  # type: ignore[dict-item]
    client = script.client()
    client.revoke(b"x", key=key)
    assert script.sent[-1][1]["payload"] == {"certificate": "eA"}
    assert script.sent[-1][1]["protected"]["alg"] == "ES384"
    client.revoke(b"x", 0)
    assert script.sent[-1][1]["payload"] == {"certificate": "eA", "reason": 0}
    assert script.sent[-1][1]["protected"]["kid"].endswith("/me")


def test_renewal_information(home: Place, house: House) -> None:
    """A window in the certificate's last third; at once when it is revoked (RFC 9773)."""
    client = home.client()
    client.register()
    certificate = issue(client, house)
    info = client.renewal(der(certificate))
    assert info is not None
    assert time.time() + 15 * 86400 < info.start < info.end < time.time() + 30 * 86400
    assert info.retry_after == 6 * 3600
    client.revoke(der(certificate))
    info = client.renewal(der(certificate))
    assert info is not None
    assert info.end < time.time()


def test_a_server_without_renewal_information(pebble: Place, house: House) -> None:
    """Debian's Pebble has none, and is not told what an order replaces."""
    client = pebble.client()
    client.register()
    certificate = der(issue(client, house))
    assert client.renewal(certificate) is None
    assert client.order(BOTH, replaces=certificate).status == "pending"


def test_replacing(home: Place, house: House) -> None:
    """The order says which certificate it succeeds; only one order does (RFC 9773 section 5)."""
    client = home.client()
    client.register()
    certificate = der(issue(client, house))
    client.order(BOTH, replaces=certificate)
    with pytest.raises(Refused) as refusal:
        client.order(BOTH, replaces=certificate)
    assert (refusal.value.code, refusal.value.status) == ("alreadyReplaced", 409)
    with pytest.raises(AgentError, match="cannot be read"):
        client.order(BOTH, replaces=b"junk")
    with pytest.raises(AgentError, match="no renewal id"):
        client.order(BOTH, replaces=make("x").der)


def test_profiles(home: Place) -> None:
    """What the server offers can be asked for; the rest is not sent."""
    client = home.client()
    client.register()
    assert client.order(BOTH, profile="shortlived").status == "pending"
    with pytest.raises(AgentError, match=r"no profile 'none'; it offers .*shortlived"):
        client.order(BOTH, profile="none")


def test_refused_names(home: Place) -> None:
    """All that is wrong, in the server's words, name by name (A-4.1-2, A-4.1-3)."""
    client = home.client()
    client.register()
    with pytest.raises(Refused) as refusal:
        client.order([names.dns("x.example.com"), names.dns("router.lan")])
    assert refusal.value.code == "rejectedIdentifier"
    assert [one.identifier for one in refusal.value.problem.parts] == [
        "x.example.com", "router.lan",
    ]  # fmt: skip
    assert "x.example.com" in str(refusal.value)


def test_what_a_server_does_not_know_is_not_sent(play: Play) -> None:
    """No `replaces` without renewal information (RFC 9773 section 5)."""
    root = make("root")
    leaf = make("x", root, ca=False, above=True).der
    script = play(order=lambda _: state("pending", "Location: /o/1"))
    client = script.client()
    client.order(BOTH, replaces=leaf)
    assert list(script.sent[-1][1]["payload"]) == ["identifiers"]
    script.pages["/dir"] = {**script.pages["/dir"], "renewalInfo": "/ari"}  # type: ignore[dict-item]
    client = script.client()
    client.order(BOTH, replaces=leaf)
    assert script.sent[-1][1]["payload"]["replaces"].count(".") == 1


# -- nonces


def test_nonces_are_used_once(play: Play) -> None:
    """Each request has the newest nonce of the answers before; one HEAD is all it costs."""
    script = play(me={"status": "valid"})
    client = script.client()
    client.register()
    client.update(["https://printer.lan/"])
    client.update([])
    paths = [path for path, _ in script.sent]
    assert paths == ["/dir", "/nonce", "/account", "/me", "/me"]
    used = [signed["protected"]["nonce"] for _, signed in script.sent if signed]
    assert len(set(used)) == 3
    # An answer that brings none costs another HEAD.
    script.pages["/me"] = lambda _: answer(b"{}")
    for _ in range(2):
        client.update([])
    assert [path for path, _ in script.sent][5:] == ["/me", "/nonce", "/me"]


def test_a_bad_nonce_is_tried_again(play: Play) -> None:
    """With the nonce that came with the refusal (RFC 8555 section 6.5)."""
    script = play(order=_picky)
    client = script.client()
    assert client.order(BOTH).url.endswith("/o/1")
    tried = [signed["protected"]["nonce"] for path, signed in script.sent if path == "/order"]
    assert tried[1:] == ["fresh"]


def _picky(signed: dict[str, dict[str, str]]) -> bytes:
    if signed["protected"]["nonce"] != "fresh":
        return problem("badNonce", "400 Bad Request", "Replay-Nonce: fresh")
    order = {"status": "pending", "identifiers": [], "authorizations": [], "finalize": "/f"}
    return answer(json.dumps(order).encode(), "Location: /o/1", status="201 Created")


def test_no_nonce_is_ever_good(play: Play) -> None:
    """A server that refuses every nonce is left after a few tries."""
    script = play(order=lambda _: problem("badNonce", "400 Bad Request", "Replay-Nonce: no"))
    with pytest.raises(Refused, match="badNonce"):
        script.client().order(BOTH)
    assert [path for path, _ in script.sent].count("/order") == MAX_NONCE_TRIES


def test_another_refusal_is_not_tried_again(play: Play) -> None:
    """Whatever nonce it brings."""
    script = play(order=lambda _: problem("rateLimited", "429 Slow", "Retry-After: 30"))
    with pytest.raises(Refused) as refusal:
        script.client().order(BOTH)
    assert (refusal.value.retry_after, refusal.value.passing) == (30, True)
    assert [path for path, _ in script.sent].count("/order") == 1


@pytest.mark.parametrize("nonce", ["", "a b", "\u00e4", "x" * 300, 'a"b'])
def test_nonces_that_are_none(play: Play, nonce: str) -> None:
    """They are not signed (RFC 8555 section 6.5.1)."""
    said = answer(b"").replace(b"\r\n\r\n", b"\r\nReplay-Nonce: " + nonce.encode() + b"\r\n\r\n")
    script = play(nonce=lambda _: said)
    with pytest.raises(Garbled, match="gives no nonce"):
        script.client().register()


def test_pebbles_refusals(pebble: Place) -> None:
    """Pebble refuses one good nonce in twenty; nobody notices."""
    client = pebble.client()
    client.register()
    for _ in range(60):
        client.update([])


# -- polling

WAITING = {"status": "processing", "identifiers": [], "authorizations": [], "finalize": "/f"}


def states(*steps: bytes) -> Callable[[object], bytes]:
    """Give one answer after the other."""
    left = list(steps)
    return lambda _: left.pop(0)


def state(status: str, *fields: str) -> bytes:
    """Return an order's answer."""
    return answer(json.dumps({**WAITING, "status": status}).encode(), *fields)


def polled(client: Client, patience: float = 600) -> Order:
    """Poll an order until it is no more processing."""
    me = client.directory.new_order.replace("/order", "/o/1")
    order = Order(me, "processing", (), (), "", "", None, None)
    return client.settled(order, ("processing",), patience)


def test_retry_after_is_honoured(play: Play) -> None:
    """And bounded; without it the waits grow."""
    watch = Watch()
    script = play(
        **{"o/1": states(
            state("processing", "Retry-After: 7"), state("processing", "Retry-After: 999999"),
            state("processing", "Retry-After: 0"), state("processing"), state("valid"),
        )}
    )  # fmt: skip
    assert polled(script.client(watch)).status == "valid"
    assert watch.waits == [0.25, 7, 60, 2.0, 4.0]


def test_patience_ends(play: Play) -> None:
    """A server that never decides does not hold the agent for ever."""
    watch = Watch()
    script = play(**{"o/1": lambda _: state("processing")})
    with pytest.raises(Undecided, match="did not decide in 60 s"):
        polled(script.client(watch), 60)
    assert 50 < sum(watch.waits) <= 60
    assert len(watch.waits) < 20


# -- servers that misbehave


@pytest.mark.parametrize(
    "page", [b"", b"<html>", b"[]", b"{}", b'{"newNonce":"/n"}', b"[" * 90_000, b"\xff" * 100]
)
def test_what_is_no_directory(play: Play, page: bytes) -> None:
    """Any other page is said to be none."""
    with pytest.raises(Garbled):
        play(dir=page).client().register()


def test_a_directory_with_urls_elsewhere(play: Play) -> None:
    """Other hosts have no known address: nothing is sent to them."""
    script = play(
        dir={"newNonce": "https://evil.lan/", "newAccount": "/account", "newOrder": "/order"}
    )
    with pytest.raises(AgentError, match=r"no address is known for evil\.lan port 443"):
        script.client().register()


def test_an_order_without_location(play: Play) -> None:
    """It could not be followed."""
    script = play(order=lambda _: state("pending"))
    with pytest.raises(Garbled, match="Location"):
        script.client().order(BOTH)


def test_a_chain_that_is_more(play: Play) -> None:
    """Certificates only: a key from a server is a trap (RFC 8555 section 9.1)."""
    script = play(c=b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    client = script.client()
    order = Order("", "valid", (), (), "", client.directory.new_order[:-5] + "c", None, None)
    with pytest.raises(AgentError, match="nothing else"):
        client.certificate(order)


def test_nowhere_to_go(play: Play) -> None:
    """A server that lacks a resource is told of it in words."""
    with pytest.raises(AgentError, match="no revoke_cert"):
        play().client().revoke(b"x")


def test_odd_statuses(play: Play) -> None:
    """Neither success nor refusal."""
    script = play(order=lambda _: answer(b"{}", status="304 Not Modified"))
    with pytest.raises(Garbled, match="HTTP status 304"):
        script.client().order(BOTH)

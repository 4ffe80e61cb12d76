"""Directory, nonces, headers and problems (R-1 to R-4, R-9, R-11, R-32, R-35)."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from contextlib import suppress

import pytest

from tests.web.client import Client
from tests.web.house import House
from tests.web.running import Running

RESOURCES = ("newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange")
NONCE = re.compile(r"[A-Za-z0-9_-]{22,}")


@pytest.mark.parametrize("path", ["/acme/directory", "/.well-known/acme"])
def test_directory(client: Client, server: Running, path: str) -> None:
    """R-2: all resources, as URLs of the host that was asked; no Link index on itself (R-11)."""
    answer = client.get(server.url(path))
    directory = answer.ok()
    assert set(directory) == {*RESOURCES, "renewalInfo", "meta"}
    assert all(directory[name].startswith(server.url("/")) for name in RESOURCES)
    assert len({directory[name] for name in RESOURCES}) == len(RESOURCES)
    assert answer.header("Content-Type") == "application/json"
    assert answer.links("index") == []


def test_meta(server: Running, client: Client) -> None:
    """R-2 and profiles: what is not configured is left out."""
    meta = client.directory["meta"]
    assert meta["externalAccountRequired"] is False
    assert set(meta["profiles"]) == {"strict", "shortlived"}
    assert meta["subdomainAuthAllowed"] is True
    assert not set(meta) & {"termsOfService", "website", "caaIdentities"}


def test_directory_is_read_by_a_signed_post_too(client: Client) -> None:
    """R-2, RFC 8555 section 6.3."""
    answer = client.post(client.directory_url)
    assert answer.ok() == client.directory
    assert NONCE.fullmatch(answer.header("Replay-Nonce") or "")


def test_the_url_of_the_directory_follows_the_host_that_was_asked(server: Running) -> None:
    """One server is router.lan, router.local and an address; certificate and URLs fit each."""
    for host in ("router.lan", "router.local", "127.0.0.1", "ROUTER.lan"):
        client = server.client(register=False)
        client.directory_url = server.url("/acme/directory", host)
        assert client.directory["newOrder"] == server.url("/acme/new-order", host.lower())
        location = client.register().header("Location")
        assert location is not None
        assert location.startswith(server.url("/acme/account/", host.lower()))


def test_an_account_made_by_one_name_is_known_by_the_other(server: Running, house: House) -> None:
    client = server.client()
    client.directory_url = server.url("/acme/directory", "127.0.0.1")
    client._directory = {}
    client.nonces.clear()
    assert "127.0.0.1" in client.directory["newOrder"]
    order = client.order("both.lan", "both.local").ok(201)
    assert order["finalize"].startswith(server.url("/", "127.0.0.1"))


@pytest.mark.parametrize(
    "host", ["evil.example", "router.lan.evil.example", "xrouter.lan", "8.8.8.8", "", "[::2]",
             "router.lan:80x", "router.lan:", "router.lan@evil.example", "a" * 300]
)  # fmt: skip
def test_a_foreign_host_is_misdirected(server: Running, host: str) -> None:
    """Specs 6: a page that re-binds its own name to the router's address gets nothing."""
    client = server.client(register=False)
    answer = client.wire.send("GET", server.url("/acme/directory"), None, {"Host": host})
    if host == "router.lan:":  # an empty port is the default one (RFC 3986 section 3.2.3)
        answer.ok()
        return
    problem = answer.is_problem("malformed", 421)
    assert server.url("") in problem["detail"]


def test_unknown_paths_are_problems(client: Client, server: Running) -> None:
    """R-2: 404, also for a path that only looks right, also for a POST, which gets a nonce."""
    for path in ("/", "/acme", "/acme/directory/", "/acme/order/", "/acme/new-order/x", "/trust",
                 "/acme/%2e%2e/etc/passwd", "/acme/\u00fc"):  # fmt: skip
        answer = client.get(server.url(path.replace("\u00fc", "%FC")))
        answer.is_problem("malformed", 404)
        assert len(answer.every("Content-Type")) == 1
    answer = client.post(server.url("/acme/nothing"), {})
    answer.is_problem("malformed", 404)
    assert answer.header("Replay-Nonce")


def test_objects_are_not_read_by_get(client: Client, house: House) -> None:
    """R-9."""
    issued = house.issue(client)
    authorization = client.post(issued.order["authorizations"][0]).ok()
    for url in (
        client.kid, f"{client.kid}/orders", issued.url, issued.order["finalize"],
        issued.order["authorizations"][0], authorization["challenges"][0]["url"],
        issued.order["certificate"], client.directory["newOrder"], client.directory["keyChange"],
    ):  # fmt: skip
        for method in ("GET", "PUT", "DELETE"):
            answer = client.get(url, method)
            answer.is_problem("malformed", 405)
            assert answer.header("Allow") == "POST"


def test_head_gives_a_nonce_with_200_and_get_with_204(client: Client) -> None:
    """R-3."""
    for method, status in (("HEAD", 200), ("GET", 204)):
        answer = client.get(client.directory["newNonce"], method)
        assert (answer.status, answer.body) == (status, b"")
        assert NONCE.fullmatch(answer.header("Replay-Nonce") or "")
        assert answer.header("Cache-Control") == "no-store"
        assert answer.links("index") == [client.directory_url]


def test_every_post_gives_one_fresh_nonce_and_the_index(client: Client) -> None:
    """R-4, R-11: answers and errors alike."""
    seen = set()
    for answer in (
        client.post(client.kid),
        client.post(client.kid, {"contact": ["tel:1"]}),
        client.post(client.directory["newOrder"], b"{"),
        client.send(client.directory["newOrder"], b"no JSON"),
        client.send(client.directory["newOrder"], b"{}", "text/plain"),
    ):
        (nonce,) = answer.every("Replay-Nonce")
        seen.add(nonce)
        assert answer.links("index") == [client.directory_url]
        assert answer.header("Access-Control-Allow-Origin") is None
    assert len(seen) == 5


def test_ids_cannot_be_guessed(client: Client, house: House) -> None:
    """R-35: 96 bits and more, and no two alike."""
    orders = [client.order("guess.lan", "guess.local") for _ in range(2)]
    urls = [client.kid, *(order.header("Location") or "" for order in orders)]
    urls += [url for order in orders for url in order.json["authorizations"]]
    ids = [url.rpartition("/")[2] for url in urls]
    assert len(set(ids)) == len(ids) == 7
    assert all(len(one) >= 16 for one in ids)


def test_plain_http_has_no_acme(server: Running) -> None:
    """R-1: the directory is reached by HTTPS only."""
    with socket.create_connection(("127.0.0.1", server.ports[1])) as plain:
        plain.sendall(b"GET /acme/directory HTTP/1.0\r\nHost: router.lan\r\n\r\n")
        assert b" 404 " in plain.recv(100)
    with socket.create_connection(("127.0.0.1", server.ports[0])) as plain:
        plain.sendall(b"GET /acme/directory HTTP/1.0\r\nHost: router.lan\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"newNonce" not in plain.recv(1000)


def test_old_tls_is_refused(server: Running) -> None:
    """R-1: TLS 1.2 and 1.3, nothing older."""
    for version, works in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = ssl.create_default_context(cafile=str(server.root))
        context.minimum_version = context.maximum_version = version
        raw = socket.create_connection(("127.0.0.1", server.ports[0]))
        with context.wrap_socket(raw, server_hostname="router.lan") as tls:
            assert (tls.version() == version.name.replace("_", ".")) is works
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.ports[0]}", "-tls1_1", "-cipher",
         "ALL:@SECLEVEL=0"],
        input="", capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert said.returncode != 0
    assert "alert protocol version" in said.stderr


@pytest.mark.parametrize("name", ["router.lan", "router.local", "127.0.0.1"])
def test_the_handshake_brings_the_whole_chain(server: Running, name: str) -> None:
    """R-1, A-3.3-2: root included; the chain verifies by openssl for each name of the server."""
    check = ["-verify_ip", name] if name[0].isdigit() else ["-verify_hostname", name]
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.ports[0]}", "-CAfile", server.root,
         "-verify_return_error", "-x509_strict", "-showcerts", *check],
        input="", capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "Verify return code: 0 (ok)" in said.stdout
    assert said.stdout.count("BEGIN CERTIFICATE") == 3
    assert server.root.read_text().strip() in said.stdout

"""All 24 error types of RFC 8555 section 6.7, each reached over HTTP (R-32, R-33)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.web.client import URN, Client, Json, Key, b64, identifier, jws
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.keys import certificate_key, request
from tests.web.running import Running

Reach = Callable[["Strict"], tuple[Json, int]]

PAIR = ("printer.lan", "printer.local")

RFC_8555 = """accountDoesNotExist alreadyRevoked badCSR badNonce badPublicKey badRevocationReason
    badSignatureAlgorithm caa compound connection dns externalAccountRequired incorrectResponse
    invalidContact malformed orderNotReady rateLimited rejectedIdentifier serverInternal tls
    unauthorized unsupportedContact unsupportedIdentifier userActionRequired""".split()


class Strict:
    """A server on which every error can be made to happen."""

    def __init__(self, running: Running, house: House) -> None:
        self.running, self.house = running, house
        self.fresh = running.client(register=False)

    @property
    def client(self) -> Client:
        """Return a client with an account."""
        if not self.fresh.kid:
            self.fresh.register(termsOfServiceAgreed=True).ok(201)
        return self.fresh

    def proof(self, name: str, kind: str) -> tuple[Json, int]:
        """Fail a proof, and return the problem in the challenge."""
        (url,) = self.client.order(name).ok(201)["authorizations"]
        authorization = self.client.post(url).ok()
        (one,) = (each for each in authorization["challenges"] if each["type"] == kind)
        self.client.post(one["url"], {}).ok()
        (ended,) = self.client.poll(url).ok()["challenges"]
        error = dict(ended["error"])
        return error, int(error["status"])


@pytest.fixture(scope="module")
def strict(make_server: Serve, house: House) -> Running:
    """A server with terms, a CAA name, and nothing but plain text at the TLS port."""
    toml = 'terms = "https://router.lan/terms"\ncaa = ["home.example"]\n'
    options = ("--approval", "auto", "--tlsalpn01-port", str(house.http_port))
    return make_server(*options, toml=toml).start()


@pytest.fixture
def on(strict: Running, house: House) -> Strict:
    return Strict(strict, house)


def answer_of(reach: Callable[[Strict], object]) -> Reach:
    def reached(on: Strict) -> tuple[Json, int]:
        answer = reach(on)
        return answer.json, answer.status  # type: ignore[attr-defined]

    return reached


def revoked_twice(on: Strict) -> object:
    issued = on.house.issue(on.client)
    payload = {"certificate": b64(issued.der)}
    on.client.post(on.client.directory["revokeCert"], payload)
    return on.client.post(on.client.directory["revokeCert"], payload)


def bad_reason(on: Strict) -> object:
    issued = on.house.issue(on.client)
    payload = {"certificate": b64(issued.der), "reason": 6}
    return on.client.post(on.client.directory["revokeCert"], payload)


def bad_csr(on: Strict) -> object:
    order = on.client.order(*PAIR).ok(201)
    on.house.prove(on.client, order)
    csr = request(certificate_key(), ["other.lan"])
    return on.client.post(order["finalize"], {"csr": b64(csr)})


def bad_public_key(on: Strict) -> object:
    url = on.fresh.directory["newAccount"]
    jwk = {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}
    header = on.fresh.header(url, alg="RS256", jwk=jwk)
    return on.fresh.send(url, json.dumps(jws(header, {}, lambda _: bytes(128))).encode())


def forbidden_by_caa(on: Strict) -> tuple[Json, int]:
    on.house.records.append('forbidden.lan CAA 0 issue "other.example"')
    (url,) = on.client.order("forbidden.lan").ok(201)["authorizations"]
    on.client.post(on.house.answer(on.client, on.client.post(url).ok())["url"], {}).ok()
    (ended,) = on.client.poll(url).ok()["challenges"]
    return ended["error"], ended["error"]["status"]


def compound(on: Strict) -> object:
    wanted = [{"type": "email", "value": "a@b"}, {"type": "dns", "value": "a..b"}]
    return on.client.post(on.client.directory["newOrder"], {"identifiers": wanted})


def shut_port(on: Strict) -> tuple[Json, int]:
    on.house.records.append("shut-port.lan A 127.0.0.78")
    return on.proof("shut-port.lan", "http-01")


def no_such_name(on: Strict) -> tuple[Json, int]:
    on.house.missing.add("missing.lan")
    return on.proof("missing.lan", "http-01")


def too_many(on: Strict) -> object:
    other = on.running.client("127.0.0.99", register=False)
    for _ in range(50):
        other.key = Key("EdDSA")
        answer = other.register(termsOfServiceAgreed=True)
        if answer.status != 201:
            break
    return answer


REACHED: dict[str, tuple[int, Reach]] = {
    "accountDoesNotExist": (400, answer_of(lambda on: on.fresh.register(onlyReturnExisting=True))),
    "alreadyRevoked": (400, answer_of(revoked_twice)),
    "badCSR": (400, answer_of(bad_csr)),
    "badNonce": (400, answer_of(lambda on: on.client.post(on.client.kid, nonce=b64(bytes(22))))),
    "badPublicKey": (400, answer_of(bad_public_key)),
    "badRevocationReason": (400, answer_of(bad_reason)),
    "badSignatureAlgorithm": (400, answer_of(lambda on: on.client.post(on.client.kid, alg="none"))),
    "caa": (403, forbidden_by_caa),
    "compound": (400, answer_of(compound)),
    "connection": (400, shut_port),
    "dns": (400, no_such_name),
    "incorrectResponse": (403, lambda on: on.proof("empty.lan", "http-01")),
    "invalidContact": (
        400,
        answer_of(lambda on: on.fresh.register(termsOfServiceAgreed=True, contact=["mailto:"])),
    ),
    "malformed": (400, answer_of(lambda on: on.client.send(on.client.kid, b"{"))),
    "orderNotReady": (403, answer_of(lambda on: on.client.finalize(on.client.order(*PAIR).json))),
    "rateLimited": (429, answer_of(too_many)),
    "rejectedIdentifier": (403, answer_of(lambda on: on.client.order("www.example.com"))),
    "tls": (400, lambda on: on.proof("plain-text.lan", "tls-alpn-01")),
    "unauthorized": (403, answer_of(lambda on: on.client.post(on.client.kid + "x", url="x"))),
    "unsupportedContact": (
        400,
        answer_of(lambda on: on.fresh.register(termsOfServiceAgreed=True, contact=["tel:1"])),
    ),
    "unsupportedIdentifier": (
        400,
        answer_of(
            lambda on: on.client.post(
                on.client.directory["newOrder"], {"identifiers": [{"type": "tn", "value": "1"}]}
            )
        ),
    ),
    "userActionRequired": (403, answer_of(lambda on: on.fresh.register())),
}


def test_every_type_of_the_rfc_is_reached() -> None:
    """R-33: here, or in one of the two tests below."""
    assert len(RFC_8555) == 24
    assert {*REACHED, "externalAccountRequired", "serverInternal"} == set(RFC_8555)


@pytest.mark.parametrize("kind", REACHED)
def test_error(on: Strict, kind: str) -> None:
    """R-32, R-33: type and status; `identifier` stands in subproblems only."""
    status, reach = REACHED[kind]
    problem, got = reach(on)
    assert (problem["type"], problem["status"], got) == (URN + kind, status, status), problem
    assert problem["detail"]
    assert "identifier" not in problem


def test_external_account_required(make_server: Serve) -> None:
    """R-33."""
    running = make_server(toml="require_pairing_key = true\n").start()
    running.client(register=False).register().is_problem("externalAccountRequired", 403)
    running.stop()


def test_server_internal(make_server: Serve, house: House) -> None:
    """R-33: the disk takes no more; what is read still works, and writing does again."""
    running = make_server("--approval", "auto").start()
    client = running.client()
    assert running.process is not None
    import resource

    size = (running.state / "acmeiot.sqlite-wal").stat().st_size
    limits = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (min(size, 4096), limits[1]))
    client.order(*PAIR).is_problem("serverInternal", 503)
    client.post(client.kid).ok()
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, limits)
    house.issue(client)
    assert "cannot write" in running.log.read_text()
    running.stop()


def test_compound_names_each_part(on: Strict) -> None:
    """R-32: RFC 8555 section 6.7.1; good identifiers are not mentioned."""
    wanted = [{"type": "email", "value": "a@b"}, identifier("good.lan"), identifier("a..b")]
    answer = on.client.post(on.client.directory["newOrder"], {"identifiers": wanted})
    problem = answer.is_problem("compound", 400)
    kinds = [part["type"].removeprefix(URN) for part in problem["subproblems"]]
    assert kinds == ["unsupportedIdentifier", "malformed"]

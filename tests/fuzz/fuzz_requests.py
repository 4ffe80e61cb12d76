"""Requests that are signed well and say anything: an answer or a refusal, never a fault."""

import json
from functools import partial
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz import runner
from tests.fuzz.home import Answer, open_home, post
from tests.protocol.signing import KEYS, b64, encoded, header, sign

with runner.instrumented():
    from acmeiot.web import objects
    from acmeiot.web.acme import AcmeRoutes
    from acmeiot.web.site import Site

BASE = "https://router.lan:8555"
home = open_home()
site = Site("https", frozenset({"router.lan"}), BASE, lambda _: False)
app = AcmeRoutes(home.services, site, home.meta).app
send = partial(post, app, CONTENT_TYPE="application/jose+json")


def request(path: str, payload: bytes, /, **changes: object) -> Answer:
    """Post a payload, signed as it should be but for these changes of the header."""
    members = {"url": BASE + path, "nonce": home.services.nonces.issue(), **changes}
    return send(path, encoded(sign("ES256", payload, header("ES256", **members))))


def path_of(answer: Answer) -> str:
    """Return the path of what was made."""
    assert answer.status == 201, answer
    return answer.headers["Location"].removeprefix(BASE)


def order() -> dict[str, str]:
    """Return the paths of a new order and of what belongs to it."""
    wanted = {"identifiers": [{"type": "dns", "value": "printer.lan"}]}
    made = request(objects.NEW_ORDER, json.dumps(wanted).encode(), jwk=None, kid=BASE + ACCOUNT)
    (authorization,) = made.json["authorizations"]
    authz = authorization.removeprefix(BASE)
    challenge = authz.replace(objects.AUTHZ, objects.CHALLENGE) + "/http-01"
    return {"order": path_of(made), "authz": authz, "challenge": challenge}


ACCOUNT = path_of(request(objects.NEW_ACCOUNT, b"{}"))
MADE = order()
PATHS = (
    objects.NEW_ACCOUNT, objects.NEW_ORDER, objects.NEW_AUTHZ, objects.REVOKE_CERT,
    objects.KEY_CHANGE, ACCOUNT, ACCOUNT + "/orders", MADE["order"], MADE["order"] + "/finalize",
    MADE["authz"], MADE["challenge"], objects.CERTIFICATE + "x", objects.DIRECTORY,
)  # fmt: skip


def check(answer: Answer) -> None:
    """Refusals are problem documents; all that is not a fault may be said."""
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        assert answer.json["type"].startswith("urn:ietf:params:acme:error:")


def payload(data: bytes) -> None:
    """The first octet is the path, the others the payload. The account and its order stay."""
    path, body = PATHS[data[0] % len(PATHS)] if data else PATHS[0], data[1:]
    if b"deactivated" in body:
        return
    signer = {} if path == objects.NEW_ACCOUNT else {"jwk": None, "kid": BASE + ACCOUNT}
    check(request(path, body, **signer))


def protected(data: bytes) -> None:
    """The first octet is the path, the others members of the protected header."""
    path, text = PATHS[data[0] % len(PATHS)] if data else PATHS[0], data[1:]
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(members, dict):
        members.pop("", None)
        check(request(path, b"", **members))


def csr() -> bytes:
    """Return a good request for the order."""
    name = x509.SubjectAlternativeName([x509.DNSName("printer.lan")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.add_extension(name, critical=False).sign(KEYS["ES384"], hashes.SHA384())
    return made.public_bytes(Encoding.DER)


EAB = {"protected": b64(b'{"alg":"HS256","kid":"k","url":"u"}'), "payload": "", "signature": "AA"}
INNER = sign("ES384", b"{}", header("ES384", nonce=None, url=BASE + objects.KEY_CHANGE))
SEEDS = [
    bytes([PATHS.index(path)]) + json.dumps(seed).encode()
    for path, seed in (
        (objects.NEW_ACCOUNT, {"contact": ["https://printer.lan/"], "onlyReturnExisting": True}),
        (objects.NEW_ACCOUNT, {"externalAccountBinding": EAB}),
        (objects.NEW_ORDER, {"identifiers": [{"type": "ip", "value": str(ip_address("::1"))}]}),
        (objects.NEW_ORDER, {"identifiers": [{"type": "dns", "value": "a.lan"}], "profile": "x"}),
        (objects.NEW_ORDER, {"identifiers": [{"type": "dns", "value": "printer.lan"}]}),
        (objects.NEW_AUTHZ, {"identifier": {"type": "dns", "value": "printer.local"}}),
        (objects.REVOKE_CERT, {"certificate": "AAEC", "reason": 1}),
        (objects.KEY_CHANGE, INNER),
        (ACCOUNT, {"contact": ["mailto:me@example.org"]}),
        (MADE["order"] + "/finalize", {"csr": b64(csr())}),
        (MADE["challenge"], {}),
        (ACCOUNT, {"kid": BASE + objects.ACCOUNT + "\ud800", "jwk": None}),
        (ACCOUNT, {"kid": BASE + ACCOUNT, "jwk": None, "alg": "ES256"}),
        (MADE["authz"], {"kid": BASE + ACCOUNT, "jwk": None, "nonce": "AAAA"}),
        (objects.NEW_ACCOUNT, {"url": "https://router.lan/", "nonce": None}),
    )
]

runner.run(payload, protected, refusals=(), seeds=SEEDS)

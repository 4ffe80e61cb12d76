"""Signed requests: the body, the header inside it, the key inside that (R-5, R-6, R-7)."""

import json

from tests.fuzz import runner
from tests.protocol.signing import HASHES, b64, encoded, header, jwk, sign

with runner.instrumented():
    from acmeiot.protocol import jose
    from acmeiot.protocol.errors import AcmeError
    from acmeiot.protocol.jose import Jwk


def body(data: bytes) -> None:
    """The whole way of a request."""
    jws = jose.parse(data)
    Jwk.parse(jws.jwk).verify(jws)


def protected(data: bytes) -> None:
    """The protected header, which base64 hides from the fuzzer."""
    jws = jose.from_document({"protected": b64(data), "payload": "", "signature": "AAAA"})
    Jwk.parse(jws.jwk).verify(jws)


def key(data: bytes) -> None:
    """A key that is taken is the same when it is stored and read again."""
    made = Jwk.parse(jose.load_json(data, "jwk"))
    assert Jwk.parse(dict(made.members)).thumbprint == made.thumbprint


ALGORITHMS = (*HASHES, "EdDSA")
SEEDS = (
    *(encoded(sign(alg)) for alg in ALGORITHMS),
    *(json.dumps(header(alg)).encode() for alg in ALGORITHMS),
    *(json.dumps(jwk(alg)).encode() for alg in ALGORITHMS),
    b'{"kty":"EC","crv":"P-256","x":1,"y":[]}',
    b'{"kty":"OKP","crv":"Ed25519","x":null}',
    b'{"alg":["ES256"],"jwk":[],"url":{},"nonce":1,"kid":2}',
)

runner.run(body, protected, key, refusals=(AcmeError,), seeds=SEEDS)

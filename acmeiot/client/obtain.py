"""A whole issuance: order, proofs, the owner's word, request, certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.client import csr
from acmeiot.client.acme import Client
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled
from acmeiot.client.objects import Authorization, Challenge, Order
from acmeiot.client.problem import Problem, Refused
from acmeiot.protocol.challenges import key_authorization
from acmeiot.protocol.names import Identifier

PATIENCE: Final = 300.0  # seconds for each proof; servers end it sooner

# Makes the device ready to be asked, for as long as its `with` block lasts.
Answer = Callable[[Challenge, str], AbstractContextManager[object]]


def obtain(
    client: Client,
    identifiers: Sequence[Identifier],
    key: ec.EllipticCurvePrivateKey,
    answer: Answer,
    *,
    kinds: Sequence[str] = ("http-01",),
    replaces: bytes | None = None,
    profile: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    patience: float = PATIENCE,
) -> bytes:
    """Return a certificate for these names and `key`, as PEM with its chain, leaf first.

    `answer` is given one challenge at a time, of the first of `kinds` that the server offers, with
    its key authorization. `tell` hears what is waited for: the owner's approval, above all.
    Raise Refused with the server's words (`userActionRequired` when the owner has not decided),
    Undecided, or what `Client` raises.
    """
    order = _ordered(client, identifiers, replaces, profile)
    if order.status == "pending":
        for authorization in client.authorizations(order):
            _prove(client, authorization, answer, kinds, tell, patience)
        order = client.settled(client.read(order), ("pending",), patience)
    if order.status == "ready":
        order = client.finalize(order, csr.request(key, identifiers))
        order = client.settled(order, ("ready", "processing"), patience)
    if order.status != "valid" or not order.certificate:
        raise Refused(order.error or _ended(order))
    pem = client.certificate(order)
    _check(pem, key, identifiers)
    return pem


def _ordered(
    client: Client,
    identifiers: Sequence[Identifier],
    replaces: bytes | None,
    profile: str | None,
) -> Order:
    try:
        return client.order(identifiers, replaces, profile)
    except Refused as error:
        # Which certificate is succeeded is a courtesy; the new one is needed all the same.
        if replaces is None or error.code not in ("alreadyReplaced", "malformed", "unauthorized"):
            raise
        return client.order(identifiers, None, profile)


def _prove(
    client: Client,
    authorization: Authorization,
    answer: Answer,
    kinds: Sequence[str],
    tell: Callable[[str], None],
    patience: float,
) -> None:
    if authorization.status == "pending":
        challenge = _choice(authorization, kinds)
        with answer(challenge, key_authorization(challenge.token, client.key.thumbprint)):
            if client.respond(challenge).status == "valid":
                return
            said = ""
            for seen in client.polls(client.read(authorization), ("pending",), patience):
                authorization = seen
                if seen.status == "pending" and seen.problem and seen.problem.detail != said:
                    said = seen.problem.detail
                    tell(f"{seen.identifier}: {said}")
    if authorization.status != "valid":
        raise Refused(authorization.problem or _ended(authorization))


def _choice(authorization: Authorization, kinds: Sequence[str]) -> Challenge:
    for kind in kinds:
        for challenge in authorization.challenges:
            if challenge.type == kind and challenge.token and challenge.status != "invalid":
                return challenge
    offered = ", ".join(one.type for one in authorization.challenges) or "nothing"
    raise AgentError(
        f"{authorization.identifier} can be proved by {offered}; "
        f"this device answers {', '.join(kinds)} only"
    )


def _ended(progress: Order | Authorization) -> Problem:
    return Problem("about:blank", f"{progress.url} is {progress.status}, no reason given")


def _check(pem: bytes, key: ec.EllipticCurvePrivateKey, identifiers: Sequence[Identifier]) -> None:
    """Raise Garbled unless the certificate is for this key and all these names."""
    leaf = x509.load_pem_x509_certificate(pem)
    if leaf.public_key() != key.public_key():
        raise Garbled("the server's certificate is for another key than the one requested")
    missing = [str(one) for one in identifiers if one not in csr.names_of(leaf)]
    if missing:
        raise Garbled(f"the server's certificate lacks {', '.join(missing)}")

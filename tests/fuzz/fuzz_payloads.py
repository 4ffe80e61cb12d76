"""The payloads of all requests, certificate ids and nonces."""

import json
import os

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.core.nonces import Nonces
    from acmeiot.protocol import ari, messages
    from acmeiot.protocol.errors import AcmeError

nonces = Nonces(os.urandom)


def account(data: bytes) -> None:
    """What newAccount takes is bounded text."""
    for url in messages.NewAccount.parse(data).contact:
        messages.contact_host(url)
        assert url.isascii()
        assert len(url) <= messages.MAX_CONTACT


def order(data: bytes) -> None:
    """What newOrder takes has names, each once."""
    names = messages.NewOrder.parse(data, 100).identifiers
    assert 0 < len(names) == len(set(names))


def certificate_id(data: bytes) -> None:
    """A certificate id that is taken has one spelling."""
    made = ari.check_id(data.decode("latin-1"))
    assert ari.check_id(made) == made


SEEDS = [
    json.dumps(seed).encode()
    for seed in (
        {"contact": ["mailto:me@example.org", "https://printer.local/"]},
        {"termsOfServiceAgreed": True, "onlyReturnExisting": False, "externalAccountBinding": {}},
        {"status": "deactivated"},
        {"identifiers": [{"type": "dns", "value": "a.b.lan", "ancestorDomain": "b.lan"}]},
        {"identifiers": [{"type": "ip", "value": "fd00::1"}], "notAfter": "2030-01-01T00:00:00Z"},
        {"identifier": {"type": "dns", "value": "b.lan", "subdomainAuthAllowed": True}},
        {"identifiers": [1, [], {"type": 1}, {"type": "dns", "value": {}}], "notAfter": 0},
        {"identifier": ["dns"], "contact": [1], "status": [], "onlyReturnExisting": 0},
        {"certificate": "AAEC", "reason": 1},
        {"certificate": ["AAEC"], "csr": 1, "reason": "1", "profile": {}, "replaces": []},
        {"csr": "AAEC", "profile": "strict", "replaces": "AAEC.AAEC"},
    )
]
SEEDS += [b"aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", nonces.issue().encode()]

runner.run(
    account,
    messages.AccountUpdate.parse,
    order,
    messages.load_identifier,
    messages.Revocation.parse,
    messages.csr_of,
    messages.deactivation,
    certificate_id,
    lambda data: nonces.redeem(data.decode("latin-1")),
    refusals=(AcmeError,),
    seeds=SEEDS,
)

"""The X.509 profile of everything that the authority makes (specs 5.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from acmeiot.ca import keys, profiles
from acmeiot.ca.roots import Authority
from acmeiot.protocol.names import Identifier
from tests.ca import assertions, material
from tests.ca.conftest import Open

DOMAINS = ["local", "lan"]
SERVER = ["router.lan", "router.local"]


def test_root_and_intermediate(authority: Authority) -> None:
    root = material.load(authority.root_der)
    (issuer,) = authority.issuers()
    assertions.assert_is_root(root, DOMAINS, SERVER)
    assertions.assert_is_intermediate(issuer.certificate, root, DOMAINS)


@pytest.mark.parametrize("kind", ["p521", "rsa3072", "rsa4096"])
def test_other_root_keys(kind: str, reopen: Open) -> None:
    authority = reopen(root_key=kind)
    root = material.load(authority.root_der)
    assertions.assert_is_root(root, DOMAINS, SERVER)
    assertions.assert_is_intermediate(authority.issuers()[0].certificate, root, DOMAINS)


def test_more_domains(reopen: Open) -> None:
    server_names = ("gate.home.arpa", "gate.internal", "gate.local")
    authority = reopen(domains=("home.arpa", "internal"), server_names=server_names)
    root = material.load(authority.root_der)
    domains = ["local", "home.arpa", "internal"]
    assertions.assert_is_root(root, domains, server_names, organization="acmeiot home.arpa")
    assertions.assert_is_intermediate(authority.issuers()[0].certificate, root, domains)


def test_leaf(authority: Authority, now: int) -> None:
    leaf = authority.issue(material.request(now))
    certificate = material.load(leaf.der)
    issuer = authority.issuers()[0].certificate
    assertions.assert_is_leaf(certificate, issuer, material.NAMES)
    assert f"{certificate.serial_number:x}" == leaf.serial
    assert profiles.validity(certificate) == (leaf.not_before, leaf.not_after)
    assert leaf.not_before == now - 3600


def test_rsa_leaf_may_encipher_keys(authority: Authority, now: int) -> None:
    leaf = authority.issue(material.request(now, key=keys.make("rsa3072")))
    assertions.assert_is_leaf(
        material.load(leaf.der),
        authority.issuers()[0].certificate,
        material.NAMES,
        key_encipherment=True,
    )


def test_the_servers_own_leaf(authority: Authority, now: int) -> None:
    """The responder does not know it, and Firefox refuses what a responder does not know."""
    _, pem, _ = authority.issue_server(SERVER, ["192.168.1.1"], now)
    certificate, issuer = (material.load(der) for der in material.ders(pem)[:2])
    assertions.assert_is_leaf(certificate, issuer, [*SERVER, "192.168.1.1"], ocsp=False)


def test_cross_certificates(authority: Authority, now: int) -> None:
    old = authority.roots()[0].certificate
    authority.rotate(now)
    new = authority.roots()[0].certificate
    new_by_old, old_by_new = (cross.certificate for cross in authority.crosses())
    assertions.assert_is_cross(new_by_old, new, old, DOMAINS)
    assertions.assert_is_cross(old_by_new, old, new, DOMAINS)


def test_serials_are_random_and_short_enough(authority: Authority, now: int) -> None:
    """159 bits: positive in at most 20 octets, none twice."""
    serials = [int(authority.issue(material.request(now)).serial, 16) for _ in range(64)]
    assert len(set(serials)) == 64
    assert max(serials).bit_length() == 159
    assert profiles.serial_number(lambda size: b"\xff" * size) == (1 << 159) - 1
    assert profiles.serial_number(lambda size: b"\x00" * size) == 1


def test_two_homes_do_not_collide() -> None:
    names = {
        profiles.ca_name("Home CA", keys.make().public_key(), ("lan",)).rfc4514_string()
        for _ in range(8)
    }
    assert len(names) == 8


def test_long_domain_fits_into_the_name() -> None:
    domain = ".".join(["a" * 60] * 3)
    name = profiles.ca_name("Home CA", keys.make().public_key(), (domain,))
    assert len(str(next(iter(name)).value)) == 64


@pytest.mark.parametrize(
    ("identifier", "permitted"),
    [
        (Identifier("dns", "printer.lan"), True),
        (Identifier("dns", "a.b.local"), True),
        (Identifier("dns", "*.printer.lan"), True),
        (Identifier("dns", "lan"), True),
        (Identifier("dns", "xlan"), False),
        (Identifier("dns", "lan.example.com"), False),
        (Identifier("dns", "printer.local.evil.com"), False),
        (Identifier("ip", "192.168.1.20"), True),
        (Identifier("ip", "fe80::1"), True),
        (Identifier("ip", "::1"), True),
        (Identifier("ip", "8.8.8.8"), False),
        (Identifier("ip", "100.64.0.1"), False),
        (Identifier("ip", "::ffff:192.168.1.20"), False),
        (Identifier("ip", "2001:db8::1"), False),
    ],
)
def test_permits(identifier: Identifier, permitted: bool, authority: Authority, now: int) -> None:
    """What is permitted can be issued, what is not is refused by the signer as well (A-4.1-2)."""
    assert authority.permits(identifier) is permitted
    wanted = replace(material.request(now), identifiers=(identifier,))
    if permitted:
        assert authority.issue(wanted).serial
    else:
        with pytest.raises(ValueError, match="outside the name constraints"):
            authority.issue(wanted)


def test_validity_reads_old_and_new_libraries() -> None:
    class Old:
        not_valid_before = datetime(2026, 1, 1)  # noqa: DTZ001 # as cryptography 41 has it
        not_valid_after = datetime(2026, 1, 2)  # noqa: DTZ001

    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert profiles.validity(Old()) == (start, start + 86400)  # type: ignore[arg-type]

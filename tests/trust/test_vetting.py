"""A root that could vouch for more than a home is never stored silently."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from acmeiot.client.tls import Root
from acmeiot.trust.vetting import MAX_DER, UnfitRoot, vet
from tests.trust.roots import DAY, NOW, Made, home_root


def test_the_root_of_this_projects_server_is_fit() -> None:
    vet(home_root(), NOW)


def str_of(case: object) -> str:
    """Name a case the same in every process: no address of an object is in it."""
    return "-".join(case) if isinstance(case, dict) else str(case)


@pytest.mark.parametrize(
    "fit",
    [
        {"names": (".local", ".lan")},
        {"names": ("home.arpa", "internal", "LOCAL", "kitchen.lan")},
        {"kind": "rsa3072", "digest": hashes.SHA256()},
        {"digest": hashes.SHA512()},
        {"days": 365},
        {"days": 3653},
        {"networks": ("192.168.7.0/24", "fe80::/10")},
        {"excluded": ("evil.local",)},
    ],
    ids=str_of,
)
def test_fit(fit: dict[str, Any]) -> None:
    vet(Made(**fit).root, NOW)


@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        # A-1-1: what it could vouch for.
        ({"constrained": False}, "could vouch for any site"),
        ({"critical": False}, "not critical"),
        ({"names": ()}, "do not limit names"),
        ({"names": (), "networks": ("10.0.0.0/8",), "excluded": ("com",)}, "do not limit names"),
        ({"networks": ()}, "do not limit addresses"),
        ({"names": ("local", "bank.com")}, "may vouch for bank.com, which is no local domain"),
        ({"names": ("local", "com")}, "may vouch for com,"),
        ({"names": ("local", "")}, "may vouch for any name"),
        ({"names": ("local", ".")}, "may vouch for ."),
        ({"names": ("notlocal",)}, "may vouch for notlocal"),
        ({"names": ("local.evil.com",)}, "may vouch for local.evil.com"),
        ({"networks": ("10.0.0.0/8", "0.0.0.0/0")}, "0.0.0.0/0, which are no private addresses"),
        ({"networks": ("8.8.8.8/32",)}, "8.8.8.8/32"),
        ({"networks": ("10.0.0.0/7",)}, "10.0.0.0/7"),
        ({"networks": ("10.0.0.0/8", "::/0")}, "::/0"),
        # draft 3.2.1: what it is made of.
        ({"kind": "p256"}, "ECDSA on secp256r1"),
        ({"kind": "rsa2048"}, "RSA of 2048 bits"),
        ({"kind": "ed25519", "digest": None}, "Ed25519"),
        ({"kind": "rsa3072", "digest": hashes.SHA3_256()}, "SHA3-256"),
        ({"days": 364}, "lives 364 days"),
        ({"days": 3654}, "lives 3654 days"),
        ({"starts": NOW + 60}, "not valid yet"),
        ({"starts": NOW - 400 * DAY, "days": 399}, "has expired"),
        ({"ca": None}, "that it is a CA"),
        ({"ca": x509.BasicConstraints(ca=False, path_length=None)}, "that it is a CA"),
        ({"ca_critical": False}, "critically"),
        ({"signs": False}, "not meant to sign"),
        ({"signed_by": "rsa3072"}, "not signed by itself"),
    ],
    ids=str_of,
)
def test_unfit(unfit: dict[str, Any], said: str) -> None:
    """A-1-1, draft-sweet-iot-acme 3.2.1: each flaw alone is enough, and is named."""
    with pytest.raises(UnfitRoot) as raised:
        vet(Made(**unfit).root, NOW)
    assert said in str(raised.value)


def test_a_home_with_a_domain_of_its_own_says_so() -> None:
    root = Made(names=("local", "home.example.org")).root
    with pytest.raises(UnfitRoot, match=r"--domain home\.example\.org"):
        vet(root, NOW)
    vet(root, NOW, ("home.example.org",))
    vet(root, NOW, ("example.org",))
    with pytest.raises(UnfitRoot):
        vet(root, NOW, ("ome.example.org",))


def test_no_constraints_only_by_order_and_nothing_else_is_waived() -> None:
    vet(Made(constrained=False).root, NOW, unconstrained=True)
    with pytest.raises(UnfitRoot, match="secp256r1"):
        vet(Made(constrained=False, kind="p256").root, NOW, unconstrained=True)


@pytest.mark.parametrize(
    ("der", "said"),
    [
        (b"", "cannot be read"),
        (b"0\x82", "cannot be read"),
        (b"0" * (MAX_DER + 1), f"more than {MAX_DER}"),
    ],
    ids=len,
)
def test_what_is_no_certificate(der: bytes, said: str) -> None:
    with pytest.raises(UnfitRoot, match=said):
        vet(Root(der, "00" * 32, "", NOW - 1, NOW + 1), NOW)

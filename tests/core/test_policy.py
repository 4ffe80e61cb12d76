"""What a home allows: names, addresses, keys, lives; each refusal says what to change (A-*)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.ca import issue
from acmeiot.core.policy import (
    COMPAT,
    DAY,
    MAX_LIFE,
    PROFILES,
    SHORTLIVED,
    STRICT,
    Policy,
)
from acmeiot.core.records import Csr, Order
from acmeiot.protocol import names
from acmeiot.protocol.errors import BadCsr, InvalidContact, InvalidProfile, RejectedIdentifier
from acmeiot.protocol.names import Identifier
from acmeiot.protocol.states import OrderStatus
from tests.core.fakes import NOW
from tests.core.keys import csr, leaf_key

HOME = Policy(
    domains=("lan", "home.arpa", "guest.lan"),
    server_names=("router.lan", "acme.local", "router.home.arpa"),
    server_addresses=frozenset({"192.168.1.1", "fd00::1"}),
)
COMPAT_HOME = Policy(offer_compat=True)
BOTH = ("printer.lan", "printer.local")


def refusal(name: str, policy: Policy = HOME) -> str:
    """Return why the policy refuses a name or address."""
    wanted = identifier(name)
    with pytest.raises(RejectedIdentifier) as caught:
        policy.check_identifier(wanted)
    assert caught.value.identifier == wanted  # the subproblem names it
    assert str(wanted) in caught.value.detail
    return caught.value.detail


def identifier(name: str) -> Identifier:
    return names.ip(name) if ":" in name or name[-1].isdigit() else names.dns(name)


# Names


@pytest.mark.parametrize(
    "name",
    [
        "printer.lan", "PRINTER.LOCAL", "a.b.c.lan", "printer.home.arpa", "printer.guest.lan",
        "*.printer.lan", "xn--bcher-kva.lan", "router2.lan", "my-router.lan", "printer.lan.",
        "x.localhost.lan", "x.router.lan",
    ],
)  # fmt: skip
def test_names_of_this_home(name: str) -> None:
    HOME.check_identifier(names.dns(name))


@pytest.mark.parametrize(
    "name",
    [
        "x.evil.com", "x.local.evil.com", "x.lan.com", "xlan", "notlocal", "x.notlocal",
        "x.arpa", "x.home.arpa.com", "lan", "local", "home.arpa", "*.lan", "*.local", "printer",
        "localhost",
    ],
)  # fmt: skip
def test_names_of_no_home(name: str) -> None:
    # A-4.1-2; a wildcard of a suffix would stand for every device
    assert "does not end in one of this home's domains (.local, .lan, " in refusal(name)


@pytest.mark.parametrize("name", ["guest.lan", "*.guest.lan"])
def test_a_domain_inside_another_is_no_device(name: str) -> None:
    assert "is one of this home's domains, not a device" in refusal(name)


def test_a_name_above_a_domain_is_no_device() -> None:
    nested = Policy(domains=("lan", "guests.first-floor.lan"))
    assert "one of this home's domains" in refusal("first-floor.lan", nested)


@pytest.mark.parametrize("name", ["localhost.lan", "LOCALHOST.local", "*.localhost.lan"])
def test_localhost_is_no_device(name: str) -> None:
    assert "for the machine itself" in refusal(name)  # A-3.2.3-5, A-4.1-3


@pytest.mark.parametrize(
    "name",
    [
        "router.lan", "ROUTER.local", "router.guest.lan", "acme.lan", "acme.local",
        "*.router.lan", "router.home.arpa",
    ],
)  # fmt: skip
def test_the_servers_name_is_its_own(name: str) -> None:
    assert "is the name of the ACME server" in refusal(name)  # A-4.1-3: every alias


@pytest.mark.parametrize("label", sorted(Policy().reserved - {"localhost", "router"}))
def test_reserved_labels(label: str) -> None:
    # specs 6: hosts look these up by habit
    assert f"begins with the reserved label {label!r}" in refusal(f"{label}.lan")


# Addresses, A-4.1-4


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.5", "172.16.0.1", "172.31.255.254", "192.168.1.20", "169.254.3.4", "fc00::5",
        "fdff::1", "fe80::5",
    ],
)  # fmt: skip
def test_addresses_of_a_home(address: str) -> None:
    HOME.check_identifier(names.ip(address))


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "100.64.0.1", "172.32.0.1", "172.15.255.255", "192.169.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "2001:db8::1", "2606:4700::1", "ff02::1", "fec0::1",
        "::", "::ffff:808:808", "::ffff:c0a8:114", "::ffff:7f00:1",
    ],
)  # fmt: skip
def test_addresses_of_no_home(address: str) -> None:
    wanted = Identifier("ip", address)  # however it is spelled
    with pytest.raises(RejectedIdentifier, match="not a link-local, loopback or private address"):
        HOME.check_identifier(wanted)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_only_where_it_is_allowed(address: str) -> None:
    assert "is a loopback address" in refusal(address)
    replace(HOME, allow_loopback=True).check_identifier(names.ip(address))


@pytest.mark.parametrize("address", ["192.168.1.1", "fd00::1"])
def test_the_servers_address_is_its_own(address: str) -> None:
    assert "is this server's own address" in refusal(address)


label_texts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@given(labels=st.lists(label_texts, min_size=1, max_size=4))
def test_what_is_let_through_lies_in_a_domain_below_no_wrong_label(labels: list[str]) -> None:
    name = ".".join(labels)
    try:
        wanted = names.dns(name)
        HOME.check_identifier(wanted)
    except (names.BadName, RejectedIdentifier):
        for suffix in HOME.suffixes:  # the same name in the home is refused for its label only
            if names.under(name, suffix):
                assert labels[0] in {*HOME.reserved, "router", "acme", "localhost", "guest"} or any(
                    label[2:4] == "--" for label in labels
                )
        return
    assert any(names.under(wanted.value, suffix) for suffix in HOME.suffixes)
    assert labels[0] not in HOME.reserved


# Profiles and lives


def test_profiles() -> None:
    assert set(HOME.profiles) == {"strict", "shortlived"}
    assert set(COMPAT_HOME.profiles) == {"strict", "compat", "shortlived"}
    assert HOME.profile(None) is HOME.profile("strict") is STRICT
    assert HOME.profile("shortlived") is SHORTLIVED
    assert COMPAT_HOME.profile("compat") is COMPAT
    assert replace(COMPAT_HOME, default_profile="compat").profile(None) is COMPAT


def test_a_profile_that_is_not_offered() -> None:
    with pytest.raises(InvalidProfile, match="the owner has not allowed it; choose strict, short"):
        HOME.profile("compat")
    with pytest.raises(InvalidProfile, match="'iot' is not offered; choose strict, compat, short"):
        COMPAT_HOME.profile("iot")
    with pytest.raises(InvalidProfile) as caught:
        HOME.profile("x" * 5000)
    assert len(caught.value.detail) < 200


def test_lives() -> None:
    assert HOME.life(STRICT) == 30 * DAY
    assert HOME.life(SHORTLIVED) == 6 * DAY
    assert Policy(leaf_days=7).life(COMPAT) == 7 * DAY
    assert Policy(leaf_days=365).life(STRICT) == MAX_LIFE == 89 * DAY  # A-3.2.4-1
    assert Policy(leaf_days=3).life(SHORTLIVED) == 6 * DAY


# Contacts


def test_contacts_are_of_this_home() -> None:
    HOME.check_contacts(
        (
            "mailto:a@example.com",
            "https://printer.lan",
            "https://[fe80::1]:8443/x",
            "HTTPS://a.LAN.",
        )
    )
    for url in ("https://evil.com", "https://lan", "https://8.8.8.8", "https://lan.evil.com/"):
        with pytest.raises(InvalidContact, match=r"must end in one of \.local, \.lan"):
            HOME.check_contacts(("mailto:a@example.com", url))


# CSRs


def order(*wanted: str, profile: str = "strict") -> Order:
    identifiers = tuple(identifier(name) for name in wanted)
    return Order(
        "o", "a", OrderStatus.READY, NOW, NOW + DAY, identifiers, ("z",), profile, "192.168.1.20"
    )


P384 = issue.read_csr(csr(leaf_key(), *BOTH))


def said(policy: Policy, request: Csr, wanted: Order, account: str = "account") -> str:
    """Return why the policy refuses the CSR."""
    with pytest.raises(BadCsr) as caught:
        policy.check_csr(request, wanted, account)
    assert caught.value.status == 400
    return caught.value.detail


def keyed(key: Any, *wanted: str) -> Csr:
    return issue.read_csr(csr(key, *(wanted or BOTH)))


@pytest.fixture(scope="module")
def rsa_keys() -> dict[int, rsa.RSAPrivateKey]:
    return {bits: rsa.generate_private_key(65537, bits) for bits in (2048, 3072)}


def test_strong_keys(rsa_keys: dict[int, rsa.RSAPrivateKey]) -> None:
    for key in (leaf_key(), leaf_key(ec.SECP521R1()), rsa_keys[3072]):
        for policy in (HOME, COMPAT_HOME):
            policy.check_csr(keyed(key), order(*BOTH), "account")  # A-3.2.3-2
        COMPAT_HOME.check_csr(keyed(key), order(*BOTH, profile="compat"), "account")


def test_keys_that_only_compat_takes(rsa_keys: dict[int, rsa.RSAPrivateKey]) -> None:
    for key, name in ((leaf_key(ec.SECP256R1()), "EC P-256"), (rsa_keys[2048], "RSA 2048")):
        request = keyed(key)
        COMPAT_HOME.check_csr(request, order(*BOTH, profile="compat"), "account")
        text = said(HOME, request, order(*BOTH))  # A-3.2.3-2
        assert f"type {name} is below the rule of draft-sweet-iot-acme 3.2.3" in text
        assert "the owner may allow profile compat" in text
        assert "or ask for profile compat" in said(COMPAT_HOME, request, order(*BOTH))
        for switch in (  # specs 5.2: each client's own
            "--elliptic-curve secp384r1", "-k ec-384", "-k ec384", "-t EC -b 384",
            "key_type p384", "key_type ec384", "openssl ecparam",
        ):  # fmt: skip
            assert switch in text


@pytest.mark.parametrize(
    ("kind", "name", "bits"),
    [
        ("RSA", "RSA 1024", 1024), ("RSA", "RSA 2047", 2047), ("Ed25519", "Ed25519", 256),
        ("EC", "EC secp192r1", 192), ("EC", "EC secp256k1", 256), ("Ed448", "Ed448", 0),
        ("EC", "EC brainpoolP384r1", 3072),
    ],
)  # fmt: skip
def test_keys_that_nobody_takes(kind: str, name: str, bits: int) -> None:
    request = replace(P384, key_kind=kind, key_name=name, key_bits=bits)
    for policy, profile in ((HOME, "strict"), (COMPAT_HOME, "strict"), (COMPAT_HOME, "compat")):
        text = said(policy, request, order(*BOTH, profile=profile))
        assert f"type {name} does not work in browsers" in text
        assert "secp384r1" in text


@pytest.mark.parametrize("bits", [3071, 3072, 2048])
def test_the_edges_of_rsa(bits: int) -> None:
    request = replace(P384, key_kind="RSA", key_name=f"RSA {bits}", key_bits=bits)
    COMPAT_HOME.check_csr(request, order(*BOTH, profile="compat"), "account")
    if bits == 3072:
        HOME.check_csr(request, order(*BOTH), "account")
    else:
        assert "below the rule" in said(HOME, request, order(*BOTH))


def test_an_ed25519_key_as_clients_make_it() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    san = x509.SubjectAlternativeName([x509.DNSName(name) for name in BOTH])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = builder.add_extension(san, critical=False).sign(
        ed25519.Ed25519PrivateKey.generate(), None
    )
    request = issue.read_csr(der.public_bytes(Encoding.DER))
    assert "Ed25519 does not work" in said(HOME, request, order(*BOTH))


@pytest.mark.parametrize("hash_name", ["sha1", "md5", "sha224"])
def test_weak_hashes(hash_name: str) -> None:
    request = replace(P384, hash_name=hash_name)
    for profile in ("strict", "compat"):
        text = said(COMPAT_HOME, request, order(*BOTH, profile=profile))  # A-3.2.3-1
        assert text == f"the CSR is signed with {hash_name}; use SHA-256 or better"


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512", ""])
def test_strong_hashes(hash_name: str) -> None:
    HOME.check_csr(replace(P384, hash_name=hash_name), order(*BOTH), "account")


def test_the_csr_names_what_the_order_names() -> None:
    more = keyed(leaf_key(), *BOTH, "192.168.1.20")
    assert "more than the order: ip 192.168.1.20" in said(HOME, more, order(*BOTH))
    less = keyed(leaf_key(), *BOTH)
    text = said(HOME, less, order(*BOTH, "192.168.1.20", "scan.lan"))
    assert "lacks names of the order: dns scan.lan, ip 192.168.1.20" in text
    assert "more than the order: dns nas.lan" in said(
        HOME, keyed(leaf_key(), "nas.lan"), order(*BOTH)
    )
    HOME.check_csr(keyed(leaf_key(), *reversed(BOTH)), order(*BOTH), "account")  # in any order


@pytest.mark.parametrize("name", ["printer.lan", "PRINTER.LAN", "device-12cd56", "", None])
def test_a_common_name_may_be_a_name_or_a_device_id(name: str | None) -> None:
    HOME.check_csr(replace(P384, common_name=name), order(*BOTH), "account")


def test_a_common_name_that_is_another_host_is_refused() -> None:
    text = said(HOME, replace(P384, common_name="nas.lan"), order(*BOTH))
    assert "common name 'nas.lan' is not among its alternative names" in text
    assert len(said(HOME, replace(P384, common_name="x." * 3000), order(*BOTH))) < 200


def test_the_account_key_is_no_certificate_key() -> None:
    assert P384.jwk_thumbprint is not None
    text = said(HOME, P384, order(*BOTH), P384.jwk_thumbprint)  # RFC 8555 section 11.1
    assert "the CSR's key is the account key" in text


@pytest.mark.parametrize(
    "wanted",
    [
        ("printer.lan",), ("printer.local",), ("printer.lan", "nas.local"), ("192.168.1.20",),
        ("printer.lan", "printer.home.arpa"), ("*.printer.lan", "printer.lan"),
        ("a.printer.lan", "printer.local"),
    ],
)  # fmt: skip
def test_strict_wants_both_names(wanted: tuple[str, ...]) -> None:
    request = keyed(leaf_key(), *wanted)
    text = said(HOME, request, order(*wanted))  # A-3.2.3-3
    label = {"192.168.1.20": "device-12cd56", "a.printer.lan": "a"}.get(wanted[0], "printer")
    if "nas.local" in wanted:
        label = "nas"
    assert f"ask for {label}.local and {label}.lan in one order" in text
    assert f"certbot -d {label}.local -d {label}.lan" in text
    assert "profile compat" in text
    COMPAT_HOME.check_csr(request, order(*wanted, profile="compat"), "account")


@pytest.mark.parametrize(
    "wanted",
    [
        BOTH, (*BOTH, "192.168.1.20"), ("printer.home.arpa", "printer.local"),
        (*BOTH, "*.printer.lan", "scan.lan"), ("a.b.lan", "a.b.local"),
    ],
)  # fmt: skip
def test_strict_takes_both_names(wanted: tuple[str, ...]) -> None:
    HOME.check_csr(
        keyed(leaf_key(), *wanted), order(*wanted), "account"
    )  # A-3.2.3-4: and addresses
    assert {profile.strict for name, profile in PROFILES.items() if name != "compat"} == {True}


csrs = st.builds(
    Csr,
    der=st.just(b""),
    identifiers=st.lists(
        st.sampled_from([identifier(n) for n in (*BOTH, "nas.lan", "192.168.1.20")]), max_size=4
    ).map(tuple),
    common_name=st.none() | st.sampled_from(["printer.lan", "x.y", "id"]),
    key_kind=st.sampled_from(["RSA", "EC", "Ed25519"]),
    key_name=st.sampled_from(["EC P-256", "EC P-384", "EC P-521", "RSA", "Ed25519"]),
    key_bits=st.integers(0, 9000),
    hash_name=st.sampled_from(["", "sha1", "sha256", "sha512", "md5"]),
    spki=st.just(b""),
    spki_sha256=st.just(""),
    jwk_thumbprint=st.none() | st.sampled_from(["account", "other"]),
)


@given(request=csrs, profile=st.sampled_from(["strict", "compat"]))
def test_no_csr_passes_that_breaks_a_rule(request: Csr, profile: str) -> None:
    wanted = order(*BOTH, profile=profile)
    try:
        COMPAT_HOME.check_csr(request, wanted, "account")
    except BadCsr:
        return
    assert set(request.identifiers) == set(wanted.identifiers)
    assert request.jwk_thumbprint != "account"
    assert request.hash_name not in ("sha1", "md5")
    strong = request.key_name in ("EC P-384", "EC P-521")
    bits = request.key_bits if request.key_kind == "RSA" else 0
    assert (
        strong
        or bits >= 3072
        or (profile == "compat" and (bits >= 2048 or "256" in request.key_name))
    )

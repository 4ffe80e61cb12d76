"""Chains before real verifiers: what is good verifies, what breaks the constraints does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from acmeiot.ca import keys
from acmeiot.ca.roots import Authority
from tests.ca import material, peers
from tests.ca.conftest import Open

EVERY_PEER = pytest.mark.parametrize("peer", peers.ALL)

# How each peer says that a name is outside the constraints.
CONSTRAINTS = {
    "openssl": "permitted subtree violation",
    "gnutls": "violates the signer's constraints",
    "nss": "Chain is bad",  # libpkix has no better word for it
    "pyca": "no permitted name constraints matched",
    "python-tls": "permitted subtree violation",
    "node-tls": "permitted subtree violation",
    "gnutls-tls": "violates the signer's constraints",
    "nss-tls": "SEC_ERROR_CERT_NOT_IN_NAME_SPACE",
}


@EVERY_PEER
@pytest.mark.parametrize("name", material.NAMES)
def test_good_leaf_verifies(
    peer: str, name: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    leaf = authority.issue(material.request(now))
    peers.ALL[peer](
        material.case(leaf, authority.server_chain(), [authority.root_der], name, tmp_path, now)
    )


@EVERY_PEER
def test_leaf_verifies_without_the_root_in_the_chain(
    peer: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    leaf = authority.issue(material.request(now))
    chain = authority.chains(leaf.issuer_id)[0]
    assert authority.root_der not in chain
    peers.ALL[peer](material.case(leaf, chain, [authority.root_der], "printer.lan", tmp_path, now))


@EVERY_PEER
@pytest.mark.parametrize("name", ["www.example.com", "8.8.8.8", "xlan", "2001:db8::1"])
def test_leaf_outside_the_constraints_is_refused(
    peer: str, name: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    """A-1-1: even who has stolen the intermediate's key makes nothing for the world outside."""
    leaf = material.stolen(authority, name, now)
    with pytest.raises(peers.Refused, match=CONSTRAINTS[peer]):
        peers.ALL[peer](
            material.case(leaf, authority.server_chain(), [authority.root_der], name, tmp_path, now)
        )


@EVERY_PEER
def test_stranger_is_refused(
    peer: str, authority: Authority, now: int, tmp_path: Path, reopen: Open
) -> None:
    """The peers do look: the same leaf is refused by who trusts another home."""
    leaf = authority.issue(material.request(now))
    chain = authority.server_chain()
    (tmp_path / "state").rename(tmp_path / "neighbour")
    neighbour = reopen()
    with pytest.raises(peers.Refused):
        peers.ALL[peer](
            material.case(leaf, chain, [neighbour.root_der], "printer.lan", tmp_path, now)
        )


@EVERY_PEER
@pytest.mark.parametrize("kind", ["p521", "rsa3072", "rsa4096"])
def test_other_root_keys_verify(
    peer: str, kind: str, reopen: Open, now: int, tmp_path: Path
) -> None:
    authority = reopen(root_key=kind)
    leaf = authority.issue(material.request(now))
    peers.ALL[peer](
        material.case(
            leaf, authority.server_chain(), [authority.root_der], "printer.lan", tmp_path, now
        )
    )


@EVERY_PEER
@pytest.mark.parametrize("kind", ["rsa3072", "p521"])
def test_other_leaf_keys_verify(
    peer: str, kind: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    key = keys.make(kind)
    leaf = authority.issue(material.request(now, key=key))
    case = material.case(
        leaf, authority.server_chain(), [authority.root_der], "printer.lan", tmp_path, now, key
    )
    peers.ALL[peer](case)


@EVERY_PEER
@pytest.mark.parametrize("trusted", ["old", "new"])
@pytest.mark.parametrize("with_root", [True, False])
def test_new_leaf_after_rotation_verifies(
    peer: str, trusted: str, with_root: bool, authority: Authority, now: int, tmp_path: Path
) -> None:
    """Who trusts only the old root and who trusts only the new one both verify."""
    old = authority.root_der
    authority.rotate(now)
    leaf = authority.issue(material.request(now))
    anchor = old if trusted == "old" else authority.root_der
    chain = authority.chains(leaf.issuer_id)[int(with_root)]
    peers.ALL[peer](material.case(leaf, chain, [anchor], "printer.lan", tmp_path, now))


@EVERY_PEER
@pytest.mark.parametrize("trusted", [0, 1, 2, 3])
def test_new_leaf_after_three_rotations_verifies(
    peer: str, trusted: int, authority: Authority, now: int, tmp_path: Path
) -> None:
    """Four roots alive, which takes an owner who rotates by hand: any one of them is enough.

    But for GnuTLS, which mostly wants the last certificate of the chain signed by somebody it
    trusts: it needs one of the older roots, which are published with the newest.
    """
    for _ in range(3):
        authority.rotate(now)
    roots = [root.der for root in reversed(authority.roots())]
    leaf = authority.issue(material.request(now))
    case = material.case(
        leaf, authority.server_chain(), [roots[trusted]], "printer.lan", tmp_path, now
    )
    if peer.startswith("gnutls") and trusted >= 2:
        case = replace(case, trusted=roots)
    peers.ALL[peer](case)


@EVERY_PEER
@pytest.mark.parametrize("trusted", ["old", "new"])
def test_old_leaf_after_rotation_verifies(
    peer: str, trusted: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    """A device that has not renewed yet, and fetches its chain again."""
    leaf = authority.issue(material.request(now))
    old = authority.root_der
    authority.rotate(now)
    anchor = old if trusted == "old" else authority.root_der
    chain = authority.chains(leaf.issuer_id)[1]
    peers.ALL[peer](material.case(leaf, chain, [anchor], "printer.lan", tmp_path, now))


@EVERY_PEER
def test_server_certificate_verifies(
    peer: str, authority: Authority, now: int, tmp_path: Path
) -> None:
    """The server's own key and chain, as they stand on the disk (R-1, A-3.3-2)."""
    key, chain, not_after = authority.issue_server(
        ["router.lan", "router.local"], ["192.168.1.1"], now
    )
    ders = material.ders(chain)
    assert ders[-1] == authority.root_der
    assert now < not_after <= now + 30 * material.DAY
    case = peers.Case(ders, key, [authority.root_der], "router.local", tmp_path, now)
    peers.ALL[peer](case)

"""The words are those of the proposal's own table, and no two fingerprints share them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol.fingerprint import words


@pytest.mark.parametrize(
    ("address", "spelled"),
    [
        ("127.0.0.1", "lusab-babad"),
        ("63.84.220.193", "gutih-tugad"),
        ("64.255.6.200", "haguz-biram"),
        ("212.58.253.68", "tibup-zujah"),
    ],
)
def test_words_of_the_proposal(address: str, spelled: str) -> None:
    digest = ipaddress.ip_address(address).packed + bytes(28)
    assert words(digest) == "-".join([spelled, *["babab"] * 6])


def test_a_short_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 128 bits, there are 120"):
        words(bytes(15))


@given(st.binary(min_size=16, max_size=32), st.binary(min_size=16, max_size=32))
def test_different_bits_are_different_words(one: bytes, other: bytes) -> None:
    assert (words(one) == words(other)) == (one[:16] == other[:16])

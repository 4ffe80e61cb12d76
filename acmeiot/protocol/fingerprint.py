"""A fingerprint that can be read aloud: pronounceable words for 128 bits of a hash.

Proquints (D. S. Wilkerson, "A Proposal for Proquints", 2009) spell 16 bits as
consonant-vowel-consonant-vowel-consonant, with no word list and in no language. Eight of them are
what a person can compare, and as much as an attacker would have to match.
"""

from __future__ import annotations

from typing import Final

BITS: Final = 128
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"


def words(digest: bytes) -> str:
    """Return eight words for the first 128 bits of a digest; raise ValueError for a shorter one."""
    if len(digest) * 8 < BITS:
        raise ValueError(f"a fingerprint needs {BITS} bits, there are {len(digest) * 8}")
    return "-".join(
        _word(int.from_bytes(digest[at : at + 2], "big")) for at in range(0, BITS // 8, 2)
    )


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )

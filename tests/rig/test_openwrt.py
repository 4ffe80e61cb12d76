"""Reading a real OpenWrt's image, which not everybody has."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.rig.openwrt import unpacked

SIGNED = b"untrusted comment: signed\nRWQ0000\nFWx0\0\0\0\0\1\0\0\0\0\0\0\x2a"
DISK = bytes(range(256)) * 5000  # whose end is not that of a block that is read


def test_a_signed_image_is_unpacked_to_its_end(tmp_path: Path) -> None:
    """A disk whose last part is missing has no second partition, and does not boot."""
    image = tmp_path / "image.gz"
    for appended in (b"", SIGNED):
        image.write_bytes(gzip.compress(DISK) + appended)
        assert b"".join(unpacked(image)) == DISK


def test_half_a_download_is_told(tmp_path: Path) -> None:
    image = tmp_path / "image.gz"
    image.write_bytes(gzip.compress(DISK)[:-100])
    with pytest.raises(AssertionError, match="not whole"):
        list(unpacked(image))

"""What is remembered of an announcement."""

import json
from pathlib import Path

import pytest

from acmeiot.lan.announced import FILE, Announced, BrokenMemory, read, report, sha256

URL = "https://router.lan:8555/acme/directory"
ROOT = "5f" * 32


def remembered(state: Path, **changes: object) -> Announced:
    """Write a memory with one file that stands where it says."""
    there = state / "acmeiot.conf"
    there.write_text("x")
    values = {
        "at": 1_800_000_000, "fqdn": "router.lan", "directory": URL, "root": ROOT,
        "items": [{"what": "DHCPv4 option 125"}], "records": ["a. 1 IN PTR b."],
        "files": {str(there): sha256(b"x")}, "pools": {"lan": ["0011"]}, **changes,
    }  # fmt: skip
    made = Announced(**values)  # type: ignore[arg-type]
    (state / FILE).write_bytes(made.as_bytes())
    return made


def test_round_trip(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert report(tmp_path, URL, ROOT) is None
    made = remembered(tmp_path)
    assert read(tmp_path) == made
    shown = report(tmp_path, URL, ROOT)
    assert shown is not None
    assert shown["problems"] == []
    assert shown["pools"] == {"lan": ["0011"]}


def test_what_no_longer_holds_is_told(tmp_path: Path) -> None:
    """A directory in RAM is empty after a restart; a root follows another."""
    remembered(tmp_path)
    conf = tmp_path / "acmeiot.conf"
    conf.write_text("y")
    again = "run `acmeiot announce` again"
    assert (report(tmp_path, URL, ROOT) or {})["problems"] == [f"{conf} was changed since; {again}"]
    conf.unlink()
    assert (report(tmp_path, URL + "x", "00" * 32) or {})["problems"] == [
        f"{conf}: No such file or directory; {again}",
        f"{URL} was announced, the server now is {URL}x; {again}",
        f"the root sha256:{ROOT} was announced, which is another now; {again}",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "[" * 100_000, '{"at": 1}', b"\xff".decode("latin-1"),
     json.dumps({"at": "x", "fqdn": "", "directory": "", "root": "", "items": [], "records": [],
                 "files": {}, "pools": {}}),
     json.dumps({"at": 1, "fqdn": "", "directory": "", "root": "", "items": [], "records": [],
                 "files": {"a": 1}, "pools": {}}),
     json.dumps({"at": 1, "fqdn": "", "directory": "", "root": "", "items": [], "records": [],
                 "files": {}, "pools": {"lan": "00"}})],
    ids=range(10),
)  # fmt: skip
def test_a_broken_memory_is_said(tmp_path: Path, text: str) -> None:
    """The server's `status` still answers."""
    (tmp_path / FILE).write_text(text, "latin-1")
    with pytest.raises(BrokenMemory, match=FILE):
        read(tmp_path)
    assert FILE in (report(tmp_path, URL, ROOT) or {})["problems"][0]

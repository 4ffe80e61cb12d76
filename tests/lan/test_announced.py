"""What is remembered of an announcement."""

import json
import os
import stat
from pathlib import Path

import pytest

from acmeiot.lan.announced import (
    FILE,
    Announced,
    BrokenMemory,
    check_place,
    places,
    read,
    report,
    sha256,
)

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


def problems(state: Path, directory: str = URL, root: str = ROOT) -> list[str]:
    """Return what no longer holds of the only memory."""
    (shown,) = report([state / FILE], directory, root)
    assert shown["memory"] == str(state / FILE)
    return list(shown["problems"])


def test_round_trip(tmp_path: Path) -> None:
    memory = tmp_path / FILE
    assert read(memory) is None
    assert report([memory, tmp_path / "none" / FILE], URL, ROOT) == []
    made = remembered(tmp_path)
    assert read(memory) == made
    (shown,) = report([tmp_path / "none", memory], URL, ROOT)
    assert shown["problems"] == []
    assert shown["pools"] == {"lan": ["0011"]}


def test_places() -> None:
    assert places((), "var") == (Path("var/announced.json"),)
    assert places(("/run/a", "/run/b"), "var") == (Path("/run/a"), Path("/run/b"))


def test_what_no_longer_holds_is_told(tmp_path: Path) -> None:
    """A directory in RAM is empty after a restart; a root follows another."""
    remembered(tmp_path)
    conf = tmp_path / "acmeiot.conf"
    conf.write_text("y")
    again = "run `acmeiot announce` again"
    assert problems(tmp_path) == [f"{conf} was changed since; {again}"]
    conf.unlink()
    assert problems(tmp_path, URL + "x", "00" * 32) == [
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
        read(tmp_path / FILE)
    assert FILE in problems(tmp_path)[0]


def test_neither_link_nor_pipe(tmp_path: Path) -> None:
    """Nobody's link is followed, and nothing waits for a writer."""
    remembered(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / FILE)
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("link", "is a symbolic link"), ("pipe", "is no file")):
        with pytest.raises(BrokenMemory, match=f"{name} {why}; delete it"):
            read(tmp_path / name)
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"Not a directory"):
        read(tmp_path / FILE / "x")
    assert len(os.listdir("/proc/self/fd")) == opened


STRANGER = 1000


@pytest.mark.parametrize(
    ("what", "owner", "mode", "said"),
    [
        (".", STRANGER, 0o755, "belongs to user 1000"),
        (FILE, STRANGER, 0o644, "belongs to user 1000"),
        (".", 0, 0o775, "can be written by others than root"),
        (".", 0, 0o1777, "can be written by others than root"),
        (FILE, 0, 0o664, "can be written by others than root"),
        (FILE, 0, 0o646, "can be written by others than root"),
    ],
)
def test_whom_root_believes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, owner: int, mode: int, said: str
) -> None:
    """Root deletes what a memory names: only root may have written it, and its directory."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    made = remembered(state)
    stated = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        """Return as if all here were root's, but for what the case is about."""
        found = stated(descriptor)
        same = os.path.samestat(found, (state / what).stat())
        values = list(found)
        kind = stat.S_IFMT(found.st_mode)
        values[stat.ST_MODE] = kind | (mode if same else 0o755)
        values[stat.ST_UID] = owner if same else 0
        return os.stat_result(values)

    monkeypatch.setattr("os.fstat", fstat)
    monkeypatch.setattr("os.geteuid", lambda: STRANGER)
    assert read(state / FILE) == made, "who is not root may do no more than the other"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(BrokenMemory, match=f"{said}, who could have root delete any file"):
        read(state / FILE)
    assert said in problems(state)[0]
    if what == ".":
        with pytest.raises(BrokenMemory, match=said):
            check_place(state / FILE)
    else:
        check_place(state / FILE)

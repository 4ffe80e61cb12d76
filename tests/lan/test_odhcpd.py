"""odhcpd's one string: what is appended is taken out again, and nothing else."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.lan.announce import whole6
from acmeiot.lan.odhcpd import Uci, UciError, appended, objection, removed
from acmeiot.protocol.dhcp import Advertisement

OURS = whole6(Advertisement("router.lan")).hex()

# A uci that keeps its values as files, as much of it as is used. `fail` makes `commit` fail, `kill`
# makes it the last thing that its caller sees, before it is done or after.
STUB = """\
#!/bin/sh
echo "$@" >>"$STORE/calls"
[ "$1" = -q ] && shift
case $1 in
get) [ -f "$STORE/$2" ] && cat "$STORE/$2" ;;
changes) cat "$STORE/changes" 2>/dev/null ;;
set)
	echo "$2" >"$STORE/changes"
	printf %s "${2#*=}" >"$STORE/new"
	echo "${2%%=*}" >"$STORE/key" ;;
delete) echo "-$2" >"$STORE/changes"; rm -f "$STORE/new"; echo "$2" >"$STORE/key" ;;
commit)
	cut=$(cat "$STORE/kill" 2>/dev/null)
	[ -z "$cut" ] || kill -9 $PPID
	[ "$cut" != before ] || exit 1
	[ ! -f "$STORE/fail" ] || { echo "uci: I/O error" >&2; exit 1; }
	key=$(cat "$STORE/key")
	if [ -f "$STORE/new" ]; then mv "$STORE/new" "$STORE/$key"; else rm -f "$STORE/$key"; fi
	rm -f "$STORE/changes" ;;
revert) rm -f "$STORE/changes" "$STORE/new" ;;
*) exit 2 ;;
esac
"""


def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **values: str) -> Path:
    """Put a `uci` with these values of `dhcp` into the path; return where it keeps them."""
    store, programs = tmp_path / "uci", tmp_path / "bin"
    store.mkdir()
    programs.mkdir()
    (programs / "uci").write_text(STUB)
    (programs / "uci").chmod(0o755)
    for name, value in values.items():
        (store / f"dhcp.{name.replace('__', '.')}").write_text(value)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(store))
    return store


def test_the_octets() -> None:
    """Specs 3.4 and rig facts: the string that odhcpd is known to take."""
    assert OURS == "001100120000d83d0001000a726f757465722e6c616e"


@given(st.text(max_size=60) | st.binary(max_size=60).map(bytes.hex))
def test_append_then_remove_is_nothing(value: str) -> None:
    """Byte for byte, whatever the owner has, ours among it."""
    assert removed(appended(value, OURS), OURS) == value
    assert removed(appended(OURS + value, OURS), OURS) == OURS + value
    assert removed(value.replace(OURS, ""), OURS) == value.replace(OURS, "")
    assert removed(value, "") == value


@given(st.binary(max_size=40).map(bytes.hex), st.binary(max_size=40).map(bytes.hex))
def test_what_came_later_stays(before: str, after: str) -> None:
    assert removed(appended(before, OURS) + after, OURS) == before + after


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", None),
        ("00170010" + "fd" * 16, None),
        ("00170010" + "FD" * 16 + "00180000", None),
        ("001100080000118b00010000", None),  # another enterprise's
        ("0017:0010", "its dhcpv6_raw is not plain hex"),
        ("001", "its dhcpv6_raw is not plain hex"),
        ("001700", "its dhcpv6_raw ends in the middle of an option"),
        ("00170010fd", "its dhcpv6_raw ends in the middle of an option"),
        (OURS, "its dhcpv6_raw has one of your own"),
        ("00180000" + OURS, "its dhcpv6_raw has one of your own"),
    ],
)
def test_objections(value: str, why: str | None) -> None:
    assert objection(value) == why


def test_uci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stub(tmp_path, monkeypatch, odhcpd="odhcpd\n", lan__dhcpv6_raw="aa bb\n")
    uci = Uci.here()
    assert uci is not None
    assert uci.get("odhcpd") == "odhcpd"
    assert uci.get("lan.dhcpv6_raw") == "aa bb"
    assert uci.get("lan.nothing") == ""
    uci.put("lan.dhcpv6_raw", "ccdd")
    assert (store / "dhcp.lan.dhcpv6_raw").read_text() == "ccdd"
    uci.put("lan.dhcpv6_raw", "")
    assert not (store / "dhcp.lan.dhcpv6_raw").exists()


def test_another_s_changes_are_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stub(tmp_path, monkeypatch)
    (store / "changes").write_text("dhcp.lan.start='100'\n")
    uci = Uci.here()
    assert uci is not None
    with pytest.raises(UciError, match="wait for their commit"):
        uci.put("lan.dhcpv6_raw", OURS)
    assert (store / "changes").read_text() == "dhcp.lan.start='100'\n"


def test_a_commit_that_fails_leaves_nothing_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stub(tmp_path, monkeypatch)
    (store / "fail").touch()
    uci = Uci.here()
    assert uci is not None
    with pytest.raises(UciError, match=r"^uci commit: uci: I/O error$"):
        uci.put("lan.dhcpv6_raw", OURS)
    assert not (store / "changes").exists()


def test_no_uci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert Uci.here() is None

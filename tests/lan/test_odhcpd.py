"""odhcpd's one string: what is appended is taken out again, and nothing else."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.lan.announce import whole6
from acmeiot.lan.odhcpd import Uci, UciError, appended, objection, removed
from acmeiot.protocol.dhcp import Advertisement

OURS = whole6(Advertisement("router.lan")).hex()

# A uci that keeps what is committed as files, and as files in `delta` what is not; as much of it as
# is used. `fail` makes the verb in it fail; `kill` makes it the last thing that its caller sees,
# before it is done or after: "set before".
STUB = """\
#!/bin/sh
echo "$@" >>"$STORE/calls"
[ "$1" = -q ] && shift || exec 3>&2
verb=$1 key=${2%%=*} delta=$STORE/delta
said() { [ ! -e /dev/fd/3 ] || echo "uci: $1" >&3; exit 1; }
get() {
	[ ! -f "$delta/-$key" ] || return 1
	cat "$delta/$key" 2>/dev/null || cat "$STORE/$key" 2>/dev/null
}
if [ "$verb" = "$(cut -d ' ' -f 1 "$STORE/kill" 2>/dev/null)" ]; then
	cut=$(cut -d ' ' -f 2 "$STORE/kill")
	kill -9 $PPID
	[ "$cut" = after ] || exit 1
fi
[ "$verb" != "$(cat "$STORE/fail" 2>/dev/null)" ] || said 'I/O error'
case $verb in
get) get || said 'Entry not found' ;;
changes)
	for each in "$delta/$key".* "$delta/-$key".*; do
		[ ! -f "$each" ] || echo "${each##*/}='$(cat "$each")'"
	done ;;
set)
	[ "$(get)" != "${2#*=}" ] || exit 0
	rm -f "$delta/-$key"
	printf %s "${2#*=}" >"$delta/$key" ;;
delete)
	get >/dev/null || said 'Entry not found'
	rm -f "$delta/$key"
	: >"$delta/-$key" ;;
revert) rm -f "$delta/$key" "$delta/-$key" ;;
commit)
	for each in "$delta/$key".* "$delta/-$key".*; do
		name=${each##*/}
		[ -f "$each" ] || continue
		[ "$name" != "${name#-}" ] || cp "$each" "$STORE/"
		[ "$name" = "${name#-}" ] || rm -f "$STORE/${name#-}"
		rm "$each"
	done ;;
*) exit 2 ;;
esac
"""


def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **values: str) -> Path:
    """Put a `uci` with these values of `dhcp` into the path; return where it keeps them."""
    store, programs = tmp_path / "uci", tmp_path / "bin"
    (store / "delta").mkdir(parents=True)
    programs.mkdir()
    (programs / "uci").write_text(STUB)
    (programs / "uci").chmod(0o755)
    for name, value in values.items():
        (store / f"dhcp.{name.replace('__', '.')}").write_text(value)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(store))
    return store


def commit() -> None:
    """Commit as somebody else does, with all that waits."""
    subprocess.run(["uci", "commit", "dhcp"], check=True)


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


RAW = "lan.dhcpv6_raw"


@pytest.fixture
def uci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uci:
    """Return a UCI in which the pool has a string."""
    stub(tmp_path, monkeypatch, odhcpd="odhcpd\n", lan__dhcpv6_raw="aa bb\n")
    found = Uci.here()
    assert found is not None
    return found


def committed(tmp_path: Path) -> str | None:
    """Return what of the pool's string survives a reboot; None when it is not set."""
    path = tmp_path / "uci" / f"dhcp.{RAW}"
    return path.read_text() if path.exists() else None


def waiting(tmp_path: Path) -> dict[str, str]:
    """Return what waits for a commit."""
    return {path.name: path.read_text() for path in (tmp_path / "uci" / "delta").iterdir()}


def test_seen_by_all_and_gone_with_a_reboot(uci: Uci, tmp_path: Path) -> None:
    assert uci.get("odhcpd") == "odhcpd"
    assert uci.get(RAW) == "aa bb"
    assert uci.get("lan.nothing") == ""
    uci.put(RAW, "ccdd")
    uci.put(RAW, "eeff")
    assert (uci.get(RAW), committed(tmp_path)) == ("eeff", "aa bb\n")
    assert waiting(tmp_path) == {f"dhcp.{RAW}": "eeff"}
    uci.put(RAW, "aa bb")
    assert waiting(tmp_path) == {}, "nothing waits where nothing is to be changed"
    uci.put(RAW, "")
    assert (uci.get(RAW), waiting(tmp_path)) == ("", {f"-dhcp.{RAW}": ""})
    assert uci.committed(RAW) == "aa bb"
    assert waiting(tmp_path) == {}
    assert "commit" not in (tmp_path / "uci" / "calls").read_text()


def test_lasting_only_where_it_must_be(uci: Uci, tmp_path: Path) -> None:
    """What nobody has committed is dropped, and the flash is left alone."""
    uci.put(RAW, "aa bb" + OURS)
    uci.put(RAW, "aa bb", lasting=True)
    assert (uci.get(RAW), waiting(tmp_path)) == ("aa bb", {})
    assert "commit" not in (tmp_path / "uci" / "calls").read_text()
    uci.put(RAW, "ccdd")
    commit()
    uci.put(RAW, "", lasting=True)
    assert (uci.get(RAW), committed(tmp_path), waiting(tmp_path)) == ("", None, {})


def test_others_changes_are_not_committed(uci: Uci, tmp_path: Path) -> None:
    (tmp_path / "uci" / "delta" / "dhcp.lan.start").write_text("100")
    uci.put(RAW, OURS)
    uci.put(RAW, "aa bb", lasting=True)
    with pytest.raises(UciError, match="wait for their commit"):
        uci.put(RAW, OURS, lasting=True)
    assert waiting(tmp_path) == {"dhcp.lan.start": "100"}
    assert committed(tmp_path) == "aa bb\n"


@pytest.mark.parametrize("verb", ["set", "delete", "commit"])
def test_what_fails_leaves_nothing_waiting(uci: Uci, tmp_path: Path, verb: str) -> None:
    (tmp_path / "uci" / "fail").write_text(verb)
    with pytest.raises(UciError, match=f"^uci {verb}: uci: I/O error$"):
        uci.put(RAW, "" if verb == "delete" else OURS, lasting=True)
    assert (waiting(tmp_path), uci.get(RAW)) == ({}, "aa bb")


def test_no_uci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert Uci.here() is None

"""The DHCP options, byte for byte as specs 3.4 lists them, and whatever else may come."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol.dhcp import (
    FREE_NUMBERS,
    Advertisement,
    BadOption,
    is_path,
    option17,
    option60,
    option125,
    private_option,
    read4,
    read6,
    sub_options,
)

ROUTER = Advertisement("router.lan")
FULL = Advertisement("router.lan", "/acme/directory", bytes(range(32)), 8555)
TEXT = "726f757465722e6c616e"
WIRE = "06726f75746572036c616e00"
MARK = "0000d83d"


def option(octets: str) -> tuple[int, bytes]:
    """Return code and data of a whole option in hex; its length must be right."""
    raw = bytes.fromhex(octets)
    assert raw[1] == len(raw) - 2
    return raw[0], raw[2:]


def whole(code: int, data: bytes) -> str:
    """Return an option as it is on the wire, in hex."""
    return bytes([code, len(data), *data]).hex()


# -- writing


def test_what_is_sent() -> None:
    """Rows 1, 2 and v6-1 (A-3.1-1, A-3.1-2, A-5.1-1)."""
    assert whole(125, option125(ROUTER)) == f"7d11{MARK}0c010a{TEXT}"
    assert whole(60, option60(ROUTER)) == f"3c0f{MARK}0a{TEXT}"
    assert whole(224, private_option(ROUTER)) == f"e00a{TEXT}"
    data = option17(ROUTER)
    assert (b"\0\x11\0" + bytes([len(data)]) + data).hex() == f"00110012{MARK}0001000a{TEXT}"


def test_our_own_sub_options() -> None:
    """2 is the directory's path, 3 the root's hash, 4 the port; a reader may skip them."""
    path, root = b"/acme/directory".hex(), bytes(range(32)).hex()
    subs = f"010a{TEXT}020f{path}0320{root}0402216b"
    assert option125(FULL).hex() == f"{MARK}{len(subs) // 2:02x}{subs}"
    assert option17(FULL).hex() == (f"{MARK}0001000a{TEXT}0002000f{path}00030020{root}00040002216b")
    assert [code for code, _ in sub_options(FULL)] == [1, 2, 3, 4]
    assert option60(FULL) == option60(ROUTER)
    assert read4([(125, option125(FULL))]).found == FULL
    assert read6([(17, option17(FULL))]).found == FULL


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fqdn": "Router.lan"}, "write the name 'Router.lan' as router.lan"),
        ({"fqdn": "router.lan."}, "write the name 'router.lan.' as router.lan"),
        ({"fqdn": "router"}, "router is not a full name, such as router.lan"),
        ({"fqdn": "192.168.1.1"}, "looks like an IP address"),
        ({"fqdn": "*.lan"}, "stands for many hosts"),
        ({"fqdn": "a b.lan"}, "is not a host label"),
        ({"path": "acme"}, "'acme' is not an absolute path"),
        ({"path": "//evil.example/"}, "is not an absolute path"),
        ({"root": bytes(31)}, "a SHA-256 has 32 octets, the root's has 31"),
        ({"port": 0}, "port 0 is not 1 to 65535"),
        ({"port": 65536}, "port 65536 is not 1 to 65535"),
    ],
)
def test_what_cannot_be_advertised(fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadOption, match=re.escape(said)):
        Advertisement(**{"fqdn": "router.lan", **fields})  # type: ignore[arg-type]


def test_one_option_has_255_octets() -> None:
    long = Advertisement(".".join(["a" * 61] * 4) + ".lan")  # 251 characters
    assert len(private_option(long)) == 251
    with pytest.raises(BadOption, match="256 octets do not fit into one option"):
        option60(long)
    with pytest.raises(BadOption, match="258 octets do not fit"):
        option125(long)
    with pytest.raises(BadOption, match="octets do not fit"):
        option125(Advertisement(".".join(["a" * 61] * 4), "/" + "a" * 127, bytes(32)))
    assert read6([(17, option17(long))]).found == long


def test_free_numbers() -> None:
    """None that a client already understands as something else."""
    assert {224, 254, 84, 222} <= FREE_NUMBERS
    assert FREE_NUMBERS.isdisjoint({0, 1, 3, 6, 15, 43, 51, 60, 82, 119, 121, 124, 125, 255})
    assert FREE_NUMBERS.isdisjoint({249, 252}), "in use by everybody, though private"


# -- reading


@pytest.mark.parametrize(
    ("row", "octets"),
    [
        ("1", f"7d11{MARK}0c010a{TEXT}"),
        ("2", f"3c0f{MARK}0a{TEXT}"),
        ("3", f"3c0a{TEXT}"),
        ("4", f"3c0e{MARK}{TEXT}"),
        ("5", f"7c0f{MARK}0a{TEXT}"),
        ("6", f"7d0f{MARK}0a{TEXT}"),
        ("7 of 1", f"7d13{MARK}0e010c{WIRE}"),
        ("7 of 2", f"3c11{MARK}0c{WIRE}"),
        ("7 of 3", f"3c0c{WIRE}"),
        ("7 of 4", f"3c10{MARK}{WIRE}"),
        ("7 of 5", f"7c11{MARK}0c{WIRE}"),
        ("7 of 6", f"7d11{MARK}0c{WIRE}"),
        # near them
        ("1, naked with a length of its own", f"7d10{MARK}0b0a{TEXT}"),
        ("1, without the block's length", f"7d10{MARK}010a{TEXT}"),
        ("1 in option 60", f"3c11{MARK}0c010a{TEXT}"),
        ("2, ending with NUL", f"3c10{MARK}0b{TEXT}00"),
        ("2, ending with a dot", f"3c10{MARK}0b{TEXT}2e"),
        ("2, capitals", f"3c0f{MARK}0a524f555445522e4c414e"),
        ("NNN", f"e00a{TEXT}"),
        ("NNN as 7 has it", f"e00c{WIRE}"),
        ("NNN as 2 has it", f"e00f{MARK}0a{TEXT}"),
    ],
)
def test_rows(row: str, octets: str) -> None:
    """Specs 3.4: each reading of the draft that exists is understood (A-3.1-2, A-5.1-1)."""
    code, data = option(octets)
    reading = read4([(53, b"\x05"), (code, data), (12, b"printer")], [224])
    assert (reading.found, reading.option, reading.ignored) == (ROUTER, str(code), ())


@pytest.mark.parametrize("named", [f"3c04{MARK}", f"3c05{MARK}00", "3c0761636d65696f74"])
@pytest.mark.parametrize("subs", [f"010a{TEXT}", f"00010c{WIRE}00ff0505", f"0901aa010a{TEXT}"])
def test_row_8(named: str, subs: str) -> None:
    """Option 43 counts if option 60 of the same message says that it is ours."""
    options = [(43, bytes.fromhex(subs)), option(named)]
    reading = read4(options)
    assert (reading.found, reading.option) == (ROUTER, "43")
    for other in ([], [(60, b"MSFT 5.0")], [(60, b"router.lan")]):
        assert read4([options[0], *other]).option != "43"


@pytest.mark.parametrize(
    ("row", "code", "octets"),
    [
        ("v6-1", 17, f"{MARK}0001000a{TEXT}"),
        ("v6-2", 17, f"{MARK}0001000c{WIRE}"),
        ("v6-3", 16, f"{MARK}000a{TEXT}"),
        ("v6-3, as 7 has it", 16, f"{MARK}000c{WIRE}"),
        ("v6-1 after another of ours", 17, f"{MARK}006300010000{'01000a'}{TEXT}"),
    ],
)
def test_rows_of_v6(row: str, code: int, octets: str) -> None:
    reading = read6([(1, b"x"), (code, bytes.fromhex(octets))])
    assert (reading.found, reading.option, reading.ignored) == (ROUTER, str(code), ())


# -- rule (a): parts, several enterprises, doubles


def test_parts_are_joined() -> None:
    """RFC 3396: cut anywhere, other options between."""
    data = option125(FULL)
    for cut in range(len(data) + 1):
        assert read4([(125, data[:cut]), (1, b"\xff" * 4), (125, data[cut:])]).found == FULL


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=60)), max_size=6))
def test_other_enterprises_are_passed_over(others: list[tuple[int, bytes]]) -> None:
    blocks = [n.to_bytes(4, "big") + bytes([len(d)]) + d for n, d in others if n != 55357]
    ours = option125(ROUTER)
    for at in range(len(blocks) + 1):
        data = b"".join([*blocks[:at], ours, *blocks[at:]])
        assert read4([(125, data)]).found == ROUTER
        assert read4([(125, each) for each in [*blocks[:at], ours, *blocks[at:]]]).found == ROUTER


def test_a_doubled_block_is_normal() -> None:
    """dnsmasq sends one so when `vi-encap` and a raw option 125 are both configured."""
    assert read4([(125, option125(FULL) * 2)]).found == FULL
    assert read4([(124, option60(ROUTER) * 2)]).found == ROUTER
    assert read4([(60, option60(ROUTER) * 2)]).found == ROUTER


def test_what_another_enterprise_says_is_not_ours() -> None:
    """Its sub-option 1 may be a name, too."""
    theirs = (4491).to_bytes(4, "big") + b"\x0b\x01\x09other.lan"
    assert read4([(125, theirs), (125, option125(ROUTER))]).found == ROUTER
    assert read4([(125, theirs)]).found is None


def test_another_enterprise_alone() -> None:
    cable = bytes.fromhex("0000118b050103616263")
    assert read4([(125, cable), (124, cable)]).ignored == (
        "option 125: another enterprise's", "option 124: another enterprise's",
    )  # fmt: skip
    assert read6([(17, cable), (16, cable)]).found is None
    both = [(17, cable), (17, option17(ROUTER))]
    assert read6(both).found == ROUTER
    assert read6(both).ignored == ("option 17: another enterprise's",)


# -- rules (d) and (e): names


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"router", "router is not a full name"),
        (b"", "no name"),
        (b"\0", "no name"),
        (b".", "no name"),
        (b"router.lan..", "no name, or an empty label"),
        (b"router.lan.\0", "no name, or an empty label"),
        (b"router.lan\0\0", "is not a host label"),
        (b"router..lan", "no name, or an empty label"),
        (b"192.168.1.1", "looks like an IP address"),
        (b"\x03192\x03168\x011\x011\0", "looks like an IP address"),
        (b"fd00::1", "is not a host label"),
        (b"MSFT 5.0", "is not a host label"),
        (b"PXEClient", "is not a full name"),
        (b"*.lan", "stands for many hosts"),
        (b"_x.lan", "is not a host label"),
        (b"r\xc3\xa9seau.lan", "is not ASCII"),
        (b"a" * 64 + b".lan", "a label has at most 63"),
        (b".".join([b"a" * 63] * 4), "at most 253 characters, this one has 255"),
        (b"\x06router\xc0\x0c", "is not ASCII"),  # a pointer
        (b"\x06router\xc0\x00", "is not"),
        (b"\x06router\x05lan\0", "is not a host label"),  # the labels' lengths are wrong
        (b"\x06rou.er\x03lan\0", "a label has a dot in it"),
        (b"\x06router\x03lan\0\0", "is not a host label"),  # something behind the end
        (b"\x06router\x03lan\0\x03lan\0", "is not a host label"),
        (b"https://router.lan/", "is not a host label"),
    ],
)
def test_what_is_no_name(data: bytes, why: str) -> None:
    """Ignored, with the reason; discovery goes on to DNS."""
    for code in (60, 224):
        reading = read4([(code, data)], [224])
        assert reading.found is None
        assert reading.option == ""
        assert len(reading.ignored) == 1
        assert reading.ignored[0].startswith(f"option {code}: ")
        assert why in reading.ignored[0], reading.ignored
    long = b"\x00\x00\xd8\x3d" + b"\0\1" + len(data).to_bytes(2, "big") + data
    assert read6([(17, long)]).found is None


def test_names_of_254_octets_on_the_wire() -> None:
    """RFC 1035 section 2.3.4: the longest there is."""
    name = ".".join(["a" * 63] * 3 + ["a" * 61])
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    assert (len(name), len(wire)) == (253, 255)
    assert read4([(60, name.encode())]).found == Advertisement(name)
    assert read4([(60, wire)]).found == Advertisement(name)


def test_text_that_looks_like_a_label() -> None:
    """A letter is no length: labels have at most 63 octets."""
    name = "a" + "b" * 60 + "." + "c" * 36
    assert len(name) == ord("a") + 1
    assert read4([(60, name.encode() + b"\0")]).found == Advertisement(name)


# -- rule (f): which option counts


def test_order() -> None:
    """125 wins over 60; what IANA assigned is surest of all, a private number less than 125."""
    names = {200: "nnn", 125: "a", 124: "b", 230: "private", 60: "c"}
    options = []
    for code in (60, 230, 124, 125, 200):
        ad = Advertisement(f"{names[code]}.lan")
        data = option60(ad) if code in (60, 124) else private_option(ad)
        options.append((code, option125(ad) if code == 125 else data))
    for count in range(5, 0, -1):
        reading = read4(options[:count], [230, 200])
        expected = [code for code in names if code in [c for c, _ in options[:count]]]
        assert reading.option == str(expected[0])
        assert reading.found == Advertisement(f"{names[expected[0]]}.lan")
        assert reading.ignored == tuple(
            f"option {code}: it names {names[code]}.lan, option {expected[0]} names "
            f"{names[expected[0]]}.lan"
            for code in expected[1:]
        )
    assert read4([(200, b"router.lan")]).found is None, "only numbers that were asked for"


def test_17_wins_over_16() -> None:
    other = (16, bytes.fromhex(f"{MARK}0009") + b"other.lan")
    reading = read6([other, (17, option17(ROUTER))])
    assert (reading.found, reading.option) == (ROUTER, "17")
    assert reading.ignored == ("option 16: it names other.lan, option 17 names router.lan",)


def test_options_that_agree_add_to_each_other() -> None:
    options = [(200, b"router.lan"), (125, option125(FULL)), (60, option60(ROUTER))]
    assert read4(options, [200]) == read4(options[:2], [200])
    assert read4(options, [200]).found == FULL
    assert read4(options, [200]).ignored == ()


def test_a_bad_125_leaves_60() -> None:
    bad = bytes.fromhex(f"{MARK}0c010a") + b"router lan"
    reading = read4([(125, bad), (60, option60(ROUTER))])
    assert (reading.found, reading.option) == (ROUTER, "60")
    (why,) = reading.ignored
    assert why.startswith("option 125: 'router lan' in 'router lan' is not a host label: letters")


def test_bad_sub_options_do_not_cost_the_name() -> None:
    """Each is left out alone; unknown ones are passed over."""
    subs = [(1, b"router.lan"), (2, b"http://x/"), (3, b"short"), (4, b"\0\0"), (99, b"?")]
    body = b"".join(bytes([code, len(data)]) + data for code, data in subs)
    reading = read4([(125, bytes.fromhex(MARK) + bytes([len(body)]) + body)])
    assert reading.found == ROUTER
    assert reading.ignored == (
        "option 125: its path: 'http://x/' is not an absolute path of a URL",
        "option 125: its root: a SHA-256 has 32 octets, the root's has 5",
        "option 125: its port: port 0 is not 1 to 65535",
    )
    body = b"\1\x0arouter.lan\4\1\1"
    reading = read4([(125, bytes.fromhex(MARK) + bytes([len(body)]) + body)])
    assert reading.ignored == ("option 125: its port: a port has 2 octets, not 1",)


@pytest.mark.parametrize(
    "body",
    ["", "01", "010b" + TEXT, f"020a{TEXT}", "ff", "0100", f"010a{TEXT}02", f"010a{TEXT}0209"],
)
def test_sub_options_that_are_none(body: str) -> None:
    data = bytes.fromhex(f"{MARK}{len(body) // 2:02x}{body}")
    reading = read4([(125, data)])
    assert reading.found is None
    assert len(reading.ignored) == 1
    assert read4([(43, bytes.fromhex(body)), (60, bytes.fromhex(MARK))]).found is None
    assert read6([(17, bytes.fromhex(MARK + body))]).found is None


# -- bounds, and anything


def test_bounds() -> None:
    ours = (125, option125(ROUTER))
    assert read4([(0, b"")] * 511 + [ours]).found == ROUTER
    assert read4([(0, b"")] * 512 + [ours]).found is None
    assert read6([(0, b"")] * 512 + [(17, option17(ROUTER))]).found is None
    other = bytes.fromhex("0000118bff") + bytes(255)
    assert read4([(125, other)] * 15 + [ours]).found == ROUTER
    assert read4([(125, other)] * 16 + [ours]).ignored == ("option 125: more than 4096 octets",)
    assert read6([(17, bytes(4097))]).ignored == ("option 17: more than 4096 octets",)
    assert len(read6([(17, other)] * 300).ignored) == 16
    assert len(read4([(60, b"\xff" * 4096)]).ignored[0]) < 300


OCTETS = st.binary(max_size=40) | st.builds(
    lambda head, tail: bytes.fromhex(head) + tail,
    st.sampled_from([MARK, MARK + "0c", MARK + "0c010a", MARK + "0001000a", f"{MARK}0c010a{TEXT}"]),
    st.binary(max_size=20),
)


@given(
    st.lists(st.tuples(st.sampled_from([43, 60, 124, 125, 224, 16, 17]), OCTETS), max_size=8),
    st.lists(st.integers(0, 255), max_size=3),
)
def test_anything_is_read(options: list[tuple[int, bytes]], numbers: list[int]) -> None:
    """Nothing raises; what is found is a valid advertisement, and each refusal is one line."""
    for reading in (read4(options, numbers), read6(options)):
        assert (reading.found is None) == (reading.option == "")
        assert all(line.isprintable() and line.isascii() for line in reading.ignored)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9]{0,12}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "lan"]))
ADVERTISEMENTS = st.builds(
    Advertisement,
    NAMES,
    st.none() | st.from_regex(r"/[a-z]{0,20}", fullmatch=True),
    st.none() | st.binary(min_size=32, max_size=32),
    st.none() | st.integers(1, 65535),
)


@given(ADVERTISEMENTS)
def test_what_is_written_is_read(ad: Advertisement) -> None:
    """Round trip, in text and as labels."""
    assert read4([(125, option125(ad))]) == read4([(125, option125(ad)), (60, option60(ad))])
    assert read4([(125, option125(ad))]).found == ad
    assert read6([(17, option17(ad))]).found == ad
    assert read4([(60, option60(ad))]).found == Advertisement(ad.fqdn)
    assert read4([(224, private_option(ad))], [224]).found == Advertisement(ad.fqdn)
    wire = b"".join(bytes([len(x)]) + x.encode() for x in ad.fqdn.split(".")) + b"\0"
    mark = bytes.fromhex(MARK)
    for data in (wire, mark + wire, mark + bytes([len(wire)]) + wire):
        assert read4([(60, data)]).found == Advertisement(ad.fqdn)
    sub = mark + bytes([len(wire) + 2, 1, len(wire)]) + wire
    assert read4([(125, sub)]).found == Advertisement(ad.fqdn)


@given(st.text(max_size=200))
def test_paths(text: str) -> None:
    """What is a path can be put after a host without leaving it, or its line."""
    if is_path(text):
        assert re.fullmatch(r"/([^/\s?#\\\"][^\s?#\\\"]*)?", text)
        assert text.isascii()

"""Names and addresses: one spelling each (R-20), and which addresses are of a home (A-4.1-4)."""

import contextlib
import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol import names
from acmeiot.protocol.names import BadName, Identifier

LDH = string.ascii_letters + string.digits + "-"
labels = (
    st.text(LDH, min_size=1, max_size=63)
    .map(lambda text: text.strip("-") or "a")
    .filter(lambda label: label[2:4] != "--")
)
hosts = (
    st.lists(labels, min_size=1, max_size=5)
    .map(".".join)
    .filter(lambda host: len(host) <= 253 and not host.split(".")[-1].isdigit())
)
addresses = st.ip_addresses()


@given(hosts, st.booleans(), st.booleans())
def test_case_and_trailing_dot_fold(host: str, upper: bool, dot: bool) -> None:
    """R-20, A-4.1-2: capitals and one trailing dot are no other name."""
    written = (host.upper() if upper else host) + ("." if dot else "")
    assert names.dns(written) == Identifier("dns", host.lower())


@given(st.one_of(hosts, st.text(max_size=80), st.text(LDH + ".*_", max_size=80)))
def test_normal_form_is_a_fixed_point(text: str) -> None:
    """R-20: what was made canonical stays as it is, and is plain lower-case LDH."""
    try:
        made = names.dns(text)
    except BadName:
        return
    assert names.dns(made.value) == made
    assert made.value == made.value.lower()
    assert set(made.base.value) <= set(LDH + ".")
    assert not made.value.endswith(".")
    assert made.value == text.removesuffix(".").lower()


@given(st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=30))
def test_any_a_label(rest: str) -> None:
    """R-20: an A-label that is taken is the only one of its U-label."""
    try:
        made = names.dns(f"xn--{rest}.lan")
    except BadName:
        return
    u_label = rest.encode().decode("punycode")
    assert not u_label.isascii()
    assert made.value == f"xn--{u_label.encode('punycode').decode()}.lan"
    u_label.encode("utf-8")  # no half of a surrogate pair


@pytest.mark.parametrize("name", ["printer.lan", "a", "1.2.3.x", "device-12cd56.local", "a--b.lan"])
def test_plain_names(name: str) -> None:
    """R-20: names that are as they should be."""
    assert names.dns(name).value == name


@pytest.mark.parametrize(
    "u_label", ["münchen", "straße", "βόλος", "日本語", "ガレージ", "paral·lel"]
)
def test_idn(u_label: str) -> None:
    """R-20: other scripts come as A-labels (RFC 5891)."""
    a_label = "xn--" + u_label.encode("punycode").decode()
    assert names.dns(f"{a_label.upper()}.lan.").value == f"{a_label}.lan"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        (".", "empty"),
        ("*.", "wildcard"),
        (".lan", "empty label"),
        ("a..lan", "empty label"),
        ("printer.lan..", "empty label"),
        ("a" * 64 + ".lan", "at most 63"),
        (".".join(["a" * 49] * 5) + ".abcde", "at most 253 characters, this one has 255"),
        ("*printer.lan", "wildcard"),
        ("a.*.lan", "wildcard"),
        ("*.*.lan", "wildcard"),
        ("printer\0.lan", r"\\x00"),
        ("printer.lan\0.example.com", r"\\x00"),
        ("print er.lan", "not a host label"),
        (" printer.lan", "not a host label"),
        ("printer.lan\n", "not a host label"),
        ("_acme.lan", "not a host label"),
        ("-a.lan", "not a host label"),
        ("a-.lan", "not a host label"),
        ("a/b.lan", "not a host label"),
        ("[fe80::1]", "not a host label"),
        ("printer.lan:443", "not a host label"),
        ("münchen.lan", "xn--"),
        ("\u212aitchen.lan", "not ASCII"),  # the Kelvin sign: lower() makes it a plain k
        ("printer\u3002lan", "not ASCII"),  # the ideographic full stop
        ("ab--c.lan", "reserved"),
        ("xn--a\x80.lan", "not ASCII"),
        ("xn--99999999.lan", "punycode"),
        ("xn--abc.lan", "punycode|canonical|stands for"),
        ("192.168.1.1", "type ip"),
        ("printer.1", "type ip"),
    ],
)
def test_no_names(name: str, said: str) -> None:
    """R-20, A-4.1-2: each refused, saying why."""
    with pytest.raises(BadName, match=said):
        names.dns(name)


@pytest.mark.parametrize(
    "u_label",
    [
        "printer-",  # nothing but ASCII: the A-label of a name that needs none
        "Über",  # a capital
        "mu\u0308nchen",  # not composed (NFC)
        "\u0308a",  # begins with a mark
        "x\ud800",  # half of a surrogate pair
        "a\u200d",  # a joiner
        "a\u200f",  # turns the direction of writing
        "ａ",  # a full-width letter
        "a\u3000",  # a blank
        "☃",  # a picture
        "-é",
    ],
)
def test_a_labels_of_no_name(u_label: str) -> None:
    """R-20, RFC 5891 section 5.4, RFC 5892: an A-label stands for letters and digits."""
    a_label = "xn--" + u_label.encode("punycode").decode()
    with pytest.raises(BadName):
        names.dns(f"{a_label}.lan")


def test_two_a_labels_of_one_name() -> None:
    """R-20: punycode that says a name in a second way is refused."""
    assert "ü".encode("punycode") == b"tda"
    with pytest.raises(BadName, match="not the canonical"):
        names.dns("xn---tda.lan")


def test_longest_name() -> None:
    """RFC 1035 section 2.3.4: 253 characters and 63 are still good."""
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(name) == 253
    assert names.dns(name + ".").value == name
    with pytest.raises(BadName, match="this one has 254"):
        names.dns(name + "d")


def test_messages_are_bounded_and_printable() -> None:
    """No text of a stranger reaches a log as it is, or as long as it is."""
    with pytest.raises(BadName) as caught:
        names.dns("\x1b[31m" + "x" * 200)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_wildcard() -> None:
    """R-24: the authorization of a wildcard is for the name below it."""
    star = names.dns("*.Printer.lan")
    assert star.wildcard
    assert star.base == names.dns("printer.lan")
    assert not star.base.wildcard
    assert star.base.base == star.base
    assert str(star) == "*.printer.lan"


def test_json() -> None:
    """RFC 8555 section 9.7.7."""
    assert names.dns("printer.lan").as_json() == {"type": "dns", "value": "printer.lan"}


@pytest.mark.parametrize("text", ["192.168.1.20", "fd00::20", "::1", "fe80::1", "FD00::AB"])
def test_addresses(text: str) -> None:
    """RFC 8738 section 3: the spelling of RFC 5952."""
    made = names.ip(text)
    assert made == Identifier("ip", text.lower())
    assert made.address == ipaddress.ip_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "printer.lan",
        "192.168.1",
        "192.168.1.020",
        "192.168.1.256",
        "0300.0.0.1",
        "3232235777",
        "192.168.1.1/24",
        " 192.168.1.1",
        "192.168.1.1\n",
        "１９２.168.1.1",
        "fd00:0::20",
        "fd00::0020",
        "fd00:0:0:0:0:0:0:20",
        "fe80::1%eth0",
        "fe80::1%",
        "[fd00::1]",
        "::ffff:8.8.8",
    ],
)
def test_no_addresses(text: str) -> None:
    """RFC 8738 section 3: no other spelling, no zone, no range."""
    with pytest.raises(BadName):
        names.ip(text)


@given(addresses)
def test_address_is_a_fixed_point(address: names.IPAddress) -> None:
    """RFC 8738: an address is written in one way."""
    made = names.ip(str(address))
    assert names.ip(made.value) == made
    assert made.address == address


@given(st.text(max_size=50))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """R-20: nothing but BadName is raised."""
    with contextlib.suppress(BadName):
        assert names.ip(text).value == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.20",
        "169.254.0.1", "127.0.0.1", "127.255.255.255", "fc00::1", "fdff::1", "fe80::1",
        "febf::1", "::1",
    ],
)  # fmt: skip
def test_addresses_of_a_home(text: str) -> None:
    """A-4.1-4: private, link-local and loopback."""
    assert names.is_lan(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
        "192.169.0.0", "169.253.255.255", "169.255.0.0", "126.255.255.255", "128.0.0.0",
        "100.64.0.1", "100.127.255.254", "0.0.0.0", "255.255.255.255", "224.0.0.251",
        "239.255.255.250", "192.0.2.1", "198.18.0.1", "::", "::2", "2000::1", "2001:db8::1",
        "3fff::1", "fbff::1", "fe00::1", "fec0::1", "ff02::fb", "::ffff:8.8.8.8",
        "::ffff:192.168.1.20", "::ffff:127.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1",
    ],
)  # fmt: skip
def test_addresses_of_no_home(text: str) -> None:
    """A-4.1-4: all others; an IPv4 address inside an IPv6 one is not that address."""
    assert not names.is_lan(ipaddress.ip_address(text))


@given(addresses)
def test_no_global_address_is_of_a_home(address: names.IPAddress) -> None:
    """A-4.1-4: what the Internet routes is never local."""
    assert not (names.is_lan(address) and address.is_global)


@pytest.mark.parametrize(
    ("name", "suffix", "below"),
    [
        ("printer.lan", "lan", True),
        ("a.b.lan", "lan", True),
        ("xlan", "lan", False),
        ("lan", "lan", False),
        ("notlocal", "local", False),
        ("x.notlocal", "local", False),
        ("x.local.evil.com", "local", False),
        ("printer.guest.lan", "guest.lan", True),
        ("printer.xguest.lan", "guest.lan", False),
    ],
)
def test_under(name: str, suffix: str, below: bool) -> None:
    """A-4.1-2: below means label by label."""
    assert names.under(name, suffix) is below


@given(hosts, hosts)
def test_under_is_strict(host: str, suffix: str) -> None:
    """A-4.1-2: below a suffix are those with labels in front of it, and no others."""
    assert names.under(f"{host}.{suffix}", suffix)
    assert not names.under(suffix, suffix)
    assert not names.under(f"x{suffix}", suffix)
    assert not names.under(suffix, f"{host}.{suffix}")


def test_parse() -> None:
    """RFC 8555 section 7.1.4: an identifier object."""
    assert names.parse({"type": "dns", "value": "PRINTER.lan."}) == names.dns("printer.lan")
    assert names.parse({"type": "ip", "value": "192.168.1.20"}) == names.ip("192.168.1.20")
    with pytest.raises(KeyError):
        names.parse({"type": "email", "value": "a@example.org"})


@pytest.mark.parametrize(
    "document", [{}, {"type": "dns"}, {"value": "a.lan"}, {"type": "dns", "value": 1}, {"type": []}]
)
def test_parse_needs_two_strings(document: dict[str, object]) -> None:
    """R-20: type and value are strings."""
    with pytest.raises(BadName, match="two strings"):
        names.parse(document)


def test_reverse_name() -> None:
    """R-29: the SNI of RFC 8738 section 6."""
    assert names.reverse_name(ipaddress.ip_address("192.168.1.20")) == "20.1.168.192.in-addr.arpa"


@given(st.lists(st.sampled_from(["a.lan", "b.lan", "A.lan", "a.lan."]).map(names.dns)))
def test_normalised(given_names: list[Identifier]) -> None:
    """R-19: each once, in the order of the first time."""
    found = names.normalised(given_names)
    assert len(set(found)) == len(found)
    assert set(found) == set(given_names)
    positions = [given_names.index(each) for each in found]
    assert positions == sorted(positions)

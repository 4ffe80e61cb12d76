"""The records by which the server is found, and TXT records as others may write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.protocol.dhcp import is_path
from acmeiot.protocol.dnssd import Txt, read_txt, records

FP = "5f" * 32
TXT = '"path=/acme/directory" "i=dns,ip" "v=http-01,tls-alpn-01,dns-01"'


def test_records() -> None:
    """Specs 3.3, line by line; the port is the server's, not the draft's example (A-5.2-1)."""
    made = records("lan", "router.lan", 8555, "/acme/directory", FP)
    assert [f"{each.name} {each.type} {each.data}" for each in made] == [
        "_acme-server._tcp.lan. SRV 0 0 8555 router.lan.",
        r"_acme-server._tcp.lan. PTR Home\032CA._acme-server._tcp.lan.",
        r"Home\032CA._acme-server._tcp.lan. SRV 0 0 8555 router.lan.",
        rf'Home\032CA._acme-server._tcp.lan. TXT {TXT} "fp={FP}"',
        "_services._dns-sd._udp.lan. PTR _acme-server._tcp.lan.",
        "b._dns-sd._udp.lan. PTR lan.",
        "lb._dns-sd._udp.lan. PTR lan.",
    ]
    assert "fp=" not in records("lan", "router.lan", 443, "/acme/directory")[3].data


def test_our_own_txt_is_read_back() -> None:
    data = records("lan", "router.lan", 8555, "/acme/directory", FP)[3].data
    assert read_txt(text.strip('"').encode() for text in data.split('" "')) == Txt(
        "/acme/directory", FP, ("dns", "ip"), ("http-01", "tls-alpn-01", "dns-01")
    )


def test_no_key_is_needed() -> None:
    """A-5.2-1: "Defined TXT keys: None"."""
    assert read_txt([]) == read_txt([b""]) == read_txt([b"", b"x", b"=y", b"z=1"]) == Txt()


@pytest.mark.parametrize(
    ("strings", "read"),
    [
        ([b"PATH=/a"], Txt(path="/a")),
        ([b"path=/a", b"path=/b"], Txt(path="/a")),
        ([b"path", b"path=/b"], Txt()),  # the key alone came first
        ([b"path=/a=b"], Txt(path="/a=b")),
        ([b"path=//evil.example/"], Txt()),
        ([b"path=https://evil.example/"], Txt()),
        ([b"path=acme"], Txt()),
        ([b"path=/a b"], Txt()),
        ([b"path=/a?b"], Txt()),
        ([b"path=/\xc3\xa4"], Txt()),
        ([b"path=/" + b"a" * 127], Txt(path="/" + "a" * 127)),
        ([b"path=/" + b"a" * 128], Txt()),
        ([b"fp=SHA256:" + FP.upper().encode()], Txt(root=FP)),
        ([b"fp=" + FP.encode()[:-1]], Txt()),
        ([b"fp=" + FP.encode() + b"0"], Txt()),
        ([b"i=dns, IP ,dns,,?"], Txt(identifiers=("dns", "ip"))),
        ([b"v=" + b",".join(b"c%d" % n for n in range(20))],
         Txt(challenges=tuple(f"c{n}" for n in range(16)))),
        ([b"x=1"] * 64 + [b"path=/a"], Txt()),
        ([b"path=/a" + b"?" * 300], Txt()),
    ],
)  # fmt: skip
def test_txt_of_others(strings: list[bytes], read: Txt) -> None:
    assert read_txt(strings) == read


@given(st.lists(st.binary(max_size=300) | st.builds(bytes.__add__, st.just(b"path="), st.binary())))
def test_any_txt_is_read(strings: list[bytes]) -> None:
    """Nothing raises, and what is taken can be used as it is."""
    txt = read_txt(strings)
    assert txt.path is None or is_path(txt.path)
    assert len(txt.identifiers) <= 16

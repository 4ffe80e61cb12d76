"""What a real dnsmasq sends of what `acmeiot announce` writes: octets off the wire, and records."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from acmeiot.lan import dnsmasq
from acmeiot.lan.announce import Item, Server, Wish, snippet, zone
from acmeiot.lan.dnsmasq import Configuration
from acmeiot.protocol import dnssd
from acmeiot.protocol.dhcp import Advertisement, read4, read6
from tests.lan import dhcpclient
from tests.lan.network import Network

ROOT = bytes(range(32))
PATH = "/acme/directory"
RECORDS = {"lan": dnssd.records("lan", "router.lan", 8555, PATH, ROOT.hex())}
PLAIN = Wish(Advertisement("router.lan"), RECORDS)
FULL = Wish(
    Advertisement("router.lan", PATH, ROOT, 8555), RECORDS, interfaces=("br-lan",), number=224
)
ROW_1 = "7d110000d83d0c010a726f757465722e6c616e"
ROW_2 = "3c0f0000d83d0a726f757465722e6c616e"
ROW_V6_1 = "001100120000d83d0001000a726f757465722e6c616e"

# What an owner has; `no-ping` because nobody else is there. Without a change of user, as in a
# user's own namespace there is no other.
OWNER = """\
port=53
interface=br-lan
bind-interfaces
no-resolv
no-hosts
no-ping
leasefile-ro
pid-file=
local=/lan/
address=/router.lan/192.168.1.1
dhcp-range=192.168.1.100,192.168.1.200,1h
dhcp-range=fd00::100,fd00::200,64,1h
dhcp-authoritative
"""


@pytest.fixture(scope="module")
def program() -> str:
    found = dnsmasq.program()
    assert found is not None
    return found


class Home:
    """A router with the owner's configuration and ours, and a host that joins."""

    def __init__(self, network: Network, items: tuple[Item, ...], text: str) -> None:
        self.network, self.items, self.text = network, items, text

    def v4(self, *asked: int, vendor_class: bytes = b"") -> list[str]:
        """Return the interesting options of OFFER and ACK, which must be the same, in hex."""
        offer, ack = self.network.call("host", dhcpclient.join, (1, 3, *asked), vendor_class)
        found = [
            [bytes([code, len(data), *data]).hex() for code, data in options if code in MINE]
            for options in (offer, ack)
        ]
        assert found[0] == found[1]
        return found[0]

    def v6(self, *asked: int) -> list[str]:
        """Return the vendor options of the REPLY, in hex."""
        options = self.network.call("host", dhcpclient.inform6, asked)
        return [
            (code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data).hex()
            for code, data in options
            if code in (16, 17)
        ]

    def dig(self, name: str, kind: str) -> list[str]:
        """Return the records as a zone file has them."""
        words = ("@192.168.1.1", name, kind, "+noall", "+answer", "+tries=2", "+time=3")
        said = self.network.run("router", "dig", *words)
        return [" ".join(line.split()) for line in said.splitlines()]


MINE = (43, 60, 124, 125, 224)


@contextmanager
def home(program: str, tmp_path: Path, wish: Wish, owner: str = "") -> Iterator[Home]:
    """Write the owner's files and ours, and start dnsmasq on both."""
    mine, theirs = tmp_path / "acmeiot.conf", tmp_path / "owner.conf"
    theirs.write_text(OWNER + owner)
    known = dnsmasq.read(theirs)
    text, items = snippet(wish, Server(dnsmasq.features(program), known))
    mine.write_text(text)
    assert dnsmasq.refusal(program, [theirs, mine]) is None
    log = tmp_path / "dnsmasq.log"
    with Network() as network:
        network.router("router", "192.168.1.1/24", "fd00::1/64")
        network.host("host")
        network.settle()
        argv = (program, "--no-daemon", f"--conf-file={theirs}", f"--conf-file={mine}")
        network.start("router", *argv, log=log)
        waiting = 'until grep -q "DHCPv6, IP range" "$0"; do sleep 0.05; done'
        network.run("router", "timeout", "20", "sh", "-c", waiting, log)
        yield Home(network, items, text)


def test_default_is_the_checklist(program: str, tmp_path: Path) -> None:
    """A-3.1-1, A-3.1-2, A-5.1-1: rows 1, 2 and v6-1 in OFFER, ACK and REPLY, asked for or not."""
    with home(program, tmp_path, PLAIN) as running:
        for asked in ((), (60, 125), (60, 124, 125, 43)):
            assert sorted(running.v4(*asked)) == [ROW_2, ROW_1]
        assert running.v6() == running.v6(17) == running.v6(23, 17) == [ROW_V6_1]
    assert {item.octets.hex() for item in running.items} == {ROW_1, ROW_2, ROW_V6_1, ""}
    assert not any(item.why_not or item.note for item in running.items)


def test_everything_at_once(program: str, tmp_path: Path) -> None:
    """All sub-options and the configured number, on one interface: what `Item` says is sent."""
    with home(program, tmp_path, FULL) as running:
        sent4, sent6 = running.v4(), running.v6()
    told = {item.what: item.octets.hex() for item in running.items}
    assert sorted(sent4) == sorted(told[f"DHCPv4 option {n}"] for n in (60, 125, 224))
    assert sent6 == [told["DHCPv6 option 17"]]
    assert told["DHCPv4 option 224"] == "e00a726f757465722e6c616e"
    raw = [(bytes.fromhex(text)[0], bytes.fromhex(text)[2:]) for text in sent4]
    assert read4(raw).found == FULL.ad
    assert read6([(17, bytes.fromhex(sent6[0])[4:])]).found == FULL.ad


def test_another_network_is_not_told(program: str, tmp_path: Path) -> None:
    """Specs 6, guest networks: options are for the interfaces that were named."""
    with home(program, tmp_path, replace(FULL, interfaces=("br-guest",))) as running:
        assert running.v4(60, 125, 224) == running.v6(17) == []
    assert "tag:br-guest,vi-encap:55357,1," in running.text


def test_records(program: str, tmp_path: Path) -> None:
    """Specs 3.3, A-3.1-3, A-5.2-1: what is printed for other servers is what dnsmasq answers."""
    lines = zone(RECORDS["lan"])
    with home(program, tmp_path, PLAIN) as running:
        for line in lines:
            name, _, _, kind, _ = line.split(" ", 4)
            # dnsmasq has a TTL of its own, and folds the case of what a PTR names.
            found = [each.replace(" 0 IN", " 3600 IN").lower() for each in running.dig(name, kind)]
            assert found == [line.lower()]
        assert running.dig("_acme-server._tcp.local.", "SRV") == []


# -- what the owner has already

OTHER = "0000118b050103616263"  # another enterprise's, as the owner wrote it
OTHERS_LINE = "dhcp-option-force=vi-encap:4491,1,abc\n"


@pytest.mark.parametrize(
    "line", [OTHERS_LINE, f"dhcp-option-force=125,{bytes.fromhex(OTHER).hex(':')}\n"]
)
@pytest.mark.parametrize("interfaces", [(), ("br-lan",)])
def test_never_a_second_125(
    program: str, tmp_path: Path, line: str, interfaces: tuple[str, ...]
) -> None:
    """The owner's stays alone, and is named; the other options are sent."""
    wish = replace(PLAIN, interfaces=interfaces)
    with home(program, tmp_path, wish, line) as running:
        assert sorted(running.v4()) == [ROW_2, f"7d0a{OTHER}"]
        assert running.v6() == [ROW_V6_1]
    item = next(each for each in running.items if each.what == "DHCPv4 option 125")
    assert item.why_not == f"your own is in {tmp_path}/owner.conf:{len(OWNER.splitlines()) + 1}"


def test_never_a_second_60(program: str, tmp_path: Path) -> None:
    with home(program, tmp_path, PLAIN, "dhcp-option-force=60,mine\n") as running:
        assert sorted(running.v4()) == ["3c046d696e65", ROW_1]
    item = next(each for each in running.items if each.what == "DHCPv4 option 60")
    assert item.why_not.startswith("your own is in ")


def test_the_owners_vendor_options_survive(program: str, tmp_path: Path) -> None:
    """dnsmasq would choose them by our option 60, and send none."""
    owner = "dhcp-option=vendor:Phone,1,abc\n"
    with home(program, tmp_path, PLAIN, owner) as running:
        assert "2b060103616263ff" in running.v4(43, vendor_class=b"Phone 7")
    item = next(each for each in running.items if each.what == "DHCPv4 option 60")
    assert item.why_not.startswith("your own is in ")


def test_tagged_clients_get_the_owners(program: str, tmp_path: Path) -> None:
    """One option each: the owner's for those that it is for, ours for all others."""
    owner = "dhcp-vendorclass=set:voip,Phone\ndhcp-option-force=tag:voip,vi-encap:4491,1,abc\n"
    with home(program, tmp_path, replace(PLAIN, interfaces=("br-lan",)), owner) as running:
        assert [each for each in running.v4(vendor_class=b"Phone") if each[:2] == "7d"] == [
            f"7d0a{OTHER}"
        ]
        assert [each for each in running.v4() if each[:2] == "7d"] == [ROW_1]
    item = next(each for each in running.items if each.what == "DHCPv4 option 125")
    assert item.why_not == ""
    assert item.note == f"clients tagged voip get your own, {tmp_path}/owner.conf:15"


# -- what is decided without a dnsmasq


def items(server: Server, wish: Wish = PLAIN) -> dict[str, str]:
    """Return why what is not advertised."""
    text, found = snippet(wish, server)
    assert bool(text) == any(not item.why_not for item in found)
    return {item.what: item.why_not for item in found if item.why_not}


ALL = frozenset(("DHCP", "DHCPv6"))
SERVED = Configuration(pools={4: {""}, 6: {""}})


@pytest.mark.parametrize(
    ("server", "missing"),
    [
        (Server(ALL, SERVED), {}),
        (Server(frozenset(("DHCP", "no-DHCPv6")), SERVED),
         {"DHCPv6 option 17": "this dnsmasq was built without DHCPv6"}),
        (Server(frozenset(("no-DHCP", "no-DHCPv6")), SERVED),
         {"DHCPv4 option 125": "this dnsmasq was built without DHCPv4",
          "DHCPv4 option 60": "this dnsmasq was built without DHCPv4",
          "DHCPv6 option 17": "this dnsmasq was built without DHCPv6"}),
        (Server(ALL, Configuration(pools={4: {""}})),
         {"DHCPv6 option 17": "dnsmasq serves no DHCPv6 here"}),
        (Server(ALL, None),
         {"DHCPv6 option 17": "dnsmasq's configuration is not known (--dnsmasq-conf)"}),
        (Server(ALL, SERVED, {4: "odhcpd serves it"}),
         {"DHCPv4 option 125": "odhcpd serves it", "DHCPv4 option 60": "odhcpd serves it"}),
        (Server(ALL, Configuration(pools={4: {""}, 6: {""}}, answers_dns=False)),
         {"DNS records": "dnsmasq answers no DNS here (port=0)"}),
        (Server(ALL, Configuration(pools=SERVED.pools, services={"_acme-server._tcp.lan": "x:1"})),
         {"DNS records": "your own is in x:1"}),
    ],
)  # fmt: skip
def test_what_cannot_be_advertised_is_said(server: Server, missing: dict[str, str]) -> None:
    assert items(server) == missing


def test_switches() -> None:
    server = Server(ALL, SERVED)
    assert items(server, replace(PLAIN, class_option=False)) == {"DHCPv4 option 60": "switched off"}
    quiet = Server(ALL, Configuration(pools=SERVED.pools, silent={"br-lan": {6}}))
    wish = replace(PLAIN, interfaces=("br-lan", "br-iot"))
    assert items(quiet, wish) == {"DHCPv6 option 17": "dnsmasq serves no DHCPv6 on br-lan"}
    text, _ = snippet(wish, quiet)
    assert "tag:br-iot,vi-encap:55357,option6:1," in text
    assert "tag:br-lan,vi-encap:55357,option6:1," not in text


LONG = ".".join(["a" * 60] * 4)  # 243, 245 with its number and length


def test_as_much_as_dnsmasq_takes(program: str, tmp_path: Path) -> None:
    """250 octets of sub-options are sent; of more it would only log a warning."""
    wish = Wish(Advertisement(LONG, "/ab"), {}, class_option=False)
    with home(program, tmp_path, wish) as running:
        assert running.v4() == [running.items[0].octets.hex()]
    assert len(running.items[0].octets) == 2 + 255
    longer = replace(wish, ad=Advertisement(LONG, "/abc"))
    why_not = "too long for dnsmasq; use a shorter name"
    assert items(Server(ALL, SERVED), longer)["DHCPv4 option 125"] == why_not


def test_pools_that_all_have_the_owners(tmp_path: Path) -> None:
    """OpenWrt's lines bear the pool's tag: an option for the only pool leaves ours nobody."""
    conf = tmp_path / "conf"
    ranges = "dhcp-range=set:lan,192.168.1.100,192.168.1.249,255.255.255.0,12h\n"
    conf.write_text(ranges + "dhcp-option=lan,60,x\n")
    said = items(Server(ALL, dnsmasq.read(conf)))
    assert said["DHCPv4 option 60"] == f"your own is in {conf}:2"
    conf.write_text(ranges + ranges.replace("lan", "guest") + "dhcp-option=lan,60,x\n")
    assert "DHCPv4 option 60" not in items(Server(ALL, dnsmasq.read(conf)))
    assert (
        "dhcp-option-force=tag:!lan,60,00:00:d8"
        in snippet(PLAIN, Server(ALL, dnsmasq.read(conf)))[0]
    )

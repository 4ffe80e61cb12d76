"""The owner's configuration as dnsmasq reads it, and dnsmasq's own word on ours."""

from pathlib import Path

import pytest

from acmeiot.lan import dnsmasq
from acmeiot.lan.dnsmasq import HEADER, OwnOption


def option(line: str, tmp_path: Path) -> OwnOption | None:
    """Return the option that a line configures; dnsmasq itself must take the line."""
    conf = tmp_path / "conf"
    conf.write_text(line + "\n")
    program = dnsmasq.program()
    assert program is not None
    assert dnsmasq.refusal(program, [conf]) is None
    options = dnsmasq.read(conf).options
    return options[0] if options else None


@pytest.mark.parametrize(
    ("line", "number", "v6", "tags"),
    [
        ("dhcp-option=60,x", 60, False, ""),
        ("dhcp-option = 60 , x", 60, False, ""),
        ("  dhcp-option-force=60,x # why", 60, False, ""),
        ("dhcp-option=tag:a#b,60,x", 60, False, "a#b"),
        ('dhcp-option=60,"x,61,#y"', 60, False, ""),
        ("dhcp-option=option:vendor-class,x", 60, False, ""),
        ("dhcp-option=lan,60,x", 60, False, "lan"),
        ("dhcp-option=net:lan,60,x", 60, False, "lan"),
        ("dhcp-option=tag:lan,tag:voip,60,x", 60, False, "lan voip"),
        ("dhcp-option=125,00:01", 125, False, ""),
        ("dhcp-option=vi-encap:9,1,x", 125, False, ""),
        ("dhcp-option=tag:lan,vi-encap:9,option6:1,x", 17, True, "lan"),
        ("dhcp-option=option6:17,00:01", 17, True, ""),
        ("dhcp-option=option6:dns-server,[::]", 0, True, ""),
        ("dhcp-option=encap:60,125,x", 0, False, ""),
        ("dhcp-option=vendor:Phone,60,x", 43, False, ""),
        ("dhcp-option=3,192.168.1.1", 3, False, ""),
    ],
)
def test_options(line: str, number: int, v6: bool, tags: str, tmp_path: Path) -> None:
    """All the forms of dnsmasq(8); what looks like a number behind an enclosure is none of ours."""
    found = option(line, tmp_path)
    assert found is not None
    assert (found.number, found.v6, found.tags) == (number, v6, frozenset(tags.split()))
    assert found.where == f"{tmp_path}/conf:1"


def test_more_of_options(tmp_path: Path) -> None:
    ours = option("dhcp-option=vi-encap:55357,1,x", tmp_path)
    assert ours is not None
    assert ours.enterprise == 55357
    never = option("dhcp-option=tag:!guest,60,x", tmp_path)
    assert never is not None
    assert not never.tags
    assert never.without == {"guest"}
    vendor = option("dhcp-option=vendor:Phone,1,x", tmp_path)
    assert vendor is not None
    assert vendor.vendor
    conf = tmp_path / "conf"
    conf.write_text("dhcp-option-pxe=60,x\n")  # of later versions
    assert [each.number for each in dnsmasq.read(conf).options] == [60]
    for none in ("#dhcp-option=60,x", "  # dhcp-option=60,x", "no-resolv", "txt-record=a.lan,60"):
        assert option(none, tmp_path) is None


@pytest.mark.parametrize(
    ("line", "pools"),
    [
        ("dhcp-range=192.168.1.100,192.168.1.200,1h", {4: {""}}),
        ("dhcp-range=set:lan,192.168.1.100,192.168.1.200,255.255.255.0,12h", {4: {"lan"}}),
        ("dhcp-range=lan,192.168.1.100,192.168.1.200", {4: {"lan"}}),
        ("dhcp-range=tag:x,set:lan,192.168.1.100,192.168.1.200", {4: {"lan"}}),
        ("dhcp-range=192.168.1.0,static", {4: {""}}),
        ("dhcp-range=fd00::100,fd00::200,64,1h", {6: {""}}),
        ("dhcp-range=::,constructor:br-lan,ra-stateless", {6: {""}}),
        ("dhcp-range=::,constructor:br-lan,ra-only", {}),
        ("no-resolv", {}),
    ],
)
def test_whom_it_serves(line: str, pools: dict[int, set[str]], tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text(line + "\n")
    assert dnsmasq.read(conf).pools == pools


def test_whom_it_does_not_serve(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text("no-dhcp-interface=wan,wan6\nno-dhcpv6-interface=guest\nport=0\n")
    found = dnsmasq.read(conf)
    assert found.silent == {"wan": {4, 6}, "wan6": {4, 6}, "guest": {6}}
    assert not found.answers_dns
    conf.write_text("port=5353\nsrv-host=_Acme-Server._tcp.LAN.,other.lan,443\n")
    found = dnsmasq.read(conf)
    assert found.answers_dns
    assert found.services == {"_acme-server._tcp.lan": f"{conf}:2"}


def test_included_files(tmp_path: Path) -> None:
    """What dnsmasq reads is read, what it leaves is left, and ours is not the owner's."""
    inner, only, opts = tmp_path / "inner", tmp_path / "only", tmp_path / "opts"
    for directory in (inner, only, opts):
        directory.mkdir()
    conf = tmp_path / "conf"
    conf.write_text(
        f"conf-file={tmp_path}/more\nconf-dir={inner}/,.bak,.dpkg-old\nconf-dir={only},*.conf\n"
        f"conf-file={tmp_path}/star*\ndhcp-optsdir={opts}\ndhcp-optsfile={tmp_path}/none\n"
        f"conf-file={conf}\n"
    )
    (tmp_path / "more").write_text("dhcp-option=201,a\n")
    (tmp_path / "star1").write_text("dhcp-option=202,a\n")
    (inner / "yes").write_text("dhcp-option=203,a\n")
    (only / "a.conf").write_text("dhcp-option=204,a\n")
    (opts / "a").write_text("tag:lan,205,a\n# comment\n")
    for name in ("x.bak", ".hidden", "x~", "#x#"):
        (inner / name).write_text("dhcp-option=60,never\n")
    (only / "b").write_text("dhcp-option=60,never\n")
    (inner / "acmeiot.conf").write_text(HEADER + "dhcp-option=60,ours\n")
    found = dnsmasq.read(conf)
    assert sorted(each.number for each in found.options) == [201, 202, 203, 204, 205]
    assert found.directories == [inner, only]
    assert found.complete
    conf.write_text(f"conf-dir={tmp_path}/gone\n")
    assert dnsmasq.read(conf).options == []
    conf.write_text(f"conf-file={tmp_path}/gone\n")
    with pytest.raises(FileNotFoundError, match="gone"):
        dnsmasq.read(conf)


def test_bounds(tmp_path: Path) -> None:
    """Blocklists are longer than anybody wants to wait for; that they were cut is known."""
    conf, many = tmp_path / "conf", tmp_path / "many"
    line = "address=/example.com/\n"
    conf.write_text(line * (4_300_000 // len(line)) + "dhcp-option=60,x\n")
    found = dnsmasq.read(conf)
    assert (found.options, found.complete) == ([], False)
    many.mkdir()
    for number in range(600):
        (many / f"{number:03}").write_text("dhcp-option=60,x\n")
    conf.write_text(f"conf-dir={many}\n")
    found = dnsmasq.read(conf)
    assert (len(found.options), found.complete) == (511, False)


def test_refusal_and_features(tmp_path: Path) -> None:
    program = dnsmasq.program()
    assert program is not None
    assert "DHCPv6" in dnsmasq.features(program)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("dhcp-option=60,x\n")
    bad.write_text("no-resolv\ndhcp-option=nonsense\n")
    assert dnsmasq.refusal(program, [good]) is None
    assert dnsmasq.refusal(program, [good, bad]) == f"bad dhcp-option at line 2 of {bad}"
    # A program of another kind.
    assert dnsmasq.features("/bin/true") == frozenset()
    assert dnsmasq.refusal("/bin/false", [good]) == "dnsmasq --test ended with 1"


def test_main_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenWrt's is preferred, if it is one; Debian's else."""
    written: list[str] = []
    monkeypatch.setattr("glob.glob", lambda _: written)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert dnsmasq.main_file() == Path("/etc/dnsmasq.conf")
    written.append("/var/etc/dnsmasq.conf.cfg01411c")
    assert dnsmasq.main_file() == Path("/var/etc/dnsmasq.conf.cfg01411c")
    written.append("/var/etc/dnsmasq.conf.guest")
    assert dnsmasq.main_file() is None
